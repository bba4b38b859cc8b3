//! Operations as clients send them, those of EC2 above all, for tests.

use std::sync::Arc;

use crate::Context;

/// An operation of EC2 as a client sends it: status and body, or what is wrong.
pub async fn call(cx: &Context, operation: &str, members: &str) -> (u16, String) {
    let mut table = crate::services::table().into_iter();
    let entry = table.find(|e| e.service == "ec2" && e.operation == operation).expect("is served");
    let body = format!("Action={operation}&Version=2016-11-15&{members}");
    let request = wire::Request {
        service: "ec2",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Ec2,
        method: http::Method::POST,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        body: body.into_bytes().into(),
    };
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => {
            let text = String::from_utf8(response.body.to_vec()).expect("XML is UTF-8");
            (response.status.as_u16(), text)
        }
        Err(error) => (error.status, format!("{}: {}", error.code, error.message)),
    }
}

/// The body of a call that must succeed.
pub async fn ok(cx: &Context, operation: &str, members: &str) -> String {
    let (status, body) = call(cx, operation, members).await;
    assert_eq!(status, 200, "{operation} {members}: {body}");
    body
}

/// The code of a call that must fail.
pub async fn refused(cx: &Context, operation: &str, members: &str) -> String {
    let (status, body) = call(cx, operation, members).await;
    assert_ne!(status, 200, "{operation} {members}: {body}");
    body.split(':').next().unwrap_or_default().to_owned()
}

/// The text of the first element of that name.
pub fn text(body: &str, name: &str) -> String {
    let opened = body.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
    let inner = opened.and_then(|rest| rest.split_once(&format!("</{name}>")));
    inner.unwrap_or_else(|| panic!("no {name} in {body}")).0.to_owned()
}

/// An operation of a service that speaks JSON, or of IAM by a form: its body, or the code of its error.
pub async fn ask(
    cx: &Context,
    service: &'static str,
    operation: &str,
    body: &str,
) -> Result<String, String> {
    let mut table = crate::services::table().into_iter();
    let entry = table.find(|e| e.service == service && e.operation == operation);
    let entry = entry.expect("is served");
    let request = wire::Request {
        service,
        operation: operation.to_owned(),
        protocol: wire::Service::named(service).expect("there is one").protocol,
        method: http::Method::POST,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        body: body.as_bytes().to_vec().into(),
    };
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => Ok(String::from_utf8(response.body.to_vec()).expect("text")),
        Err(error) => Err(error.code),
    }
}

/// An instance profile of that name with a role for EC2 that may do this.
pub async fn profile(cx: &Context, name: &str, policy: &str) {
    role(cx, name, "ec2.amazonaws.com", policy).await;
    for (operation, form) in [
        ("CreateInstanceProfile", format!("InstanceProfileName={name}")),
        ("AddRoleToInstanceProfile", format!("InstanceProfileName={name}&RoleName={name}")),
    ] {
        ask(cx, "iam", operation, &form).await.unwrap();
    }
}

/// A role of that name for a service, that may do this; its ARN.
pub async fn role(cx: &Context, name: &str, service: &str, policy: &str) -> String {
    let encode = |text: &str| wire::query::params::percent_encode(text.as_bytes(), false);
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",
        "Principal":{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}}}"#
    );
    for (operation, form) in [
        ("CreateRole", format!("RoleName={name}&AssumeRolePolicyDocument={}", encode(&trust))),
        (
            "PutRolePolicy",
            format!("RoleName={name}&PolicyName=p&PolicyDocument={}", encode(policy)),
        ),
    ] {
        ask(cx, "iam", operation, &form).await.unwrap();
    }
    crate::arn::arn("iam", "", &cx.account, &format!("role/{name}"))
}
