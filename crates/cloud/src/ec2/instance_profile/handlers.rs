//! Associations of instance profiles on the wire.

use wire::ec2 as w;

use super::{Association, Found, ops};
use crate::Context;
use crate::ec2::Result;
use crate::ec2::handlers::listing;
use crate::ec2::instance::handlers::launch::profile;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::AssociateIamInstanceProfile, _, _, _>(associate),
        serve::<w::ReplaceIamInstanceProfileAssociation, _, _, _>(replace),
        serve::<w::DisassociateIamInstanceProfile, _, _, _>(disassociate),
        serve::<w::DescribeIamInstanceProfileAssociations, _, _, _>(describe),
    ]
}

pub fn profile_out(found: &Found) -> w::IamInstanceProfile {
    w::IamInstanceProfile { arn: Some(found.arn.clone()), id: Some(found.id.clone()) }
}

/// A profile is in force as soon as the record is there; `state` says which call this answers.
fn out(association: &Association, state: &str) -> Option<w::IamInstanceProfileAssociation> {
    Some(w::IamInstanceProfileAssociation {
        association_id: Some(association.id.clone()),
        iam_instance_profile: Some(profile_out(&association.profile)),
        instance_id: Some(association.instance_id.clone()),
        state: Some(state.to_owned()),
        timestamp: Some(wire::Timestamp(association.since.0)),
    })
}

async fn associate(
    cx: Context,
    input: w::AssociateIamInstanceProfileRequest,
) -> Result<w::AssociateIamInstanceProfileResult> {
    let named = profile(input.iam_instance_profile);
    let made = cx.write(|tx| ops::add(tx, &cx, &input.instance_id, &named)).await?;
    let iam_instance_profile_association = out(&made, "associating");
    Ok(w::AssociateIamInstanceProfileResult { iam_instance_profile_association })
}

async fn replace(
    cx: Context,
    input: w::ReplaceIamInstanceProfileAssociationRequest,
) -> Result<w::ReplaceIamInstanceProfileAssociationResult> {
    let named = profile(input.iam_instance_profile);
    let made = cx.write(|tx| ops::replace(tx, &cx, &input.association_id, &named)).await?;
    let iam_instance_profile_association = out(&made, "associating");
    Ok(w::ReplaceIamInstanceProfileAssociationResult { iam_instance_profile_association })
}

async fn disassociate(
    cx: Context,
    input: w::DisassociateIamInstanceProfileRequest,
) -> Result<w::DisassociateIamInstanceProfileResult> {
    let gone = cx.write(|tx| ops::remove(tx, &cx, &input.association_id)).await?;
    let iam_instance_profile_association = out(&gone, "disassociating");
    Ok(w::DisassociateIamInstanceProfileResult { iam_instance_profile_association })
}

async fn describe(
    cx: Context,
    input: w::DescribeIamInstanceProfileAssociationsRequest,
) -> Result<w::DescribeIamInstanceProfileAssociationsResult> {
    let ids = input.association_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe(&cx.read(), &cx, &ids, &listing)?;
    let all = found.iter().filter_map(|one| out(one, "associated")).collect();
    Ok(w::DescribeIamInstanceProfileAssociationsResult {
        iam_instance_profile_associations: Some(all),
        next_token,
    })
}
