//! `POST /api/v1/containers/{name}/exec`: from start to end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use serde::Serialize;
use utoipa::ToSchema;

use super::ExecInput;
use super::instances::{self, Exec};
use crate::http::auth::{Caller, Role};
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::{ApiJson, ApiPath};
use crate::http::state::{App, AppState};
use crate::node::{self, Session};
use crate::store::ContainerRecord;

/// What is kept of the output, stdout and stderr together; the rest is read and thrown away.
const MAX_OUTPUT: usize = 10 << 20;

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

/// Run a process in a container, and wait for its end, or with `detach` for its start only.
///
/// It is in all of the container's namespaces and in its cgroup, with its environment, user, working folder, capabilities and seccomp filter.
/// When the caller hangs up, it is killed, unless it is detached: then it runs on, with or without this server, until it ends or the container does.
#[utoipa::path(post, path = "/api/v1/containers/{name}/exec", operation_id = "execContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = ExecInput, example = json!({"command": ["sh", "-c", "echo $COLOUR; id -u"], "env": [{"name": "COLOUR", "value": "red"}], "timeoutSeconds": 10})),
    responses((status = 200, description = "It has ended", body = ExecAnswer),
        (status = 201, description = "Detached: it runs", body = Exec, headers(("Location" = String, description = "Its address"))), (status = 409, description = "The container does not run")))]
pub async fn exec_container(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    ApiJson(input): ApiJson<ExecInput>,
) -> ApiResult<Response> {
    if input.detach {
        let record = checked(&state, &caller, &name, &input)?;
        return instances::start(&state, &record, &input).await;
    }
    Ok(Json(exec_to_the_end(&state, &caller, &name, &input).await?).into_response())
}

/// What every way to an exec checks.
fn checked(state: &App, caller: &Caller, name: &str, input: &ExecInput) -> ApiResult<Arc<ContainerRecord>> {
    let record = state.store.container(name)?;
    super::check(input, "")?;
    if input.privileged {
        caller.require(Role::Admin)?;
    }
    Ok(record)
}

/// Runs it, and waits for its end.
pub async fn exec_to_the_end(state: &App, caller: &Caller, name: &str, input: &ExecInput) -> ApiResult<ExecAnswer> {
    let record = checked(state, caller, name, input)?;
    let session = super::open(state, &record, input, super::Stdio { tty: false, stdin: input.stdin.is_some(), session: false }).await?;
    tokio::select! {
        answer = run(session, input.stdin.as_deref()) => answer,
        // The session is dropped, and with it the process.
        () = caller.revoked.cancelled() => Err(ApiError::new(ErrorCode::Unauthenticated, "the token was deleted")),
    }
}

/// Feeds it, collects what it writes, and waits for its end.
async fn run(mut session: Session, stdin: Option<&str>) -> ApiResult<ExecAnswer> {
    let sender = session.input();
    let feed = async {
        if let Some(text) = stdin {
            // It may have closed its standard input, or ended: neither is an error of the caller's.
            let _ = sender.send(text.as_bytes()).await;
            let _ = sender.close().await;
        }
    };
    let collect = async {
        let mut output = Output::default();
        while let Some(item) = session.next().await {
            match item? {
                node::Output::Stdout(bytes) => output.put(0, &bytes),
                node::Output::Stderr(bytes) => output.put(1, &bytes),
                // Of an exec nothing is: it waits for its reader.
                node::Output::Skipped(_) => output.truncated = true,
                node::Output::Exited { exit_code, signal, timed_out } => return Ok(output.answer(exit_code, signal, timed_out)),
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
