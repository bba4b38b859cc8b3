//! Controllers make intent true: woken by a change or a timer they read everything, plan, and act.
//! They take no input, so missing a wake-up or running twice is harmless.

use std::time::Duration;

use compute::driver::BoxFuture;

use crate::env::Env;

/// What went wrong in one round; the next round tries again.
#[derive(Debug)]
pub struct Error(pub String);

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error(error.to_string())
    }
}

pub trait Controller: Send + Sync {
    fn name(&self) -> &'static str;

    /// One round: observe, plan, act. Answers after what time (of the cloud's clock) it wants another
    /// round even if nothing changes. Must write nothing when there is nothing to change.
    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>>;
}

/// Every controller of the cloud.
pub fn all() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(crate::ec2::instance::controller::Instances::default()),
        Box::new(crate::ec2::fleet::controller::Fleets),
        Box::new(crate::ec2::spot::controller::SpotRequests),
        Box::new(crate::ec2::capacity_reservation::controller::CapacityReservations),
        Box::new(crate::fis::controller::Experiments),
        Box::new(crate::ec2::credits::controller::CpuCredits::default()),
        Box::new(crate::ec2::network::controller::Networks),
        Box::new(crate::ec2::nat_gateway::controller::NatGateways),
        Box::new(crate::ec2::vpc_endpoint::controller::Endpoints),
        Box::new(crate::ec2::vpc_peering::controller::Peerings),
        Box::new(crate::ec2::flow_log::controller::FlowLogs::default()),
        Box::new(crate::ec2::volume::controller::Volumes::default()),
        Box::new(crate::ec2::snapshot::controller::Snapshots),
        Box::new(crate::ec2::image::controller::Images),
        Box::new(crate::ec2::volume::sweep::Sweeper::default()),
        Box::new(crate::cost::meter::Meter::default()),
        Box::new(crate::elbv2::controller::LoadBalancers::default()),
        Box::new(crate::dynamodb::Sweeper),
        Box::new(crate::sqs::Sweeper),
        Box::new(crate::autoscaling::controller::AutoScaling),
        Box::new(crate::cloudwatch::controller::CloudWatch),
        Box::new(crate::ssm::node::controller::Nodes::default()),
        Box::new(crate::ssm::command::controller::Commands::default()),
        Box::new(crate::ec2_instance_connect::controller::ExpiredKeys),
    ]
}

/// Runs every controller until the returned future is dropped.
pub async fn run(env: Env) {
    let loops = all().into_iter().map(|controller| run_one(controller, env.clone()));
    futures_util::future::join_all(loops).await;
}

/// Runs one of them until the returned future is dropped.
pub async fn run_one(controller: Box<dyn Controller>, env: Env) {
    let mut store = env.store.changes();
    let mut driver = env.driver.changes();
    let mut balancers = env.balancers.changes();
    loop {
        store.mark_unchanged();
        driver.mark_unchanged();
        balancers.mark_unchanged();
        let wake = match controller.reconcile(&env).await {
            Ok(wake) => wake,
            Err(Error(message)) => {
                tracing::warn!(controller = controller.name(), "{message}");
                Some(Duration::from_secs(1))
            }
        };
        let timer = async {
            match wake {
                Some(wake) => env.clock.sleep(wake).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = store.changed() => {}
            _ = driver.changed() => {}
            _ = balancers.changed() => {}
            () = timer => {}
        }
    }
}
