//! `/api/v1/containers/{name}/exec`: a further process in a container.

pub mod instances;
pub mod run;
pub mod socket;

use runtime::config::ExecConfig;
use runtime::error::RuntimeError;
use runtime::id::ContainerName;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::http::input;
use crate::http::state::App;
use crate::model::container::EnvVar;
use crate::model::validate::{self, HostLimits};
use crate::model::{ContainerSpec, Phase};
use crate::node::{NodeError, Session, convert};
use crate::store::ContainerRecord;

const MAX_TIMEOUT_SECONDS: u64 = 86_400;

/// A process to be run.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
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
    /// Do not wait for it: it runs on without a client, its output goes nowhere, and the answer is 201 with the exec.
    #[serde(default)]
    detach: bool,
}

/// What it has for standard streams.
#[derive(Debug, Clone, Copy)]
struct Stdio {
    tty: bool,
    stdin: bool,
    /// Somebody speaks to it: when they go, it ends with all that it started.
    session: bool,
}

/// What the runtime is asked for, of whom.
struct Asked {
    container: ContainerName,
    config: ExecConfig,
}

/// The rules are those of a container's own process; only the places have other names, below `place`.
fn check(input: &ExecInput, place: &str) -> ApiResult<()> {
    let mut faults = Vec::new();
    if input.command.is_empty() {
        faults.push(FieldError::new(format!("{place}/command"), "must not be empty"));
    }
    if input.timeout_seconds.is_some_and(|seconds| !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds)) {
        faults.push(FieldError::new(format!("{place}/timeoutSeconds"), format!("must be 1 to {MAX_TIMEOUT_SECONDS}")));
    }
    if input.detach && input.stdin.is_some() {
        faults.push(FieldError::new(format!("{place}/stdin"), "a detached process has no standard input"));
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
        let path = fault.path.strip_prefix("/spec").unwrap_or(&fault.path);
        faults.push(FieldError::new(format!("{place}{path}"), fault.message.clone()));
    }
    input::check(faults)
}

/// Starts it: an answer means that its program runs.
async fn open(state: &App, record: &ContainerRecord, input: &ExecInput, stdio: Stdio) -> ApiResult<Session> {
    let Asked { container, config } = asked(record, input, stdio)?;
    state.node.exec(&record.uid, &container, config).await.map_err(not_started)
}

fn asked(record: &ContainerRecord, input: &ExecInput, stdio: Stdio) -> ApiResult<Asked> {
    super::must_run(record)?;
    if record.status.phase == Phase::Paused {
        return Err(ApiError::new(ErrorCode::WrongState, format!("the container {:?} is paused: unpause it", record.meta.name)));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let config = ExecConfig {
        id: Some(id.parse().map_err(|error: runtime::id::InvalidId| ApiError::internal(error))?),
        detach: input.detach,
        argv: input.command.clone(),
        env: input.env.iter().map(|variable| format!("{}={}", variable.name, variable.value)).collect(),
        cwd: input.working_dir.clone(),
        user: input.user.clone(),
        tty: stdio.tty,
        stdin: stdio.stdin,
        privileged: input.privileged,
        own_cgroup: stdio.session || input.detach || input.timeout_seconds.is_some(),
        timeout_ms: input.timeout_seconds.map(|seconds| seconds.saturating_mul(1000)),
    };
    let container = convert::name(record).map_err(ApiError::internal)?;
    Ok(Asked { container, config })
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
