//! `Idempotency-Key`: a POST that is sent again because its answer was lost gets the first answer again.
//!
//! The answer is kept once the handler has given it. A crash between the two leaves the key unknown: the second request is then a new one, and
//! a name that was given makes it a conflict and not a second container.

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::http::auth::Identified;
use crate::http::auth::secret::SecretHash;
use crate::http::context;
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::json;
use crate::http::state::AppState;
use crate::store::{KeyGuard, Replay, StoredAnswer};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY: usize = 255;
/// A larger answer is not kept, and a repeated request is then done again.
const MAX_ANSWER: usize = 4 << 20;
/// What of an answer's head is part of it; the rest (date, request id) is of each request anew.
const KEPT_HEADERS: [HeaderName; 4] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::RETRY_AFTER];
/// Bodies without a bound are not read here: the key stands for method, path and query alone.
const STREAMED: [&str; 2] = ["/api/v1/images/import", "/api/v1/images/load"];
/// The answer has a secret in clear, which is stored nowhere.
pub const SECRET: [&str; 1] = ["/api/v1/tokens"];

pub async fn layer(State(state): State<AppState>, path: MatchedPath, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) || SECRET.contains(&path.as_str()) {
        return next.run(request).await;
    }
    replayed(&state, path.as_str(), request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn replayed(state: &AppState, path: &str, request: Request, next: Next) -> ApiResult<Response> {
    let caller = request.extensions().get::<Identified>().and_then(|identified| identified.0.as_ref()).map(|caller| caller.name.clone());
    let key = format!("{}\n{}", caller.unwrap_or_default(), key(request.headers())?);
    let (request, hash) = hashed(path, request).await?;
    match state.store.idempotency(&key, &hash).await? {
        // By itself: a client that hangs up meanwhile is the one that sends the key again.
        Replay::First(guard) => {
            let work = async move { keep(next.run(request).await, guard).await };
            context::spawn(work).await.map_err(ApiError::internal)?
        }
        Replay::Answered(answer) => Ok(again(answer)),
        Replay::UnderWay => Err(ApiError::new(ErrorCode::IdempotencyInProgress, "the same key is in use right now").retry_after(1)),
        Replay::OtherRequest => Err(ApiError::new(ErrorCode::IdempotencyMismatch, "this key came with another request before")),
    }
}

fn key(headers: &HeaderMap) -> ApiResult<&str> {
    let mut values = headers.get_all(KEY).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(text), None) if (1..=MAX_KEY).contains(&text.len()) => Ok(text),
        _ => Err(ApiError::field("/header/Idempotency-Key", format!("must be one text of 1 to {MAX_KEY} ASCII characters"))),
    }
}

/// What makes two requests the same; the body is read for it and put back.
async fn hashed(path: &str, request: Request) -> ApiResult<(Request, String)> {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    };
    add(request.uri().path().as_bytes());
    add(request.uri().query().unwrap_or_default().as_bytes());
    let (parts, body) = request.into_parts();
    let body = if STREAMED.contains(&path) {
        body
    } else {
        let bytes = json::read(body).await?;
        add(&bytes);
        Body::from(bytes)
    };
    Ok((Request::from_parts(parts, body), SecretHash(hasher.finalize().into()).to_hex()))
}

/// Keeps an answer that says something lasting, and passes it on.
async fn keep(response: Response, guard: KeyGuard) -> ApiResult<Response> {
    let status = response.status();
    let passing = status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    let stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if passing || stream || hyper::body::Body::size_hint(response.body()).upper().is_none_or(|size| size > MAX_ANSWER as u64) {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_ANSWER).await.map_err(ApiError::internal)?;
    let kept = |name: &HeaderName| parts.headers.get(name).and_then(|value| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    // Those are put into the head further outside.
    let warnings =
        context::warning_headers().into_iter().filter_map(|value| Some((header::WARNING.to_string(), value.to_str().ok()?.to_owned())));
    let headers = KEPT_HEADERS.iter().filter_map(kept).chain(warnings).collect();
    let answer = StoredAnswer { status: status.as_u16(), headers, body: body.to_vec() };
    if let Err(error) = guard.finish(answer).await {
        // The work is done: the caller gets its answer, and only a repetition would not be recognised.
        tracing::warn!(%error, "an answer could not be kept for its idempotency key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn again(answer: StoredAnswer) -> Response {
    let mut response = Bytes::from(answer.body).into_response();
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
