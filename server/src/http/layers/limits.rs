//! Bounds on a request's head, and the answer while the server shuts down.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::state::AppState;

const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_TARGET_BYTES: usize = 8 << 10;

pub async fn layer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let refused = match check(&request) {
        Err(error) => Some(error),
        Ok(()) if state.shutdown.is_cancelled() => Some(ApiError::new(ErrorCode::Draining, "no new requests are taken").retry_after(2)),
        Ok(()) => None,
    };
    match refused {
        None => next.run(request).await,
        Some(error) => {
            let mut response = error.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

fn check(request: &Request) -> ApiResult<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        return Err(ApiError::new(ErrorCode::UriTooLong, format!("{target} bytes, {MAX_TARGET_BYTES} are allowed")));
    }
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let detail = format!("{} headers of {bytes} bytes, {MAX_HEADERS} of {MAX_HEADER_BYTES} are allowed", headers.len());
        return Err(ApiError::new(ErrorCode::HeadersTooLarge, detail));
    }
    Ok(())
}
