//! What images come as: a body without a bound, that must go on coming.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use tokio_util::io::StreamReader;

use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::json::require_media_type;
use crate::image::ImportLimits;
use crate::model::name::Reference;
use crate::node::LayerBody;

/// How an upload may begin and go on: with a pause of at most so long.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Media types of a tar, packed or not.
pub const TARS: &[&str] =
    &["application/x-tar", "application/tar", "application/gzip", "application/x-gzip", "application/zstd", "application/octet-stream"];

/// The body as a stream of bytes; refused at once by its type, or when it says itself that it is too large.
pub(super) fn read(headers: &HeaderMap, body: Body, limits: ImportLimits) -> ApiResult<LayerBody> {
    require_media_type(headers, TARS)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = announced.filter(|length| *length > limits.max_bytes) {
        let detail = format!("the archive has {length} bytes, and may have {}", limits.max_bytes);
        return Err(ApiError::new(ErrorCode::TooLarge, detail));
    }
    let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
    let chunks = tokio_stream::StreamExt::timeout(chunks, STALLED_AFTER).map(|chunk| match chunk {
        Ok(chunk) => chunk,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the upload stalled")),
    });
    Ok(Box::new(StreamReader::new(Box::pin(chunks))))
}

/// What an upload is to be called.
pub(super) fn reference(text: Option<&str>) -> ApiResult<Option<Reference>> {
    let Some(text) = text else { return Ok(None) };
    let reference = text.parse::<Reference>().map_err(|error| ApiError::field("/query/reference", error.to_string()))?;
    if reference.digest.is_some() {
        return Err(ApiError::field("/query/reference", "must not have a digest: that is what the upload finds out"));
    }
    Ok(Some(reference))
}

/// Where an image is found.
pub(super) fn location(key: &str) -> String {
    let place: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
    // `:` needs no escape in a path, and people read it.
    format!("/api/v1/images/{}", place.replace("%3A", ":"))
}
