//! Keys of items and of index entries as bytes, in the order in which Query answers them.
//!
//! ```text
//! item    table(8) 00 hash(4) partition sort
//! entry   table(8) NN hash(4) index-partition index-sort partition sort     NN: the index's number
//! count   table(8) FF stripe(2)
//! ```
//!
//! The hash is of the partition value: it spreads a scan's segments, and makes its order as unlike
//! that of the values as in AWS. Strings and binaries end in `00 00`, a `00` inside is `00 FF`.

use md5::{Digest, Md5};

use super::value::Value;

pub const ITEMS: u8 = 0;
pub const COUNTS: u8 = 0xff;

/// What all keys of one index of a table (0: the table itself) begin with.
pub fn root(table: u64, index: u8) -> Vec<u8> {
    let mut key = table.to_be_bytes().to_vec();
    key.push(index);
    key
}

/// What all keys of one partition begin with.
pub fn partition(table: u64, index: u8, value: &Value) -> Vec<u8> {
    let mut key = root(table, index);
    let mut encoded = Vec::new();
    push(&mut encoded, value);
    key.extend(&Md5::digest(&encoded)[..4]);
    key.extend(encoded);
    key
}

/// The hashes of segment `segment` of `total`: from the first to before the second (`None`: to the end).
pub fn segment(segment: u32, total: u32) -> ([u8; 4], Option<[u8; 4]>) {
    let begin = |n: u32| ((u64::from(n) << 32).div_ceil(u64::from(total))) as u32;
    let end = (segment + 1 < total).then(|| begin(segment + 1).to_be_bytes());
    (begin(segment).to_be_bytes(), end)
}

/// Only strings, numbers and binaries can be keys.
pub fn push(key: &mut Vec<u8>, value: &Value) {
    match value {
        Value::N(number) => number.to_key(key),
        other => {
            push_prefix(key, other);
            key.extend([0, 0]);
        }
    }
}

/// What the keys of all strings or binaries that begin with `value` begin with.
pub fn push_prefix(key: &mut Vec<u8>, value: &Value) {
    let bytes: &[u8] = match value {
        Value::S(text) => text.as_bytes(),
        Value::B(bytes) => bytes,
        other => unreachable!("{} cannot be a key", other.type_name()),
    };
    for byte in bytes {
        key.push(*byte);
        if *byte == 0 {
            key.push(0xff);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(value: &Value) -> Vec<u8> {
        let mut key = Vec::new();
        push(&mut key, value);
        key
    }

    proptest! {
        #[test]
        fn binaries_keep_their_order(a in prop::collection::vec(0..3u8, 0..6), b in prop::collection::vec(0..3u8, 0..6)) {
            let (x, y) = (Value::B(a.clone().into()), Value::B(b.clone().into()));
            prop_assert_eq!(key(&x).cmp(&key(&y)), a.cmp(&b));
            let mut prefix = Vec::new();
            push_prefix(&mut prefix, &x);
            prop_assert_eq!(key(&y).starts_with(&prefix), b.starts_with(&a) );
        }
    }

    #[test]
    fn segments_cover_every_hash_once() {
        for total in [1, 2, 3, 7, 1000] {
            let mut next = Some([0; 4]);
            for n in 0..total {
                let (begin, end) = segment(n, total);
                assert_eq!(Some(begin), next);
                next = end;
            }
            assert_eq!(next, None);
        }
    }
}
