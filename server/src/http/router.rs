//! One list of routes: what answers, and what the OpenAPI document says.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{access, authenticate};
use super::error::{ApiError, ErrorCode};
use super::layers::{limits, replay, request};
use super::state::AppState;
use super::{containers, dashboard, docs, events, health, images, login, openapi, system, tokens, volumes};

/// Every route of the API, handler and description together.
fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::version))
        .routes(routes!(openapi::json))
        .routes(routes!(openapi::yaml))
        .routes(routes!(docs::docs))
        .merge(containers::routes())
        .merge(images::routes())
        .merge(volumes::routes())
        .merge(events::routes())
        .merge(tokens::routes())
        .merge(system::routes())
}

/// What the handlers declare, as they declare it.
pub fn declarations() -> OpenApi {
    api().into_openapi()
}

/// The description alone.
pub fn document() -> OpenApi {
    let mut document = declarations();
    openapi::complete(&mut document);
    document
}

/// Everything that answers, behind every layer.
pub fn app(state: AppState) -> Router {
    let (api, _) = api().split_for_parts();
    let api = api.layer(from_fn_with_state(state.clone(), replay::layer)).layer(from_fn_with_state(state.clone(), access::api_layer));
    let pages = dashboard::dashboard_routes().layer(from_fn(access::page_layer)).merge(dashboard::open_routes());
    let router = Router::new()
        .merge(api)
        .merge(pages)
        .merge(login::routes())
        .route("/docs/style.css", axum::routing::get(docs::style))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), dashboard::problem::layer))
        .layer(from_fn_with_state(state.clone(), authenticate::layer))
        .layer(from_fn_with_state(state.clone(), limits::layer))
        .layer(from_fn_with_state(state.clone(), request::layer))
        .with_state(state);
    // Around the router: it must see the path as it is to be looked for.
    Router::new().fallback_service(router).layer(map_request(images::encode_slashes))
}

async fn no_such_route(request: Request) -> ApiError {
    ApiError::new(ErrorCode::NoSuchRoute, format!("there is nothing at {:?}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, format!("{} is not known at {:?}", request.method(), request.uri().path()))
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    ApiError::internal(format!("a handler panicked: {}", text.unwrap_or_default())).into_response()
}
