//! Metadata that every resource carries.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What names and labels a resource, as in Kubernetes' `ObjectMeta`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// RFC 1123 label.
    #[schema(example = "web")]
    pub name: String,
    /// 32 hexadecimal digits; names every kernel object of the resource.
    #[schema(example = "01936c8e6f7a7c319d2b5a8f0e4b1c77")]
    pub uid: String,
    #[serde(default)]
    #[schema(required = true, example = json!({"app": "site"}))]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    #[schema(required = true)]
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub creation_timestamp: Timestamp,
    /// Set while the resource is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deletion_timestamp: Option<Timestamp>,
    /// Grows with each change of spec or status; also the `ETag`.
    #[schema(example = "42")]
    pub resource_version: String,
    /// Grows with each change of the spec.
    pub generation: u64,
}

/// What a list says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Pass as `continue` to get the next page; empty on the last one.
    #[serde(rename = "continue")]
    #[schema(example = "")]
    pub continue_token: String,
    #[schema(example = 0)]
    pub remaining_item_count: u64,
    /// Of the newest change; also the `ETag`.
    #[schema(example = "42")]
    pub resource_version: String,
}
