//! `GET /api/v1/system/backup`.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio_util::io::ReaderStream;

use crate::http::error::{ApiError, ApiResult};
use crate::http::state::AppState;

/// A consistent copy of the whole database, made while everything goes on.
///
/// Definitions, status, events, the hashes of tokens: a SQLite file. `berth backup` packs it with what else is asked for; the files of volumes,
/// images and containers are not in it.
#[utoipa::path(get, path = "/api/v1/system/backup", operation_id = "getBackup", tag = "system", security(("token" = ["admin"])),
    responses((status = 200, description = "A SQLite database", body = Vec<u8>, content_type = "application/vnd.sqlite3")))]
pub async fn get_backup(State(state): State<AppState>) -> ApiResult<Response> {
    let copy = state.store.folder().join(format!("backup-{}.db", uuid::Uuid::new_v4().simple()));
    let made = state.store.snapshot(&copy).await;
    let opened = tokio::fs::File::open(&copy).await;
    // From here on it is the open file alone, and gone whatever becomes of this request.
    let removed = tokio::fs::remove_file(&copy).await;
    made?;
    let file = opened.map_err(ApiError::internal)?;
    removed.map_err(ApiError::internal)?;
    let length = file.metadata().await.map_err(ApiError::internal)?.len();
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"berth.db\"".to_owned()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, 64 << 10))).into_response())
}
