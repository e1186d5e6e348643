//! The layer that finds out who calls. It refuses only what is addressed to somebody else, comes from another site, or bears wrong
//! credentials; whether no credentials are enough is the route's to say (`access`).

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::secret::Secret;
use super::{Caller, Identified, cookie};
use crate::http::accept::Peer;
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::state::AppState;

pub async fn layer(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match identify(&state, &request) {
        Ok(identified) => {
            request.extensions_mut().insert(identified);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

fn identify(state: &AppState, request: &Request) -> ApiResult<Identified> {
    match request.extensions().get::<Peer>() {
        Some(Peer::Unix { uid }) if *uid == 0 || *uid == state.own_uid => Ok(Identified(Some(Caller::local("root")))),
        Some(Peer::Unix { uid }) => {
            Err(ApiError::new(ErrorCode::Forbidden, format!("the unix socket is for root, and you are user {uid}")))
        }
        Some(Peer::Tcp(_)) => over_tcp(state, request),
        None => Err(ApiError::internal("a request without a peer")),
    }
}

fn over_tcp(state: &AppState, request: &Request) -> ApiResult<Identified> {
    let (headers, method) = (request.headers(), request.method());
    state.site.check_host(request.uri(), headers)?;
    let bearer = bearer(headers)?;
    let session = cookie::find(headers, &cookie::name(state.config.listen.port()));
    // With a token the program decided to send it; a cookie is sent by the browser whoever made it call. A missing proof of origin is fatal
    // only there.
    state.site.check_origin(method, headers, bearer.is_none() && session.is_some())?;
    if let Some(secret) = bearer {
        let grant = Secret::parse(secret).and_then(|secret| state.registry.grant(&secret));
        let Some(grant) = grant else { return Err(wrong(state)) };
        return Ok(Identified(Some(grant.into())));
    }
    // A session that has expired is no attack: as if nobody had logged in.
    let grant = session.and_then(Secret::parse).and_then(|secret| state.registry.session(&secret));
    Ok(Identified(grant.map(Caller::from).or_else(|| state.config.no_auth_on_loopback.then(|| Caller::local("loopback")))))
}

/// Wrong credentials; too many of them are answered more and more seldom.
pub fn wrong(state: &AppState) -> ApiError {
    match state.throttle.failed(Instant::now()) {
        Ok(()) => ApiError::new(ErrorCode::Unauthenticated, "the token is not known"),
        Err(seconds) => ApiError::new(ErrorCode::RateLimited, "too many wrong tokens").retry_after(seconds),
    }
}

/// The token of `Authorization: Bearer`, RFC 6750 section 2.1. Any other scheme is an error: a caller who thinks to be authenticated must not
/// go on as nobody.
fn bearer(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let refuse = || ApiError::new(ErrorCode::Unauthenticated, "expected one header `Authorization: Bearer berth_…`");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(refuse()),
        (Some(value), None) => {
            let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refuse)?;
            if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(refuse()) }
        }
    }
}
