//! Keys in the index.
//!
//! ```text
//! object   bucket(8) o key
//! upload   bucket(8) u key 00 id
//! part     bucket(8) p id 00 number(4)
//! ```

pub fn object(bucket: u64, key: &str) -> Vec<u8> {
    [&objects(bucket)[..], key.as_bytes()].concat()
}

/// What the keys of a bucket's objects begin with.
pub fn objects(bucket: u64) -> Vec<u8> {
    kind(bucket, b'o')
}

pub fn upload(bucket: u64, key: &str, id: &str) -> Vec<u8> {
    [&uploads(bucket)[..], key.as_bytes(), &[0], id.as_bytes()].concat()
}

pub fn uploads(bucket: u64) -> Vec<u8> {
    kind(bucket, b'u')
}

pub fn part(bucket: u64, id: &str, number: u32) -> Vec<u8> {
    [&parts(bucket, id)[..], &number.to_be_bytes()].concat()
}

pub fn parts(bucket: u64, id: &str) -> Vec<u8> {
    [&kind(bucket, b'p')[..], id.as_bytes(), &[0]].concat()
}

/// The letter that says what is under a key.
pub fn letter(key: &[u8]) -> Option<u8> {
    key.get(8).copied()
}

fn kind(bucket: u64, letter: u8) -> Vec<u8> {
    let mut key = bucket.to_be_bytes().to_vec();
    key.push(letter);
    key
}
