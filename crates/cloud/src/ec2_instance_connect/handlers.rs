//! EC2 Instance Connect on the wire.

use wire::ec2_instance_connect as w;

use super::Result;
use super::ops::{self, Send};
use crate::Context;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![serve::<w::SendSSHPublicKey, _, _, _>(send_ssh_public_key)]
}

async fn send_ssh_public_key(
    cx: Context,
    input: w::SendSSHPublicKeyRequest,
) -> Result<w::SendSSHPublicKeyResponse> {
    let send = Send {
        instance_id: input.instance_id,
        user: input.instance_os_user,
        public_key: input.ssh_public_key,
        zone: input.availability_zone,
    };
    ops::send(&cx, &send).await?;
    Ok(w::SendSSHPublicKeyResponse { request_id: Some(cx.request_id), success: Some(true) })
}
