//! `POST /api/v1/images/load`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::upload;
use crate::http::error::ApiResult;
use crate::http::extract::ApiQuery;
use crate::http::state::AppState;
use crate::image::LoadRequest;
use crate::model::Image;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct LoadParams {
    /// What the archive's image is to be called, instead of what the archive says; only for an archive of one image.
    #[param(example = "busybox:latest")]
    reference: Option<String>,
    /// Of an image for several platforms the one for this; what is for another is refused. This machine's when absent.
    #[param(example = "linux/amd64")]
    platform: Option<String>,
}

/// The images of an archive.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LoadedImages {
    pub items: Vec<Image>,
    /// What was left out (device nodes, attributes, names that are none), a line a kind.
    pub notes: Vec<String>,
}

/// Load the images of an archive.
///
/// The body is an OCI image layout as a tar (`skopeo copy … oci-archive:`), or what `docker save` writes; plain, or packed with gzip or
/// zstd, and its layers likewise. Either all of its images come, or none. The same archive again changes nothing and answers 200. What is
/// truncated, whose digests are wrong, or has an entry that would lead outside, is refused with that entry's name and leaves nothing.
#[utoipa::path(post, path = "/api/v1/images/load", operation_id = "loadImages", tag = "images", security(("token" = ["admin"])),
    params(LoadParams),
    request_body(content((String = "application/x-tar"), (String = "application/gzip"), (String = "application/zstd"), (String = "application/octet-stream"))),
    responses((status = 201, description = "Loaded", body = LoadedImages, headers(("Location" = String, description = "The image's address, where it is one"))),
        (status = 200, description = "Every image of it was here already", body = LoadedImages)))]
pub async fn load_images(
    State(state): State<AppState>,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<LoadParams>,
    body: Body,
) -> ApiResult<Response> {
    let platform = params.platform.as_deref().map(platform).transpose()?;
    let request = LoadRequest { reference: upload::reference(params.reference.as_deref())?, platform, ..LoadRequest::default() };
    let body = upload::read(&headers, body, request.limits)?;
    let loaded = state.images.load(request, body).await?;
    let status = if loaded.images.iter().any(|(_, new)| *new) { StatusCode::CREATED } else { StatusCode::OK };
    let items: Vec<Image> = loaded.images.iter().map(|(image, _)| state.store.image_model(image)).collect();
    let place = match items.as_slice() {
        [one] => Some(upload::location(&one.metadata.name)),
        _ => None,
    };
    let mut response = (status, Json(LoadedImages { items, notes: loaded.notes })).into_response();
    if let Some(place) = place.filter(|_| status == StatusCode::CREATED).and_then(|place| place.try_into().ok()) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// As the runtime reads it; here for the name of the parameter.
fn platform(text: &str) -> ApiResult<String> {
    match runtime::image::manifest::Platform::parse(text) {
        Ok(platform) => Ok(platform.to_string()),
        Err(message) => Err(crate::http::error::ApiError::field("/query/platform", message)),
    }
}
