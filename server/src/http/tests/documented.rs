//! Every answer that any test here gets is one that the document lists: its status, and its media type.

use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode, header};
use utoipa::openapi::{OpenApi, RefOr, Response};

use crate::http::auth::access::methods;
use crate::http::router;

static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(router::document);

/// Panics when an operation of the API answers what it does not declare. `call` is the method and the target.
#[track_caller]
pub(super) fn check(call: &str, status: StatusCode, headers: &HeaderMap) {
    let (method, target) = call.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap_or_default();
    let Some((template, item)) =
        DOCUMENT.paths.paths.iter().filter(|(template, _)| fits(template, path)).min_by_key(|(t, _)| t.contains('{'))
    else {
        return;
    };
    let Some((_, operation)) = methods(item).find(|(known, _)| known == method) else { return };
    // A page of ours where a person would look, and the way to it: for browsers, which ask for HTML.
    if status == StatusCode::SEE_OTHER {
        return;
    }
    let declared = operation.responses.responses.get(status.as_str());
    let response = match declared.unwrap_or_else(|| panic!("{call}: {status} is not declared for {method} {template}")) {
        RefOr::T(response) => response,
        RefOr::Ref(reference) => shared(&reference.ref_location),
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(|kind| kind.split(';').next());
    if let Some(kind) = kind.filter(|kind| *kind != "text/html") {
        assert!(response.content.contains_key(kind), "{call}: {status} as {kind:?} is not declared for {method} {template}");
    }
}

fn shared(reference: &str) -> &'static Response {
    let name = reference.rsplit('/').next().unwrap_or_default();
    match DOCUMENT.components.as_ref().and_then(|components| components.responses.get(name)) {
        Some(RefOr::T(response)) => response,
        _ => panic!("{reference} leads nowhere"),
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(&path).all(|(wanted, given)| wanted == given || wanted.starts_with('{'))
}
