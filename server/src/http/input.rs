//! What comes in where a resource goes out: only what a client may say is read from it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::error::{ApiResult, FieldError};

/// `metadata` of a create. What the server gives (uid, times, versions) may be there, from a resource that was read before, and is ignored.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetadataInput {
    /// RFC 1123 label; generated when absent.
    #[schema(example = "web")]
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    #[schema(ignore)]
    uid: Option<Value>,
    #[schema(ignore)]
    creation_timestamp: Option<Value>,
    #[schema(ignore)]
    deletion_timestamp: Option<Value>,
    #[schema(ignore)]
    resource_version: Option<Value>,
    #[schema(ignore)]
    generation: Option<Value>,
}

impl MetadataInput {
    /// The faults of name, labels and annotations.
    pub fn faults(&self) -> Vec<FieldError> {
        crate::model::validate::metadata(self.name.as_deref(), &self.labels, &self.annotations).into_iter().map(Into::into).collect()
    }
}

/// `kind`, where a client sends it, must be the right one.
pub fn kind_faults(given: Option<&str>, wanted: &str) -> Vec<FieldError> {
    match given {
        Some(kind) if kind != wanted => vec![FieldError::new("/kind", format!("must be {wanted:?}"))],
        _ => Vec::new(),
    }
}

/// An error when there are faults.
pub fn check(faults: Vec<FieldError>) -> ApiResult<()> {
    if faults.is_empty() { Ok(()) } else { Err(super::error::ApiError::invalid(faults)) }
}
