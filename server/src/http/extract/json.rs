//! JSON bodies: one parse into one typed value, with the place of every fault.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Uri, header};
use serde::de::DeserializeOwned;

use super::pointer;
use crate::http::context;
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};

/// The most bytes of a JSON body.
pub const MAX_JSON: usize = 1 << 20;

/// A body of [`MAX_JSON`] that takes longer comes from somebody who only wants to hold the connection.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// A JSON body that must be there.
#[derive(Debug, Clone, Copy)]
pub struct ApiJson<T>(pub T);

/// A JSON body that may be left out, or `null` (what generated clients send when nothing is given); `T::default()` then.
#[derive(Debug, Clone, Copy)]
pub struct OptionalJson<T>(pub T);

/// A JSON body as it came, for what must also be kept as it was written.
#[derive(Debug, Clone)]
pub struct RawJson {
    pub text: Bytes,
    pub validation: FieldValidation,
}

impl<S: Send + Sync> FromRequest<S> for RawJson {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let validation = FieldValidation::of(request.uri())?;
        require_media_type(request.headers(), &["application/json"])?;
        Ok(RawJson { text: read(request.into_body()).await?, validation })
    }
}

impl RawJson {
    pub fn parse<T: DeserializeOwned>(&self) -> ApiResult<T> {
        parse(&self.text, self.validation)
    }

    /// One member of the object as it was written, without the white space between its tokens.
    pub fn member(&self, name: &str) -> Option<String> {
        let members: std::collections::HashMap<String, &serde_json::value::RawValue> = serde_json::from_slice(&self.text).ok()?;
        members.get(name).map(|value| compact(value.get()))
    }
}

/// JSON without white space outside of texts.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keep = |c: &char| {
        if in_text {
            (in_text, escaped) = (*c != '"' || escaped, *c == '\\' && !escaped);
            return true;
        }
        in_text = *c == '"';
        !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    json.chars().filter(keep).collect()
}

/// What to do with fields that no type knows: `?fieldValidation=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    #[default]
    Strict,
    Warn,
    Ignore,
}

impl FieldValidation {
    pub fn of(uri: &Uri) -> ApiResult<Self> {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let mut mode = FieldValidation::Strict;
        for (_, value) in query.filter(|(key, _)| key == "fieldValidation") {
            mode = match value.as_ref() {
                "Strict" => FieldValidation::Strict,
                "Warn" => FieldValidation::Warn,
                "Ignore" => FieldValidation::Ignore,
                _ => return Err(ApiError::field("/query/fieldValidation", "must be Strict, Warn or Ignore")),
            };
        }
        Ok(mode)
    }
}

impl FieldValidation {
    /// Refuses, warns of, or lets pass the fields at these places, which are not known.
    pub fn apply(self, unknown: Vec<String>) -> ApiResult<()> {
        match self {
            FieldValidation::Strict if !unknown.is_empty() => {
                let errors = unknown.into_iter().map(|path| FieldError::new(path, "is not known")).collect();
                return Err(ApiError::fields(ErrorCode::UnknownField, errors));
            }
            FieldValidation::Warn => unknown.into_iter().for_each(|path| context::warn(format!("{path} is not known and was ignored"))),
            FieldValidation::Strict | FieldValidation::Ignore => {}
        }
        Ok(())
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let mode = FieldValidation::of(request.uri())?;
        require_media_type(request.headers(), &["application/json"])?;
        let bytes = read(request.into_body()).await?;
        parse(&bytes, mode).map(ApiJson)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let mode = FieldValidation::of(request.uri())?;
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return Ok(OptionalJson(T::default()));
        }
        require_media_type(&parts.headers, &["application/json"])?;
        let input: Option<T> = parse(&bytes, mode)?;
        Ok(OptionalJson(input.unwrap_or_default()))
    }
}

/// 415 unless the `Content-Type` is one of `accepted`. A form cannot send any of these, which keeps pages of other sites out.
pub fn require_media_type(headers: &HeaderMap, accepted: &[&str]) -> ApiResult<()> {
    let refuse = |what: String| {
        let detail = format!("{what}, expected {}", accepted.join(" or "));
        Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail))
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
        return refuse(format!("the body has Content-Encoding {encoding:?}, which is not accepted"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return refuse("there is no Content-Type".to_owned());
    };
    let text = value.to_str().unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let charset_is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.eq_ignore_ascii_case("charset") => charset.trim_matches('"').eq_ignore_ascii_case("utf-8"),
        _ => true,
    });
    if charset_is_utf8 && accepted.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    refuse(format!("the body has Content-Type {text:?}"))
}

/// The whole body, at most [`MAX_JSON`] bytes of it.
pub async fn read(body: Body) -> ApiResult<Bytes> {
    // What is announced as too large need not come first.
    if body.size_hint().lower() > MAX_JSON as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_DEADLINE, axum::body::to_bytes(body, MAX_JSON)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(body_error(error)),
        Err(_) => Err(ApiError::new(ErrorCode::RequestTimeout, format!("the body took longer than {} s", BODY_DEADLINE.as_secs()))),
    }
}

fn body_error(error: axum::Error) -> ApiError {
    let over_limit = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |cause| cause.source())
        .any(|cause| cause.is::<http_body_util::LengthLimitError>());
    if over_limit {
        return too_large();
    }
    ApiError::new(ErrorCode::MalformedRequest, "the body ended before it was complete")
}

fn too_large() -> ApiError {
    ApiError::new(ErrorCode::TooLarge, format!("the body has more than {MAX_JSON} bytes"))
}

/// Text to value. Syntax is 400; a type that does not fit, a field that is missing or unknown is 422 with its place.
pub fn parse<T: DeserializeOwned>(text: &[u8], mode: FieldValidation) -> ApiResult<T> {
    super::strict::check(text).map_err(|fault| {
        let error = ApiError::new(ErrorCode::MalformedJson, fault.message.clone());
        if fault.path.is_empty() { error } else { error.with_errors(vec![FieldError::new(fault.path, fault.message)]) }
    })?;
    let (value, unknown) = parse_from(&mut serde_json::Deserializer::from_slice(text))?;
    mode.apply(unknown)?;
    Ok(value)
}

/// As [`parse`], for a value that was put together here.
pub fn parse_value<T: DeserializeOwned>(value: &serde_json::Value, mode: FieldValidation) -> ApiResult<T> {
    let (value, unknown) = parse_from(value)?;
    mode.apply(unknown)?;
    Ok(value)
}

/// As [`parse_value`], for a merge patch that was applied: a field that is not known counts only where the patch names it.
pub fn parse_patched<T: DeserializeOwned>(whole: &serde_json::Value, patch: &serde_json::Value, mode: FieldValidation) -> ApiResult<T> {
    let (value, mut unknown) = parse_from(whole)?;
    unknown.retain(|path| patch.pointer(path).is_some());
    mode.apply(unknown)?;
    Ok(value)
}

/// The value, and the places of the fields that its type does not know.
fn parse_from<'de, T: DeserializeOwned, D>(deserializer: D) -> ApiResult<(T, Vec<String>)>
where
    D: serde::Deserializer<'de, Error = serde_json::Error>,
{
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let result = {
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(pointer::from_ignored_path(&path));
        let noting = serde_ignored::Deserializer::new(deserializer, &mut note);
        T::deserialize(serde_path_to_error::Deserializer::new(noting, &mut track))
    };
    let value =
        result.map_err(|error| ApiError::invalid(vec![pointer::fault(pointer::from_error_path(&track.path()), &error.to_string())]))?;
    Ok((value, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        items: Vec<Inner>,
    }
    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        max_size: u32,
    }

    fn fault(text: &str) -> (ErrorCode, String) {
        let error = parse::<Outer>(text.as_bytes(), FieldValidation::Strict).unwrap_err();
        (error.code(), error.errors().first().map(|e| e.path.clone()).unwrap_or_default())
    }

    #[test]
    fn every_fault_has_its_place() {
        assert_eq!(fault(r#"{"items": [{"maxSize": 1}, {"maxSize": "x"}]}"#), (ErrorCode::InvalidSpec, "/items/1/maxSize".into()));
        assert_eq!(fault(r#"{"items": [{"maxSize": -1}]}"#), (ErrorCode::InvalidSpec, "/items/0/maxSize".into()));
        assert_eq!(fault(r#"{"items": [{}]}"#), (ErrorCode::InvalidSpec, "/items/0/maxSize".into()));
        assert_eq!(fault(r#"{"items": [{"maxSize": 1, "minSize": 2}]}"#), (ErrorCode::UnknownField, "/items/0/minSize".into()));
        assert_eq!(fault(r#"{"items": [], "items": []}"#), (ErrorCode::MalformedJson, "/items".into()));
        assert_eq!(fault("{").0, ErrorCode::MalformedJson);
        assert_eq!(fault("[]").0, ErrorCode::InvalidSpec);
    }

    #[test]
    fn a_member_is_kept_as_it_was_written() {
        let text = br#"{"spec": {"a": 1.50, "b \" c": [ 1e3, "x \\" ,  "y z" ]}}"#;
        let raw = RawJson { text: Bytes::from_static(text), validation: FieldValidation::Strict };
        assert_eq!(raw.member("spec").unwrap(), r#"{"a":1.50,"b \" c":[1e3,"x \\","y z"]}"#);
        assert_eq!(raw.member("status"), None);
    }

    #[test]
    fn unknown_fields_can_be_let_pass() {
        let text = br#"{"items": [], "extra": 1}"#;
        assert_eq!(parse::<Outer>(text, FieldValidation::Ignore).unwrap(), Outer { items: vec![] });
    }

    #[test]
    fn only_json_is_json() {
        let check = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            require_media_type(&headers, &["application/json"]).is_ok()
        };
        for good in ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=\"UTF-8\""] {
            assert!(check(good), "{good}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/jsonx", ""] {
            assert!(!check(bad), "{bad}");
        }
        assert!(require_media_type(&HeaderMap::new(), &["application/json"]).is_err());
    }
}
