//! SQS's operations: what came over the wire to `ops`, `send` and `receive`, and back.

mod message;

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::sqs as w;

use super::model::Queue;
use super::{Error, Result, attribute, ops, permission};
use crate::services::{Entry, serve};
use crate::{Context, page};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateQueue, _, _, _>(create_queue),
        serve::<w::GetQueueUrl, _, _, _>(get_queue_url),
        serve::<w::ListQueues, _, _, _>(list_queues),
        serve::<w::ListDeadLetterSourceQueues, _, _, _>(list_sources),
        serve::<w::DeleteQueue, _, _, _>(delete_queue),
        serve::<w::PurgeQueue, _, _, _>(purge_queue),
        serve::<w::GetQueueAttributes, _, _, _>(get_attributes),
        serve::<w::SetQueueAttributes, _, _, _>(set_attributes),
        serve::<w::AddPermission, _, _, _>(add_permission),
        serve::<w::RemovePermission, _, _, _>(remove_permission),
        serve::<w::TagQueue, _, _, _>(tag_queue),
        serve::<w::UntagQueue, _, _, _>(untag_queue),
        serve::<w::ListQueueTags, _, _, _>(list_tags),
        serve::<w::SendMessage, _, _, _>(message::send),
        serve::<w::SendMessageBatch, _, _, _>(message::send_batch),
        serve::<w::ReceiveMessage, _, _, _>(message::receive),
        serve::<w::DeleteMessage, _, _, _>(message::delete),
        serve::<w::DeleteMessageBatch, _, _, _>(message::delete_batch),
        serve::<w::ChangeMessageVisibility, _, _, _>(message::change_visibility),
        serve::<w::ChangeMessageVisibilityBatch, _, _, _>(message::change_visibility_batch),
    ]
}

/// A queue's URL at the endpoint that the caller used.
fn url(cx: &Context, name: &str) -> String {
    let scheme = if cx.from.source.secure { "https" } else { "http" };
    let at = match &cx.from.host {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("https://sqs.{}.amazonaws.com", cx.region),
    };
    format!("{at}/{}/{name}", cx.account)
}

fn named(cx: &Context, url: &str) -> Result<Arc<Queue>> {
    ops::queue(&cx.read(), cx, &ops::name_of(cx, url)?)
}

async fn create_queue(cx: Context, input: w::CreateQueueRequest) -> Result<w::CreateQueueResult> {
    let name = input.queue_name;
    let given = input.attributes.unwrap_or_default();
    let tags = input.tags.unwrap_or_default();
    let number = cx.env.rng.u64();
    cx.write(|tx| ops::create(tx, &cx, &name, &given, &tags, number)).await?;
    Ok(w::CreateQueueResult { queue_url: Some(url(&cx, &name)) })
}

async fn get_queue_url(cx: Context, input: w::GetQueueUrlRequest) -> Result<w::GetQueueUrlResult> {
    if input.queue_owner_aws_account_id.is_some_and(|owner| owner != cx.account) {
        return Err(Error::QueueDoesNotExist);
    }
    let queue = ops::queue(&cx.read(), &cx, &input.queue_name)?;
    Ok(w::GetQueueUrlResult { queue_url: Some(url(&cx, &queue.name)) })
}

/// One page of names as URLs. Without a size of pages there is one page.
fn urls(
    cx: &Context,
    names: Vec<String>,
    max: Option<i32>,
    token: Option<&str>,
) -> Result<(Vec<String>, Option<String>)> {
    const MOST: i32 = 1000;
    if let Some(max) = max
        && !(1..=MOST).contains(&max)
    {
        let reason = "MaxResults must be an integer between 1 and 1000.";
        return Err(Error::value(max, "MaxResults", reason));
    }
    let size = max.unwrap_or(MOST).unsigned_abs() as usize;
    let (names, next) = page::page(names, String::clone, size, token)
        .map_err(|_| Error::InvalidParameterValue("Invalid NextToken value.".to_owned()))?;
    let next = next.filter(|_| max.is_some());
    Ok((names.iter().map(|name| url(cx, name)).collect(), next))
}

async fn list_queues(cx: Context, input: w::ListQueuesRequest) -> Result<w::ListQueuesResult> {
    let prefix = input.queue_name_prefix.unwrap_or_default();
    let names = ops::list(&cx.read(), &cx, &prefix);
    let (urls, next_token) = urls(&cx, names, input.max_results, input.next_token.as_deref())?;
    Ok(w::ListQueuesResult { next_token, queue_urls: (!urls.is_empty()).then_some(urls) })
}

async fn list_sources(
    cx: Context,
    input: w::ListDeadLetterSourceQueuesRequest,
) -> Result<w::ListDeadLetterSourceQueuesResult> {
    let queue = named(&cx, &input.queue_url)?;
    let names = ops::sources(&cx.read(), &cx, &queue);
    let (queue_urls, next_token) =
        urls(&cx, names, input.max_results, input.next_token.as_deref())?;
    Ok(w::ListDeadLetterSourceQueuesResult { next_token, queue_urls })
}

async fn delete_queue(cx: Context, input: w::DeleteQueueRequest) -> Result<w::DeleteQueueOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    cx.write(|tx| ops::delete(tx, &cx, &name)).await?;
    cx.env.sqs.sweep(&cx.env.store);
    Ok(w::DeleteQueueOutput {})
}

async fn purge_queue(cx: Context, input: w::PurgeQueueRequest) -> Result<w::PurgeQueueOutput> {
    let queue = named(&cx, &input.queue_url)?;
    let line = cx.env.sqs.of(&queue);
    let before = line.with(&cx.env, &queue, |index| index.next)?;
    let queue = cx.write(|tx| ops::purge(tx, &cx, &queue.name, before)).await?;
    cx.env.sqs.of(&queue).with(&cx.env, &queue, |index| index.purge(before))?;
    Ok(w::PurgeQueueOutput {})
}

async fn get_attributes(
    cx: Context,
    input: w::GetQueueAttributesRequest,
) -> Result<w::GetQueueAttributesResult> {
    let queue = named(&cx, &input.queue_url)?;
    let names = input.attribute_names.unwrap_or_default();
    let line = cx.env.sqs.of(&queue);
    let counts = line.with(&cx.env, &queue, |index| index.counts())?;
    let attributes = attribute::show(&queue, counts, &names)?;
    Ok(w::GetQueueAttributesResult { attributes: (!attributes.is_empty()).then_some(attributes) })
}

async fn set_attributes(
    cx: Context,
    input: w::SetQueueAttributesRequest,
) -> Result<w::SetQueueAttributesOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    cx.write(|tx| ops::set_attributes(tx, &cx, &name, &input.attributes)).await?;
    Ok(w::SetQueueAttributesOutput {})
}

async fn add_permission(
    cx: Context,
    input: w::AddPermissionRequest,
) -> Result<w::AddPermissionOutput> {
    let w::AddPermissionRequest { queue_url, label, aws_account_ids, actions } = input;
    let name = ops::name_of(&cx, &queue_url)?;
    cx.write(|tx| permission::add(tx, &cx, &name, &label, &aws_account_ids, &actions)).await?;
    Ok(w::AddPermissionOutput {})
}

async fn remove_permission(
    cx: Context,
    input: w::RemovePermissionRequest,
) -> Result<w::RemovePermissionOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    cx.write(|tx| permission::remove(tx, &cx, &name, &input.label)).await?;
    Ok(w::RemovePermissionOutput {})
}

async fn tag_queue(cx: Context, input: w::TagQueueRequest) -> Result<w::TagQueueOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    let tags: BTreeMap<String, String> = input.tags;
    cx.write(|tx| ops::tag(tx, &cx, &name, &tags)).await?;
    Ok(w::TagQueueOutput {})
}

async fn untag_queue(cx: Context, input: w::UntagQueueRequest) -> Result<w::UntagQueueOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    cx.write(|tx| ops::untag(tx, &cx, &name, &input.tag_keys)).await?;
    Ok(w::UntagQueueOutput {})
}

async fn list_tags(cx: Context, input: w::ListQueueTagsRequest) -> Result<w::ListQueueTagsResult> {
    let queue = named(&cx, &input.queue_url)?;
    Ok(w::ListQueueTagsResult { tags: (!queue.tags.is_empty()).then(|| queue.tags.clone()) })
}
