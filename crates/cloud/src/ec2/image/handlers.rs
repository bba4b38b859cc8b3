//! Images on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::attribute;
use super::describe::{self, FAILED, Scope};
use super::make::{self, Copy, OfInstance, OfSnapshots};
use super::model::{Image, ROOT_DEVICE, Stage};
use super::ops;
use crate::ec2::client_token;
use crate::ec2::handlers::{listing, one_of, tags_by_type, tags_of_type, tags_out};
use crate::ec2::instance::handlers::launch::{
    block_device, only, refuse_list, refuse_some, refuse_true,
};
use crate::ec2::instance::launch::BlockDevice;
use crate::ec2::listing::dry_run;
use crate::ec2::snapshot::handlers::{older_form, permit, take_now};
use crate::ec2::snapshot::ops::Share;
use crate::ec2::volume::encryption;
use crate::ec2::volume::mapping::{Device, What};
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};
use crate::tag::Tags;
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::DescribeImages, _, _, _>(describe_images),
        serve::<w::CreateImage, _, _, _>(create),
        serve::<w::RegisterImage, _, _, _>(register),
        serve::<w::CopyImage, _, _, _>(copy),
        serve::<w::DeregisterImage, _, _, _>(deregister),
        serve::<w::DescribeImageAttribute, _, _, _>(describe_attribute),
        serve::<w::ModifyImageAttribute, _, _, _>(modify_attribute),
        serve::<w::ResetImageAttribute, _, _, _>(reset_attribute),
        serve::<w::EnableImage, _, _, _>(enable),
        serve::<w::DisableImage, _, _, _>(disable),
        serve::<w::EnableImageDeprecation, _, _, _>(deprecate),
        serve::<w::DisableImageDeprecation, _, _, _>(undeprecate),
        serve::<w::EnableImageDeregistrationProtection, _, _, _>(protect),
        serve::<w::DisableImageDeregistrationProtection, _, _, _>(unprotect),
    ]
}

async fn describe_images(
    cx: Context,
    input: w::DescribeImagesRequest,
) -> Result<w::DescribeImagesResult> {
    let snapshot = cx.read();
    let ids = input.image_ids.unwrap_or_default();
    let scope = Scope {
        owners: input.owners.unwrap_or_default(),
        executable_users: input.executable_users.unwrap_or_default(),
        deprecated: input.include_deprecated == Some(true),
        disabled: input.include_disabled == Some(true),
    };
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::describe_images(&snapshot, &cx, &ids, &scope, &listing)?;
    dry_run(input.dry_run)?;
    let images = found.into_iter().map(|image| image_out(&snapshot, &cx, image)).collect();
    Ok(w::DescribeImagesResult { images: Some(images), next_token })
}

fn image_out(snapshot: &Snapshot, cx: &Context, image: Image) -> w::Image {
    w::Image {
        block_device_mappings: Some(image.devices().iter().map(device_out).collect()),
        creation_date: Some(image.creation_date()),
        deprecation_time: image.deprecate_at.map(date),
        deregistration_protection: Some(image.protection.text(cx.now)),
        ena_support: Some(true),
        hypervisor: Some("xen".to_owned()),
        image_location: Some(image.location()),
        image_type: Some("machine".to_owned()),
        platform_details: Some("Linux/UNIX".to_owned()),
        public: Some(image.permissions.everybody),
        root_device_name: Some(ROOT_DEVICE.to_owned()),
        root_device_type: Some(image.root_device.name().to_owned()),
        source_image_id: image.origin.image.as_ref().map(|(id, _)| id.clone()),
        source_image_region: image.origin.image.as_ref().map(|(_, region)| region.clone()),
        source_instance_id: image.origin.instance_id.clone(),
        state: Some(image.state().to_owned()),
        state_reason: match &image.stage {
            Stage::Failed(why) => Some(w::StateReason {
                code: Some(FAILED.to_owned()),
                message: Some(format!("{FAILED}: {why}")),
            }),
            _ => None,
        },
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &image.id)),
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

/// `2026-01-02T03:04:05.000Z`
fn date(at: Timestamp) -> String {
    crate::ec2::instance::describe::filter_time(at)
}

fn device_out(device: &Device) -> w::BlockDeviceMapping {
    let device_name = Some(device.name.clone());
    match &device.what {
        What::Ephemeral(index) => w::BlockDeviceMapping {
            device_name,
            virtual_name: Some(format!("ephemeral{index}")),
            ..Default::default()
        },
        What::Ebs { snapshot_id, size_gib, performance, delete_on_termination, encrypted } => {
            w::BlockDeviceMapping {
                device_name,
                ebs: Some(w::EbsBlockDevice {
                    delete_on_termination: Some(*delete_on_termination),
                    encrypted: Some(*encrypted),
                    iops: performance.iops.filter(|_| says_iops(performance)).map(|n| n as i32),
                    snapshot_id: snapshot_id.clone(),
                    throughput: performance.throughput.map(|n| n as i32),
                    volume_size: Some(*size_gib as i32),
                    volume_type: Some(performance.kind.name().to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            }
        }
    }
}

/// Those of gp2 follow from the size.
fn says_iops(performance: &crate::ec2::volume::Performance) -> bool {
    performance.kind != crate::ec2::volume::Kind::Gp2
}

fn devices(mappings: Option<Vec<w::BlockDeviceMapping>>) -> Result<Vec<BlockDevice>> {
    mappings.unwrap_or_default().into_iter().map(block_device).collect()
}

/// Those of the image, and those of its snapshots.
fn both_tags(specs: Option<Vec<w::TagSpecification>>) -> Result<(Tags, Tags)> {
    let mut by_type = tags_by_type(specs)?;
    let image = by_type.remove("image").unwrap_or_default();
    let snapshot = by_type.remove("snapshot").unwrap_or_default();
    if let Some(other) = by_type.into_keys().next() {
        return Err(Error::value(format!(
            "'{other}' is not a valid taggable resource type for this operation."
        )));
    }
    tag::ops::check(&image)?;
    tag::ops::check(&snapshot)?;
    Ok((image, snapshot))
}

async fn create(cx: Context, input: w::CreateImageRequest) -> Result<w::CreateImageResult> {
    refuse_some(&input.boot_mode_override, "BootModeOverride")?;
    one_of(
        "snapshotLocation",
        input.snapshot_location.as_deref().unwrap_or("regional"),
        &["regional"],
    )?;
    let (tags, snapshot_tags) = both_tags(input.tag_specifications)?;
    let asked = OfInstance {
        instance_id: input.instance_id,
        name: input.name,
        description: input.description.unwrap_or_default(),
        no_reboot: input.no_reboot == Some(true),
        devices: devices(input.block_device_mappings)?,
        tags,
        snapshot_tags,
    };
    let (image, snapshots) = cx
        .write(|tx| {
            let made = make::of_instance(tx, &cx, &asked)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(made)
        })
        .await?;
    take_now(&cx, &snapshots).await;
    Ok(w::CreateImageResult { image_id: Some(image.id) })
}

async fn register(cx: Context, input: w::RegisterImageRequest) -> Result<w::RegisterImageResult> {
    let w::RegisterImageRequest {
        architecture,
        billing_products,
        block_device_mappings,
        boot_mode,
        description,
        dry_run: dry,
        ena_support,
        image_location,
        imds_support,
        kernel_id,
        name,
        ramdisk_id,
        root_device_name,
        sriov_net_support,
        tag_specifications,
        tpm_support,
        uefi_data,
        virtualization_type,
    } = input;
    refuse_list(&billing_products, "BillingProducts")?;
    refuse_some(&boot_mode, "BootMode")?;
    refuse_true(ena_support.map(|on| !on), "EnaSupport=false")?;
    refuse_some(
        &image_location,
        "ImageLocation (`drover image import --root-device-type instance-store` makes such images)",
    )?;
    refuse_some(&imds_support, "ImdsSupport")?;
    refuse_some(&kernel_id, "KernelId")?;
    refuse_some(&ramdisk_id, "RamdiskId")?;
    refuse_some(&sriov_net_support, "SriovNetSupport")?;
    refuse_some(&tpm_support, "TpmSupport")?;
    refuse_some(&uefi_data, "UefiData")?;
    only(&virtualization_type, "hvm", "VirtualizationType")?;
    let tags = tags_of_type(tag_specifications, "image")?;
    tag::ops::check(&tags)?;
    let asked = OfSnapshots {
        name,
        description: description.unwrap_or_default(),
        architecture,
        root_device: root_device_name,
        devices: devices(block_device_mappings)?,
        tags,
    };
    let image = cx
        .write(|tx| {
            let image = make::of_snapshots(tx, &cx, &asked)?;
            dry_run(dry)?;
            Ok::<_, Error>(image)
        })
        .await?;
    Ok(w::RegisterImageResult { image_id: Some(image.id) })
}

async fn copy(cx: Context, input: w::CopyImageRequest) -> Result<w::CopyImageResult> {
    let w::CopyImageRequest {
        client_token: token,
        copy_image_tags,
        description,
        destination_availability_zone,
        destination_availability_zone_id,
        destination_outpost_arn,
        dry_run: dry,
        encrypted,
        kms_key_id,
        name,
        snapshot_copy_completion_duration_minutes,
        source_image_id,
        source_region,
        tag_specifications,
    } = input;
    refuse_some(&destination_availability_zone, "DestinationAvailabilityZone")?;
    refuse_some(&destination_availability_zone_id, "DestinationAvailabilityZoneId")?;
    refuse_some(&destination_outpost_arn, "DestinationOutpostArn")?;
    encryption::check(encrypted, kms_key_id.as_deref())?;
    kms_key_id.as_ref().map_or(Ok(()), |key| encryption::check_key(&cx, key))?;
    refuse_some(
        &snapshot_copy_completion_duration_minutes,
        "SnapshotCopyCompletionDurationMinutes",
    )?;
    let (tags, snapshot_tags) = both_tags(tag_specifications)?;
    let asked = Copy {
        source_region,
        source_id: source_image_id,
        name,
        description,
        copy_tags: copy_image_tags == Some(true),
        encrypted: encrypted == Some(true),
        tags,
        snapshot_tags,
    };
    let token = client_token::of(token.as_deref(), &asked)?;
    let image = cx
        .write(|tx| {
            let prefix = cx.prefix();
            let known = tx.scan::<Image>(&prefix);
            if let Some(made) = client_token::made(&token, known, |image| &image.client_token)? {
                return Ok((*made).clone());
            }
            let image = make::copy(tx, &cx, &asked, token.clone())?;
            dry_run(dry)?;
            Ok::<_, Error>(image)
        })
        .await?;
    Ok(w::CopyImageResult { image_id: Some(image.id) })
}

async fn deregister(
    cx: Context,
    input: w::DeregisterImageRequest,
) -> Result<w::DeregisterImageResult> {
    let with_snapshots = input.delete_associated_snapshots == Some(true);
    let deleted = cx
        .write(|tx| {
            let deleted = make::deregister(tx, &cx, &input.image_id, with_snapshots)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(deleted)
        })
        .await?;
    let code = |deleted: make::DeletedSnapshot| w::DeleteSnapshotReturnCode {
        snapshot_id: Some(deleted.id),
        return_code: Some(deleted.code.to_owned()),
    };
    Ok(w::DeregisterImageResult {
        r#return: Some(true),
        delete_snapshot_results: with_snapshots.then(|| deleted.into_iter().map(code).collect()),
    })
}

fn unknown(attribute: &str) -> Error {
    Error::value(format!(
        "Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
    ))
}

async fn describe_attribute(
    cx: Context,
    input: w::DescribeImageAttributeRequest,
) -> Result<w::ImageAttribute> {
    let image = ops::image(&cx.read(), &cx, &input.image_id)?;
    let text = |value: String| Some(w::AttributeValue { value: Some(value) });
    let absent = Some(w::AttributeValue::default());
    let mut shown = w::ImageAttribute { image_id: Some(image.id.clone()), ..Default::default() };
    match input.attribute.as_str() {
        "description" => shown.description = text(image.description.clone()),
        "launchPermission" => {
            let everybody = image.permissions.everybody.then(|| w::LaunchPermission {
                group: Some("all".to_owned()),
                ..Default::default()
            });
            let accounts = image.permissions.accounts.iter();
            let accounts = accounts.map(|account| w::LaunchPermission {
                user_id: Some(account.clone()),
                ..Default::default()
            });
            shown.launch_permissions = Some(everybody.into_iter().chain(accounts).collect());
        }
        "blockDeviceMapping" => {
            let mut devices: Vec<_> = image.devices().iter().map(device_out).collect();
            // Which this call does not tell.
            for ebs in devices.iter_mut().filter_map(|device| device.ebs.as_mut()) {
                ebs.encrypted = None;
            }
            shown.block_device_mappings = Some(devices);
        }
        "productCodes" => shown.product_codes = Some(vec![]),
        "kernel" => shown.kernel_id = absent,
        "ramdisk" => shown.ramdisk_id = absent,
        "sriovNetSupport" => shown.sriov_net_support = absent,
        "deregistrationProtection" => {
            shown.deregistration_protection = text(image.protection.text(cx.now));
        }
        "bootMode" | "tpmSupport" | "uefiData" | "lastLaunchedTime" | "imdsSupport" => {
            return Err(Error::unsupported(&input.attribute));
        }
        other => return Err(unknown(other)),
    }
    dry_run(input.dry_run)?;
    Ok(shown)
}

async fn modify_attribute(
    cx: Context,
    input: w::ModifyImageAttributeRequest,
) -> Result<w::ModifyImageAttributeOutput> {
    let w::ModifyImageAttributeRequest {
        attribute,
        description,
        dry_run: dry,
        image_id,
        imds_support,
        launch_permission,
        operation_type,
        organization_arns,
        organizational_unit_arns,
        product_codes,
        user_groups,
        user_ids,
        value,
    } = input;
    refuse_some(&imds_support, "ImdsSupport")?;
    refuse_list(&organization_arns, "OrganizationArns")?;
    refuse_list(&organizational_unit_arns, "OrganizationalUnitArns")?;
    refuse_list(&product_codes, "ProductCodes")?;
    let mut said = description.and_then(|asked| asked.value);
    match attribute.as_deref() {
        Some("description") => {
            said = Some(value.or(said).ok_or(Error::MissingParameter("Value"))?);
        }
        None | Some("launchPermission") => {}
        Some("imdsSupport") => return Err(Error::unsupported("ImdsSupport")),
        Some(other) => return Err(unknown(other)),
    }
    let mut share = Share::default();
    let (add, remove) = launch_permission.map_or((None, None), |asked| (asked.add, asked.remove));
    for (add, listed) in [(true, add), (false, remove)] {
        for permission in listed.unwrap_or_default() {
            refuse_some(&permission.organization_arn, "OrganizationArn")?;
            refuse_some(&permission.organizational_unit_arn, "OrganizationalUnitArn")?;
            permit(&mut share, add, permission.group, permission.user_id)?;
        }
    }
    older_form(&mut share, operation_type, user_groups, user_ids)?;
    if said.is_some() && !share.is_empty() {
        return Err(Error::combination("Fields for multiple attribute types specified"));
    }
    if said.is_none() && share.is_empty() {
        return Err(Error::combination("No attributes specified."));
    }
    cx.write(|tx| {
        match &said {
            Some(text) => attribute::describe(tx, &cx, &image_id, text)?,
            None => attribute::share(tx, &cx, &image_id, &share)?,
        }
        dry_run(dry)
    })
    .await?;
    Ok(Default::default())
}

async fn reset_attribute(
    cx: Context,
    input: w::ResetImageAttributeRequest,
) -> Result<w::ResetImageAttributeOutput> {
    if input.attribute != "launchPermission" {
        return Err(unknown(&input.attribute));
    }
    cx.write(|tx| {
        attribute::unshare(tx, &cx, &input.image_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn enable(cx: Context, input: w::EnableImageRequest) -> Result<w::EnableImageResult> {
    set_disabled(&cx, &input.image_id, false, input.dry_run).await?;
    Ok(w::EnableImageResult { r#return: Some(true) })
}

async fn disable(cx: Context, input: w::DisableImageRequest) -> Result<w::DisableImageResult> {
    set_disabled(&cx, &input.image_id, true, input.dry_run).await?;
    Ok(w::DisableImageResult { r#return: Some(true) })
}

async fn set_disabled(cx: &Context, id: &str, disabled: bool, dry: Option<bool>) -> Result<()> {
    cx.write(|tx| {
        attribute::set_disabled(tx, cx, id, disabled)?;
        dry_run(dry)
    })
    .await
}

async fn deprecate(
    cx: Context,
    input: w::EnableImageDeprecationRequest,
) -> Result<w::EnableImageDeprecationResult> {
    let at = Timestamp(input.deprecate_at.0);
    cx.write(|tx| {
        attribute::deprecate(tx, &cx, &input.image_id, Some(at))?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::EnableImageDeprecationResult { r#return: Some(true) })
}

async fn undeprecate(
    cx: Context,
    input: w::DisableImageDeprecationRequest,
) -> Result<w::DisableImageDeprecationResult> {
    cx.write(|tx| {
        attribute::deprecate(tx, &cx, &input.image_id, None)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DisableImageDeprecationResult { r#return: Some(true) })
}

async fn protect(
    cx: Context,
    input: w::EnableImageDeregistrationProtectionRequest,
) -> Result<w::EnableImageDeregistrationProtectionResult> {
    let with_cooldown = input.with_cooldown == Some(true);
    let text = cx
        .write(|tx| {
            let now = attribute::protect(tx, &cx, &input.image_id, true, with_cooldown)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(now.text(cx.now))
        })
        .await?;
    Ok(w::EnableImageDeregistrationProtectionResult { r#return: Some(text) })
}

async fn unprotect(
    cx: Context,
    input: w::DisableImageDeregistrationProtectionRequest,
) -> Result<w::DisableImageDeregistrationProtectionResult> {
    let text = cx
        .write(|tx| {
            let now = attribute::protect(tx, &cx, &input.image_id, false, false)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(now.text(cx.now))
        })
        .await?;
    Ok(w::DisableImageDeregistrationProtectionResult { r#return: Some(text) })
}
