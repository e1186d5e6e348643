//! `GET /api/v1/images` and `GET /api/v1/images/{reference}`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::list::{self, List, ListParams};
use crate::http::state::AppState;
use crate::model::Image;

/// The images, newest first. `labelSelector` looks at the labels of their configuration.
#[utoipa::path(get, path = "/api/v1/images", operation_id = "listImages", tag = "images", security(("token" = ["viewer"])),
    params(ListParams), responses((status = 200, description = "The images", body = List<Image>)))]
pub async fn list_images(State(state): State<AppState>, headers: HeaderMap, ApiQuery(params): ApiQuery<ListParams>) -> ApiResult<Response> {
    let query = params.query()?;
    let images = state.store.images().into_iter().filter(|image| query.selector.matches(&image.oci.config.labels)).collect();
    let (images, meta) = list::page(images, &query, state.store.resource_version(), |image| &image.id)?;
    let items = images.iter().map(|image| list::json(&state.store.image_model(image))).collect::<ApiResult<Vec<_>>>()?;
    Ok(list::respond(&headers, &items, &meta))
}

/// One image. In the path a slash of the reference may be written `%2F`, and need not.
#[utoipa::path(get, path = "/api/v1/images/{reference}", operation_id = "getImage", tag = "images", security(("token" = ["viewer"])),
    params(("reference" = String, Path, description = "A reference (`busybox:latest`, `registry:5000/a/b@sha256:…`), an id, or a unique beginning of its digits of 8 or more")),
    responses((status = 200, description = "The image", body = Image), (status = 409, description = "More than one image fits")))]
pub async fn get_image(State(state): State<AppState>, ApiPath(reference): ApiPath<String>) -> ApiResult<Response> {
    let image = state.store.image(&reference)?;
    Ok(list::one_anew(&list::json(&state.store.image_model(&image))?, &image.version.to_string()))
}
