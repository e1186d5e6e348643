//! `GET /api/v1/images/{reference}/archive`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

use crate::http::auth::Caller;
use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::state::AppState;
use crate::http::stream::StreamSlot;

/// Save an image as an archive.
///
/// An OCI image layout as a tar, which is a docker archive too: `berth image load`, `skopeo copy oci-archive:FILE …`, `podman load` and `docker load`
/// take it. By a reference it has that name; by digest or id it has none. The layers are made anew from their files and are not compressed, so
/// their digests, and with them the image's id, are those of what is sent and need not be those of the image here; an archive that came from here is
/// the same again. As the digests come first in the archive, the first byte comes when all layers have been read once. An image that is deleted
/// meanwhile is sent to its end. When something fails after the first byte, the answer is cut off.
#[utoipa::path(get, path = "/api/v1/images/{reference}/archive", operation_id = "getImageArchive", tag = "images", security(("token" = ["viewer"])),
    params(("reference" = String, Path, description = "A reference (`busybox:latest`, `registry:5000/a/b@sha256:…`), an id, or a unique beginning of its digits of 8 or more")),
    responses((status = 200, description = "The archive", body = Vec<u8>, content_type = "application/x-tar",
            headers(("Content-Length" = i64, description = "Its size in bytes"))),
        (status = 409, description = "More than one image fits")))]
pub async fn get_image_archive(
    State(state): State<AppState>,
    method: Method,
    caller: Caller,
    ApiPath(reference): ApiPath<String>,
) -> ApiResult<Response> {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    if method == Method::HEAD {
        // How long it is would take as long as making it.
        state.store.image(&reference)?;
        return Ok(([kind], Body::empty()).into_response());
    }
    let slot = StreamSlot::take(&state, &caller)?;
    let export = state.images.export(&reference).await?;
    let length = (header::CONTENT_LENGTH, HeaderValue::from(export.size));
    let chunks = futures_util::stream::unfold(export, |mut export| async { export.next().await.map(|chunk| (chunk, export)) });
    Ok(([kind, length], slot.whole("an archive of an image", chunks)).into_response())
}
