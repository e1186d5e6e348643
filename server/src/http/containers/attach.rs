//! `GET /api/v1/containers/{name}/attach` as a WebSocket: a container's own standard streams.

use axum::extract::State;
use axum::response::Response;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use utoipa::IntoParams;

use super::logs;
use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::query::{flag, maybe_flag};
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::state::{App, AppState};
use crate::http::stream::StreamSlot;
use crate::http::websocket::channel::{STDERR, STDOUT};
use crate::http::websocket::{Conversation, Upgrade, Wants};
use crate::node::{Attached, convert};
use crate::store::ContainerRecord;

#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct AttachParams {
    /// Begin with what it has written before.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    logs: bool,
    /// Pass channel 0 on to it, where its spec has `stdin`; true when absent, unless `stdout` or `stderr` is there.
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
    /// As Kubernetes' clients send it; whether there is a terminal is the container's to say.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    tty: bool,
}

/// Speak to a container's first process over a WebSocket.
///
/// What it writes from now on, and with `logs` what it wrote before; what the client sends on channel 0, where the spec has `stdin`; the size of
/// its terminal on channel 4, where the spec has `tty`. Subprotocol and channels are those of the exec session. Any number of clients may be
/// attached, and none of them holds up the container or its log: who reads too slowly misses some, and a line in its place says how much.
/// Closing the socket leaves the container running; when the container ends, its exit code comes on channel 3.
#[utoipa::path(get, path = "/api/v1/containers/{name}/attach", operation_id = "attachContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), AttachParams,
        ("Sec-WebSocket-Protocol" = String, Header, description = "`v5.channel.k8s.io`, `v4.channel.k8s.io`, or both", example = "v5.channel.k8s.io")),
    responses((status = 101, description = "Attached; from here on the connection is a WebSocket"),
        (status = 409, description = "The container does not run"), (status = 426, description = "The request asks for no WebSocket")))]
pub async fn attach_container(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    upgrade: Upgrade,
    ApiQuery(params): ApiQuery<AttachParams>,
) -> ApiResult<Response> {
    let record = state.store.container(&name)?;
    super::must_run(&record)?;
    let slot = StreamSlot::take(&state, &caller)?;
    let container = convert::name(&record).map_err(ApiError::internal)?;
    let (session, attached) = state.node.converse(&record.uid, &container).await?;
    let history = if params.logs { before(&state, &record, attached) } else { stream::empty().boxed() };
    let wants = Wants {
        stdin: record.spec.stdin && params.stdin.unwrap_or(params.stdout.is_none() && params.stderr.is_none()),
        stdout: params.stdout.unwrap_or(true),
        stderr: params.stderr.unwrap_or(true),
        tty: record.spec.tty,
    };
    tracing::info!(caller = caller.name, container = record.meta.name, "attached");
    let conversation = Conversation { session, version: upgrade.version, wants, history, slot };
    Ok(upgrade.accept(|socket| conversation.hold(socket)))
}

/// What the log has up to the moment of attaching, and the beginnings of lines that are in no log yet: nothing twice, nothing left out.
fn before(state: &App, record: &ContainerRecord, attached: Attached) -> BoxStream<'static, (u8, Vec<u8>)> {
    let [stdout, stderr] = attached.unfinished;
    let rests = stream::iter([(STDOUT, stdout), (STDERR, stderr)]).filter(|(_, rest)| std::future::ready(!rest.is_empty()));
    logged(state, record, attached.at).chain(rests).boxed()
}

fn logged(state: &App, record: &ContainerRecord, until: jiff::Timestamp) -> impl Stream<Item = (u8, Vec<u8>)> + use<> {
    logs::until(state, record, until).map(|(stream, bytes)| (if stream == logs::LogStream::Stderr { STDERR } else { STDOUT }, bytes))
}
