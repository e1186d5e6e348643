//! `GET` and `PUT /api/v1/containers/{name}/archive`.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use runtime::error::RuntimeError;
use runtime::protocol::{LauncherAnswer, LauncherRequest, PathStat};
use serde::{Deserialize, Serialize};
use tokio_util::io::StreamReader;
use utoipa::{IntoParams, ToSchema};

use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::json::require_media_type;
use crate::http::extract::query::flag;
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::images::upload::TARS;
use crate::http::state::{App, AppState};
use crate::http::stream::StreamSlot;
use crate::node::NodeError;
use crate::reconcile::StartError;
use crate::store::ContainerRecord;

/// Docker's, so that its clients' code for it can be used: the base64 of a JSON object.
const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// How an upload may begin and go on: with a pause of at most so long.
const STALLED_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct FromParams {
    /// A file or folder in the container, from its root. A symbolic link at its end is sent as a link; with a slash behind it, what it leads to.
    #[param(example = "/etc/passwd")]
    path: String,
}

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ToParams {
    /// A folder in the container, from its root.
    #[param(example = "/srv")]
    path: String,
    /// Refuse to put a file where a folder is, and a folder where a file is.
    #[serde(default, deserialize_with = "flag")]
    no_overwrite_dir_non_dir: bool,
}

/// What was copied into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of its files, holes included.
    pub bytes: u64,
}

/// Copy files out of a container.
///
/// A tar of `path` and all below it, whose last component is the name in the tar; owners are ids inside the container. The container may run, be
/// paused, have ended or never have been started; a start, also one by the restart
/// policy, is held up by a copy that is under way. `X-Docker-Container-Path-Stat` tells what
/// `path` is: the base64 of `{"name", "size", "mode", "mtime", "linkTarget"}`, `mode` in Go's `os.FileMode`; HEAD answers that alone. When
/// something fails after the first byte, the answer is cut off.
#[utoipa::path(get, path = "/api/v1/containers/{name}/archive", operation_id = "getContainerArchive", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), FromParams),
    responses((status = 200, description = "The tar", body = Vec<u8>, content_type = "application/x-tar",
            headers(("X-Docker-Container-Path-Stat" = String, description = "What `path` is"))),
        (status = 404, description = "No such container, or nothing at `path` in it"),
        (status = 409, description = "It is being started or cleared away, or its files are being copied already while it does not run")))]
pub async fn get_container_archive(
    State(state): State<AppState>,
    method: Method,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    ApiQuery(params): ApiQuery<FromParams>,
) -> ApiResult<Response> {
    let record = state.store.container(&name)?;
    let slot = StreamSlot::take(&state, &caller)?;
    let stat_only = method == Method::HEAD;
    let (pod, container) = configs(&state, &record).await?;
    let request = LauncherRequest::CopyOut { pod, container, path: params.path, stat_only };
    let copied = state.node.copy_out(request).await;
    forget_if_deleted(&state, &record).await;
    let copied = copied.map_err(refused)?;
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")), (PATH_STAT, path_stat(&copied.stat)?)];
    if stat_only {
        return Ok((head, Body::empty()).into_response());
    }
    let chunks = futures_util::stream::unfold(copied.tar, |mut tar| async { tar.next().await.map(|chunk| (chunk, tar)) });
    Ok((head, slot.whole("a copy out of a container", chunks)).into_response())
}

/// Copy files into a container.
///
/// The body is a tar, plain or packed with gzip or zstd; its members go into the folder `path`, which must be there. Names are relative to that
/// folder, owners are ids inside the container, what is there already is replaced, and a folder is merged with a folder. Each file appears whole;
/// what came before a fault stays. Refused, with the entry's name: a name with `..`, a device node, an id that the container has not, an archive
/// that is cut. The container may run, be paused, have ended or never have been started.
#[utoipa::path(put, path = "/api/v1/containers/{name}/archive", operation_id = "putContainerArchive", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), ToParams),
    request_body(content((String = "application/x-tar"), (String = "application/gzip"), (String = "application/zstd"), (String = "application/octet-stream"))),
    responses((status = 200, description = "Everything is in its place", body = Copied, example = json!({"entries": 3, "bytes": 1024})),
        (status = 404, description = "No such container, or nothing at `path` in it"),
        (status = 409, description = "`path` is read-only; or the container is being started or cleared away, or its files are being copied already while it does not run")))]
pub async fn put_container_archive(
    State(state): State<AppState>,
    headers: HeaderMap,
    ApiPath(name): ApiPath<String>,
    ApiQuery(params): ApiQuery<ToParams>,
    body: Body,
) -> ApiResult<Json<Copied>> {
    require_media_type(&headers, TARS)?;
    let record = state.store.container(&name)?;
    let (pod, container) = configs(&state, &record).await?;
    let request = LauncherRequest::CopyIn { pod, container, path: params.path, keep_kinds: params.no_overwrite_dir_non_dir };
    let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
    let chunks = tokio_stream::StreamExt::timeout(chunks, STALLED_AFTER).map(|chunk| match chunk {
        Ok(chunk) => chunk,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the upload stalled")),
    });
    let answer = state.node.upload(request, Box::new(StreamReader::new(Box::pin(chunks)))).await;
    forget_if_deleted(&state, &record).await;
    match answer.map_err(refused)? {
        LauncherAnswer::Copied { entries, bytes } => Ok(Json(Copied { entries, bytes })),
        _ => Err(ApiError::internal(NodeError::Unexpected { verb: "copyIn" })),
    }
}

type Configs = (Box<runtime::config::PodConfig>, Box<runtime::config::ContainerConfig>);

pub(super) async fn configs(state: &App, record: &ContainerRecord) -> ApiResult<Configs> {
    let (pod, container) = state.reconciler.configs(record).await.map_err(|error| match error {
        StartError::Node(error) => error.into(),
        error => ApiError::new(ErrorCode::WrongState, format!("the container's files cannot be reached: {error}")),
    })?;
    Ok((Box::new(pod), Box::new(container)))
}

/// A container that was deleted while its files were mounted: nobody else clears away the folder that this may have made.
async fn forget_if_deleted(state: &App, record: &ContainerRecord) {
    if state.store.container_by_uid(&record.uid).is_none()
        && let Err(error) = state.node.clean(&record.uid, true).await
    {
        tracing::warn!(container = %record.uid, %error, "files of a deleted container may be left");
    }
}

/// The path came in the query.
fn refused(error: NodeError) -> ApiError {
    match error {
        NodeError::Refused(RuntimeError::Invalid { path, message }) if path == "/path" => ApiError::field("/query/path", message),
        other => other.into(),
    }
}

/// As Docker writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerStat<'a> {
    name: &'a str,
    size: u64,
    mode: u32,
    mtime: String,
    link_target: &'a str,
}

fn path_stat(stat: &PathStat) -> ApiResult<HeaderValue> {
    let (seconds, nanos) = stat.mtime;
    let mtime = jiff::Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0)).unwrap_or_default().to_string();
    let link_target = stat.link_target.as_deref().unwrap_or_default();
    let text = DockerStat { name: &stat.name, size: stat.size, mode: go_mode(stat.mode), mtime, link_target };
    let json = serde_json::to_vec(&text).map_err(ApiError::internal)?;
    HeaderValue::try_from(STANDARD.encode(json)).map_err(ApiError::internal)
}

/// Go's `os.FileMode`, whose kinds and set-id bits are not those of the kernel.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        0o020_000 => (1 << 26) | (1 << 21),
        _ => 0,
    };
    let bits = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    bits.into_iter().filter(|(bit, _)| mode & bit != 0).fold(kind | (mode & 0o777), |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        // os.ModeDir | 0755, os.ModeSymlink | 0777, os.ModeDevice | os.ModeCharDevice | 0666, os.ModeSetuid | 0755, os.ModeSticky
        for (kernel, go) in [
            (0o040_755, 0x8000_01ed),
            (0o120_777, 0x0800_01ff),
            (0o020_666, 0x0420_01b6),
            (0o104_755, 0x0080_01ed),
            (0o041_777, 0x8010_01ff),
            (0o100_644, 0o644),
        ] {
            assert_eq!(go_mode(kernel), go, "{kernel:o}");
        }
    }
}
