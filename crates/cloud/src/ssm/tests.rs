//! Parameter Store against a cloud in memory.

use super::filter::Filter;
use super::model::{Kind, Parameter, Tier};
use super::ops::{self, Put};
use super::{Result, name};
use crate::{Context, testing};

fn parameter(name: &str, value: &str) -> Put {
    Put {
        name: name.to_owned(),
        value: value.to_owned(),
        kind: Some(Kind::String),
        ..Put::default()
    }
}

async fn put(cx: &Context, put: &Put) -> Result<(i64, Tier)> {
    cx.write(|tx| ops::put(tx, cx, put)).await
}

fn code<T>(result: Result<T>) -> &'static str {
    result.err().map_or("accepted", |error| error.code())
}

fn get(cx: &Context, name: &str) -> Result<String> {
    let (version, _) = ops::get(&cx.read(), cx, name)?;
    ops::value(cx, &version, true)
}

#[tokio::test]
async fn versions_and_labels() {
    let cx = testing::context();
    assert_eq!(put(&cx, &parameter("/a/b", "1")).await.unwrap(), (1, Tier::Standard));
    assert_eq!(code(put(&cx, &parameter("/a/b", "2")).await), "ParameterAlreadyExists");
    let again = |value: &str| Put { overwrite: true, kind: None, ..parameter("/a/b", value) };
    assert_eq!(put(&cx, &again("2")).await.unwrap().0, 2);
    let retyped = Put { kind: Some(Kind::SecureString), ..again("3") };
    assert_eq!(code(put(&cx, &retyped).await), "HierarchyTypeMismatchException");

    let label = |number, labels: &[&str]| {
        let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        let cx = cx.clone();
        async move { cx.write(|tx| ops::label(tx, &cx, "/a/b", number, &labels)).await }
    };
    let (invalid, number) = label(Some(1), &["live", "1st", "awsome"]).await.unwrap();
    assert_eq!((invalid, number), (vec!["1st".to_owned(), "awsome".to_owned()], 1));
    assert_eq!(get(&cx, "/a/b:live").unwrap(), "1");
    label(None, &["live"]).await.unwrap();
    for (name, expected) in [("/a/b", "2"), ("/a/b:1", "1"), ("/a/b:live", "2")] {
        assert_eq!(get(&cx, name).unwrap(), expected, "{name}");
    }
    let arn = name::arn(&cx, "/a/b");
    assert_eq!(get(&cx, &format!("{arn}:1")).unwrap(), "1");
    for (name, expected) in [
        ("/a/b:9", "ParameterVersionNotFound"),
        ("/a/b:dead", "ParameterVersionNotFound"),
        ("/a", "ParameterNotFound"),
        (&arn.replace("us-east-1", "us-west-2"), "ParameterNotFound"),
        ("/aws/service/ami-amazon-linux-latest", "ParameterNotFound"),
    ] {
        assert_eq!(code(get(&cx, name)), expected, "{name}");
    }

    for n in 3..=101 {
        put(&cx, &again(&n.to_string())).await.unwrap();
    }
    // The first is dropped; the second is labelled, so nothing can be.
    assert_eq!(ops::versions(&cx.read(), &cx, "/a/b").len(), 100);
    assert_eq!(code(get(&cx, "/a/b:1")), "ParameterVersionNotFound");
    assert_eq!(code(put(&cx, &again("x")).await), "ParameterMaxVersionLimitExceeded");

    cx.write(|tx| ops::delete(tx, &cx, "/a/b")).await.unwrap();
    assert_eq!(ops::versions(&cx.read(), &cx, "/a/b").len(), 0);
    assert_eq!(code(cx.write(|tx| ops::delete(tx, &cx, "/a/b")).await), "ParameterNotFound");
}

#[tokio::test]
async fn secure_strings_lie_sealed() {
    let cx = testing::context();
    let secret = Put { kind: Some(Kind::SecureString), ..parameter("/s", "hush") };
    put(&cx, &secret).await.unwrap();
    let (version, _) = ops::get(&cx.read(), &cx, "/s").unwrap();
    assert!(!version.value.contains("hush"));
    assert_eq!(ops::value(&cx, &version, false).unwrap(), version.value);
    assert_eq!(ops::value(&cx, &version, true).unwrap(), "hush");
    let other_key = Put { key_id: Some("alias/mine".into()), overwrite: true, ..secret };
    assert_eq!(code(put(&cx, &other_key).await), "InvalidKeyId");
}

#[tokio::test]
async fn what_cannot_be() {
    let cx = testing::context();
    let deep = "/x".repeat(16);
    let long = "v".repeat(4097);
    let with = |change: fn(&mut Put)| {
        let mut put = parameter("/ok", "1");
        change(&mut put);
        put
    };
    for (expected, request) in [
        ("ValidationException", parameter("a/b", "1")),
        ("ValidationException", parameter("/a//b", "1")),
        ("ValidationException", parameter("/a/", "1")),
        ("ValidationException", parameter("/a b", "1")),
        ("ValidationException", parameter("SSM-x", "1")),
        ("AccessDeniedException", parameter("/aws/x", "1")),
        ("HierarchyLevelLimitExceededException", parameter(&deep, "1")),
        ("ValidationException", parameter("/a", "")),
        ("ValidationException", parameter("/a", &long)),
        ("ValidationException", parameter("/a", "{{ssm:b}}")),
        ("ValidationException", with(|put| put.kind = None)),
        ("ValidationException", with(|put| put.data_type = Some("jam".into()))),
        ("ValidationException", with(|put| put.data_type = Some("aws:ec2:image".into()))),
        ("ValidationException", with(|put| put.key_id = Some("alias/aws/ssm".into()))),
        ("InvalidAllowedPatternException", with(|put| put.allowed_pattern = Some("(".into()))),
        ("ParameterPatternMismatchException", with(|put| put.allowed_pattern = Some("^b$".into()))),
        ("accepted", with(|put| put.allowed_pattern = Some("^\\d$".into()))),
        ("accepted", Put { tier: Some("Advanced".into()), ..parameter("/b", &long) }),
        ("accepted", Put { tier: Some("Intelligent-Tiering".into()), ..parameter("/c", &long) }),
        ("accepted", parameter(&deep[..30], "1")),
        ("accepted", {
            let image = crate::ec2::image::ops::built_in_id();
            Put { data_type: Some("aws:ec2:image".into()), ..parameter("/image", &image) }
        }),
    ] {
        assert_eq!(code(put(&cx, &request).await), expected, "{request:?}");
    }
    let down = Put { tier: Some("Standard".into()), overwrite: true, ..parameter("/b", "1") };
    assert_eq!(code(put(&cx, &down).await), "ValidationException");
    let tagged = Put { tags: [("k".into(), "v".into())].into(), overwrite: true, ..down };
    assert_eq!(code(put(&cx, &tagged).await), "ValidationException");
}

#[tokio::test]
async fn paths_filters_and_pages() {
    let cx = testing::context();
    for name in ["root", "/one", "/p/a", "/p/b", "/p/q/c", "/pp/d"] {
        put(&cx, &parameter(name, name)).await.unwrap();
    }
    cx.write(|tx| ops::label(tx, &cx, "/p/b", None, &["live".into()])).await.unwrap();
    let filter = |key: &str, option: Option<&str>, values: &[&str]| Filter {
        key: key.to_owned(),
        option: option.map(str::to_owned),
        values: values.iter().map(|value| value.to_string()).collect(),
    };
    let by_path = |path: &str, recursive, filters: &[Filter]| {
        ops::by_path(&cx.read(), &cx, path, recursive, filters, 10, None)
            .map(|(page, _)| names(page))
    };
    assert_eq!(by_path("/", false, &[]).unwrap(), "/one root");
    assert_eq!(by_path("/", true, &[]).unwrap(), "/one /p/a /p/b /p/q/c /pp/d root");
    assert_eq!(by_path("/p", false, &[]).unwrap(), "/p/a /p/b");
    assert_eq!(by_path("/p/", true, &[]).unwrap(), "/p/a /p/b /p/q/c");
    assert_eq!(by_path("/p", true, &[filter("Label", None, &["live"])]).unwrap(), "/p/b");
    assert_eq!(code(by_path("p", true, &[])), "ValidationException");
    assert_eq!(code(by_path("/p", true, &[filter("Name", None, &["x"])])), "InvalidFilterKey");

    let describe = |filters: &[Filter]| {
        ops::describe(&cx.read(), &cx, filters, 50, None).map(|(page, _)| names(page))
    };
    for (filter, expected) in [
        (filter("Name", Some("Contains"), &["p"]), "/p/a /p/b /p/q/c /pp/d"),
        (filter("Name", Some("BeginsWith"), &["/p/"]), "/p/a /p/b /p/q/c"),
        (filter("Name", None, &["/one", "root"]), "/one root"),
        (filter("Path", Some("Recursive"), &["/p"]), "/p/a /p/b /p/q/c"),
        (filter("Path", None, &["/p"]), "/p/a /p/b"),
        (filter("Type", None, &["SecureString"]), ""),
        (filter("Tier", None, &["Standard"]), "/one /p/a /p/b /p/q/c /pp/d root"),
        (filter("tag:k", None, &[]), ""),
    ] {
        assert_eq!(describe(std::slice::from_ref(&filter)).unwrap(), expected, "{filter:?}");
    }
    assert_eq!(code(describe(&[filter("Label", None, &["x"])])), "InvalidFilterKey");
    assert_eq!(code(describe(&[filter("Type", Some("Near"), &["x"])])), "InvalidFilterOption");
    assert_eq!(code(describe(&[filter("Type", None, &[])])), "InvalidFilterValue");

    let mut token = None;
    let mut seen = Vec::new();
    loop {
        let (page, next) = ops::describe(&cx.read(), &cx, &[], 4, token.as_deref()).unwrap();
        seen.push(page.len());
        token = next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, [4, 2]);
    assert_eq!(code(ops::describe(&cx.read(), &cx, &[], 4, Some("?"))), "InvalidNextToken");
}

fn names(page: Vec<super::filter::Listed>) -> String {
    page.iter().map(|listed| listed.parameter.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn tags() {
    let cx = testing::context();
    put(&cx, &parameter("/t", "1")).await.unwrap();
    let tags = [("k".to_owned(), "v".to_owned())].into();
    cx.write(|tx| ops::add_tags(tx, &cx, "Parameter", "/t", &tags)).await.unwrap();
    assert_eq!(ops::tags(&cx.read(), &cx, "Parameter", "/t").unwrap(), tags);
    assert_eq!(code(ops::tags(&cx.read(), &cx, "Document", "/t")), "InvalidResourceType");
    assert_eq!(code(ops::tags(&cx.read(), &cx, "Parameter", "/u")), "InvalidResourceId");
    cx.write(|tx| ops::remove_tags(tx, &cx, "Parameter", "/t", &["k".into()])).await.unwrap();
    assert!(cx.read().get::<Parameter>(&cx.key("/t")).unwrap().tags.is_empty());
}
