//! The daemon: puts a cloud together from its parts and serves it until a signal comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cloud::clock::Clock;
use cloud::ec2::instance::metadata;
use cloud::env::{Balancers, Config, Env, Parts, Rng};
use cloud::fake_balancers::FakeBalancers;
use cloud::seal::Seal;
use cloud::{Timestamp, controller};
use compute::Driver;
use compute::fake;
use compute::namespace::{self, NamespaceDriver};
use fabric::linux::LinuxFabric;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use crate::balancers::Processes;
use crate::gateway::{Door, Gateway};
use crate::networks::{Opened, ServedFabric};
use crate::paths::Paths;
use crate::pool::Pool;
use crate::slot::{INSTANCES_PER_SLOT, Record, Slot};
use crate::{credentials, imds, outbound, teardown};

pub struct Options {
    pub paths: Paths,
    pub ephemeral: bool,
    pub zones: usize,
    pub time_scale: f64,
    pub listen: SocketAddr,
    pub fake: bool,
    pub account: String,
    pub region: String,
}

pub fn run(options: Options) -> Result<()> {
    let paths = &options.paths;
    for dir in [&paths.data, &paths.run()] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    // Bound first: a second daemon at the same address must fail before it touches anything.
    let listener = std::net::TcpListener::bind(options.listen)
        .with_context(|| format!("cannot listen on {}; is another cloud up?", options.listen))?;
    listener.set_nonblocking(true)?;
    let listen = listener.local_addr()?;
    let record = Record {
        data_dir: paths.data.clone(),
        ephemeral: options.ephemeral,
        pid: std::process::id(),
        listen,
    };
    let slot = Slot::claim(&record)?;

    let rng = Rng::system();
    let store = match options.ephemeral {
        true => store::Store::ephemeral(),
        false => store::Store::open(paths.store(), cloud::schema::schema())
            .context("cannot open the store")?,
    };
    let clock = Clock::host(wall_clock(), options.time_scale);
    let config = Config {
        account: options.account.clone(),
        default_region: options.region.clone(),
        zones: options.zones,
        loopback_octet: slot.loopback_octet(),
        public_pool: slot.public_pool(),
        gateway_port: listen.port(),
        fake_compute: options.fake,
    };
    let root = credentials::open(paths, listen, &rng)?;
    let secret_key = credentials::secret_key(&paths.secret_key(), &rng)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let (served, mut opened) = tokio::sync::mpsc::unbounded_channel();
    let (driver, fabric, balancers) =
        if options.fake { simulated() } else { real(&runtime, paths, &slot, served)? };
    let metrics = cloud::cloudwatch::Metrics::default();
    let seal = Seal::new(credentials::secret_key(&paths.secret_key(), &rng)?);
    let trail = cloud::iam::Trail::default();
    let network_gate = Arc::default();
    let parts = Parts {
        config,
        clock,
        rng,
        store,
        driver,
        fabric,
        balancers,
        metrics,
        trail,
        seal,
        network_gate,
    };
    let env = Env::new(parts);
    cloud::s3::sweep(&env).map_err(|error| anyhow!("cannot sweep the object store: {error:?}"))?;
    let answer = runtime.block_on(async {
        let gateway = Arc::new(Gateway::new(env.clone(), root, listen, paths.images()));
        let metadata = Arc::new(metadata::Service::new(env.clone(), secret_key));
        let mounts = async {
            while let Some(network) = opened.recv().await {
                let door = TcpListener::from_std(network.endpoint)?;
                tokio::spawn(Arc::clone(&gateway).serve(door, Door::Network));
                let listener = TcpListener::from_std(network.metadata)?;
                tokio::spawn(imds::serve(Arc::clone(&metadata), network.name, listener));
            }
            std::future::pending::<std::io::Result<()>>().await
        };
        let listener = TcpListener::from_std(listener)?;
        println!("{}", ready(listen, &options));
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            () = Arc::clone(&gateway).serve(listener, Door::Host) => Ok(()),
            () = controller::run(env.clone()) => Ok(()),
            result = mounts => result.context("cannot serve a network"),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    });
    drop((env, _entered));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if options.ephemeral {
        teardown::teardown(paths)?;
        teardown::purge(paths)?;
        slot.release()?;
    }
    answer
}

type Outside = (Arc<dyn compute::Driver>, Arc<dyn fabric::Fabric>, Arc<dyn Balancers>);

/// This host's namespaces, networks and balancer processes.
fn real(
    runtime: &tokio::runtime::Runtime,
    paths: &Paths,
    slot: &Slot,
    served: UnboundedSender<Opened>,
) -> Result<Outside> {
    let linux = Arc::new(LinuxFabric::open(&paths.run())?);
    runtime.spawn(outbound::serve(linux.outbound()?, Arc::new(outbound::Host)));
    let config = namespace::Config {
        cgroup: slot.cgroup(),
        first_id: slot.first_user_id(),
        instances: INSTANCES_PER_SLOT,
        ..namespace::Config::new(paths.compute())
    };
    let driver = runtime.block_on(NamespaceDriver::open(config, linux.clone()))?;
    let balancers = runtime.block_on(Processes::start(&paths.run()))?;
    Ok((
        Arc::new(driver),
        Arc::new(ServedFabric::new(linux, Pool::of(slot), served)?),
        Arc::new(balancers),
    ))
}

/// Entries in books: instances take a moment to boot and to stop, and nothing answers.
fn simulated() -> Outside {
    let timing = fake::Timing { boot: Duration::from_millis(50), stop: Duration::from_millis(20) };
    let driver = fake::Fake::in_real_time(timing);
    let seen = Arc::clone(&driver);
    let balancers = FakeBalancers::new(move |target| {
        let instance = target.id.split(':').next().unwrap_or_default();
        seen.list().iter().any(|o| o.id == instance && o.phase == compute::Phase::Up)
    });
    (driver, Arc::new(fabric::fake::Fake::new()), Arc::new(balancers))
}

fn ready(listen: SocketAddr, options: &Options) -> String {
    let mut text = format!("Drover is up at http://{listen}  (Ctrl-C stops it)");
    if options.fake {
        text += "\nCompute is simulated: instances go through their states, nothing runs.";
    }
    text
}

#[allow(clippy::disallowed_methods)] // read once; from then on the cloud's clock counts
fn wall_clock() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(now.map_or(0, |elapsed| elapsed.as_millis() as i64))
}
