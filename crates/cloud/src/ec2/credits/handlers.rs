//! Credit specifications on the wire.

use wire::ec2 as w;

use super::ops;
use crate::Context;
use crate::ec2::handlers::listing;
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::DescribeInstanceCreditSpecifications, _, _, _>(describe),
        serve::<w::ModifyInstanceCreditSpecification, _, _, _>(modify),
        serve::<w::GetDefaultCreditSpecification, _, _, _>(get_default),
        serve::<w::ModifyDefaultCreditSpecification, _, _, _>(modify_default),
    ]
}

async fn describe(
    cx: Context,
    input: w::DescribeInstanceCreditSpecificationsRequest,
) -> Result<w::DescribeInstanceCreditSpecificationsResult> {
    let ids = input.instance_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    listing.check(&["instance-id"], false)?;
    listing.check_max_results(5..=1000)?;
    if listing.max_results.is_some() && !ids.is_empty() {
        return Err(Error::combination(
            "The parameter InstanceIds cannot be used with the parameter MaxResults.",
        ));
    }
    let mut found = ops::describe(&cx.read(), &cx, &ids)?;
    found.retain(|credits| listing.keeps(Default::default, |_| vec![credits.instance_id.clone()]));
    let (found, next_token) = listing.page(found, |credits| credits.instance_id.clone())?;
    dry_run(input.dry_run)?;
    let out = found.iter().map(|credits| w::InstanceCreditSpecification {
        cpu_credits: Some(credits.mode.word().to_owned()),
        instance_id: Some(credits.instance_id.clone()),
    });
    let instance_credit_specifications = Some(out.collect());
    Ok(w::DescribeInstanceCreditSpecificationsResult { instance_credit_specifications, next_token })
}

/// Asking again changes nothing more, so that a client token has nothing to add.
async fn modify(
    cx: Context,
    input: w::ModifyInstanceCreditSpecificationRequest,
) -> Result<w::ModifyInstanceCreditSpecificationResult> {
    let mut asked = Vec::new();
    for one in input.instance_credit_specifications {
        let id = one.instance_id;
        let mode = ops::mode(&one.cpu_credits.ok_or(Error::MissingParameter("CpuCredits"))?)?;
        asked.push((id, mode));
    }
    let answers = cx
        .write(|tx| {
            let one = |tx: &mut store::Tx, id: &str, mode| ops::modify(tx, &cx, id, mode);
            let answers: Vec<_> =
                asked.iter().map(|(id, mode)| (id.clone(), one(tx, id, *mode))).collect();
            dry_run(input.dry_run)?;
            Ok::<_, Error>(answers)
        })
        .await?;
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for (id, answer) in answers {
        let instance_id = Some(id);
        match answer {
            Ok(()) => done.push(w::SuccessfulInstanceCreditSpecificationItem { instance_id }),
            Err((code, message)) => {
                let error = w::UnsuccessfulInstanceCreditSpecificationItemError {
                    code: Some(code.to_owned()),
                    message: Some(message),
                };
                refused.push(w::UnsuccessfulInstanceCreditSpecificationItem {
                    error: Some(error),
                    instance_id,
                });
            }
        }
    }
    Ok(w::ModifyInstanceCreditSpecificationResult {
        successful_instance_credit_specifications: Some(done),
        unsuccessful_instance_credit_specifications: Some(refused),
    })
}

fn family_out(
    snapshot: &store::Snapshot,
    cx: &Context,
    family: String,
) -> Option<w::InstanceFamilyCreditSpecification> {
    Some(w::InstanceFamilyCreditSpecification {
        cpu_credits: Some(ops::default(snapshot, cx, &family).word().to_owned()),
        instance_family: Some(family),
    })
}

async fn get_default(
    cx: Context,
    input: w::GetDefaultCreditSpecificationRequest,
) -> Result<w::GetDefaultCreditSpecificationResult> {
    ops::check_family(&input.instance_family)?;
    dry_run(input.dry_run)?;
    Ok(w::GetDefaultCreditSpecificationResult {
        instance_family_credit_specification: family_out(&cx.read(), &cx, input.instance_family),
    })
}

async fn modify_default(
    cx: Context,
    input: w::ModifyDefaultCreditSpecificationRequest,
) -> Result<w::ModifyDefaultCreditSpecificationResult> {
    let mode = ops::mode(&input.cpu_credits)?;
    cx.write(|tx| {
        ops::set_default(tx, &cx, &input.instance_family, mode)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::ModifyDefaultCreditSpecificationResult {
        instance_family_credit_specification: family_out(&cx.read(), &cx, input.instance_family),
    })
}
