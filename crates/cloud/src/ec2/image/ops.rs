//! Which images there are, what they consist of, and registering one.

use compute::Init;
use compute::driver::Layer;
use compute::image::Os;
use store::{Snapshot, Tx};

use super::model::{Image, ROOT_DEVICE, ROOT_SIZE_GIB, ROOT_VOLUME_TYPE, host_architecture};
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, Timestamp, id};

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
        init: Init::Auto,
        // Its instances are the host's system, but no release that anyone asks for.
        os: Os::default(),
        created: BUILT_IN_CREATED,
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

/// The root file system of an image, lowest layer first.
pub fn layers(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Vec<Layer>> {
    Ok(image(snapshot, cx, id)?.layers)
}

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub layers: Vec<Layer>,
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
    check_name(name)?;
    let Content { layers, init, os } = content;
    if layers.is_empty() {
        return Err(Error::value("An image has at least one layer."));
    }
    if description.chars().count() > 255 {
        return Err(Error::value("Description must be at most 255 characters long."));
    }
    if let Some(other) = images(tx, cx).into_iter().find(|image| image.name == name) {
        return Err(Error::AmiNameDuplicate { name: name.to_owned(), id: other.id });
    }
    let image = Image {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "ami"),
        name: name.to_owned(),
        description: description.to_owned(),
        architecture: host_architecture().to_owned(),
        layers,
        init,
        os,
        created: cx.now,
    };
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

/// Who is asked for, besides names and filters.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `self`, account ids, or the alias of an owner.
    pub owners: Vec<String>,
    /// `self`, `all`, or account ids: images that these may launch by an explicit permission.
    pub executable_users: Vec<String>,
}

const FILTERS: &[&str] = &[
    "architecture",
    "block-device-mapping.delete-on-termination",
    "block-device-mapping.device-name",
    "block-device-mapping.encrypted",
    "block-device-mapping.snapshot-id",
    "block-device-mapping.volume-size",
    "block-device-mapping.volume-type",
    "boot-mode",
    "creation-date",
    "description",
    "ena-support",
    "free-tier-eligible",
    "hypervisor",
    "image-allowed",
    "image-id",
    "image-type",
    "is-public",
    "kernel-id",
    "manifest-location",
    "name",
    "owner-alias",
    "owner-id",
    "platform",
    "product-code",
    "product-code.type",
    "public-ssm-parameter-name",
    "ramdisk-id",
    "root-device-name",
    "root-device-type",
    "source-image-id",
    "source-image-region",
    "source-instance-id",
    "sriov-net-support",
    "state",
    "state-reason-code",
    "state-reason-message",
    "virtualization-type",
];

pub fn describe_images(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    scope: &Scope,
    listing: &Listing,
) -> Result<(Vec<Image>, Option<String>)> {
    listing.check_max_results(1..=1000)?;
    let mut all = images(snapshot, cx);
    listing::only(&mut all, ids, |image| &image.id, Kind::Image)?;
    listing.check(FILTERS, true)?;
    if !scope.owners.is_empty() {
        all.retain(|image| {
            scope.owners.iter().any(|owner| owner == "self" || *owner == image.account)
        });
    }
    // Every image is its owner's alone: no permission was given to anyone.
    if !scope.executable_users.is_empty() {
        all.clear();
    }
    all.retain(|image| {
        let tags = || tag::ops::tags_of(snapshot, cx, &image.id);
        listing.keeps(tags, |name| values(image, name))
    });
    listing.page(all, |image| image.id.clone())
}

fn values(image: &Image, name: &str) -> Vec<String> {
    let value = match name {
        "architecture" => image.architecture.clone(),
        "block-device-mapping.delete-on-termination" => "true".to_owned(),
        "block-device-mapping.device-name" | "root-device-name" => ROOT_DEVICE.to_owned(),
        "block-device-mapping.encrypted" => "false".to_owned(),
        "block-device-mapping.volume-size" => ROOT_SIZE_GIB.to_string(),
        "block-device-mapping.volume-type" => ROOT_VOLUME_TYPE.to_owned(),
        "creation-date" => image.creation_date(),
        "description" => image.description.clone(),
        "ena-support" => "true".to_owned(),
        "hypervisor" => "xen".to_owned(),
        "image-id" => image.id.clone(),
        "image-type" => "machine".to_owned(),
        "is-public" => "false".to_owned(),
        "manifest-location" => image.location(),
        "name" => image.name.clone(),
        "owner-id" => image.account.clone(),
        "root-device-type" => "ebs".to_owned(),
        "state" => "available".to_owned(),
        "virtualization-type" => "hvm".to_owned(),
        _ => return vec![],
    };
    vec![value]
}

/// The tags that DescribeImages shows.
pub fn tags(snapshot: &Snapshot, cx: &Context, image: &Image) -> Tags {
    tag::ops::tags_of(snapshot, cx, &image.id)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::filter::Filter;
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

    #[tokio::test]
    async fn describing() {
        let cx = testing::context();
        cx.write(|tx| register_local(tx, &cx, "web-1", content(), "")).await.unwrap();
        let found = |owners: &[&str], users: &[&str], filter: Option<(&str, &str)>| {
            let scope = Scope {
                owners: owners.iter().map(|o| o.to_string()).collect(),
                executable_users: users.iter().map(|u| u.to_string()).collect(),
            };
            let filters = filter
                .map(|(name, value)| Filter { name: name.into(), values: vec![value.into()] });
            let listing = Listing::filtered(filters.into_iter().collect());
            describe_images(&cx.read(), &cx, &[], &scope, &listing).unwrap().0.len()
        };
        assert_eq!(found(&[], &[], None), 2);
        assert_eq!(found(&["self"], &[], Some(("name", "web-*"))), 1);
        assert_eq!(found(&["123456789012"], &[], Some(("creation-date", "2026-*"))), 2);
        assert_eq!(found(&["amazon"], &[], None), 0);
        assert_eq!(found(&[], &["all"], None), 0);
        assert_eq!(found(&[], &[], Some(("platform", "windows"))), 0);
    }
}
