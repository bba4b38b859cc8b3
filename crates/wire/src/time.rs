//! Timestamps in the forms AWS uses: ISO 8601, epoch seconds.

/// `2026-11-23T06:15:55.123Z`.
pub fn iso8601(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// `20261123T061555Z`, as signatures have it.
pub fn basic(seconds: i64) -> String {
    let iso = iso8601(seconds * 1000);
    let mut basic: String = iso[..19].chars().filter(|c| *c != '-' && *c != ':').collect();
    basic.push('Z');
    basic
}

/// Milliseconds of an ISO 8601 instant: extended or basic form, any fraction, `Z` or an offset; a date
/// alone is its midnight.
pub fn parse(text: &str) -> Option<i64> {
    if !text.is_ascii() {
        return None;
    }
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00Z"),
    };
    let (year, month, day) = match date.len() {
        10 if date.as_bytes()[4] == b'-' && date.as_bytes()[7] == b'-' => {
            (number(date.get(..4)?)?, number(date.get(5..7)?)?, number(date.get(8..)?)?)
        }
        8 => (number(date.get(..4)?)?, number(date.get(4..6)?)?, number(date.get(6..)?)?),
        _ => return None,
    };
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let offset_minutes = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
            if digits.len() != 4 {
                return None;
            }
            sign * (number(&digits[..2])? * 60 + number(&digits[2..])?)
        }
    };
    let (clock, milli) = match clock.split_once('.') {
        Some((clock, fraction)) => {
            number(fraction)?;
            (clock, number(&format!("{fraction:0<3}")[..3])?)
        }
        None => (clock, 0),
    };
    let digits: String = clock.chars().filter(|c| *c != ':').collect();
    let (hour, minute, second) = match digits.len() {
        6 => (number(&digits[..2])?, number(&digits[2..4])?, number(&digits[4..])?),
        4 => (number(&digits[..2])?, number(&digits[2..])?, 0),
        _ => return None,
    };
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && civil(days(year, month, day)) == (year, month, day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !valid {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - offset_minutes * 60) * 1000 + milli)
}

fn number(digits: &str) -> Option<i64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Year, month and day of a day since the epoch (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// The inverse of `civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(basic(1_440_938_160), "20150830T123600Z");
        for (text, expected) in [
            ("2015-08-30T12:36:00Z", Some(1_440_938_160_000)),
            ("20150830T123600Z", Some(1_440_938_160_000)),
            ("2015-08-30T14:36:00.5+02:00", Some(1_440_938_160_500)),
            ("2015-08-30", Some(1_440_892_800_000)),
            ("2015-02-29T00:00:00Z", None),
            ("2015-13-01T00:00:00Z", None),
            ("yesterday", None),
            ("2015-08-30T12:36:00.Z", None),
            ("", None),
            ("éé-08-30", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_ways(ms in -62_135_596_800_000i64..253_402_300_799_999) {
            prop_assert_eq!(parse(&iso8601(ms)), Some(ms));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }
    }
}
