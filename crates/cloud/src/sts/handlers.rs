//! STS on the wire.

use wire::sts as w;

use crate::services::{Entry, serve};
use crate::{Context, arn};

pub fn operations() -> Vec<Entry> {
    vec![serve::<w::GetCallerIdentity, _, _, _>(get_caller_identity)]
}

async fn get_caller_identity(
    cx: Context,
    _: w::GetCallerIdentityRequest,
) -> Result<w::GetCallerIdentityResponse, wire::Error> {
    // The root user's id is the account; any other caller is named by its ARN's last part.
    let user_id = match arn::parse(&cx.caller) {
        Some(parts) if parts.resource != "root" => {
            parts.resource.rsplit('/').next().unwrap_or_default().to_owned()
        }
        _ => cx.account.clone(),
    };
    Ok(w::GetCallerIdentityResponse {
        account: Some(cx.account),
        arn: Some(cx.caller),
        user_id: Some(user_id),
    })
}
