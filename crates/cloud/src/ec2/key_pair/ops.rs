//! Key pairs of a region.

use store::{Snapshot, Tx};

use super::material::{Created, Public};
use super::model::KeyPair;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// In order of their names.
pub fn key_pairs(snapshot: &Snapshot, cx: &Context) -> Vec<KeyPair> {
    let prefix = cx.prefix();
    let mut all: Vec<KeyPair> = snapshot.scan::<KeyPair>(&prefix).map(|k| (*k).clone()).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// By name, as a launch says it.
pub fn key_pair(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<KeyPair> {
    let found = key_pairs(snapshot, cx).into_iter().find(|key| key.name == name);
    found.ok_or_else(|| Error::not_found(Kind::KeyPair, name))
}

/// Refuses what `create` and `import` would, before a key is made at some cost.
pub fn check_new(snapshot: &Snapshot, cx: &Context, name: &str, tags: &Tags) -> Result<()> {
    if name.is_empty() || name.len() > 255 || !name.is_ascii() {
        return Err(Error::value(format!(
            "Value ({name}) for parameter KeyName is invalid. Length must be between 1 and 255 ASCII \
             characters."
        )));
    }
    if key_pair(snapshot, cx, name).is_ok() {
        return Err(Error::KeyPairDuplicate);
    }
    tag::ops::check(tags)
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    created: &Created,
    tags: &Tags,
) -> Result<KeyPair> {
    add(tx, cx, name, &created.public, &created.fingerprint, tags)
}

pub fn import(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    material: &[u8],
    tags: &Tags,
) -> Result<KeyPair> {
    let text = std::str::from_utf8(material).map_err(|_| Error::KeyFormat)?;
    let public = Public::parse(text).map_err(|_| Error::KeyFormat)?;
    add(tx, cx, name, &public, &public.fingerprint(), tags)
}

fn add(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    public: &Public,
    fingerprint: &str,
    tags: &Tags,
) -> Result<KeyPair> {
    check_new(tx, cx, name, tags)?;
    let key = KeyPair {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "key"),
        name: name.to_owned(),
        kind: public.kind,
        fingerprint: fingerprint.to_owned(),
        public_key: public.line(name),
        created_at: cx.now,
    };
    tag::ops::set(tx, cx, &key.id, tags)?;
    tx.put(key.clone());
    Ok(key)
}

/// The id of the deleted key; `None` when there was none of that name, which AWS takes for done.
pub fn delete(
    tx: &mut Tx,
    cx: &Context,
    name: Option<&str>,
    id: Option<&str>,
) -> Result<Option<String>> {
    let wanted =
        |key: &KeyPair| name.is_none_or(|n| n == key.name) && id.is_none_or(|i| i == key.id);
    match (name, id) {
        (None, None) => return Err(Error::MissingParameter("KeyName")),
        (_, Some(id)) if !Kind::KeyPairId.is_id(id) => {
            return Err(Error::malformed(Kind::KeyPairId, id));
        }
        _ => {}
    }
    let Some(key) = key_pairs(tx, cx).into_iter().find(wanted) else { return Ok(None) };
    tx.delete::<KeyPair>(&cx.key(&key.id));
    tag::ops::forget(tx, cx, &key.id);
    Ok(Some(key.id))
}

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    names: &[String],
    ids: &[String],
    listing: &Listing,
) -> Result<Vec<KeyPair>> {
    let mut all = key_pairs(snapshot, cx);
    listing::named(&mut all, names, |key| &key.name, Kind::KeyPair)?;
    listing::only(&mut all, ids, |key| &key.id, Kind::KeyPairId)?;
    listing.check(&["fingerprint", "key-name", "key-pair-id"], true)?;
    all.retain(|key| {
        let tags = || tag::ops::tags_of(snapshot, cx, &key.id);
        listing.keeps(tags, |name| match name {
            "fingerprint" => vec![key.fingerprint.clone()],
            "key-name" => vec![key.name.clone()],
            "key-pair-id" => vec![key.id.clone()],
            _ => vec![],
        })
    });
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::key_pair::{material, model};
    use crate::env::Rng;
    use crate::testing;

    #[tokio::test]
    async fn a_key_pairs_life() {
        let cx = testing::context();
        let made = material::create(model::Kind::Ed25519, &Rng::seeded(1));
        let tags = Tags::from([("team".to_owned(), "web".to_owned())]);
        let key = cx.write(|tx| create(tx, &cx, "web", &made, &tags)).await.unwrap();
        assert_eq!(key_pair(&cx.read(), &cx, "web").unwrap(), key);
        assert!(key.public_key.ends_with(" web"));
        assert_eq!(tag::ops::tags_of(&cx.read(), &cx, &key.id), tags);

        let again = cx.write(|tx| create(tx, &cx, "web", &made, &Tags::new())).await;
        assert_eq!(again.unwrap_err().code(), "InvalidKeyPair.Duplicate");
        let line = made.public.line("x");
        let imported =
            cx.write(|tx| import(tx, &cx, "own", line.as_bytes(), &Tags::new())).await.unwrap();
        assert_eq!(imported.fingerprint, key.fingerprint);
        let bad = cx.write(|tx| import(tx, &cx, "bad", b"nonsense", &Tags::new())).await;
        assert_eq!(bad.unwrap_err().code(), "InvalidKey.Format");

        let listing = Listing::default();
        let found = describe(&cx.read(), &cx, &["own".to_owned()], &[], &listing).unwrap();
        assert_eq!(found, [imported]);
        let unknown = describe(&cx.read(), &cx, &["x".to_owned()], &[], &listing).unwrap_err();
        assert_eq!(unknown.code(), "InvalidKeyPair.NotFound");

        for expected in [Some(key.id.clone()), None] {
            let deleted = cx.write(|tx| delete(tx, &cx, Some("web"), None)).await.unwrap();
            assert_eq!(deleted, expected);
        }
        assert!(tag::ops::tags_of(&cx.read(), &cx, &key.id).is_empty());
    }
}
