//! The outermost layer: gives the request its id, counts it, logs it, and finishes its answer.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::headers;
use crate::http::context::{RequestContext, warning_header};
use crate::http::state::AppState;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub async fn layer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = RequestContext::new(given_id(&request).unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string()));
    let method = request.method().clone();
    // The route's pattern and not the path: names must not become label values without end.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = context.clone().scope(next.run(request)).await;
    let elapsed = started.elapsed();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    state.metrics.request(&method, route, response.status(), elapsed);
    tracing::debug!(request = %context.id, %method, route, status = response.status().as_u16(), micros = elapsed.as_micros(), "request");
    finish(&mut response, &context);
    response
}

/// The caller's own id, when it is harmless as a header, in a log and in JSON.
fn given_id(request: &Request) -> Option<String> {
    let text = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let harmless =
        matches!(text.len(), 1..=128) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    harmless.then(|| text.to_owned())
}

fn finish(response: &mut Response, context: &RequestContext) {
    headers::secure(response);
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    for warning in context.warnings() {
        if let Some(value) = warning_header(&warning) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
