//! DynamoDB's numbers: decimal, 38 significant digits, magnitudes from 1E-130 to
//! 9.9999999999999999999999999999999999999E+125 (AWS: "Supported data types", Number).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const DIGITS: i32 = 38;
const LARGEST_EXPONENT: i32 = 125;
const SMALLEST_EXPONENT: i32 = -130;

/// `coefficient` × 10^`exponent`; the coefficient ends in no zero, and zero is all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    Syntax(String),
    #[error("The parameter cannot be converted to a numeric value")]
    Empty,
    #[error("Attempting to store more than 38 significant digits in a Number")]
    Precision,
    #[error(
        "Number overflow. Attempting to store a number with magnitude larger than supported range"
    )]
    Overflow,
    #[error(
        "Number underflow. Attempting to store a number with magnitude smaller than supported range"
    )]
    Underflow,
}

impl Number {
    fn new(negative: bool, mut coefficient: u128, mut exponent: i32) -> Result<Number, Invalid> {
        if coefficient == 0 {
            return Ok(Number { negative: false, coefficient: 0, exponent: 0 });
        }
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        let number = Number { negative, coefficient, exponent };
        if number.digits() > DIGITS {
            Err(Invalid::Precision)
        } else if number.magnitude() > LARGEST_EXPONENT {
            Err(Invalid::Overflow)
        } else if number.magnitude() < SMALLEST_EXPONENT {
            Err(Invalid::Underflow)
        } else {
            Ok(number)
        }
    }

    /// Significant digits; 1 for zero.
    pub fn digits(&self) -> i32 {
        self.coefficient.checked_ilog10().map_or(1, |log| log as i32 + 1)
    }

    /// The exponent of the first digit.
    fn magnitude(&self) -> i32 {
        self.exponent + self.digits() - 1
    }

    pub fn is_negative(&self) -> bool {
        self.negative
    }

    pub fn negated(self) -> Number {
        Number { negative: !self.negative && self.coefficient != 0, ..self }
    }

    pub fn plus(self, other: Number) -> Result<Number, Invalid> {
        if self.coefficient == 0 {
            return Ok(other);
        }
        if other.coefficient == 0 {
            return Ok(self);
        }
        let exponent = self.exponent.min(other.exponent);
        let scaled = |n: Number| {
            let scale = 10u128.checked_pow((n.exponent - exponent) as u32)?;
            n.coefficient.checked_mul(scale)
        };
        let (a, b) =
            (scaled(self).ok_or(Invalid::Precision)?, scaled(other).ok_or(Invalid::Precision)?);
        if self.negative == other.negative {
            let sum = a.checked_add(b).ok_or(Invalid::Precision)?;
            return Number::new(self.negative, sum, exponent);
        }
        match a >= b {
            true => Number::new(self.negative, a - b, exponent),
            false => Number::new(other.negative, b - a, exponent),
        }
    }

    /// Bytes whose order is that of the numbers; none begins another.
    ///
    /// Positive: `81`, the magnitude, two digits a byte (1 to 100), `00`. Zero: `80`. Negative: `7F` and
    /// the complement of what follows the sign in the positive.
    pub fn to_key(self, key: &mut Vec<u8>) {
        if self.coefficient == 0 {
            return key.push(0x80);
        }
        key.push(if self.negative { 0x7f } else { 0x81 });
        let begin = key.len();
        key.push((self.magnitude() - SMALLEST_EXPONENT) as u8);
        let mut digits = self.coefficient.to_string().into_bytes();
        if !digits.len().is_multiple_of(2) {
            digits.push(b'0');
        }
        key.extend(digits.chunks(2).map(|pair| (pair[0] - b'0') * 10 + (pair[1] - b'0') + 1));
        key.push(0);
        if self.negative {
            key[begin..].iter_mut().for_each(|b| *b = !*b);
        }
    }

    /// 17 bytes of sign and coefficient, 2 of the exponent.
    pub fn to_bytes(self) -> [u8; 19] {
        let mut bytes = [0; 19];
        bytes[0] = u8::from(self.negative);
        bytes[1..17].copy_from_slice(&self.coefficient.to_be_bytes());
        bytes[17..].copy_from_slice(&(self.exponent as i16).to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 19]) -> Number {
        let mut coefficient = [0; 16];
        coefficient.copy_from_slice(&bytes[1..17]);
        Number {
            negative: bytes[0] == 1,
            coefficient: u128::from_be_bytes(coefficient),
            exponent: i32::from(i16::from_be_bytes([bytes[17], bytes[18]])),
        }
    }
}

impl From<u32> for Number {
    fn from(n: u32) -> Number {
        Number::new(false, u128::from(n), 0).expect("small enough")
    }
}

impl FromStr for Number {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Number, Invalid> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(Invalid::Empty);
        }
        let syntax = || Invalid::Syntax(text.to_owned());
        let (negative, rest) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(syntax());
                }
                // Beyond any number's range, whatever the mantissa.
                let fallback = if exponent.starts_with('-') { -100_000_000 } else { 100_000_000 };
                (mantissa, exponent.parse().unwrap_or(fallback).clamp(-100_000_000, 100_000_000))
            }
            None => (rest, 0i32),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        let exponent = exponent - fraction.len() as i32;
        let significant = digits.trim_start_matches('0');
        let trimmed = significant.trim_end_matches('0');
        if trimmed.len() > DIGITS as usize {
            return Err(Invalid::Precision);
        }
        let dropped = (significant.len() - trimmed.len()) as i32;
        let coefficient =
            if trimmed.is_empty() { 0 } else { trimmed.parse().map_err(|_| syntax())? };
        Number::new(negative, coefficient, exponent + dropped)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        let sign = |n: &Number| match (n.coefficient, n.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let absolute = || {
            self.magnitude().cmp(&other.magnitude()).then_with(|| {
                let width = |n: &Number| n.coefficient * 10u128.pow((DIGITS - n.digits()) as u32);
                width(self).cmp(&width(other))
            })
        };
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => absolute(),
            _ => absolute().reverse(),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Without an exponent, as DynamoDB answers.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.coefficient.to_string();
        let sign = if self.negative { "-" } else { "" };
        if self.exponent >= 0 {
            return write!(f, "{sign}{digits}{:0<1$}", "", self.exponent as usize);
        }
        let places = (-self.exponent) as usize;
        match digits.len().checked_sub(places) {
            Some(whole) if whole > 0 => {
                write!(f, "{sign}{}.{}", &digits[..whole], &digits[whole..])
            }
            _ => write!(f, "{sign}0.{digits:0>places$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn texts_are_normalised() {
        for (text, expected) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007", "7"),
            ("1e3", "1000"),
            ("-1.50", "-1.5"),
            (".5", "0.5"),
            ("1E-3", "0.001"),
            ("123.456e1", "1234.56"),
            ("0e999999999999", "0"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ] {
            assert_eq!(number(text).to_string(), expected, "{text}");
        }
        assert_eq!(number("1e125").to_string().len(), 126);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, expected) in [
            ("", Invalid::Empty),
            ("abc", Invalid::Syntax("abc".into())),
            ("1e", Invalid::Syntax("1e".into())),
            ("1.2.3", Invalid::Syntax("1.2.3".into())),
            ("--1", Invalid::Syntax("--1".into())),
            ("100000000000000000000000000000000000001.1", Invalid::Precision),
            ("1e126", Invalid::Overflow),
            ("-1e126", Invalid::Overflow),
            ("1e-131", Invalid::Underflow),
            ("1e99999999999999999", Invalid::Overflow),
        ] {
            assert_eq!(text.parse::<Number>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn sums() {
        for (a, b, sum) in
            [("1", "2", "3"), ("0.1", "0.2", "0.3"), ("5", "-7", "-2"), ("1e30", "-1e30", "0")]
        {
            assert_eq!(number(a).plus(number(b)).unwrap(), number(sum));
        }
        assert_eq!(number("1e100").plus(number("1")), Err(Invalid::Precision));
        assert_eq!(number("9e125").plus(number("9e125")), Err(Invalid::Overflow));
    }

    fn any_number() -> impl Strategy<Value = Number> {
        (any::<bool>(), prop_oneof![0..1000u128, 0..10u128.pow(38)], -130..88i32)
            .prop_filter_map("in range", |(n, c, e)| Number::new(n, c, e).ok())
    }

    proptest! {
        #[test]
        fn text_and_bytes_come_back(n in any_number()) {
            prop_assert_eq!(number(&n.to_string()), n);
            prop_assert_eq!(Number::from_bytes(&n.to_bytes()), n);
        }

        #[test]
        fn keys_order_as_numbers_do(a in any_number(), b in any_number()) {
            let key = |n: Number| { let mut key = Vec::new(); n.to_key(&mut key); key };
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }

        #[test]
        fn order_is_that_of_floats(a in -1e6..1e6f64, b in -1e6..1e6f64) {
            prop_assert_eq!(number(&a.to_string()).partial_cmp(&number(&b.to_string())), a.partial_cmp(&b));
        }
    }
}
