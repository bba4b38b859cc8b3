//! Key pairs on the wire.

use wire::ec2 as w;

use super::{KeyPair, material, model, ops};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateKeyPair, _, _, _>(create_key_pair),
        serve::<w::ImportKeyPair, _, _, _>(import_key_pair),
        serve::<w::DescribeKeyPairs, _, _, _>(describe_key_pairs),
        serve::<w::DeleteKeyPair, _, _, _>(delete_key_pair),
    ]
}

async fn create_key_pair(cx: Context, input: w::CreateKeyPairRequest) -> Result<w::KeyPair> {
    let kind = match input.key_type.as_deref() {
        None | Some("rsa") => model::Kind::Rsa,
        Some("ed25519") => model::Kind::Ed25519,
        Some(other) => return Err(Error::value(format!("Invalid value '{other}' for KeyType"))),
    };
    if input.key_format.as_deref().is_some_and(|format| format != "pem") {
        return Err(Error::unsupported("A key format other than 'pem'"));
    }
    let tags = tags_of_type(input.tag_specifications, "key-pair")?;
    ops::check_new(&cx.read(), &cx, &input.key_name, &tags)?;
    dry_run(input.dry_run)?;
    let rng = cx.env.rng.clone();
    let made = tokio::task::spawn_blocking(move || material::create(kind, &rng))
        .await
        .expect("making a key does not panic");
    let key = cx.write(|tx| ops::create(tx, &cx, &input.key_name, &made, &tags)).await?;
    Ok(w::KeyPair {
        key_fingerprint: Some(key.fingerprint),
        key_material: Some(made.private_pem),
        key_name: Some(key.name),
        key_pair_id: Some(key.id),
        tags: tags_out(tags),
    })
}

async fn import_key_pair(
    cx: Context,
    input: w::ImportKeyPairRequest,
) -> Result<w::ImportKeyPairResult> {
    let tags = tags_of_type(input.tag_specifications, "key-pair")?;
    let material = &input.public_key_material;
    let key = cx
        .write(|tx| {
            let key = ops::import(tx, &cx, &input.key_name, material, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(key)
        })
        .await?;
    Ok(w::ImportKeyPairResult {
        key_fingerprint: Some(key.fingerprint),
        key_name: Some(key.name),
        key_pair_id: Some(key.id),
        tags: tags_out(tags),
    })
}

async fn describe_key_pairs(
    cx: Context,
    input: w::DescribeKeyPairsRequest,
) -> Result<w::DescribeKeyPairsResult> {
    let snapshot = cx.read();
    let names = input.key_names.unwrap_or_default();
    let ids = input.key_pair_ids.unwrap_or_default();
    let listing = listing(input.filters, None, None);
    let found = ops::describe(&snapshot, &cx, &names, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let with_key = input.include_public_key == Some(true);
    let key = |key: KeyPair| w::KeyPairInfo {
        create_time: Some(wire::Timestamp(key.created_at.0)),
        key_fingerprint: Some(key.fingerprint),
        key_name: Some(key.name),
        key_type: Some(key.kind.word().to_owned()),
        public_key: with_key.then_some(key.public_key),
        tags: tags_out(tag::ops::tags_of(&snapshot, &cx, &key.id)),
        key_pair_id: Some(key.id),
    };
    Ok(w::DescribeKeyPairsResult { key_pairs: Some(found.into_iter().map(key).collect()) })
}

async fn delete_key_pair(
    cx: Context,
    input: w::DeleteKeyPairRequest,
) -> Result<w::DeleteKeyPairResult> {
    let (name, id) = (input.key_name.as_deref(), input.key_pair_id.as_deref());
    let key_pair_id = cx
        .write(|tx| {
            let deleted = ops::delete(tx, &cx, name, id)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(deleted)
        })
        .await?;
    Ok(w::DeleteKeyPairResult { key_pair_id, r#return: Some(true) })
}
