//! JSON Merge Patch, RFC 7396.

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use super::json::{self, FieldValidation};
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::model::validate::escape;

/// A patch as it came: an object, to be applied with [`merge`].
#[derive(Debug, Clone)]
pub struct MergePatch {
    pub patch: Map<String, Value>,
    pub validation: FieldValidation,
}

impl<S: Send + Sync> FromRequest<S> for MergePatch {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let validation = FieldValidation::of(request.uri())?;
        json::require_media_type(request.headers(), &["application/merge-patch+json", "application/json"])?;
        let text = json::read(request.into_body()).await?;
        match json::parse(&text, validation)? {
            Value::Object(patch) => Ok(MergePatch { patch, validation }),
            _ => Err(ApiError::field("", "must be an object")),
        }
    }
}

/// Of a resource's `metadata`, beside labels and annotations.
const METADATA: [&str; 7] = ["name", "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "generation", "managedFields"];

impl MergePatch {
    /// Labels, annotations and what `changes` names may change; all else that a resource has may be there when it says what is so already, and
    /// `status` is never taken from a client.
    pub fn check_members(&self, present: &Value, changes: impl Fn(&str) -> bool) -> ApiResult<()> {
        let (mut errors, mut unknown) = (Vec::new(), Vec::new());
        for (key, value) in &self.patch {
            let path = format!("/{}", escape(key));
            match (key.as_str(), value) {
                ("status", _) => {}
                ("metadata", Value::Object(fields)) => {
                    for (field, value) in fields.iter().filter(|(field, _)| !matches!(field.as_str(), "labels" | "annotations")) {
                        let path = format!("/metadata/{}", escape(field));
                        if !METADATA.contains(&field.as_str()) {
                            unknown.push(path);
                        } else if present["metadata"].get(field) != Some(value) {
                            errors.push(FieldError::new(path, "cannot be changed"));
                        }
                    }
                }
                (key, value) if changes(key) => {
                    if !value.is_object() {
                        errors.push(FieldError::new(path, "must be an object"));
                    }
                }
                ("metadata", _) => errors.push(FieldError::new(path, "must be an object")),
                ("kind" | "spec", value) => {
                    if present[key] != *value {
                        errors.push(FieldError::new(path, "cannot be changed"));
                    }
                }
                _ => unknown.push(path),
            }
        }
        if !errors.is_empty() {
            return Err(ApiError::fields(ErrorCode::ImmutableField, errors));
        }
        self.validation.apply(unknown)
    }
}

/// Applies `patch` to `target`: objects are merged, null removes, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The table of RFC 7396, appendix A.
    #[test]
    fn the_examples_of_the_rfc() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (mut target, patch, wanted) in cases {
            merge(&mut target, &patch);
            assert_eq!(target, wanted, "{patch}");
        }
    }
}
