//! `GET /api/v1/containers/{name}/exec` as a WebSocket: a process that somebody speaks to.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ExecInput, Stdio};
use crate::http::auth::{Caller, Role};
use crate::http::error::{ApiResult, FieldError};
use crate::http::extract::ApiPath;
use crate::http::extract::query::{self, flag, maybe_flag};
use crate::http::input;
use crate::http::state::AppState;
use crate::http::stream::StreamSlot;
use crate::http::websocket::{Conversation, Upgrade, Wants};
use crate::model::container::EnvVar;

/// Those that come once.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ExecParams {
    /// Give it a terminal: its output and its errors are one stream then.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    tty: bool,
    /// Name or id, and a group after a colon; the container's when absent.
    #[param(example = "1000:1000")]
    user: Option<String>,
    /// The container's when absent.
    #[param(example = "/tmp")]
    working_dir: Option<String>,
    /// With all capabilities and without seccomp: needs the role `admin`.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    privileged: bool,
    /// Let it read channel 0. When absent: true, unless `stdout` or `stderr` is there, as Kubernetes' clients name all that they want.
    #[serde(deserialize_with = "maybe_flag")]
    #[param(value_type = Option<bool>)]
    stdin: Option<bool>,
    /// Send its output; true when absent.
    #[serde(deserialize_with = "maybe_flag")]
    #[param(value_type = Option<bool>)]
    stdout: Option<bool>,
    /// Send its errors; true when absent.
    #[serde(deserialize_with = "maybe_flag")]
    #[param(value_type = Option<bool>)]
    stderr: Option<bool>,
}

impl ExecParams {
    fn wants(&self) -> Wants {
        Wants {
            stdin: self.stdin.unwrap_or(self.stdout.is_none() && self.stderr.is_none()),
            stdout: self.stdout.unwrap_or(true),
            stderr: self.stderr.unwrap_or(true),
            tty: self.tty,
        }
    }
}

/// Run a process in a container, and speak to it over a WebSocket.
///
/// The subprotocol is Kubernetes' `v5.channel.k8s.io` (or `v4.channel.k8s.io`). Each message is a byte that names the channel, then its bytes:
///
/// | channel | from | what |
/// | --- | --- | --- |
/// | 0 | client | standard input |
/// | 1, 2 | server | standard output, standard error; with a terminal all comes on 1 |
/// | 3 | server | once, at the end: a Kubernetes `Status`, the exit code in `details.causes` with the reason `ExitCode` |
/// | 4 | client | the terminal's size: `{"Width": 80, "Height": 24}` |
/// | 255 | client | v5: closes the channel whose number is the next byte; `255 0` ends the standard input |
///
/// The process is the container's as with POST. When the client goes, it is killed with everything that it started. After the status the server
/// closes with 1000; with 1001 when it stops, 1002 when a message has no meaning, 1008 when the token is deleted. What cannot be started is
/// refused before the upgrade.
#[utoipa::path(get, path = "/api/v1/containers/{name}/exec", operation_id = "openExec", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
        ("command" = Vec<String>, Query, explode, description = "Program and arguments, one a parameter: `command=sh&command=-c&command=id`"),
        ("env" = Option<Vec<String>>, Query, explode, description = "`NAME=value`, added to the container's environment; may come more than once"),
        ExecParams,
        ("Sec-WebSocket-Protocol" = String, Header, description = "`v5.channel.k8s.io`, `v4.channel.k8s.io`, or both", example = "v5.channel.k8s.io")),
    responses((status = 101, description = "The process runs; from here on the connection is a WebSocket"),
        (status = 409, description = "The container does not run"), (status = 426, description = "The request asks for no WebSocket")))]
pub async fn open_exec(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    upgrade: Upgrade,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    let ([command, env], rest) = query::split(query.as_deref().unwrap_or_default(), ["command", "env"]);
    let params: ExecParams = query::parse(&rest)?;
    let record = state.store.container(&name)?;
    let wants = params.wants();
    let input = ExecInput {
        command,
        env: variables(env)?,
        user: params.user,
        working_dir: params.working_dir,
        privileged: params.privileged,
        ..ExecInput::default()
    };
    super::check(&input, "/query")?;
    if input.privileged {
        caller.require(Role::Admin)?;
    }
    let slot = StreamSlot::take(&state, &caller)?;
    let session = super::open(&state, &record, &input, Stdio { tty: wants.tty, stdin: wants.stdin, session: true }).await?;
    tracing::info!(caller = caller.name, container = record.meta.name, program = input.command.first(), "a session was opened");
    let conversation = Conversation { session, version: upgrade.version, wants, history: stream::empty().boxed(), slot };
    Ok(upgrade.accept(|socket| conversation.hold(socket)))
}

fn variables(lines: Vec<String>) -> ApiResult<Vec<EnvVar>> {
    let mut faults = Vec::new();
    let mut variables = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match line.split_once('=') {
            Some((name, value)) => variables.push(EnvVar { name: name.to_owned(), value: value.to_owned() }),
            None => faults.push(FieldError::new(format!("/query/env/{index}"), "must be NAME=value")),
        }
    }
    input::check(faults)?;
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_names_its_streams_and_others_have_all() {
        let wants = |query: &str| query::parse::<ExecParams>(query).unwrap().wants();
        let all = Wants { stdin: true, stdout: true, stderr: true, tty: false };
        assert_eq!(wants(""), all);
        assert_eq!(wants("tty=true"), Wants { tty: true, ..all });
        assert_eq!(wants("stdout=true&stderr=true"), Wants { stdin: false, ..all });
        assert_eq!(wants("stdin=true&stdout=true&stderr=true"), all);
        assert_eq!(wants("stdin=1&stderr=0"), Wants { stderr: false, ..all });
        assert_eq!(wants("stdin=false"), Wants { stdin: false, ..all });
    }

    #[test]
    fn variables_are_named() {
        let error = variables(vec!["A=b=c".into(), "A".into()]).unwrap_err();
        assert_eq!(error.errors()[0].path, "/query/env/1");
        assert_eq!(variables(vec!["A=b=c".into()]).unwrap()[0].value, "b=c");
    }
}
