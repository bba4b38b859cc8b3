//! The pretended host keeps the contract of the seam.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const TIMING: Timing = Timing { boot: Duration::from_millis(100), stop: Duration::from_millis(50) };

fn spec(boot: u64) -> Spec {
    Spec {
        id: "i-1".into(),
        boot,
        layers: vec![],
        vcpus: 1,
        memory_mib: 64,
        nics: vec![],
        hostname: "h".into(),
        env: BTreeMap::new(),
        user_data: None,
        ssh_keys: vec![],
        resolver: Default::default(),
        root_bytes: None,
        root_encrypted: false,
        disks: vec![],
        init: Default::default(),
    }
}

struct World {
    time: Arc<AtomicU64>,
    fake: Fake,
}

impl World {
    fn new(faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static) -> World {
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        let now = move || Duration::from_millis(clock.load(Ordering::Relaxed));
        World { time, fake: Fake::with_faults(TIMING, now, faults) }
    }

    fn pass(&self, ms: u64) {
        self.time.fetch_add(ms, Ordering::Relaxed);
        self.fake.tick();
    }

    fn phase(&self) -> Option<(u64, Phase)> {
        self.fake.list().first().map(|o| (o.boot, o.phase))
    }
}

#[tokio::test]
async fn a_life() {
    let world = World::new(|_| None);
    let fake = &world.fake;
    let mut changes = fake.changes();
    for _ in 0..2 {
        fake.ensure(&spec(1)).await.unwrap();
    }
    assert_eq!(world.phase(), Some((1, Phase::Booting)));
    assert_eq!(*changes.borrow_and_update(), 1);
    world.pass(99);
    assert_eq!(world.phase(), Some((1, Phase::Booting)));
    world.pass(1);
    assert_eq!(world.phase(), Some((1, Phase::Up)));
    assert!(changes.has_changed().unwrap());
    fake.set_load("i-1", 0.5);
    world.pass(1000);
    assert_eq!(fake.usage("i-1").unwrap().cpu, Duration::from_millis(500));
    fake.stop("i-1", Duration::from_secs(9)).unwrap();
    world.pass(50);
    assert_eq!(world.phase(), Some((1, Phase::Exited(Exit::Asked))));
    fake.ensure(&spec(1)).await.unwrap();
    assert_eq!(world.phase(), Some((1, Phase::Exited(Exit::Asked))));
    fake.ensure(&spec(2)).await.unwrap();
    world.pass(100);
    assert_eq!(world.phase(), Some((2, Phase::Up)));
    assert!(fake.end("i-1", Exit::Lost));
    assert_eq!(world.phase(), Some((2, Phase::Exited(Exit::Lost))));
    for _ in 0..2 {
        fake.destroy("i-1").await.unwrap();
    }
    assert_eq!(world.phase(), None);
}

#[tokio::test]
async fn faults() {
    let world = World::new(|point| match point {
        Point::Ensure(spec) => match spec.boot {
            1 => Some(Fault::NoCapacity),
            2 => Some(Fault::AnswerLost),
            3 => Some(Fault::BootFails),
            _ => Some(Fault::Slow(Duration::from_millis(100))),
        },
        Point::Stop(_) => Some(Fault::Slow(Duration::from_secs(60))),
        _ => Some(Fault::Fails),
    });
    let fake = &world.fake;
    assert!(matches!(fake.ensure(&spec(1)).await, Err(Error::Capacity(_))));
    assert_eq!(world.phase(), None);
    assert!(fake.ensure(&spec(2)).await.is_err());
    assert_eq!(world.phase(), Some((2, Phase::Booting)));
    fake.ensure(&spec(3)).await.unwrap();
    world.pass(100);
    assert_eq!(world.phase(), Some((3, Phase::Exited(Exit::Failed))));
    fake.ensure(&spec(4)).await.unwrap();
    world.pass(100);
    assert_eq!(world.phase(), Some((4, Phase::Booting)));
    world.pass(100);
    fake.stop("i-1", Duration::from_secs(1)).unwrap();
    world.pass(999);
    assert_eq!(world.phase(), Some((4, Phase::Up)));
    world.pass(1);
    assert_eq!(world.phase(), Some((4, Phase::Exited(Exit::Asked))));
    assert!(fake.destroy("i-1").await.is_err());
    assert!(world.phase().is_some());
}

#[tokio::test]
async fn real_time_needs_nobody_to_tick() {
    let fake = Fake::in_real_time(Timing { boot: Duration::from_millis(5), ..TIMING });
    let mut changes = fake.changes();
    fake.ensure(&spec(1)).await.unwrap();
    while fake.list()[0].phase != Phase::Up {
        changes.changed().await.unwrap();
    }
}
