//! Collections: what a list takes, and how its answer is put together from resources that are JSON already.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ApiResult, FieldError};
use super::extract::precondition;
use crate::model::{ListMeta, Phase};
use crate::store::ListQuery;

/// `limit`, `continue`, `labelSelector`.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ListParams {
    /// Most items of the answer; all when absent or 0.
    #[param(minimum = 0, example = 100)]
    pub limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    pub continue_token: Option<String>,
    /// As in Kubernetes: `app=web,tier in (front,back),!legacy`.
    #[param(example = "app=web")]
    pub label_selector: Option<String>,
}

/// The same, and `phase`.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct PhaseListParams {
    /// Most items of the answer; all when absent or 0.
    #[param(minimum = 0, example = 100)]
    pub limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    pub continue_token: Option<String>,
    /// As in Kubernetes: `app=web,tier in (front,back),!legacy`.
    #[param(example = "app=web")]
    pub label_selector: Option<String>,
    /// Only those in this phase.
    pub phase: Option<Phase>,
}

impl ListParams {
    pub fn query(self) -> ApiResult<ListQuery> {
        let ListParams { limit, continue_token, label_selector } = self;
        PhaseListParams { limit, continue_token, label_selector, phase: None }.query()
    }
}

impl PhaseListParams {
    pub fn query(self) -> ApiResult<ListQuery> {
        let selector = match &self.label_selector {
            Some(text) => text.parse().map_err(|error: crate::model::selector::SelectorError| {
                ApiError::invalid(vec![FieldError::new("/query/labelSelector", error.to_string())])
            })?,
            None => Default::default(),
        };
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok());
        Ok(ListQuery { selector, phase: self.phase, limit, continue_token: self.continue_token.filter(|token| !token.is_empty()) })
    }
}

/// A collection as it goes out. For the document: the answer itself is put together from finished texts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    pub metadata: ListMeta,
}

/// `{items, metadata}` from items that are JSON; 304 when the caller has this revision.
pub fn respond<I: AsRef<str>>(headers: &HeaderMap, items: &[I], meta: &ListMeta) -> Response {
    let tag = precondition::etag(&meta.resource_version);
    if precondition::is_known(headers, &meta.resource_version) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let size = items.iter().map(|item| item.as_ref().len() + 1).sum::<usize>() + 160;
    let mut body = String::with_capacity(size);
    body.push_str("{\"items\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(item.as_ref());
    }
    body.push_str("],\"metadata\":");
    // Texts and numbers only: this cannot fail.
    body.push_str(&serde_json::to_string(meta).unwrap_or_default());
    body.push('}');
    json_body(Bytes::from(body), [(header::ETAG, tag)]).into_response()
}

/// One resource that is JSON already, with its `ETag`; 304 when the caller has it.
pub fn one(headers: &HeaderMap, json: &str, version: &str) -> Response {
    let tag = precondition::etag(version);
    if precondition::is_known(headers, version) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    one_anew(json, version)
}

/// The same whatever the caller has: for what tells more than its version does, as who uses it, and when it was used last.
pub fn one_anew(json: &str, version: &str) -> Response {
    json_body(Bytes::copy_from_slice(json.as_bytes()), [(header::ETAG, precondition::etag(version))]).into_response()
}

/// 201 with the resource's address.
pub fn created(location: String, json: &str, version: &str) -> Response {
    let mut response = json_body(Bytes::copy_from_slice(json.as_bytes()), [(header::ETAG, precondition::etag(version))]).into_response();
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = location.try_into() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn json_body(body: Bytes, head: impl axum::response::IntoResponseParts) -> impl IntoResponse {
    (head, [(header::CONTENT_TYPE, "application/json")], body)
}

/// JSON of a resource of ours.
pub fn json<T: Serialize>(value: &T) -> ApiResult<String> {
    serde_json::to_string(value).map_err(ApiError::internal)
}

/// A page of a short collection that the store gives whole, in its order; `key` is what `continue` remembers. When that item has gone since, the
/// page begins anew: all again is better than some never.
pub fn page<T>(items: Vec<T>, query: &ListQuery, revision: u64, key: impl Fn(&T) -> &str) -> ApiResult<(Vec<T>, ListMeta)> {
    let start = match &query.continue_token {
        None => 0,
        Some(token) => {
            let after =
                token.strip_prefix("after.").ok_or_else(|| ApiError::field("/query/continue", "is not from a list of this kind"))?;
            items.iter().position(|item| key(item) == after).map_or(0, |position| position + 1)
        }
    };
    let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let total = items.len();
    let shown: Vec<T> = items.into_iter().skip(start).take(limit).collect();
    let remaining = total - start.min(total) - shown.len();
    let continue_token =
        if remaining > 0 { shown.last().map(|item| format!("after.{}", key(item))).unwrap_or_default() } else { String::new() };
    let meta = ListMeta { continue_token, remaining_item_count: remaining as u64, resource_version: revision.to_string() };
    Ok((shown, meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let all = || vec!["a", "b", "c"];
        let query = ListQuery { limit: Some(2), ..ListQuery::default() };
        let (first, meta) = page(all(), &query, 7, |item| item).unwrap();
        assert_eq!((first, meta.continue_token.as_str(), meta.remaining_item_count), (vec!["a", "b"], "after.b", 1));
        let query = ListQuery { continue_token: Some(meta.continue_token), ..query };
        let (rest, meta) = page(all(), &query, 7, |item| item).unwrap();
        assert_eq!((rest, meta.continue_token.as_str(), meta.remaining_item_count), (vec!["c"], "", 0));
        let query = ListQuery { continue_token: Some("x".into()), ..query };
        assert!(page(all(), &query, 7, |item| item).is_err());
    }

    #[test]
    fn a_selector_that_is_none_names_its_parameter() {
        let params = ListParams { label_selector: Some("a in (".into()), ..ListParams::default() };
        assert_eq!(params.query().unwrap_err().errors()[0].path, "/query/labelSelector");
    }
}
