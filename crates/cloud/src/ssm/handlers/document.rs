//! Documents on the wire: the one there is.

use wire::ssm as w;

use crate::services::{Entry, serve};
use crate::ssm::{Error, Result, document};
use crate::{Context, Timestamp, page};

const PAGE: usize = 10;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::DescribeDocument, _, _, _>(describe_document),
        serve::<w::GetDocument, _, _, _>(get_document),
        serve::<w::ListDocuments, _, _, _>(list_documents),
    ]
}

fn timestamp(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp(at.0)
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A name of a version is what no document of AWS's has.
fn find(name: &str, version: Option<&str>, version_name: Option<String>) -> Result<&'static str> {
    if let Some(version) = version_name {
        let why = format!("Document {name} has no version named {version}.");
        return Err(Error::InvalidDocumentVersion(why));
    }
    document::find(name, version)
}

async fn describe_document(
    _cx: Context,
    input: w::DescribeDocumentRequest,
) -> Result<w::DescribeDocumentResult> {
    let name = find(&input.name, input.document_version.as_deref(), input.version_name)?;
    let parameters = document::PARAMETERS.iter().map(|parameter| w::DocumentParameter {
        name: text(parameter.name),
        r#type: text(parameter.ty),
        description: text(parameter.description),
        default_value: parameter.default.map(str::to_owned),
    });
    let description = w::DocumentDescription {
        name: text(name),
        owner: text("Amazon"),
        created_date: Some(timestamp(document::CREATED)),
        status: text("Active"),
        hash: Some(document::hash()),
        hash_type: text("Sha256"),
        document_version: text(document::VERSION),
        latest_version: text(document::VERSION),
        default_version: text(document::VERSION),
        description: text("Run a shell script."),
        parameters: Some(parameters.collect()),
        platform_types: Some(vec!["Linux".to_owned()]),
        document_type: text("Command"),
        schema_version: text("1.2"),
        document_format: text("JSON"),
        tags: Some(vec![]),
        ..Default::default()
    };
    Ok(w::DescribeDocumentResult { document: Some(description) })
}

async fn get_document(_cx: Context, input: w::GetDocumentRequest) -> Result<w::GetDocumentResult> {
    let name = find(&input.name, input.document_version.as_deref(), input.version_name)?;
    if input.document_format.is_some_and(|format| format != "JSON") {
        return Err(Error::validation("DocumentFormat is JSON here."));
    }
    Ok(w::GetDocumentResult {
        name: text(name),
        created_date: Some(timestamp(document::CREATED)),
        document_version: text(document::VERSION),
        status: text("Active"),
        content: Some(document::content()),
        document_type: text("Command"),
        document_format: text("JSON"),
        ..Default::default()
    })
}

async fn list_documents(
    _cx: Context,
    input: w::ListDocumentsRequest,
) -> Result<w::ListDocumentsResult> {
    let older = input.document_filter_list.unwrap_or_default();
    let older = older.into_iter().map(|filter| (filter.key, vec![filter.value]));
    let newer = input.filters.unwrap_or_default().into_iter();
    let newer = newer.map(|one| (one.key.unwrap_or_default(), one.values.unwrap_or_default()));
    let mut listed = true;
    for (key, values) in older.chain(newer) {
        let has = |known: &str| values.iter().any(|value| value == known);
        listed &= match key.as_str() {
            "Name" => values.iter().any(|value| document::RUN_SHELL_SCRIPT.starts_with(value)),
            "Owner" => has("Amazon") || has("Public") || has("All"),
            "PlatformTypes" => has("Linux"),
            "DocumentType" => has("Command"),
            key if key.starts_with("tag:") => false,
            "SearchKeyword" => {
                let name = document::RUN_SHELL_SCRIPT.to_ascii_lowercase();
                values.iter().all(|value| name.contains(&value.to_ascii_lowercase()))
            }
            _ => return Err(Error::InvalidFilterKey(format!("{key} is not a filter key."))),
        };
    }
    let all = listed.then(|| w::DocumentIdentifier {
        name: text(document::RUN_SHELL_SCRIPT),
        created_date: Some(timestamp(document::CREATED)),
        owner: text("Amazon"),
        platform_types: Some(vec!["Linux".to_owned()]),
        document_version: text(document::VERSION),
        document_type: text("Command"),
        schema_version: text("1.2"),
        document_format: text("JSON"),
        tags: Some(vec![]),
        ..Default::default()
    });
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let token = input.next_token.as_deref();
    let name = |document: &w::DocumentIdentifier| document.name.clone().unwrap_or_default();
    let (identifiers, next_token) = page::page(all, name, limit, token)?;
    Ok(w::ListDocumentsResult { document_identifiers: Some(identifiers), next_token })
}
