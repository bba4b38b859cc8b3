//! Snapshots on the wire.

use store::Snapshot as Read;
use wire::ec2 as w;

use super::controller;
use super::describe::{self, Scope};
use super::model::{Snapshot, Stage};
use super::ops::{self, OfInstance, Share};
use crate::Context;
use crate::ec2::handlers::{listing, one_of, tags_of_type, tags_out};
use crate::ec2::instance::handlers::describe::time;
use crate::ec2::instance::handlers::launch::refuse_some;
use crate::ec2::listing::dry_run;
use crate::ec2::volume::encryption;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateSnapshot, _, _, _>(create),
        serve::<w::CreateSnapshots, _, _, _>(create_all),
        serve::<w::CopySnapshot, _, _, _>(copy),
        serve::<w::DeleteSnapshot, _, _, _>(delete),
        serve::<w::DescribeSnapshots, _, _, _>(describe_snapshots),
        serve::<w::DescribeSnapshotAttribute, _, _, _>(describe_attribute),
        serve::<w::ModifySnapshotAttribute, _, _, _>(modify_attribute),
        serve::<w::ResetSnapshotAttribute, _, _, _>(reset_attribute),
    ]
}

/// Takes what can be taken at once before the call is answered, so that what is written afterwards is
/// in none of them. What fails is tried again by the controller.
pub async fn take_now(cx: &Context, made: &[Snapshot]) {
    for snapshot in made.iter().filter(|snapshot| snapshot.stage == Stage::Taking) {
        if let Err(why) = controller::take(&cx.env, snapshot).await {
            tracing::warn!(snapshot = snapshot.id, "{why}");
        }
    }
}

async fn create(cx: Context, input: w::CreateSnapshotRequest) -> Result<w::Snapshot> {
    refuse_some(&input.outpost_arn, "OutpostArn")?;
    one_of("location", input.location.as_deref().unwrap_or("regional"), &["regional"])?;
    let description = input.description.unwrap_or_default();
    let tags = tags_of_type(input.tag_specifications, "snapshot")?;
    tag::ops::check(&tags)?;
    let made = cx
        .write(|tx| {
            let made = ops::create(tx, &cx, &input.volume_id, &description, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(made)
        })
        .await?;
    take_now(&cx, std::slice::from_ref(&made)).await;
    Ok(w::Snapshot { progress: Some(String::new()), ..snapshot_out(&cx.read(), &cx, &made) })
}

async fn create_all(
    cx: Context,
    input: w::CreateSnapshotsRequest,
) -> Result<w::CreateSnapshotsResult> {
    refuse_some(&input.outpost_arn, "OutpostArn")?;
    one_of("location", input.location.as_deref().unwrap_or("regional"), &["regional"])?;
    if let Some(source) = &input.copy_tags_from_source {
        one_of("copyTagsFromSource", source, &["volume"])?;
    }
    let of = input.instance_specification;
    let tags = tags_of_type(input.tag_specifications, "snapshot")?;
    tag::ops::check(&tags)?;
    let asked = OfInstance {
        instance_id: of.instance_id,
        without_root: of.exclude_boot_volume == Some(true),
        without: of.exclude_data_volume_ids.unwrap_or_default(),
        description: input.description.unwrap_or_default(),
        tags,
        copy_tags: input.copy_tags_from_source.is_some(),
    };
    let made = cx
        .write(|tx| {
            let made = ops::create_all(tx, &cx, &asked)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(made)
        })
        .await?;
    take_now(&cx, &made).await;
    let read = cx.read();
    let info = |snapshot: &Snapshot| w::SnapshotInfo {
        description: Some(snapshot.description.clone()),
        encrypted: Some(snapshot.encrypted),
        owner_id: Some(snapshot.account.clone()),
        progress: Some(String::new()),
        snapshot_id: Some(snapshot.id.clone()),
        start_time: Some(time(snapshot.started)),
        state: Some(snapshot.stage.name().to_owned()),
        tags: tags_out(tag::ops::tags_of(&read, &cx, &snapshot.id)),
        volume_id: Some(snapshot.volume_id.clone()),
        volume_size: Some(snapshot.size_gib as i32),
        ..Default::default()
    };
    Ok(w::CreateSnapshotsResult { snapshots: Some(made.iter().map(info).collect()) })
}

async fn copy(cx: Context, input: w::CopySnapshotRequest) -> Result<w::CopySnapshotResult> {
    let w::CopySnapshotRequest {
        completion_duration_minutes,
        description,
        destination_availability_zone,
        destination_outpost_arn,
        // What the client signed its request to the other region for; the caller's region is it.
        destination_region: _,
        dry_run: dry,
        encrypted,
        kms_key_id,
        presigned_url: _,
        source_region,
        source_snapshot_id,
        tag_specifications,
    } = input;
    refuse_some(&completion_duration_minutes, "CompletionDurationMinutes")?;
    refuse_some(&destination_availability_zone, "DestinationAvailabilityZone")?;
    refuse_some(&destination_outpost_arn, "DestinationOutpostArn")?;
    encryption::check(encrypted, kms_key_id.as_deref())?;
    kms_key_id.as_ref().map_or(Ok(()), |key| encryption::check_key(&cx, key))?;
    let description = description.unwrap_or_default();
    let tags = tags_of_type(tag_specifications, "snapshot")?;
    tag::ops::check(&tags)?;
    let made = cx
        .write(|tx| {
            let made =
                ops::copy(tx, &cx, &source_region, &source_snapshot_id, &description, &tags, encrypted == Some(true))?;
            if made.encrypted && encrypted == Some(false) {
                return Err(Error::value(
                    "Encrypted cannot be set to false: the copy of an encrypted snapshot is encrypted, and \
                     so is every copy where encryption by default is enabled.",
                ));
            }
            dry_run(dry)?;
            Ok::<_, Error>(made)
        })
        .await?;
    take_now(&cx, std::slice::from_ref(&made)).await;
    Ok(w::CopySnapshotResult { snapshot_id: Some(made.id), tags: tags_out(tags) })
}

async fn delete(cx: Context, input: w::DeleteSnapshotRequest) -> Result<w::DeleteSnapshotOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.snapshot_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn describe_snapshots(
    cx: Context,
    input: w::DescribeSnapshotsRequest,
) -> Result<w::DescribeSnapshotsResult> {
    let read = cx.read();
    let ids = input.snapshot_ids.unwrap_or_default();
    let scope = Scope {
        owners: input.owner_ids.unwrap_or_default(),
        restorable_by: input.restorable_by_user_ids.unwrap_or_default(),
    };
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::snapshots(&read, &cx, &ids, &scope, &listing)?;
    dry_run(input.dry_run)?;
    let snapshots = found.iter().map(|snapshot| snapshot_out(&read, &cx, snapshot)).collect();
    Ok(w::DescribeSnapshotsResult { snapshots: Some(snapshots), next_token })
}

fn snapshot_out(read: &Read, cx: &Context, snapshot: &Snapshot) -> w::Snapshot {
    w::Snapshot {
        completion_time: snapshot.completed.map(time),
        description: Some(snapshot.description.clone()),
        encrypted: Some(snapshot.encrypted),
        kms_key_id: snapshot.encrypted.then(|| encryption::key_arn(cx)),
        owner_id: Some(snapshot.account.clone()),
        progress: Some(describe::progress(snapshot).to_owned()),
        snapshot_id: Some(snapshot.id.clone()),
        start_time: Some(time(snapshot.started)),
        state: Some(snapshot.stage.name().to_owned()),
        state_message: match &snapshot.stage {
            Stage::Failed(why) => Some(why.clone()),
            _ => None,
        },
        storage_tier: Some("standard".to_owned()),
        tags: tags_out(tag::ops::tags_of(read, cx, &snapshot.id)),
        transfer_type: Some("standard".to_owned()),
        volume_id: Some(snapshot.volume_id.clone()),
        volume_size: Some(snapshot.size_gib as i32),
        ..Default::default()
    }
}

fn unknown(attribute: &str) -> Error {
    Error::value(format!(
        "Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
    ))
}

async fn describe_attribute(
    cx: Context,
    input: w::DescribeSnapshotAttributeRequest,
) -> Result<w::DescribeSnapshotAttributeResult> {
    let snapshot = ops::by_id(&cx.read(), &cx, &input.snapshot_id)?;
    let mut shown = w::DescribeSnapshotAttributeResult {
        snapshot_id: Some(input.snapshot_id),
        ..Default::default()
    };
    match input.attribute.as_str() {
        "createVolumePermission" => {
            let everybody = snapshot.permissions.everybody.then(|| w::CreateVolumePermission {
                group: Some("all".to_owned()),
                user_id: None,
            });
            let accounts = snapshot.permissions.accounts.iter();
            let accounts = accounts.map(|account| w::CreateVolumePermission {
                group: None,
                user_id: Some(account.clone()),
            });
            shown.create_volume_permissions = Some(everybody.into_iter().chain(accounts).collect());
        }
        "productCodes" => shown.product_codes = Some(vec![]),
        other => return Err(unknown(other)),
    }
    dry_run(input.dry_run)?;
    Ok(shown)
}

async fn modify_attribute(
    cx: Context,
    input: w::ModifySnapshotAttributeRequest,
) -> Result<w::ModifySnapshotAttributeOutput> {
    if let Some(attribute) = &input.attribute
        && attribute != "createVolumePermission"
    {
        return Err(unknown(attribute));
    }
    let mut share = Share::default();
    for (add, listed) in [
        (true, input.create_volume_permission.as_ref().and_then(|asked| asked.add.clone())),
        (false, input.create_volume_permission.as_ref().and_then(|asked| asked.remove.clone())),
    ] {
        for permission in listed.unwrap_or_default() {
            permit(&mut share, add, permission.group, permission.user_id)?;
        }
    }
    older_form(&mut share, input.operation_type, input.group_names, input.user_ids)?;
    if share.is_empty() {
        return Err(Error::combination("No attributes specified."));
    }
    cx.write(|tx| {
        ops::share(tx, &cx, &input.snapshot_id, &share)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

/// One entry of a list of permissions, of snapshots and images.
pub fn permit(
    share: &mut Share,
    add: bool,
    group: Option<String>,
    account: Option<String>,
) -> Result<()> {
    match group.as_deref() {
        Some("all") => share.everybody = Some(add),
        Some(other) => {
            return Err(Error::value(format!("Invalid group name: '{other}'. Must be 'all'.")));
        }
        None => {}
    }
    if let Some(account) = account {
        if add { &mut share.add } else { &mut share.remove }.push(account);
    }
    Ok(())
}

/// The same by operation, groups and users.
pub fn older_form(
    share: &mut Share,
    operation: Option<String>,
    groups: Option<Vec<String>>,
    users: Option<Vec<String>>,
) -> Result<()> {
    let (groups, users) = (groups.unwrap_or_default(), users.unwrap_or_default());
    if groups.is_empty() && users.is_empty() {
        return Ok(());
    }
    let add = match operation.as_deref() {
        Some("add") => true,
        Some("remove") => false,
        Some(other) => {
            return Err(Error::value(format!(
                "Value ({other}) for parameter operationType is invalid. Valid values: add, remove."
            )));
        }
        None => return Err(Error::MissingParameter("operationType")),
    };
    for group in groups {
        permit(share, add, Some(group), None)?;
    }
    for user in users {
        permit(share, add, None, Some(user))?;
    }
    Ok(())
}

async fn reset_attribute(
    cx: Context,
    input: w::ResetSnapshotAttributeRequest,
) -> Result<w::ResetSnapshotAttributeOutput> {
    if input.attribute != "createVolumePermission" {
        return Err(unknown(&input.attribute));
    }
    cx.write(|tx| {
        ops::unshare(tx, &cx, &input.snapshot_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}
