//! What comes with an instance: its root volume.

use std::sync::Arc;

use wire::ec2 as w;

use super::super::describe;
use super::super::model::Instance;
use super::describe::time;
use crate::Context;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::image::model::{ROOT_DEVICE, ROOT_SIZE_GIB, ROOT_VOLUME_TYPE};
use crate::ec2::listing::dry_run;
use crate::ec2::{Result, tag};

pub async fn volumes(
    cx: Context,
    input: w::DescribeVolumesRequest,
) -> Result<w::DescribeVolumesResult> {
    let snapshot = cx.read();
    let ids = input.volume_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::volumes(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let volume = |i: &Arc<Instance>| w::Volume {
        attachments: Some(vec![w::VolumeAttachment {
            attach_time: Some(time(i.created_at)),
            delete_on_termination: Some(true),
            device: Some(ROOT_DEVICE.to_owned()),
            instance_id: Some(i.id.clone()),
            state: Some(describe::attachment_status(i).to_owned()),
            volume_id: Some(i.volume_id.clone()),
            ..Default::default()
        }]),
        availability_zone: Some(i.zone.clone()),
        availability_zone_id: describe::zone_id(&cx, &i.zone),
        create_time: Some(time(i.created_at)),
        encrypted: Some(false),
        multi_attach_enabled: Some(false),
        operator: Some(w::OperatorResponse { managed: Some(false), ..Default::default() }),
        size: Some(ROOT_SIZE_GIB),
        snapshot_id: Some(String::new()),
        state: Some("in-use".to_owned()),
        tags: tags_out(tag::ops::tags_of(&snapshot, &cx, &i.volume_id)),
        volume_id: Some(i.volume_id.clone()),
        volume_type: Some(ROOT_VOLUME_TYPE.to_owned()),
        ..Default::default()
    };
    Ok(w::DescribeVolumesResult { volumes: Some(found.iter().map(volume).collect()), next_token })
}
