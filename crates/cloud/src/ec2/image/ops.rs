//! Which images there are, what they consist of, and registering one.

use compute::Init;
use compute::driver::Layer;
use compute::image::Os;
use store::{Snapshot, Tx};

use super::model::{Image, Origin, Protection, RootDevice, Stage, host_architecture};
use crate::ec2::{Error, Kind, Result};
use crate::{Context, Timestamp, id, ssm};

/// How an image is named by a parameter that holds its id.
pub const BY_PARAMETER: &str = "resolve:ssm:";

pub const BUILT_IN: &str = "drover-host";

/// 2026-01-01T00:00:00Z, when what the built-in image holds was laid down.
const BUILT_IN_CREATED: Timestamp = Timestamp(1_767_225_600_000);

/// The same in every region.
pub fn built_in_id() -> String {
    id::stable("ami", &[BUILT_IN])
}

fn built_in(cx: &Context) -> Image {
    Image {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: built_in_id(),
        name: BUILT_IN.to_owned(),
        description: "This host's own system directories, without its secrets and homes".to_owned(),
        architecture: host_architecture().to_owned(),
        layers: vec![Layer::Host],
        // Its instances are the host's system, but no release that anyone asks for.
        ..empty(cx, BUILT_IN_CREATED)
    }
}

/// An image that nothing is said of yet.
pub fn empty(cx: &Context, created: Timestamp) -> Image {
    Image {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: String::new(),
        name: String::new(),
        description: String::new(),
        architecture: host_architecture().to_owned(),
        layers: vec![],
        init: Init::Auto,
        os: Os::default(),
        frozen: vec![],
        root_device: Default::default(),
        mapping: vec![],
        stage: Stage::Available,
        permissions: Default::default(),
        deprecate_at: None,
        disabled: false,
        protection: Protection::Off,
        origin: Origin::default(),
        client_token: None,
        created,
    }
}

/// Every image of the region, in order of their ids.
pub fn images(snapshot: &Snapshot, cx: &Context) -> Vec<Image> {
    let prefix = cx.prefix();
    let mut images: Vec<Image> =
        snapshot.scan::<Image>(&prefix).map(|image| (*image).clone()).collect();
    images.push(built_in(cx));
    images.sort_by(|a, b| a.id.cmp(&b.id));
    images
}

pub fn image(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Image> {
    if !Kind::Image.is_id(id) {
        return Err(Error::malformed(Kind::Image, id));
    }
    if id == built_in_id() {
        return Ok(built_in(cx));
    }
    let image = snapshot.get::<Image>(&cx.key(id)).map(|image| (*image).clone());
    image.ok_or_else(|| Error::not_found(Kind::Image, id))
}

/// One that instances can be launched from now.
pub fn launchable(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Image> {
    let image = image(snapshot, cx, id)?;
    match image.stage {
        Stage::Available if !image.disabled => Ok(image),
        _ => Err(Error::AmiUnavailable(format!(
            "The image ID '{id}' is not available: it is in the '{}' state.",
            image.state()
        ))),
    }
}

/// The id that a launch names: as it is, or by way of a parameter (`resolve:ssm:NAME[:VERSION|:LABEL]`).
pub fn resolve_id(snapshot: &Snapshot, cx: &Context, text: &str) -> Result<String> {
    let Some(name) = text.strip_prefix(BY_PARAMETER) else { return Ok(text.to_owned()) };
    let found = ssm::ops::get(snapshot, cx, name);
    let (version, _) = found.map_err(|error| {
        Error::value(format!("Invalid value '{text}' for the image id. {error}"))
    })?;
    if version.kind != ssm::model::Kind::String || !Kind::Image.is_id(&version.value) {
        let why = "the parameter is no String that holds the id of an image";
        return Err(Error::value(format!("Invalid value '{text}' for the image id: {why}.")));
    }
    Ok(version.value.clone())
}

/// The root file system of an image, lowest layer first.
pub fn layers(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Vec<Layer>> {
    Ok(image(snapshot, cx, id)?.layers)
}

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub layers: Vec<Layer>,
    pub root_device: RootDevice,
    pub init: Init,
    pub os: Os,
}

/// Makes an image of layers that are already in place.
pub fn register_local(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    content: Content,
    description: &str,
) -> Result<Image> {
    let Content { layers, root_device, init, os } = content;
    if layers.is_empty() {
        return Err(Error::value("An image has at least one layer."));
    }
    // One that is made on top of another needs what that needs.
    let below = images(tx, cx).into_iter().filter(|image| layers.starts_with(&image.layers));
    let below = below.max_by_key(|image| image.layers.len());
    let frozen = below.map(|image| image.frozen).unwrap_or_default();
    put_new(tx, cx, Image { layers, root_device, frozen, init, os, ..named(cx, name, description) })
}

/// What a new image is said to be.
pub fn named(cx: &Context, name: &str, description: &str) -> Image {
    Image {
        id: id::resource(&cx.env.rng, "ami"),
        name: name.to_owned(),
        description: description.to_owned(),
        ..empty(cx, cx.now)
    }
}

/// Checks what is said of it.
pub fn put_new(tx: &mut Tx, cx: &Context, image: Image) -> Result<Image> {
    let name = &image.name;
    check_name(name)?;
    if image.description.chars().count() > 255 {
        return Err(Error::value("Description must be at most 255 characters long."));
    }
    if let Some(other) = images(tx, cx).into_iter().find(|known| known.name == *name) {
        return Err(Error::AmiNameDuplicate { name: name.clone(), id: other.id });
    }
    tx.put(image.clone());
    Ok(image)
}

/// RegisterImage's rule for names.
fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(c);
    if !(3..=128).contains(&name.chars().count()) || !name.chars().all(allowed) {
        return Err(Error::AmiNameMalformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::testing;

    fn layer() -> Vec<Layer> {
        vec![Layer::Dir(PathBuf::from("/images/x"))]
    }

    fn content() -> Content {
        Content { layers: layer(), ..Default::default() }
    }

    #[test]
    fn the_built_in_image_is_the_same_everywhere() {
        let cx = testing::context();
        let mut other = cx.clone();
        other.region = "eu-west-1".to_owned();
        for cx in [cx, other] {
            assert_eq!(layers(&cx.read(), &cx, &built_in_id()).unwrap(), [Layer::Host]);
        }
    }

    #[tokio::test]
    async fn names_are_unique_and_ids_are_checked() {
        let cx = testing::context();
        let image =
            cx.write(|tx| register_local(tx, &cx, "debian 12", content(), "a root")).await.unwrap();
        assert_eq!(layers(&cx.read(), &cx, &image.id).unwrap(), layer());
        for (name, code) in [
            ("debian 12", "InvalidAMIName.Duplicate"),
            (BUILT_IN, "InvalidAMIName.Duplicate"),
            ("x", "InvalidAMIName.Malformed"),
            ("a;b;c", "InvalidAMIName.Malformed"),
        ] {
            let error = cx.write(|tx| register_local(tx, &cx, name, content(), "")).await;
            assert_eq!(error.unwrap_err().code(), code, "{name}");
        }
        let code = |id: &str| self::image(&cx.read(), &cx, id).unwrap_err().code();
        assert_eq!(code("debian"), "InvalidAMIID.Malformed");
        assert_eq!(code("ami-12345678"), "InvalidAMIID.NotFound");
    }
}
