//! The layer that lets a request through to a route, or not: by the role and the parameters that the route's own declaration names.

use std::collections::HashMap;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{OpenApi, RefOr};

use super::{Caller, Identified, Role};
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::http::state::AppState;
use crate::model::validate::escape;

/// The name of the security scheme whose roles the declarations list.
pub const SCHEME: &str = "token";

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No credentials.
    Public,
    Needs(Role),
}

/// Every declared route.
#[derive(Debug, Default)]
pub struct AccessTable(HashMap<String, Vec<Declared>>);

/// What a route declares.
#[derive(Debug)]
pub struct Declared {
    method: Method,
    pub access: Access,
    /// Of the query.
    parameters: Vec<String>,
    has_body: bool,
}

impl AccessTable {
    /// Reads the declarations: `security(())` is public, `security(("token" = ["viewer"]))` needs that role. Anything else is for an
    /// administrator alone (and a test finds it).
    pub fn from_document(document: &OpenApi) -> Self {
        let mut table = AccessTable::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in methods(item) {
                let access = operation.security.as_deref().and_then(declared).unwrap_or(Access::Needs(Role::Admin));
                let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                    RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
                    _ => None,
                });
                let declared = Declared { method, access, parameters: parameters.collect(), has_body: operation.request_body.is_some() };
                table.0.entry(path.clone()).or_default().push(declared);
            }
        }
        table
    }

    pub fn find(&self, path: &str, method: &Method) -> Option<&Declared> {
        // What axum answers from the GET handler.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.get(path)?.iter().find(|known| known.method == method)
    }
}

impl Declared {
    /// A parameter that nobody reads is an error: `kill?signal=HUP` must not be a SIGKILL because the signal belongs into the body.
    fn check_query(&self, query: &str) -> ApiResult<()> {
        let known = |name: &str| self.parameters.iter().any(|known| known == name) || (self.has_body && name == "fieldValidation");
        let unknown = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !known(name));
        let hint = if self.has_body { "is not a parameter here: what is wanted goes into the body" } else { "is not a parameter here" };
        let errors: Vec<_> = unknown.map(|(name, _)| FieldError::new(format!("/query/{}", escape(&name)), hint)).collect();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(errors)) }
    }
}

/// The operations of a path.
pub fn methods(item: &utoipa::openapi::PathItem) -> impl Iterator<Item = (Method, &utoipa::openapi::path::Operation)> {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_ref().map(|operation| (method, operation)))
}

pub fn declared(requirements: &[utoipa::openapi::security::SecurityRequirement]) -> Option<Access> {
    let text = serde_json::to_value(requirements).ok()?;
    let alternatives = text.as_array()?;
    if alternatives.iter().any(|alternative| alternative.as_object().is_some_and(serde_json::Map::is_empty)) {
        return Some(Access::Public);
    }
    let role = alternatives.iter().find_map(|alternative| alternative.get(SCHEME)?.get(0)?.as_str())?;
    Role::parse(role).map(Access::Needs)
}

/// For the API's routes.
pub async fn api_layer(State(state): State<AppState>, path: MatchedPath, request: Request, next: Next) -> Response {
    match check(&state, path.as_str(), &request) {
        Ok(()) => next.run(request).await,
        // A person who opened the page in a browser is shown where to log in.
        Err(error) if error.code() == ErrorCode::Unauthenticated && wants_page(request.method(), request.headers()) => to_login(&request),
        Err(error) => error.into_response(),
    }
}

fn check(state: &AppState, path: &str, request: &Request) -> ApiResult<()> {
    match state.access.find(path, request.method()) {
        // Whoever asks whether it lives may add what they like.
        Some(Declared { access: Access::Public, .. }) => Ok(()),
        Some(declared @ Declared { access: Access::Needs(role), .. }) => {
            require(request, *role)?;
            // Pages and figures may be asked for with what a browser or a scraper adds.
            if path.starts_with("/api/v1/") { declared.check_query(request.uri().query().unwrap_or_default()) } else { Ok(()) }
        }
        // Routes and document are one list, so no handler is behind this: 405 a moment later.
        None => require(request, Role::Viewer),
    }
}

fn require(request: &Request, role: Role) -> ApiResult<()> {
    match request.extensions().get::<Identified>() {
        Some(Identified(Some(caller))) => Caller::require(caller, role),
        _ => Err(ApiError::new(ErrorCode::Unauthenticated, "no credentials were sent")),
    }
}

/// For the dashboard's routes: looking needs a viewer, every form an operator (handlers may ask for more). Who is not logged in is sent to
/// the login page.
pub async fn page_layer(request: Request, next: Next) -> Response {
    let role = if matches!(*request.method(), Method::GET | Method::HEAD) { Role::Viewer } else { Role::Operator };
    match require(&request, role) {
        Ok(()) => next.run(request).await,
        Err(error) if error.code() == ErrorCode::Unauthenticated => to_login(&request),
        Err(error) => error.into_response(),
    }
}

fn wants_page(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET && headers.get(header::ACCEPT).is_some_and(|accept| accept.to_str().unwrap_or_default().contains("text/html"))
}

fn to_login(request: &Request) -> Response {
    let next: String = form_urlencoded::byte_serialize(request.uri().path().as_bytes()).collect();
    let target = if *request.method() == Method::GET { format!("/login?next={next}") } else { "/login".to_owned() };
    (StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response()
}
