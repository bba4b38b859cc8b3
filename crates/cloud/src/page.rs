//! Pagination: a token names the key after which the next page begins, so that pages stay right while
//! records come and go.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The token was not one of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct BadToken;

/// One page of `items`, which must be sorted by `key`; the token of the next page, if there is one.
pub fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    limit: usize,
    token: Option<&str>,
) -> Result<(Vec<T>, Option<String>), BadToken> {
    let after = token.map(decode).transpose()?;
    let mut page = Vec::new();
    for item in items {
        if after.as_ref().is_some_and(|after| key(&item) <= *after) {
            continue;
        }
        if page.len() == limit {
            let token = page.last().map(|last| encode(&key(last)));
            return Ok((page, token));
        }
        page.push(item);
    }
    Ok((page, None))
}

/// The token of the page after `key`.
pub fn encode(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("1:{key}"))
}

/// The key that a token was made of.
pub fn decode(token: &str) -> Result<String, BadToken> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
    let text = String::from_utf8(bytes).map_err(|_| BadToken)?;
    text.strip_prefix("1:").map(str::to_owned).ok_or(BadToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once_and_survive_removal() {
        let key = |n: &u32| format!("{n:03}");
        let (first, token) = page(0..5, key, 2, None).unwrap();
        assert_eq!(first, [0, 1]);
        let (second, token) = page([0, 3, 4], key, 2, token.as_deref()).unwrap();
        assert_eq!((second, token), (vec![3, 4], None));
        assert_eq!(page(0..5, key, 2, Some("?")), Err(BadToken));
    }
}
