//! `/api/v1/containers/{name}/execs`: the further processes of a container, as things that can be looked at, signalled and ended.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use runtime::id::ContainerName;
use runtime::protocol::{ShimAnswer, ShimRequest};
use runtime::status::ExecReport;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ExecInput, Stdio};
use crate::http::containers::lifecycle::{self, Signal};
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::query::flag;
use crate::http::extract::{ApiPath, ApiQuery, OptionalJson};
use crate::http::list::{self, List, ListParams};
use crate::http::state::{App, AppState};
use crate::model::Phase;
use crate::model::signal::{self, SIGKILL};
use crate::node::{NodeError, convert};
use crate::store::ContainerRecord;

/// Between SIGTERM and SIGKILL when nobody says: Docker's for containers.
const GRACE_SECONDS: u64 = 10;
/// The least that a beginning of an id has.
const SHORTEST: usize = 8;

/// A further process in a container.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// Always `Exec`.
    #[schema(example = "Exec")]
    kind: &'static str,
    #[schema(example = "5d3a0c5bd8e94a3f8f0e5d9c7b1a2f34")]
    id: String,
    /// The container's name.
    #[schema(example = "web")]
    container: String,
    /// Program and arguments, at most 4 KiB of them.
    #[schema(example = json!(["sh"]))]
    command: Vec<String>,
    /// On the host, for display; null when it has ended.
    #[schema(example = 4711)]
    pid: Option<i32>,
    /// As the container sees it.
    #[schema(example = 12)]
    container_pid: Option<i32>,
    tty: bool,
    /// Without a client.
    detached: bool,
    #[schema(example = "0:0")]
    user: String,
    running: bool,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// As a shell gives it; null while it runs.
    exit_code: Option<i32>,
    /// The signal's name, when a signal ended it.
    signal: Option<String>,
    timed_out: bool,
}

impl Exec {
    fn new(container: &str, report: ExecReport) -> Self {
        let running = report.exit.is_none();
        Exec {
            kind: "Exec",
            id: report.id.to_string(),
            container: container.to_owned(),
            command: report.command,
            pid: running.then_some(report.pid),
            container_pid: report.container_pid.filter(|_| running),
            tty: report.tty,
            detached: report.detached,
            user: report.user,
            running,
            started_at: report.started_at,
            finished_at: report.exit.as_ref().map(|exit| exit.finished_at),
            exit_code: report.exit.as_ref().map(|exit| exit.code),
            signal: report.exit.as_ref().and_then(|exit| exit.signal).map(signal::name),
            timed_out: report.exit.is_some_and(|exit| exit.timed_out),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct EndParams {
    /// Seconds between SIGTERM and SIGKILL; 10 when absent, 0 kills at once.
    grace_period_seconds: Option<u64>,
}

/// `limit`, `continue`, and whether to show what has ended.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ExecListParams {
    /// Also those that have ended and are remembered.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    all: bool,
    /// Most items of the answer; all when absent or 0.
    #[param(minimum = 0, example = 100)]
    limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    continue_token: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecKillInput {
    /// A name, with or without `SIG`, or a number; SIGKILL when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "SIGHUP")]
    signal: Option<Signal>,
}

/// The processes that were started in a container beside its own, oldest first.
///
/// Those that run; with `all` also the last 16 detached ones that have ended, for as long as the container runs. A container that does not run has none.
#[utoipa::path(get, path = "/api/v1/containers/{name}/execs", operation_id = "listContainerExecs", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), ExecListParams),
    responses((status = 200, description = "The execs", body = List<Exec>)))]
pub async fn list_container_execs(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(params): ApiQuery<ExecListParams>,
) -> ApiResult<Json<List<Exec>>> {
    let ExecListParams { all, limit, continue_token } = params;
    let query = ListParams { limit, continue_token, label_selector: None }.query()?;
    let record = state.store.container(&name)?;
    let mut execs = reports(&state, &record).await?;
    execs.retain(|exec| all || exec.exit.is_none());
    execs.sort_by_key(|exec| exec.started_at);
    let execs = execs.into_iter().map(|report| Exec::new(&record.meta.name, report)).collect();
    let revision = record.meta.resource_version.parse().unwrap_or(0);
    let (items, metadata) = list::page(execs, &query, revision, |exec: &Exec| &exec.id)?;
    Ok(Json(List { items, metadata }))
}

/// One exec.
///
/// When a detached one has ended, its exit code can be read here: the last 16 are remembered while the container runs.
#[utoipa::path(get, path = "/api/v1/containers/{name}/execs/{id}", operation_id = "getContainerExec", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
        ("id" = String, Path, description = "Its id, or a unique beginning of 8 characters or more")),
    responses((status = 200, description = "The exec", body = Exec)))]
pub async fn get_container_exec(State(state): State<AppState>, ApiPath((name, id)): ApiPath<(String, String)>) -> ApiResult<Json<Exec>> {
    let record = state.store.container(&name)?;
    let report = find(&state, &record, &id).await?;
    Ok(Json(Exec::new(&record.meta.name, report)))
}

/// Send a signal to an exec's process.
///
/// To it alone; DELETE ends it with all that it started.
#[utoipa::path(post, path = "/api/v1/containers/{name}/execs/{id}/kill", operation_id = "killContainerExec", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
        ("id" = String, Path, description = "Its id, or a unique beginning of 8 characters or more")),
    request_body(content = Option<ExecKillInput>, description = "May be left out"),
    responses((status = 204, description = "The signal was sent"), (status = 409, description = "It has ended")))]
pub async fn kill_container_exec(
    State(state): State<AppState>,
    ApiPath((name, id)): ApiPath<(String, String)>,
    OptionalJson(input): OptionalJson<ExecKillInput>,
) -> ApiResult<StatusCode> {
    let record = state.store.container(&name)?;
    let exec = find(&state, &record, &id).await?.id;
    let signal = input.signal.map_or(SIGKILL, |signal| signal.0);
    let container = container(&record)?;
    state.node.shim_done(&record.uid, ShimRequest::SignalExec { container, exec, signal }, "signalExec").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End an exec with all that it started.
///
/// SIGTERM to each of its processes; when its first one ends, or the grace period does, SIGKILL to those that are left. Answers when it has ended.
/// Deleting one that has ended forgets it.
#[utoipa::path(delete, path = "/api/v1/containers/{name}/execs/{id}", operation_id = "deleteContainerExec", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
        ("id" = String, Path, description = "Its id, or a unique beginning of 8 characters or more"), EndParams),
    responses((status = 204, description = "It has ended"), (status = 409, description = "The container is paused"),
        (status = 504, description = "It takes long, and will be killed when its grace period is over")))]
pub async fn delete_container_exec(
    State(state): State<AppState>,
    ApiPath((name, id)): ApiPath<(String, String)>,
    ApiQuery(params): ApiQuery<EndParams>,
) -> ApiResult<StatusCode> {
    lifecycle::check_grace("/query/gracePeriodSeconds", params.grace_period_seconds)?;
    let record = state.store.container(&name)?;
    let exec = find(&state, &record, &id).await?.id;
    if record.status.phase == Phase::Paused {
        return Err(ApiError::new(ErrorCode::WrongState, format!("the container {:?} is paused: unpause it", record.meta.name)));
    }
    let grace = Duration::from_secs(params.grace_period_seconds.unwrap_or(GRACE_SECONDS));
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let container = container(&record)?;
    state.node.shim_done(&record.uid, ShimRequest::EndExec { container, exec, grace_ms }, "endExec").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts one that nobody waits for.
pub(super) async fn start(state: &App, record: &ContainerRecord, input: &ExecInput) -> ApiResult<Response> {
    let asked = super::asked(record, input, Stdio { tty: false, stdin: false, session: false })?;
    let request = ShimRequest::Exec { container: asked.container, config: Box::new(asked.config) };
    let report = match state.node.shim(&record.uid, request).await.map_err(super::not_started)? {
        ShimAnswer::ExecStarted { exec } => *exec,
        other => return Err(ApiError::internal(format!("an answer that does not belong to the question: {other:?}"))),
    };
    let exec = Exec::new(&record.meta.name, report);
    let location = format!("/api/v1/containers/{}/execs/{}", record.meta.name, exec.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(exec)).into_response())
}

fn container(record: &ContainerRecord) -> ApiResult<ContainerName> {
    convert::name(record).map_err(ApiError::internal)
}

/// All that the supervisor knows of; none where there is no supervisor.
async fn reports(state: &App, record: &ContainerRecord) -> ApiResult<Vec<ExecReport>> {
    if super::super::must_run(record).is_err() {
        return Ok(Vec::new());
    }
    match state.node.shim(&record.uid, ShimRequest::Execs { container: container(record)? }).await {
        Ok(ShimAnswer::Execs { execs }) => Ok(execs),
        Ok(other) => Err(ApiError::internal(format!("an answer that does not belong to the question: {other:?}"))),
        Err(NodeError::NoShim { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// By its id or a beginning of it that no other has.
async fn find(state: &App, record: &ContainerRecord, key: &str) -> ApiResult<ExecReport> {
    let mut fitting: Vec<ExecReport> = reports(state, record).await?;
    fitting.retain(|exec| exec.id.as_str() == key || (key.len() >= SHORTEST && exec.id.as_str().starts_with(key)));
    match fitting.len() {
        0 | 1 => fitting.pop().ok_or_else(|| ApiError::not_found("exec", key)),
        many => Err(ApiError::new(ErrorCode::AmbiguousName, format!("{many} execs begin with {key:?}"))),
    }
}
