//! Tags on the wire.

use wire::ec2 as w;

use super::ops;
use crate::Context;
use crate::ec2::handlers::{listing, tags_in};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateTags, _, _, _>(create_tags),
        serve::<w::DeleteTags, _, _, _>(delete_tags),
        serve::<w::DescribeTags, _, _, _>(describe_tags),
    ]
}

async fn create_tags(cx: Context, input: w::CreateTagsRequest) -> Result<w::CreateTagsOutput> {
    let tags = tags_in(Some(input.tags))?;
    cx.write(|tx| {
        ops::create_tags(tx, &cx, &input.resources, &tags)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::CreateTagsOutput::default())
}

async fn delete_tags(cx: Context, input: w::DeleteTagsRequest) -> Result<w::DeleteTagsOutput> {
    let pair = |tag: w::Tag| match tag.key {
        Some(key) => Ok((key, tag.value)),
        None => Err(Error::MissingParameter("Tag.1.Key")),
    };
    let tags = input.tags.map(|tags| tags.into_iter().map(pair).collect::<Result<Vec<_>>>());
    let tags = tags.transpose()?;
    cx.write(|tx| {
        ops::delete_tags(tx, &cx, &input.resources, tags.as_deref())?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteTagsOutput::default())
}

async fn describe_tags(
    cx: Context,
    input: w::DescribeTagsRequest,
) -> Result<w::DescribeTagsResult> {
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe_tags(&cx.read(), &cx, &listing)?;
    dry_run(input.dry_run)?;
    let line = |line: ops::Description| w::TagDescription {
        key: Some(line.key),
        resource_id: Some(line.resource_id),
        resource_type: Some(line.resource_type.to_owned()),
        value: Some(line.value),
    };
    let tags = Some(found.into_iter().map(line).collect());
    Ok(w::DescribeTagsResult { next_token, tags })
}
