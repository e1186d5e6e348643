//! The only way from an error to an answer: `application/problem+json` (RFC 9457).
//!
//! Handlers return [`ApiError`]; whatever lies below (store, node, runtime) is turned into one here and nowhere else. What the caller cannot
//! do anything about becomes `internal`: its text stays here, its chain goes to the log, once.

mod code;
mod from;

use std::borrow::Cow;
use std::error::Error as StdError;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use code::{ErrorCode, markdown};

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

/// A problem document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:berth:error:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:berth:error:not-found")]
    pub kind: String,
    /// The same for every occurrence of this kind.
    #[schema(example = "There is no such resource")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// About this occurrence.
    #[schema(example = "container \"web\" does not exist")]
    pub detail: String,
    pub code: ErrorCode,
    /// The id of the request, also in `X-Request-Id` and in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<FailedOperation>,
}

impl Problem {
    /// What a problem of this kind looks like, for the API's document.
    pub fn example(code: ErrorCode) -> Problem {
        let (errors, operation) = match code {
            ErrorCode::InvalidSpec => (vec![FieldError::new("/spec/resources/memory", "must be at least 6291456")], None),
            ErrorCode::UnknownField => (vec![FieldError::new("/spec/imgae", "is not known")], None),
            ErrorCode::StartFailed => {
                let step =
                    FailedOperation { stage: "exec".into(), call: "execve".into(), subject: "/bin/nope".into(), errno: "ENOENT".into() };
                (Vec::new(), Some(step))
            }
            _ => (Vec::new(), None),
        };
        Problem {
            kind: code.urn(),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: errors.first().map_or_else(|| code.title().to_lowercase(), |error| format!("{}: {}", error.path, error.message)),
            code,
            instance: Some("01936c8e6f7a7c319d2b5a8f0e4b1c77".to_owned()),
            errors,
            operation,
        }
    }
}

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) into the body; parameters are under `/query`, `/path` and `/header`.
    #[schema(example = "/spec/resources/memory")]
    pub path: String,
    #[schema(example = "must be at least 6291456")]
    pub message: String,
}

impl FieldError {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        FieldError { path: path.into(), message: message.into() }
    }
}

/// What the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedOperation {
    /// The step, as in `explain`.
    #[schema(example = "exec")]
    pub stage: String,
    /// The system call.
    #[schema(example = "execve")]
    pub call: String,
    /// What it was done to.
    #[schema(example = "/bin/nope")]
    pub subject: String,
    /// The kernel's answer by name, see errno(3).
    #[schema(example = "ENOENT")]
    pub errno: String,
}

/// An error on its way to the caller.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: ErrorCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    operation: Option<FailedOperation>,
    retry_after_seconds: Option<u64>,
    /// For the log, never for the caller.
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        ApiError(Box::new(Inner { code, detail, errors: Vec::new(), operation: None, retry_after_seconds: None, cause: None }))
    }

    /// Something unforeseen: logged with its causes, hidden from the caller.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        ApiError::new(ErrorCode::Internal, "the cause is in the log under this request's id").caused_by(cause)
    }

    /// Rules that are broken, each with its place.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        ApiError::fields(ErrorCode::InvalidSpec, errors)
    }

    /// As [`ApiError::invalid`], with another code.
    pub fn fields(code: ErrorCode, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.path, one.message),
            many => format!("{} fields are at fault", many.len()),
        };
        let mut error = ApiError::new(code, detail);
        error.0.errors = errors;
        error
    }

    /// One rule that is broken.
    pub fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        ApiError::invalid(vec![FieldError::new(path, message)])
    }

    pub fn not_found(what: &str, name: &str) -> Self {
        ApiError::new(ErrorCode::NotFound, format!("{what} {name:?} does not exist"))
    }

    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    #[must_use]
    pub fn with_operation(mut self, operation: FailedOperation) -> Self {
        self.0.operation = Some(operation);
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// As the caller gets it.
    pub fn problem(&self) -> Problem {
        let code = self.0.code;
        Problem {
            kind: code.urn(),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: self.0.detail.clone().into_owned(),
            code,
            instance: super::context::request_id(),
            errors: self.0.errors.clone(),
            operation: self.0.operation.clone(),
        }
    }
}

/// The whole chain of causes in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if let Some(cause) = &self.0.cause {
            tracing::error!(request = problem.instance.as_deref(), code = problem.code.as_str(), error = %chain(cause.as_ref()), "request failed");
        }
        // Texts and numbers only: this cannot fail.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response = (self.0.code.status(), [(header::CONTENT_TYPE, content_type)], body).into_response();
        if let Some(seconds) = self.0.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.0.code == ErrorCode::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"berth\""));
        }
        if self.0.code == ErrorCode::UpgradeRequired {
            // RFC 9110 section 15.5.22, RFC 6455 section 4.4.
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_an_internal_error_is_not_told() {
        let error = ApiError::internal(std::io::Error::other("no such table: secrets"));
        let text = serde_json::to_string(&error.problem()).unwrap();
        assert!(!text.contains("table"), "{text}");
        assert_eq!(error.problem().status, 500);
    }

    #[test]
    fn a_problem_has_what_the_contract_names() {
        let problem = ApiError::field("/spec/image", "must not be empty").problem();
        let json = serde_json::to_value(problem).unwrap();
        assert_eq!(json["type"], "urn:berth:error:invalid-spec");
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][0]["path"], "/spec/image");
        assert_eq!(json["detail"], "/spec/image: must not be empty");
    }
}
