//! Capacity reservations on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::model::{CapacityReservation, Preference, Specification};
use super::ops::{self, Change, Create};
use super::usage;
use crate::ec2::handlers::{listing, refuse, tags_of_type, tags_out};
use crate::ec2::instance::attribute;
use crate::ec2::instance::describe::zone_id;
use crate::ec2::instance::handlers::launch::{only, refuse_some, refuse_true};
use crate::ec2::instance::interfaces::zone_name;
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, resource, tag};
use crate::services::{Entry, serve};
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CancelCapacityReservation, _, _, _>(cancel),
        serve::<w::CreateCapacityReservation, _, _, _>(create),
        serve::<w::DescribeCapacityReservations, _, _, _>(describe),
        serve::<w::GetCapacityReservationUsage, _, _, _>(get_usage),
        serve::<w::ModifyCapacityReservation, _, _, _>(modify),
        serve::<w::ModifyInstanceCapacityReservationAttributes, _, _, _>(modify_instance),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateCapacityReservationRequest,
) -> Result<w::CreateCapacityReservationResult> {
    let w::CreateCapacityReservationRequest {
        availability_zone,
        availability_zone_id,
        client_token,
        commitment_duration,
        delivery_preference,
        dry_run: dry,
        ebs_optimized,
        end_date,
        end_date_type,
        ephemeral_storage,
        instance_count,
        instance_match_criteria,
        instance_platform,
        instance_type,
        outpost_arn,
        placement_group_arn,
        start_date,
        tag_specifications,
        tenancy,
    } = input;
    let future = commitment_duration.is_some() || delivery_preference.is_some();
    refuse(future || start_date.is_some(), "A future-dated capacity reservation")?;
    refuse_true(ebs_optimized, "EbsOptimized")?;
    refuse_true(ephemeral_storage, "EphemeralStorage")?;
    refuse_some(&outpost_arn, "OutpostArn")?;
    refuse_some(&placement_group_arn, "PlacementGroupArn")?;
    only(&Some(instance_platform), ops::PLATFORM, "InstancePlatform")?;
    if let Some(tenancy) = tenancy.filter(|tenancy| tenancy != "default") {
        return Err(Error::tenancy(format_args!("The tenancy '{tenancy}'")));
    }
    let request = Create {
        zone: zone_name(&cx, availability_zone.as_ref(), availability_zone_id.as_ref())?
            .ok_or(Error::MissingParameter("AvailabilityZone"))?,
        instance_type,
        count: instance_count,
        targeted: instance_match_criteria.is_some_and(|criteria| criteria == "targeted"),
        end: end(end_date_type.as_deref(), end_date)?.flatten(),
        tags: tags_of_type(tag_specifications, "capacity-reservation")?,
        client_token,
    };
    let made = cx
        .write(|tx| {
            let made = ops::create(tx, &cx, &request)?;
            dry_run(dry)?;
            Ok::<_, Error>(made)
        })
        .await?;
    let capacity_reservation = Some(out(&cx.read(), &cx, &made));
    Ok(w::CreateCapacityReservationResult { capacity_reservation })
}

/// `None`: not said.
fn end(kind: Option<&str>, date: Option<wire::Timestamp>) -> Result<Option<Option<Timestamp>>> {
    match (kind, date) {
        (Some("limited"), Some(date)) => Ok(Some(Some(Timestamp(date.0)))),
        (Some("unlimited"), None) => Ok(Some(None)),
        (None, None) => Ok(None),
        (Some("limited"), None) => Err(Error::MissingParameter("EndDate")),
        (_, Some(_)) => {
            Err(Error::combination("EndDate can be specified only with the EndDateType 'limited'."))
        }
        (Some(other), None) => Err(Error::value(format!(
            "Value ({other}) for parameter endDateType is invalid. Valid values: limited, unlimited."
        ))),
    }
}

async fn modify(
    cx: Context,
    input: w::ModifyCapacityReservationRequest,
) -> Result<w::ModifyCapacityReservationResult> {
    let w::ModifyCapacityReservationRequest {
        accept: _,
        accept_modification_terms,
        additional_info,
        capacity_reservation_id: id,
        dry_run: dry,
        end_date,
        end_date_type,
        instance_count,
        instance_match_criteria,
        quote_id,
        start_date,
    } = input;
    refuse_true(accept_modification_terms, "AcceptModificationTerms")?;
    refuse_some(&additional_info, "AdditionalInfo")?;
    refuse_some(&quote_id, "QuoteId")?;
    refuse_some(&start_date, "StartDate")?;
    let change = Change {
        count: instance_count,
        targeted: instance_match_criteria.map(|criteria| criteria == "targeted"),
        end: end(end_date_type.as_deref(), end_date)?,
    };
    cx.write(|tx| {
        ops::modify(tx, &cx, &id, &change)?;
        dry_run(dry)
    })
    .await?;
    Ok(w::ModifyCapacityReservationResult { r#return: Some(true), ..Default::default() })
}

async fn cancel(
    cx: Context,
    input: w::CancelCapacityReservationRequest,
) -> Result<w::CancelCapacityReservationResult> {
    refuse_some(&input.apply_cancellation_charges, "ApplyCancellationCharges")?;
    refuse_some(&input.quote_id, "QuoteId")?;
    cx.write(|tx| {
        ops::cancel(tx, &cx, &input.capacity_reservation_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::CancelCapacityReservationResult { r#return: Some(true) })
}

async fn describe(
    cx: Context,
    input: w::DescribeCapacityReservationsRequest,
) -> Result<w::DescribeCapacityReservationsResult> {
    let snapshot = cx.read();
    let ids = input.capacity_reservation_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let found = found.iter().map(|reservation| out(&snapshot, &cx, reservation)).collect();
    Ok(w::DescribeCapacityReservationsResult { capacity_reservations: Some(found), next_token })
}

async fn get_usage(
    cx: Context,
    input: w::GetCapacityReservationUsageRequest,
) -> Result<w::GetCapacityReservationUsageResult> {
    let snapshot = cx.read();
    let id = &input.capacity_reservation_id;
    let found = resource::find::<CapacityReservation>(&snapshot, &cx, id)?;
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(1..=1000)?;
    // It is shared with nobody.
    let own = w::InstanceUsage {
        account_id: Some(found.account.clone()),
        used_instance_count: Some(usage::used(&snapshot, &found) as i32),
    };
    let key = |usage: &w::InstanceUsage| usage.account_id.clone().unwrap_or_default();
    let (usages, next_token) = listing.page(vec![own], key)?;
    dry_run(input.dry_run)?;
    Ok(w::GetCapacityReservationUsageResult {
        available_instance_count: Some(usage::available(&snapshot, &found) as i32),
        capacity_reservation_id: Some(found.id.clone()),
        instance_type: Some(found.instance_type.clone()),
        instance_usages: Some(usages),
        next_token,
        state: Some(found.state.name().to_owned()),
        total_instance_count: Some(found.count as i32),
        ..Default::default()
    })
}

async fn modify_instance(
    cx: Context,
    input: w::ModifyInstanceCapacityReservationAttributesRequest,
) -> Result<w::ModifyInstanceCapacityReservationAttributesResult> {
    let wanted = specification(input.capacity_reservation_specification)?
        .ok_or(Error::MissingParameter("CapacityReservationPreference"))?;
    cx.write(|tx| {
        attribute::modify_reservation(tx, &cx, &input.instance_id, &wanted)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::ModifyInstanceCapacityReservationAttributesResult { r#return: Some(true) })
}

/// `None`: it says nothing.
pub fn specification(asked: w::CapacityReservationSpecification) -> Result<Option<Specification>> {
    let w::CapacityReservationSpecification {
        capacity_reservation_preference,
        capacity_reservation_target,
    } = asked;
    let target = capacity_reservation_target.unwrap_or_default();
    let group = &target.capacity_reservation_resource_group_arn;
    refuse_some(group, "CapacityReservationResourceGroupArn")?;
    let preference = match capacity_reservation_preference {
        None => None,
        Some(word) => {
            let found = Preference::ALL.into_iter().find(|known| known.name() == word);
            Some(found.ok_or_else(|| {
                Error::value(format!(
                    "Value ({word}) for parameter CapacityReservationPreference is invalid."
                ))
            })?)
        }
    };
    let wanted = Specification { preference, target: target.capacity_reservation_id };
    if wanted.target.is_some() && preference.is_some_and(|p| p != Preference::Only) {
        return Err(Error::combination(
            "CapacityReservationTarget can be specified only without a CapacityReservationPreference, \
             or with 'capacity-reservations-only'.",
        ));
    }
    Ok((wanted != Specification::default()).then_some(wanted))
}

/// Preference and target of a specification, as answers have them.
pub fn specification_out(
    wanted: &Specification,
) -> (Option<String>, Option<w::CapacityReservationTargetResponse>) {
    let target = wanted.target.clone().map(|id| w::CapacityReservationTargetResponse {
        capacity_reservation_id: Some(id),
        ..Default::default()
    });
    (wanted.preference.map(|preference| preference.name().to_owned()), target)
}

fn out(
    snapshot: &Snapshot,
    cx: &Context,
    reservation: &CapacityReservation,
) -> w::CapacityReservation {
    let used = usage::used(snapshot, reservation);
    let used = w::CapacityAllocation {
        allocation_type: Some("used".to_owned()),
        count: Some(used as i32),
        ..Default::default()
    };
    let time = |at: Timestamp| Some(wire::Timestamp(at.0));
    w::CapacityReservation {
        availability_zone: Some(reservation.zone.clone()),
        availability_zone_id: zone_id(cx, &reservation.zone),
        available_instance_count: Some(usage::available(snapshot, reservation) as i32),
        capacity_allocations: Some(vec![used]),
        capacity_reservation_arn: Some(reservation.arn()),
        capacity_reservation_id: Some(reservation.id.clone()),
        create_date: time(reservation.created_at),
        ebs_optimized: Some(false),
        end_date: reservation.end.and_then(time),
        end_date_type: Some(ops::end_type(reservation).to_owned()),
        ephemeral_storage: Some(false),
        instance_match_criteria: Some(reservation.criteria().to_owned()),
        instance_platform: Some(ops::PLATFORM.to_owned()),
        instance_type: Some(reservation.instance_type.clone()),
        owner_id: Some(reservation.account.clone()),
        reservation_type: Some("default".to_owned()),
        start_date: time(reservation.created_at),
        state: Some(reservation.state.name().to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &reservation.id)),
        tenancy: Some("default".to_owned()),
        total_instance_count: Some(reservation.count as i32),
        ..Default::default()
    }
}
