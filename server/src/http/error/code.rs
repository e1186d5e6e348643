//! Every kind of error that the API answers with: the stable codes, and the page that explains them.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal, $help:literal;)*) => {
        /// A kind of error. Stable: clients branch on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)*
        }

        impl ErrorCode {
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// As it stands in `code` and at the end of `type`.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $code,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(ErrorCode::$variant => StatusCode::$status,)* }
            }

            /// The same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(ErrorCode::$variant => $title,)* }
            }

            /// When it happens and what to do then.
            pub fn help(self) -> &'static str {
                match self { $(ErrorCode::$variant => $help,)* }
            }
        }
    };
}

error_codes! {
    MalformedRequest = "malformed-request", BAD_REQUEST, "The request is not well formed",
        "A header, the path or the query could not be read. `detail` says which.";
    MalformedJson = "malformed-json", BAD_REQUEST, "The body is not JSON that can be accepted",
        "Not JSON, the same key twice in one object, or more than 64 levels deep. `errors[].path` is the place where one is known.";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Credentials are needed",
        "Send `Authorization: Bearer berth_…`, log in at `/login`, or call over the unix socket as root. A token that was deleted or has expired answers this too.";
    Forbidden = "forbidden", FORBIDDEN, "The caller's role does not allow this",
        "`detail` names the role that is needed. Some fields of a spec (host paths, host namespaces, added capabilities, no seccomp, privileged) need `admin`; `errors[].path` names them.";
    CrossSite = "cross-site", FORBIDDEN, "The request comes from another site",
        "A browser sent it on behalf of a page that is not Berth's own (`Origin`, `Sec-Fetch-Site`).";
    NotFound = "not-found", NOT_FOUND, "There is no such resource",
        "No resource has that name, uid or unique beginning of a uid (8 characters or more).";
    NoSuchRoute = "no-such-route", NOT_FOUND, "There is nothing at this path",
        "See `/docs` for what there is.";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not known here",
        "The `Allow` header lists those that are.";
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The body did not arrive in time",
        "The connection stalled while the body was read.";
    AlreadyExists = "already-exists", CONFLICT, "The name is taken",
        "Choose another name, or delete the resource that has it.";
    WrongState = "wrong-state", CONFLICT, "Not possible in the present state",
        "For instance exec in a container that does not run, or delete of one that runs without `force=true`.";
    InUse = "in-use", CONFLICT, "Something else needs it",
        "`detail` says what: delete that first.";
    AmbiguousName = "ambiguous-name", CONFLICT, "More than one resource fits",
        "The beginning of a uid fits several: give more characters.";
    IdempotencyInProgress = "idempotency-in-progress", CONFLICT, "The first request with this key is still being handled",
        "Try again; the answer of the first will be replayed.";
    Exhausted = "exhausted", CONFLICT, "There is no more of it",
        "For instance every range of user ids is in use: delete containers that are no longer needed.";
    StaleVersion = "stale-version", PRECONDITION_FAILED, "The resource has changed since it was read",
        "`If-Match` names an older version: read it again, apply the change to that, and repeat.";
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The body is too large",
        "JSON bodies may have 1 MiB.";
    UriTooLong = "uri-too-long", URI_TOO_LONG, "The request target is too long",
        "8 KiB is the limit.";
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body's media type is not accepted",
        "JSON bodies need `Content-Type: application/json` (PATCH: `application/merge-patch+json`); images are tars (`application/x-tar`, `application/gzip`, `application/zstd`, `application/octet-stream`).";
    Misdirected = "misdirected", MISDIRECTED_REQUEST, "This host name is not served",
        "Over TCP the `Host` must be 127.0.0.1, localhost or [::1] with the exact port: this is what keeps pages of other sites out (DNS rebinding).";
    InvalidSpec = "invalid-spec", UNPROCESSABLE_ENTITY, "A rule is broken",
        "`errors` lists each place: a JSON Pointer into the body; `/query/…`, `/path/…` and `/header/…` are parameters.";
    UnknownField = "unknown-field", UNPROCESSABLE_ENTITY, "A field is not known",
        "`errors` lists each. With `?fieldValidation=Warn` they become `Warning` headers, with `Ignore` nothing.";
    ImmutableField = "immutable-field", UNPROCESSABLE_ENTITY, "A field cannot be changed",
        "Of a container labels, annotations, the restart policy and the resource limits can be changed; for the rest delete it and create another.";
    StartFailed = "start-failed", UNPROCESSABLE_ENTITY, "The program could not be started",
        "`operation` says which step failed, which system call, on what, and the kernel's errno. The container's `status` says the same.";
    OperationFailed = "operation-failed", UNPROCESSABLE_ENTITY, "The kernel refused an operation",
        "`operation` says which step failed, which system call, on what, and the kernel's errno.";
    UnsupportedByHost = "unsupported-by-host", UNPROCESSABLE_ENTITY, "This host cannot do that",
        "A cgroup controller or a kernel feature is missing; `errors[].path` names the field that asks for it. `/api/v1/system` lists what this host has.";
    BadArchive = "bad-archive", UNPROCESSABLE_ENTITY, "The archive is damaged or hostile",
        "Truncated, not a tar, or with an entry that would reach outside; `detail` names the entry. Nothing of an image was kept; of a copy into a container, what came before that entry was.";
    IdempotencyMismatch = "idempotency-mismatch", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request",
        "A key belongs to one method, path, query and body for 24 hours: use a new one.";
    UpgradeRequired = "upgrade-required", UPGRADE_REQUIRED, "This is a WebSocket",
        "Send `Connection: Upgrade`, `Upgrade: websocket` and the other headers of RFC 6455, over HTTP/1.1. To run a command without one, POST to the same path.";
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests",
        "Wait for the seconds that `Retry-After` says.";
    HeadersTooLarge = "headers-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large",
        "16 KiB and 100 headers are the limit.";
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something unforeseen happened",
        "The log has the whole chain of causes under the request id in `instance`.";
    Busy = "busy", SERVICE_UNAVAILABLE, "The server cannot answer now",
        "The store is busy or a limit of concurrent work is reached: try again.";
    RuntimeUnavailable = "runtime-unavailable", SERVICE_UNAVAILABLE, "The runtime does not answer",
        "The privileged launcher or the container's supervisor is gone. Running containers are not touched by it.";
    Draining = "draining", SERVICE_UNAVAILABLE, "The server is shutting down",
        "Try again when it is back; containers go on running.";
    DeadlineExceeded = "deadline-exceeded", GATEWAY_TIMEOUT, "It took longer than its deadline",
        "The wish is recorded and goes on being worked at: look at the resource's `status`.";
}

/// By hand: the derive does not see names that come out of a macro.
impl utoipa::PartialSchema for ErrorCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("A kind of error. Stable: branch on it."))
            .enum_values(Some(ErrorCode::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

impl utoipa::ToSchema for ErrorCode {}

impl ErrorCode {
    pub fn urn(self) -> String {
        format!("urn:berth:error:{}", self.as_str())
    }
}

/// `docs/errors.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Errors\n\nMade from `server/src/http/error/code.rs`; a test fails when this page is stale.\n\n\
         Every error is a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457), `application/problem+json`): `type` is\n\
         `urn:berth:error:<code>`, `detail` is about this occurrence, `instance` is the request's id (also in `X-Request-Id`), `errors` lists\n\
         faults with their places, and `operation` is there when the kernel said no: `{stage, call, subject, errno}`.\n\n\
         | code | status | title | when, and what to do |\n| --- | --- | --- | --- |\n",
    );
    for code in ErrorCode::ALL {
        text.push_str(&format!("| `{}` | {} | {} | {} |\n", code.as_str(), code.status().as_u16(), code.title(), code.help()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            let text = code.as_str();
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{text}");
            assert!(seen.insert(text), "{text} twice");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{text}");
        }
    }

    #[test]
    fn the_page_of_errors_is_fresh() {
        crate::http::openapi::generated_file_is_fresh("docs/errors.md", &markdown());
    }
}
