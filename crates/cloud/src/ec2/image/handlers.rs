//! Images on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::Image;
use super::model::{ROOT_DEVICE, ROOT_SIZE_GIB, ROOT_VOLUME_TYPE};
use super::ops::{self, Scope};
use crate::Context;
use crate::ec2::Result;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::listing::dry_run;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![serve::<w::DescribeImages, _, _, _>(describe_images)]
}

/// No image is ever deprecated or disabled, so to include those changes nothing.
async fn describe_images(
    cx: Context,
    input: w::DescribeImagesRequest,
) -> Result<w::DescribeImagesResult> {
    let snapshot = cx.read();
    let ids = input.image_ids.unwrap_or_default();
    let scope = Scope {
        owners: input.owners.unwrap_or_default(),
        executable_users: input.executable_users.unwrap_or_default(),
    };
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe_images(&snapshot, &cx, &ids, &scope, &listing)?;
    dry_run(input.dry_run)?;
    let images = found.into_iter().map(|image| image_out(&snapshot, &cx, image)).collect();
    Ok(w::DescribeImagesResult { images: Some(images), next_token })
}

fn image_out(snapshot: &Snapshot, cx: &Context, image: Image) -> w::Image {
    let root = w::BlockDeviceMapping {
        device_name: Some(ROOT_DEVICE.to_owned()),
        ebs: Some(w::EbsBlockDevice {
            delete_on_termination: Some(true),
            encrypted: Some(false),
            volume_size: Some(ROOT_SIZE_GIB),
            volume_type: Some(ROOT_VOLUME_TYPE.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    w::Image {
        block_device_mappings: Some(vec![root]),
        creation_date: Some(image.creation_date()),
        ena_support: Some(true),
        hypervisor: Some("xen".to_owned()),
        image_location: Some(image.location()),
        image_type: Some("machine".to_owned()),
        platform_details: Some("Linux/UNIX".to_owned()),
        public: Some(false),
        root_device_name: Some(ROOT_DEVICE.to_owned()),
        root_device_type: Some("ebs".to_owned()),
        state: Some("available".to_owned()),
        tags: tags_out(ops::tags(snapshot, cx, &image)),
        usage_operation: Some("RunInstances".to_owned()),
        virtualization_type: Some("hvm".to_owned()),
        architecture: Some(image.architecture),
        description: Some(image.description),
        image_id: Some(image.id),
        name: Some(image.name),
        owner_id: Some(image.account),
        ..Default::default()
    }
}
