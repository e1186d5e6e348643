//! From a token to a session cookie, for browsers: the printed link, or a form.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use web::pages::Refused;

use super::auth::secret::Secret;
use super::auth::{authenticate, cookie};
use super::dashboard;
use super::dashboard::{Visit, own_path};
use super::error::{ApiError, ApiResult, ErrorCode};
use super::state::AppState;

/// A browser that has not been used for longer logs in again.
const SESSION_SECONDS: u64 = 30 * 24 * 3600;

pub fn routes() -> Router<AppState> {
    Router::new().route("/login", get(show).post(submit)).route("/logout", post(logout))
}

/// The address that logs a browser in with this token.
pub fn link(listen: std::net::SocketAddr, token: &Secret) -> String {
    format!("http://{listen}/login?token={}", token.reveal())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Login {
    token: Option<String>,
    /// Where to go afterwards: a path of ours.
    next: Option<String>,
}

/// With a token (the link that the first start prints) it logs in, else it shows the form.
async fn show(State(state): State<AppState>, visit: Visit, Query(login): Query<Login>) -> Response {
    let next = login.next.as_deref();
    match &login.token {
        Some(token) => enter(&state, token, next).await.unwrap_or_else(|error| form(visit, next, Some(&error))),
        None => form(visit, next, None),
    }
}

async fn submit(State(state): State<AppState>, visit: Visit, headers: HeaderMap, Form(login): Form<Login>) -> Response {
    // The origin is checked here too: at this point there is no cookie that would have made `authenticate` insist on one.
    if let Err(error) = state.site.check_origin(&axum::http::Method::POST, &headers, true) {
        return error.into_response();
    }
    let token = login.token.unwrap_or_default();
    enter(&state, token.trim(), login.next.as_deref()).await.unwrap_or_else(|error| form(visit, login.next.as_deref(), Some(&error)))
}

async fn logout(State(state): State<AppState>, headers: HeaderMap) -> ApiResult<Response> {
    state.site.check_origin(&axum::http::Method::POST, &headers, true)?;
    let name = cookie::name(state.config.listen.port());
    if let Some(session) = cookie::find(&headers, &name).and_then(Secret::parse) {
        state.registry.close_session(&session).await?;
    }
    Ok(redirect("/login?done=signed-out", cookie::set(&name, "", 0)))
}

/// A new session for whoever has the token: always a new id, so that nobody can have planted it.
async fn enter(state: &AppState, token: &str, next: Option<&str>) -> ApiResult<Response> {
    let Some(grant) = Secret::parse(token).and_then(|secret| state.registry.grant(&secret)) else {
        return Err(authenticate::wrong(state));
    };
    let expires_at = state.store.clock().now() + jiff::SignedDuration::from_secs(SESSION_SECONDS.cast_signed());
    let session = state.registry.open_session(&grant.token, expires_at).await?;
    let cookie = cookie::set(&cookie::name(state.config.listen.port()), session.reveal(), SESSION_SECONDS);
    Ok(redirect(own_path(next).unwrap_or("/"), cookie))
}

fn redirect(target: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let target = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, target);
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn form(visit: Visit, next: Option<&str>, error: Option<&ApiError>) -> Response {
    let status = error.map_or(StatusCode::OK, |error| error.code().status());
    let refused = error.map(|error| if error.code() == ErrorCode::RateLimited { Refused::TooMany } else { Refused::Unknown });
    dashboard::login::page(visit, status, refused, own_path(next).unwrap_or("/"))
}
