//! `POST /api/v1/containers/{name}/exec`: a further process in a container, from start to end.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use runtime::config::ExecConfig;
use runtime::error::RuntimeError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::{Caller, Role};
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::http::extract::{ApiJson, ApiPath};
use crate::http::input;
use crate::http::state::{App, AppState};
use crate::model::container::EnvVar;
use crate::model::validate::{self, HostLimits};
use crate::model::{ContainerSpec, Phase};
use crate::node::{ExecOutput, ExecSession, NodeError, convert};
use crate::store::ContainerRecord;

/// What is kept of the output, stdout and stderr together; the rest is read and thrown away.
const MAX_OUTPUT: usize = 10 << 20;
/// Of standard input at once: a frame to the shim is smaller than 1 MiB, base64 included.
const INPUT_CHUNK: usize = 256 << 10;
const MAX_TIMEOUT_SECONDS: u64 = 86_400;

/// A process to be run.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecInput {
    /// Program and arguments.
    #[schema(example = json!(["sh", "-c", "id"]))]
    command: Vec<String>,
    /// Added to the container's environment.
    #[serde(default)]
    env: Vec<EnvVar>,
    /// The container's when absent.
    #[serde(default)]
    user: Option<String>,
    /// The container's when absent.
    #[serde(default)]
    working_dir: Option<String>,
    /// What it reads on its standard input; nothing when absent.
    #[serde(default)]
    stdin: Option<String>,
    /// Killed with everything that it started after so many seconds.
    #[serde(default)]
    timeout_seconds: Option<u64>,
    /// With all capabilities and without seccomp: needs the role `admin`.
    #[serde(default)]
    privileged: bool,
}

/// What it wrote and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecAnswer {
    /// As a shell gives it: 128 + the signal when a signal ended it.
    #[schema(example = 0)]
    pub exit_code: i32,
    /// The signal's name, when a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What is not UTF-8 is replaced: the bytes are then in `stdoutBase64`.
    #[schema(example = "red\n0\n")]
    pub stdout: String,
    #[schema(example = "")]
    pub stderr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
    /// There was more than 10 MiB: the rest was thrown away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// Run a process in a container, and wait for its end.
///
/// It is in all of the container's namespaces and in its cgroup, with its environment, user, working folder, capabilities and seccomp filter.
/// When the caller hangs up, it is killed.
#[utoipa::path(post, path = "/api/v1/containers/{name}/exec", operation_id = "execContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = ExecInput, example = json!({"command": ["sh", "-c", "echo $COLOUR; id -u"], "env": [{"name": "COLOUR", "value": "red"}], "timeoutSeconds": 10})),
    responses((status = 200, description = "It has ended", body = ExecAnswer), (status = 409, description = "The container does not run")))]
pub async fn exec_container(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    ApiJson(input): ApiJson<ExecInput>,
) -> ApiResult<Json<ExecAnswer>> {
    let record = state.store.container(&name)?;
    check(&input)?;
    if input.privileged {
        caller.require(Role::Admin)?;
    }
    let session = open(&state, &record, &input).await?;
    tokio::select! {
        answer = run(session, input.stdin.as_deref()) => Ok(Json(answer?)),
        // The session is dropped, and with it the process.
        () = caller.revoked.cancelled() => Err(ApiError::new(ErrorCode::Unauthenticated, "the token was deleted")),
    }
}

/// The rules are those of a container's own process; only the places have other names.
fn check(input: &ExecInput) -> ApiResult<()> {
    let mut faults = Vec::new();
    if input.command.is_empty() {
        faults.push(FieldError::new("/command", "must not be empty"));
    }
    if input.timeout_seconds.is_some_and(|seconds| !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds)) {
        faults.push(FieldError::new("/timeoutSeconds", format!("must be 1 to {MAX_TIMEOUT_SECONDS}")));
    }
    let as_spec = ContainerSpec {
        image: "exec".to_owned(),
        command: Some(input.command.clone()),
        env: input.env.clone(),
        user: input.user.clone(),
        working_dir: input.working_dir.clone(),
        ..ContainerSpec::default()
    };
    for fault in validate::container(&as_spec, &HostLimits::default()) {
        faults.push(FieldError::new(fault.path.strip_prefix("/spec").unwrap_or(&fault.path), fault.message.clone()));
    }
    input::check(faults)
}

async fn open(state: &App, record: &ContainerRecord, input: &ExecInput) -> ApiResult<ExecSession> {
    super::must_run(record)?;
    if record.status.phase == Phase::Paused {
        return Err(ApiError::new(ErrorCode::WrongState, format!("the container {:?} is paused: unpause it", record.meta.name)));
    }
    let config = ExecConfig {
        argv: input.command.clone(),
        env: input.env.iter().map(|variable| format!("{}={}", variable.name, variable.value)).collect(),
        cwd: input.working_dir.clone(),
        user: input.user.clone(),
        tty: false,
        stdin: input.stdin.is_some(),
        privileged: input.privileged,
        timeout_ms: input.timeout_seconds.map(|seconds| seconds.saturating_mul(1000)),
    };
    let container = convert::name(record).map_err(ApiError::internal)?;
    state.node.exec(&record.uid, &container, config).await.map_err(not_started)
}

/// A program that cannot be run is told as for a container's own.
fn not_started(error: NodeError) -> ApiError {
    match error {
        NodeError::Refused(RuntimeError::Setup(setup)) => {
            ApiError::new(ErrorCode::StartFailed, setup.to_string()).with_operation(setup.into())
        }
        other => other.into(),
    }
}

/// Feeds it, collects what it writes, and waits for its end.
async fn run(mut session: ExecSession, stdin: Option<&str>) -> ApiResult<ExecAnswer> {
    let sender = session.input();
    let feed = async {
        for chunk in stdin.unwrap_or_default().as_bytes().chunks(INPUT_CHUNK) {
            // It may have closed its standard input, or ended: neither is an error of the caller's.
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
        if stdin.is_some() {
            let _ = sender.send(&[]).await;
        }
    };
    let collect = async {
        let mut output = Output::default();
        while let Some(item) = session.next().await {
            match item.map_err(not_started)? {
                ExecOutput::Stdout(bytes) => output.put(0, &bytes),
                ExecOutput::Stderr(bytes) => output.put(1, &bytes),
                ExecOutput::Exited { exit_code, signal, timed_out } => return Ok(output.answer(exit_code, signal, timed_out)),
            }
        }
        Err(ApiError::new(ErrorCode::RuntimeUnavailable, "the container's supervisor went away before the process ended"))
    };
    let mut collect = std::pin::pin!(collect);
    tokio::select! {
        answer = &mut collect => answer,
        () = feed => collect.await,
    }
}

#[derive(Debug, Default)]
struct Output {
    streams: [Vec<u8>; 2],
    truncated: bool,
}

impl Output {
    fn put(&mut self, stream: usize, bytes: &[u8]) {
        let room = MAX_OUTPUT.saturating_sub(self.streams[0].len() + self.streams[1].len());
        self.truncated |= bytes.len() > room;
        self.streams[stream].extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn answer(self, exit_code: i32, signal: Option<i32>, timed_out: bool) -> ExecAnswer {
        let [stdout, stderr] = self.streams;
        let ((stdout, stdout_base64), (stderr, stderr_base64)) = (text(stdout), text(stderr));
        let signal = signal.map(crate::model::signal::name);
        ExecAnswer { exit_code, signal, stdout, stderr, stdout_base64, stderr_base64, truncated: self.truncated, timed_out }
    }
}

fn text(bytes: Vec<u8>) -> (String, Option<String>) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(encoded))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_bytes_are_kept() {
        let mut output = Output::default();
        output.put(0, b"\xff");
        output.put(1, &vec![b'x'; MAX_OUTPUT]);
        let answer = output.answer(0, None, false);
        assert!(answer.truncated);
        assert_eq!(answer.stderr.len(), MAX_OUTPUT - 1);
        assert_eq!((answer.stdout.as_str(), answer.stdout_base64.as_deref()), ("\u{fffd}", Some("/w==")));
    }
}
