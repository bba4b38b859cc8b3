//! Volumes on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::describe::{self, Status};
use super::encryption;
use super::model::{Attachment, Volume};
use super::modification::{self, Modification};
use super::ops::{self, New};
use super::performance::Asked;
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::describe::zone_id;
use crate::ec2::instance::handlers::describe::time;
use crate::ec2::instance::handlers::launch::{refuse_some, refuse_true};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, client_token, tag};
use crate::services::{Entry, serve};
use crate::zone;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateVolume, _, _, _>(create),
        serve::<w::DeleteVolume, _, _, _>(delete),
        serve::<w::AttachVolume, _, _, _>(attach),
        serve::<w::DetachVolume, _, _, _>(detach),
        serve::<w::DescribeVolumes, _, _, _>(describe_volumes),
        serve::<w::DescribeVolumeStatus, _, _, _>(describe_status),
        serve::<w::DescribeVolumeAttribute, _, _, _>(describe_attribute),
        serve::<w::ModifyVolumeAttribute, _, _, _>(modify_attribute),
        serve::<w::EnableVolumeIO, _, _, _>(enable_io),
        serve::<w::ModifyVolume, _, _, _>(modify),
        serve::<w::DescribeVolumesModifications, _, _, _>(describe_modifications),
        serve::<w::GetEbsEncryptionByDefault, _, _, _>(get_encryption),
        serve::<w::DisableEbsEncryptionByDefault, _, _, _>(disable_encryption),
        serve::<w::EnableEbsEncryptionByDefault, _, _, _>(enable_encryption),
        serve::<w::GetEbsDefaultKmsKeyId, _, _, _>(get_key),
        serve::<w::ModifyEbsDefaultKmsKeyId, _, _, _>(modify_key),
        serve::<w::ResetEbsDefaultKmsKeyId, _, _, _>(reset_key),
    ]
}

async fn create(cx: Context, input: w::CreateVolumeRequest) -> Result<w::Volume> {
    let w::CreateVolumeRequest {
        availability_zone,
        availability_zone_id,
        client_token: token,
        dry_run: dry,
        encrypted,
        iops,
        kms_key_id,
        multi_attach_enabled,
        operator,
        outpost_arn,
        size,
        snapshot_id,
        tag_specifications,
        throughput,
        volume_initialization_rate,
        volume_type,
    } = input;
    refuse_true(multi_attach_enabled, "MultiAttachEnabled")?;
    refuse_some(&operator, "Operator")?;
    refuse_some(&outpost_arn, "OutpostArn")?;
    refuse_some(&volume_initialization_rate, "VolumeInitializationRate")?;
    let zone = match (availability_zone, availability_zone_id) {
        (Some(zone), None) => zone,
        (None, Some(id)) => {
            let zones = zone::zones(&cx.region, cx.env.config.zones);
            let found = zones.into_iter().find(|zone| zone.id == id);
            found.ok_or_else(|| Error::not_found(crate::ec2::Kind::Zone, &id))?.name
        }
        (None, None) => return Err(Error::MissingParameter("AvailabilityZone")),
        (Some(_), Some(_)) => {
            return Err(Error::combination(
                "AvailabilityZone and AvailabilityZoneId may not be specified on the same request.",
            ));
        }
    };
    let new = New {
        zone,
        size_gib: size,
        performance: Asked { kind: volume_type, iops, throughput },
        snapshot_id: snapshot_id.filter(|id| !id.is_empty()),
        encrypted,
        kms_key_id,
    };
    let tags = tags_of_type(tag_specifications, "volume")?;
    tag::ops::check(&tags)?;
    let token = client_token::of(token.as_deref(), &(&new, &tags))?;
    let made = cx
        .write(|tx| {
            let prefix = cx.prefix();
            let known = tx.scan::<Volume>(&prefix);
            if let Some(made) = client_token::made(&token, known, |v| &v.client_token)? {
                return Ok((*made).clone());
            }
            let made = ops::create(tx, &cx, &new, token.clone())?;
            tag::ops::set(tx, &cx, &made.id, &tags)?;
            dry_run(dry)?;
            Ok::<_, Error>(made)
        })
        .await?;
    Ok(volume_out(&cx.read(), &cx, &made))
}

fn volume_out(snapshot: &Snapshot, cx: &Context, volume: &Volume) -> w::Volume {
    let attachment = |attachment: &Attachment| attachment_out(snapshot, cx, volume, attachment);
    w::Volume {
        attachments: Some(volume.attachment.iter().map(attachment).collect()),
        availability_zone: Some(volume.zone.clone()),
        availability_zone_id: zone_id(cx, &volume.zone),
        create_time: Some(time(volume.created)),
        encrypted: Some(volume.encrypted),
        kms_key_id: volume.encrypted.then(|| encryption::key_arn(cx)),
        iops: volume.performance.iops.map(|n| n as i32),
        multi_attach_enabled: Some(false),
        operator: Some(unmanaged()),
        size: Some(volume.size_gib as i32),
        snapshot_id: Some(volume.snapshot_id.clone()),
        state: Some(volume.state().name().to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &volume.id)),
        throughput: volume.performance.throughput.map(|n| n as i32),
        volume_id: Some(volume.id.clone()),
        volume_type: Some(volume.performance.kind.name().to_owned()),
        ..Default::default()
    }
}

fn unmanaged() -> w::OperatorResponse {
    w::OperatorResponse { managed: Some(false), ..Default::default() }
}

fn attachment_out(
    snapshot: &Snapshot,
    cx: &Context,
    volume: &Volume,
    attachment: &Attachment,
) -> w::VolumeAttachment {
    w::VolumeAttachment {
        attach_time: Some(time(attachment.at)),
        delete_on_termination: Some(attachment.delete_on_termination),
        device: Some(attachment.device.clone()),
        instance_id: Some(attachment.instance_id.clone()),
        state: Some(describe::attachment_status(snapshot, cx, attachment).to_owned()),
        volume_id: Some(volume.id.clone()),
        ..Default::default()
    }
}

async fn delete(cx: Context, input: w::DeleteVolumeRequest) -> Result<w::DeleteVolumeOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.volume_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn attach(cx: Context, input: w::AttachVolumeRequest) -> Result<w::VolumeAttachment> {
    refuse_some(&input.ebs_card_index.filter(|n| *n != 0), "EbsCardIndex")?;
    let w::AttachVolumeRequest { device, dry_run: dry, instance_id, volume_id, .. } = input;
    let volume = cx
        .write(|tx| {
            let volume = ops::attach(tx, &cx, &volume_id, &instance_id, &device)?;
            dry_run(dry)?;
            Ok::<_, Error>(volume)
        })
        .await?;
    let attachment = volume.attachment.as_ref();
    let mut shown = attachment
        .map(|attachment| attachment_out(&cx.read(), &cx, &volume, attachment))
        .unwrap_or_default();
    shown.state = Some("attaching".to_owned());
    Ok(shown)
}

async fn detach(cx: Context, input: w::DetachVolumeRequest) -> Result<w::VolumeAttachment> {
    let w::DetachVolumeRequest { device, dry_run: dry, force, instance_id, volume_id } = input;
    let volume = cx
        .write(|tx| {
            let volume = ops::detach(
                tx,
                &cx,
                &volume_id,
                instance_id.as_deref(),
                device.as_deref(),
                force == Some(true),
            )?;
            dry_run(dry)?;
            Ok::<_, Error>(volume)
        })
        .await?;
    let attachment = volume.attachment.as_ref();
    Ok(attachment
        .map(|attachment| attachment_out(&cx.read(), &cx, &volume, attachment))
        .unwrap_or_default())
}

async fn describe_volumes(
    cx: Context,
    input: w::DescribeVolumesRequest,
) -> Result<w::DescribeVolumesResult> {
    let snapshot = cx.read();
    let ids = input.volume_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::volumes(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let volumes = found.iter().map(|volume| volume_out(&snapshot, &cx, volume)).collect();
    Ok(w::DescribeVolumesResult { volumes: Some(volumes), next_token })
}

async fn describe_status(
    cx: Context,
    input: w::DescribeVolumeStatusRequest,
) -> Result<w::DescribeVolumeStatusResult> {
    let snapshot = cx.read();
    let ids = input.volume_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::statuses(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let statuses = found.iter().map(|volume| status_out(&snapshot, &cx, volume)).collect();
    Ok(w::DescribeVolumeStatusResult { volume_statuses: Some(statuses), next_token })
}

fn status_out(snapshot: &Snapshot, cx: &Context, volume: &Volume) -> w::VolumeStatusItem {
    let status: Status = describe::status(snapshot, cx, volume);
    let detail = w::VolumeStatusDetails {
        name: Some("io-enabled".to_owned()),
        status: Some(status.io_enabled().to_owned()),
    };
    w::VolumeStatusItem {
        actions: Some(vec![]),
        availability_zone: Some(volume.zone.clone()),
        availability_zone_id: zone_id(cx, &volume.zone),
        events: Some(vec![]),
        operator: Some(unmanaged()),
        volume_id: Some(volume.id.clone()),
        volume_status: Some(w::VolumeStatusInfo {
            details: Some(vec![detail]),
            status: Some(status.name().to_owned()),
        }),
        ..Default::default()
    }
}

async fn describe_attribute(
    cx: Context,
    input: w::DescribeVolumeAttributeRequest,
) -> Result<w::DescribeVolumeAttributeResult> {
    let volume = ops::by_id(&cx.read(), &cx, &input.volume_id)?;
    let mut shown =
        w::DescribeVolumeAttributeResult { volume_id: Some(input.volume_id), ..Default::default() };
    match input.attribute.as_str() {
        "autoEnableIO" => {
            let value = Some(volume.auto_enable_io);
            shown.auto_enable_io = Some(w::AttributeBooleanValue { value });
        }
        "productCodes" => shown.product_codes = Some(vec![]),
        other => {
            return Err(Error::value(format!(
                "Value ({other}) for parameter attribute is invalid. Unknown attribute."
            )));
        }
    }
    dry_run(input.dry_run)?;
    Ok(shown)
}

async fn modify_attribute(
    cx: Context,
    input: w::ModifyVolumeAttributeRequest,
) -> Result<w::ModifyVolumeAttributeOutput> {
    let on = input.auto_enable_io.and_then(|asked| asked.value);
    let on = on.ok_or_else(|| Error::combination("No attributes specified."))?;
    cx.write(|tx| {
        ops::set_auto_enable_io(tx, &cx, &input.volume_id, on)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn enable_io(
    cx: Context,
    input: w::EnableVolumeIORequest,
) -> Result<w::EnableVolumeIOOutput> {
    ops::enable_io(&cx.read(), &cx, &input.volume_id)?;
    dry_run(input.dry_run)?;
    Ok(Default::default())
}

async fn modify(cx: Context, input: w::ModifyVolumeRequest) -> Result<w::ModifyVolumeResult> {
    refuse_true(input.multi_attach_enabled, "MultiAttachEnabled")?;
    let asked = Asked { kind: input.volume_type, iops: input.iops, throughput: input.throughput };
    if input.size.is_none() && asked == Asked::default() {
        return Err(Error::MissingParameter("size/iops/throughput/volumeType"));
    }
    let volume = cx
        .write(|tx| {
            let volume = modification::modify(tx, &cx, &input.volume_id, input.size, &asked)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(volume)
        })
        .await?;
    let of = |modification: &Modification| modification_out(&volume.id, modification);
    Ok(w::ModifyVolumeResult { volume_modification: volume.modification.as_ref().map(of) })
}

fn modification_out(id: &str, m: &Modification) -> w::VolumeModification {
    let number = |n: Option<u32>| n.map(|n| n as i32);
    let kind = |shape: &modification::Shape| Some(shape.performance.kind.name().to_owned());
    w::VolumeModification {
        end_time: m.ended.map(time),
        modification_state: Some(m.phase.name().to_owned()),
        original_iops: number(m.from.performance.iops),
        original_multi_attach_enabled: Some(false),
        original_size: Some(m.from.size_gib as i32),
        original_throughput: number(m.from.performance.throughput),
        original_volume_type: kind(&m.from),
        progress: Some(m.phase.progress()),
        start_time: Some(time(m.started)),
        target_iops: number(m.to.performance.iops),
        target_multi_attach_enabled: Some(false),
        target_size: Some(m.to.size_gib as i32),
        target_throughput: number(m.to.performance.throughput),
        target_volume_type: kind(&m.to),
        volume_id: Some(id.to_owned()),
        ..Default::default()
    }
}

async fn describe_modifications(
    cx: Context,
    input: w::DescribeVolumesModificationsRequest,
) -> Result<w::DescribeVolumesModificationsResult> {
    let ids = input.volume_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::modifications(&cx.read(), &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let shown = found
        .iter()
        .filter_map(|volume| volume.modification.as_ref().map(|m| modification_out(&volume.id, m)));
    Ok(w::DescribeVolumesModificationsResult {
        volumes_modifications: Some(shown.collect()),
        next_token,
    })
}

async fn get_encryption(
    cx: Context,
    input: w::GetEbsEncryptionByDefaultRequest,
) -> Result<w::GetEbsEncryptionByDefaultResult> {
    dry_run(input.dry_run)?;
    Ok(w::GetEbsEncryptionByDefaultResult {
        ebs_encryption_by_default: Some(encryption::by_default(&cx.read(), &cx)),
        ..Default::default()
    })
}

async fn disable_encryption(
    cx: Context,
    input: w::DisableEbsEncryptionByDefaultRequest,
) -> Result<w::DisableEbsEncryptionByDefaultResult> {
    set_encryption(&cx, false, input.dry_run).await?;
    Ok(w::DisableEbsEncryptionByDefaultResult { ebs_encryption_by_default: Some(false) })
}

async fn enable_encryption(
    cx: Context,
    input: w::EnableEbsEncryptionByDefaultRequest,
) -> Result<w::EnableEbsEncryptionByDefaultResult> {
    set_encryption(&cx, true, input.dry_run).await?;
    Ok(w::EnableEbsEncryptionByDefaultResult { ebs_encryption_by_default: Some(true) })
}

async fn set_encryption(cx: &Context, on: bool, dry: Option<bool>) -> Result<()> {
    cx.write(|tx| {
        encryption::set_by_default(tx, cx, on)?;
        dry_run(dry)
    })
    .await
}

async fn get_key(
    _: Context,
    input: w::GetEbsDefaultKmsKeyIdRequest,
) -> Result<w::GetEbsDefaultKmsKeyIdResult> {
    dry_run(input.dry_run)?;
    Ok(w::GetEbsDefaultKmsKeyIdResult { kms_key_id: Some(encryption::ALIAS.to_owned()) })
}

async fn modify_key(
    cx: Context,
    input: w::ModifyEbsDefaultKmsKeyIdRequest,
) -> Result<w::ModifyEbsDefaultKmsKeyIdResult> {
    encryption::check_key(&cx, &input.kms_key_id)?;
    dry_run(input.dry_run)?;
    Ok(w::ModifyEbsDefaultKmsKeyIdResult { kms_key_id: Some(encryption::key_arn(&cx)) })
}

async fn reset_key(
    cx: Context,
    input: w::ResetEbsDefaultKmsKeyIdRequest,
) -> Result<w::ResetEbsDefaultKmsKeyIdResult> {
    dry_run(input.dry_run)?;
    Ok(w::ResetEbsDefaultKmsKeyIdResult { kms_key_id: Some(encryption::key_arn(&cx)) })
}
