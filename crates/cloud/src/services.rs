//! Every operation this cloud serves, in one table. What is not here is refused by name.
//! (S3 is served beside it, through `s3s`.)

use std::future::Future;
use std::sync::Arc;

use compute::driver::BoxFuture;

use crate::context::Context;

type Call = dyn Fn(Context, Arc<wire::Request>) -> BoxFuture<'static, Result<wire::Response, wire::Error>>
    + Send
    + Sync;

/// One operation and who answers it.
pub struct Entry {
    pub service: &'static str,
    pub operation: &'static str,
    pub call: Box<Call>,
}

/// Binds the operation `O` to its handler: decode, call, encode.
pub fn serve<O, F, Fut, E>(handler: F) -> Entry
where
    O: wire::Operation,
    F: Fn(Context, O::Input) -> Fut + Send + Sync + Copy + 'static,
    Fut: Future<Output = Result<O::Output, E>> + Send + 'static,
    E: Into<wire::Error>,
{
    Entry {
        service: O::SERVICE.name,
        operation: O::NAME,
        call: Box::new(move |cx, request| {
            Box::pin(async move {
                let input = wire::decode::<O>(&request)?;
                let request_id = cx.request_id.clone();
                let output = handler(cx, input).await.map_err(Into::into)?;
                Ok(wire::encode::<O>(&request, &output, &request_id))
            })
        }),
    }
}

/// The table. Each service lists its own operations in its `handlers.rs`.
pub fn table() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    entries.extend(crate::ec2::handlers::operations());
    entries.extend(crate::elbv2::handlers::operations());
    entries.extend(crate::ssm::handlers::operations());
    entries.extend(crate::sts::handlers::operations());
    entries.extend(crate::dynamodb::handlers::operations());
    entries.extend(crate::autoscaling::handlers::operations());
    entries
}
