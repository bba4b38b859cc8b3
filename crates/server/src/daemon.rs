//! The daemon: puts a cloud together from its parts and serves it until a signal comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cloud::clock::Clock;
use cloud::ec2::instance::metadata;
use cloud::env::{Balancers, Config, Env, Parts, Rng};
use cloud::fake_balancers::FakeBalancers;
use cloud::seal::{DiskKeys, Seal};
use cloud::{Timestamp, controller, dns};
use compute::Driver;
use compute::fake;
use compute::namespace::{self, NamespaceDriver};
use fabric::linux::LinuxFabric;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use crate::balancers::Processes;
use crate::ca::Authority;
use crate::dns::Resolver;
use crate::gateway::{Door, Gateway};
use crate::mounts::Mounts;
use crate::networks::{Change, ServedFabric};
use crate::paths::Paths;
use crate::pool::Pool;
use crate::slot::{INSTANCES_PER_SLOT, Record, Slot};
use crate::{capacity, credentials, outbound, teardown, tls};

pub struct Options {
    pub paths: Paths,
    pub ephemeral: bool,
    pub zones: usize,
    pub time_scale: f64,
    pub listen: SocketAddr,
    pub unlimited_io: bool,
    pub fake: bool,
    pub account: String,
    pub region: String,
    pub spot_seed: u64,
    /// What each zone has room for, if it is not all that this host can run.
    pub capacity: Option<Vec<cloud::ec2::capacity::Pool>>,
    /// Where this host may ask for public names.
    pub dns: Option<SocketAddr>,
    /// How to say that it is up.
    pub json: bool,
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
    let names = options.dns.map(bind_names).transpose()?;
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
        spot_seed: options.spot_seed,
        gateway_port: listen.port(),
        capacity: options.capacity.clone().unwrap_or_default(),
        fake_compute: options.fake,
    };
    let root = credentials::open(paths, listen, &rng)?;
    let secret_key = credentials::secret_key(&paths.secret_key(), &rng)?;
    let seal = Seal::new(secret_key);

    let authority = Authority::open(paths, &rng).context("certificate authority")?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let (changed, changes) = tokio::sync::mpsc::unbounded_channel();
    let real = match options.fake {
        true => None,
        false => {
            let keys = DiskKeys { seal: seal.clone(), rng: rng.clone() };
            Some(real(&runtime, &options, &slot, &authority, keys, changed)?)
        }
    };
    let served = real.as_ref().map(|outside| Arc::clone(&outside.fabric));
    let Outside { driver, storage, fabric, balancers } = real.map_or_else(simulated, Outside::open);
    let metrics = cloud::cloudwatch::Metrics::default();
    let trail = cloud::iam::Trail::default();
    let network_gate = Arc::default();
    let parts = Parts {
        config,
        clock,
        rng,
        store,
        driver,
        storage,
        fabric,
        balancers,
        metrics,
        trail,
        seal,
        sqs: cloud::sqs::Lines::default(),
        network_gate,
    };
    let env = Env::new(parts);
    if options.capacity.is_some() {
        runtime.block_on(capacity::begin(&env))?;
    }
    cloud::s3::sweep(&env).map_err(|error| anyhow!("cannot sweep the object store: {error:?}"))?;
    if let Some(fabric) = served {
        let env = env.downgrade();
        let resolver = move |network: &str| {
            dns::ops::vpc_of(&env()?, network).map(|(_, vpc)| dns::ops::server(&vpc))
        };
        fabric.begin(Box::new(resolver))?;
    }
    let answer = runtime.block_on(async {
        let gateway = Arc::new(Gateway::new(env.clone(), root, listen, paths.images()));
        let metadata = Arc::new(metadata::Service::new(env.clone(), secret_key));
        let (env, gateway_inside) = (env.clone(), Arc::clone(&gateway));
        let tls = tls::acceptor(authority)?;
        let mounts = Mounts { env: env.clone(), gateway: gateway_inside, metadata, tls };
        if let Some((udp, tcp)) = names {
            let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
            tokio::spawn(Arc::new(Resolver::of_host(&env)).serve(udp, tcp));
        }
        let listener = TcpListener::from_std(listener)?;
        println!("{}", ready(listen, &options));
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            () = Arc::clone(&gateway).serve(listener, Door::Host, None) => Ok(()),
            () = controller::run(env.clone()) => Ok(()),
            result = mounts.serve(changes) => result.context("cannot serve a network"),
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

/// What the control plane acts on.
struct Outside<Fabric: ?Sized> {
    driver: Arc<dyn compute::Driver>,
    storage: Arc<dyn compute::Storage>,
    fabric: Arc<Fabric>,
    balancers: Arc<dyn Balancers>,
}

impl Outside<ServedFabric> {
    fn open(self) -> Outside<dyn fabric::Fabric> {
        let Outside { driver, storage, fabric, balancers } = self;
        Outside { driver, storage, fabric, balancers }
    }
}

/// This host's namespaces, networks and balancer processes.
fn real(
    runtime: &tokio::runtime::Runtime,
    options: &Options,
    slot: &Slot,
    authority: &Authority,
    keys: DiskKeys,
    changed: UnboundedSender<Change>,
) -> Result<Outside<ServedFabric>> {
    let paths = &options.paths;
    let linux = Arc::new(LinuxFabric::open(&paths.run())?);
    let outbound = linux.outbound()?;
    runtime.spawn(async {
        if let Err(error) = outbound::serve(outbound, Arc::new(outbound::Host)).await {
            tracing::error!("nobody relays to the world: {error}");
        }
    });
    let config = namespace::Config {
        cgroup: slot.cgroup(),
        first_id: slot.first_user_id(),
        instances: INSTANCES_PER_SLOT,
        usual_root_bytes: Some(u64::from(cloud::ec2::image::model::ROOT_SIZE_GIB) << 30),
        unlimited_io: options.unlimited_io,
        trusted: Some(authority.certificate.clone()),
        keys: Some(Arc::new(keys)),
        ..namespace::Config::new(paths.compute())
    };
    let driver = Arc::new(runtime.block_on(NamespaceDriver::open(config, linux.clone()))?);
    let balancers = runtime.block_on(Processes::start(&paths.run()))?;
    let fabric = ServedFabric::new(linux, Pool::of(slot), changed);
    let (fabric, balancers) = (Arc::new(fabric), Arc::new(balancers));
    Ok(Outside { storage: driver.clone(), driver, fabric, balancers })
}

/// Entries in books: instances take a moment to boot and to stop, and nothing answers.
fn simulated() -> Outside<dyn fabric::Fabric> {
    let timing = fake::Timing { boot: Duration::from_millis(50), stop: Duration::from_millis(20) };
    let driver = fake::Fake::in_real_time(timing);
    let seen = Arc::clone(&driver);
    let balancers = FakeBalancers::new(move |target| {
        let instance = target.id.split(':').next().unwrap_or_default();
        seen.list().iter().any(|o| o.id == instance && o.phase == compute::Phase::Up)
    });
    let fabric = Arc::new(fabric::fake::Fake::new());
    Outside { storage: driver.clone(), driver, fabric, balancers: Arc::new(balancers) }
}

type Names = (std::net::UdpSocket, std::net::TcpListener);

fn bind_names(address: SocketAddr) -> Result<Names> {
    let bind = || {
        let names: Names =
            (std::net::UdpSocket::bind(address)?, std::net::TcpListener::bind(address)?);
        names.0.set_nonblocking(true)?;
        names.1.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(names)
    };
    bind().with_context(|| format!("cannot answer names on {address}"))
}

fn ready(listen: SocketAddr, options: &Options) -> String {
    if options.json {
        let data_dir = options.paths.data.display().to_string();
        let endpoint = format!("http://{listen}");
        let simulated = options.fake;
        return serde_json::json!({ "endpoint": endpoint, "data_dir": data_dir, "simulated": simulated })
            .to_string();
    }
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
