//! Errors for people: what would go out as a problem document goes out as a page to whoever asked for one. One meaning, two skins.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use web::pages::ErrorPage;

use super::own_path;
use super::visit::{Visit, html};
use crate::http::error::Problem;
use crate::http::state::AppState;
use crate::http::stream;

/// Larger than any problem document.
const MAX_PROBLEM: usize = 1 << 20;

/// Around everything that is not the API.
pub async fn layer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || !stream::accepts(request.headers(), "text/html") {
        return next.run(request).await;
    }
    let visit = Visit::of(&state, &request);
    let back = referrer(request.headers()).unwrap_or_else(|| "/containers".to_owned());
    let response = next.run(request).await;
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if is_problem { shown(response, visit, back).await } else { response }
}

async fn shown(response: Response, visit: Visit, back: String) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MAX_PROBLEM).await else { return parts.status.into_response() };
    let page = serde_json::from_slice::<Problem>(&bytes).ok().and_then(|problem| html(&page(problem, visit, back)).ok());
    match page {
        Some(page) => {
            // Only the skin changes: status, Retry-After and the like stay.
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            let mut response = (parts.status, page).into_response();
            for (name, value) in &parts.headers {
                response.headers_mut().append(name, value.clone());
            }
            response
        }
        None => Response::from_parts(parts, bytes.into()),
    }
}

fn page(problem: Problem, visit: Visit, back: String) -> ErrorPage {
    let mut detail = problem.detail;
    if let Some(operation) = &problem.operation {
        detail.push_str(&format!(" ({}: {} {}: {})", operation.stage, operation.call, operation.subject, operation.errno));
    }
    ErrorPage {
        frame: visit.frame,
        status: problem.status,
        title: problem.title,
        detail,
        code: problem.code.as_str().to_owned(),
        errors: problem.errors.into_iter().map(|error| (error.path, error.message)).collect(),
        instance: problem.instance,
        back,
    }
}

/// The page of ours that one came from.
fn referrer(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::REFERER)?.to_str().ok()?;
    let (_, after) = text.split_once("://")?;
    let path = &after[after.find('/')?..];
    own_path(Some(path)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_way_back_is_within_the_house() {
        let from = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_static(text));
            referrer(&headers)
        };
        assert_eq!(from("http://127.0.0.1:7777/containers/web?x=1").as_deref(), Some("/containers/web?x=1"));
        assert_eq!(from("http://evil.example//evil.example/x"), None);
        assert_eq!(from("http://127.0.0.1"), None);
        assert_eq!(from("nonsense"), None);
    }
}
