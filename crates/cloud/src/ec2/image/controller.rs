//! Makes images available once their snapshots are complete.

use std::time::Duration;

use compute::driver::BoxFuture;
use store::Tx;

use super::model::{Image, Stage};
use crate::Context;
use crate::controller::{Controller, Error};
use crate::ec2::snapshot::{self, Snapshot};
use crate::ec2::volume::Content;
use crate::ec2::volume::device;
use crate::ec2::volume::mapping::What;
use crate::env::Env;

pub struct Images;

impl Controller for Images {
    fn name(&self) -> &'static str {
        "ec2-images"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let read = env.store.read();
    for image in read.scan::<Image>("").filter(|image| image.stage == Stage::Pending) {
        let cx = Context::service(env, &image.account, &image.region, "ec2.amazonaws.com");
        if next(&read, &cx, &image) != Stage::Pending {
            cx.write(|tx| {
                step(tx, &cx, &image.id);
                Ok::<_, store::Error>(())
            })
            .await?;
        }
    }
    Ok(None)
}

fn next(read: &store::Snapshot, cx: &Context, image: &Image) -> Stage {
    for id in image.snapshots() {
        match read.get::<Snapshot>(&cx.key(id)).map(|snapshot| snapshot.stage.clone()) {
            None => return Stage::Failed(format!("The snapshot {id} is gone")),
            Some(snapshot::Stage::Failed(why)) => return Stage::Failed(why),
            Some(snapshot::Stage::Completed) => {}
            Some(_) => return Stage::Pending,
        }
    }
    Stage::Available
}

fn step(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(image) = tx.get::<Image>(&cx.key(id)) else { return };
    if image.stage != Stage::Pending {
        return;
    }
    let mut image = Image { stage: next(tx, cx, &image), ..(*image).clone() };
    let root = image.mapping.iter().find(|known| device::is_root(&known.name));
    if let Some(What::Ebs { snapshot_id: Some(id), .. }) = root.map(|root| &root.what)
        && let Some(root) = tx.get::<Snapshot>(&cx.key(id))
        && let Content::Tree(tree) = &root.content
    {
        image.layers = tree.layers.clone();
        image.frozen = tree.frozen.clone();
    }
    tx.put(image);
}
