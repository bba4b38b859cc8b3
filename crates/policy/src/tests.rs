//! Whatever the text, it is read or refused.

use proptest::prelude::*;

use crate::value::{Network, date, number};
use crate::{Document, Kind};

const TEXT: &str = r#"{"Version":"2012-10-17","Id":"x","Statement":[{"Sid":"a","Effect":"Allow",
"Principal":{"AWS":["*","arn:aws:iam::111122223333:user/a"],"Service":"ec2.amazonaws.com"},
"NotAction":["s3:*"],"Resource":"arn:aws:s3:::${aws:PrincipalTag/a, 'b''c'}/*?","Condition":{
"ForAnyValue:DateLessThanIfExists":{"aws:x":["2020-01-01T00:00:00.5+01:30","1577836800"]},
"NumericEquals":{"aws:y":1.5},"IpAddress":{"aws:SourceIp":"2001:db8::/32"},"Null":{"aws:z":true},
"ArnLike":{"aws:w":"arn:*:*:*:*:${aws:username}"}}},{"Effect":"Deny",
"NotPrincipal":{"AWS":"111122223333"},"Action":"s3:*","Resource":"*"}]}"#;

const KINDS: [Kind; 5] =
    [Kind::Identity, Kind::Resource, Kind::Trust, Kind::Boundary, Kind::Session];

proptest! {
    #[test]
    fn no_change_of_a_text_brings_the_reader_down(
        changes in prop::collection::vec((0..TEXT.len(), any::<prop::sample::Index>()), 0..4),
    ) {
        const INSTEAD: [&str; 16] = [
            "", "{", "}", "[", "]", "\"", ":", ",", "'", "$", "\\", "é", "*", "0", " ", "\\u0053",
        ];
        let mut text = TEXT.to_owned();
        for (at, index) in changes {
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..at + 1, INSTEAD[index.index(INSTEAD.len())]);
            }
        }
        for kind in KINDS {
            let _ = Document::parse(&text, kind);
        }
    }

    #[test]
    fn no_value_brings_its_reader_down(text in "[-+0-9TZ:./é]{0,24}") {
        let _ = (date(&text), number(&text), Network::new(&text));
    }
}

#[test]
fn the_text_that_is_changed_is_a_policy() {
    Document::parse(TEXT, Kind::Resource).unwrap();
}
