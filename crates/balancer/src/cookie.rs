//! The load balancer's stickiness cookies: an opaque value that names a target (or a group) and when
//! it ends. Every node reads every other's, so the value depends on nothing but names.

/// Names a target or a group in cookies.
pub fn token(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // 0xff ends a part: it occurs in no UTF-8 text.
        for b in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    mix(hash)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `expires` is in seconds since the Unix epoch.
pub fn seal(token: u64, expires: u64) -> String {
    format!("{:016x}{:08x}{:08x}", token, expires as u32, check(token, expires))
}

/// The token, if the value is one of ours and has not ended.
pub fn open(value: &str, now: u64) -> Option<u64> {
    if value.len() != 32 || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let part = |range| u64::from_str_radix(&value[range], 16).ok();
    let (token, expires) = (part(0..16)?, part(16..24)?);
    (part(24..32)? == u64::from(check(token, expires)) && now < expires).then_some(token)
}

fn check(token: u64, expires: u64) -> u32 {
    (mix(token ^ expires.rotate_left(32) ^ 0x5bd1_e995) >> 32) as u32
}

/// The first cookie of that name in a `Cookie` header.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<&'a str> {
    header.split(|&b| b == b';').find_map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?.trim();
        pair.strip_prefix(name)?.strip_prefix('=')
    })
}

/// Two `Set-Cookie` headers, as ALB sends them: the second is for cross-origin requests.
pub fn set(out: &mut Vec<u8>, name: &str, token: u64, now: u64, lasts: u32) {
    let expires = now + u64::from(lasts);
    let value = seal(token, expires);
    let date =
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(expires));
    for (suffix, attributes) in [("", ""), ("CORS", "; SameSite=None")] {
        out.extend_from_slice(
            format!("Set-Cookie: {name}{suffix}={value}; Expires={date}; Path=/{attributes}\r\n")
                .as_bytes(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_until_it_ends() {
        let token = token(&["group", "i-1:80"]);
        let value = seal(token, 1_800_000_000);
        assert_eq!(open(&value, 1_799_999_999), Some(token));
        assert_eq!(open(&value, 1_800_000_000), None);
        let mut forged = value.clone().into_bytes();
        forged[3] ^= 1;
        assert_eq!(open(&String::from_utf8_lossy(&forged), 0), None);
        assert_eq!(open("AAAA", 0), None);
    }

    #[test]
    fn names_do_not_run_together() {
        assert_ne!(token(&["a", "bc"]), token(&["ab", "c"]));
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let header = b"AWSALBCORS=no; x=1;AWSALB=yes; AWSALB=late";
        assert_eq!(find(header, "AWSALB"), Some("yes"));
        assert_eq!(find(header, "AWSALBTG"), None);
    }
}
