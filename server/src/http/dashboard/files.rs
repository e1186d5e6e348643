//! `GET /assets/{file}`: styles and scripts. Their names carry a hash of their content, so browsers may keep them for ever.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::http::error::{ApiError, ErrorCode};

pub(super) async fn asset(Path(file): Path<String>) -> Response {
    match web::assets::find(&file) {
        Some(asset) => {
            let headers = [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.body.as_str()).into_response()
        }
        None => ApiError::new(ErrorCode::NoSuchRoute, format!("there is no file {file:?} in this version")).into_response(),
    }
}
