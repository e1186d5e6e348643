//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 section 13): a resource's `resourceVersion` in quotes.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::http::error::{ApiError, ApiResult, ErrorCode};

/// What the caller last saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or `*`.
    Any,
    /// One of these versions.
    Versions(Vec<String>),
}

impl IfMatch {
    /// 412 unless `version` is what the caller saw.
    pub fn check(&self, version: &str) -> ApiResult<()> {
        match self {
            IfMatch::Any => Ok(()),
            IfMatch::Versions(seen) if seen.iter().any(|one| one == version) => Ok(()),
            IfMatch::Versions(_) => Err(ApiError::new(ErrorCode::StaleVersion, format!("the present version is {version}"))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Ok(tags(&parts.headers, header::IF_MATCH)?.map_or(IfMatch::Any, IfMatch::Versions))
    }
}

/// `ETag` of a version.
pub fn etag(version: &str) -> HeaderValue {
    // Versions are our own numbers: always a valid header.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// True when the caller has this version already, so that 304 is the answer.
pub fn is_known(headers: &HeaderMap, version: &str) -> bool {
    matches!(tags(headers, header::IF_NONE_MATCH), Ok(Some(known)) if known.iter().any(|one| one == version))
}

/// The tags of a list, weak ones too (the same bytes mean the same here); None without the header and for `*`.
fn tags(headers: &HeaderMap, name: HeaderName) -> ApiResult<Option<Vec<String>>> {
    let mut found = None;
    for value in headers.get_all(&name) {
        let refuse = || ApiError::new(ErrorCode::MalformedRequest, format!("{name} is a list of tags in quotes, or *"));
        let text = value.to_str().map_err(|_| refuse())?.trim();
        if text == "*" {
            return Ok(None);
        }
        let list = found.get_or_insert_with(Vec::new);
        for tag in text.split(',').map(str::trim) {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(refuse)?;
            list.push(version.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(value))])
    }

    #[test]
    fn tags_are_lists() {
        assert_eq!(tags(&headers("\"1\", W/\"2\""), header::IF_NONE_MATCH).unwrap(), Some(vec!["1".into(), "2".into()]));
        assert_eq!(tags(&headers("*"), header::IF_NONE_MATCH).unwrap(), None);
        for bad in ["1", "\"1", "\"1\" \"2\""] {
            let result = tags(&headers(bad), header::IF_NONE_MATCH);
            assert!(result.is_err() || result.unwrap() != Some(vec!["1".into()]), "{bad}");
        }
        assert!(is_known(&headers("\"7\""), "7"));
        assert!(!is_known(&headers("\"7\""), "77"));
    }

    #[test]
    fn a_stale_version_is_refused() {
        let seen = IfMatch::Versions(vec!["3".into()]);
        assert!(seen.check("3").is_ok());
        assert_eq!(seen.check("4").unwrap_err().code(), ErrorCode::StaleVersion);
        assert!(IfMatch::Any.check("4").is_ok());
    }
}
