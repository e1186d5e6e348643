//! `/api/v1/containers`: an action a file.

pub mod archive;
pub mod attach;
pub mod changes;
pub mod create;
pub mod exec;
pub mod get;
mod host;
pub mod lifecycle;
pub mod list;
pub mod logs;
pub mod patch;
mod policy;
pub mod views;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{ApiError, ApiResult, ErrorCode};
use super::state::AppState;
use crate::model::Phase;
use crate::store::ContainerRecord;

pub use policy::check as check_policy;

pub fn routes() -> OpenApiRouter<AppState> {
    use lifecycle::{delete, kill, pause, start, stop, wait};
    use views::{cgroup, explain, namespaces, processes, stats};
    OpenApiRouter::new()
        .routes(routes!(list::list_containers, create::create_container))
        .routes(routes!(get::get_container, patch::patch_container, delete::delete_container))
        .routes(routes!(start::start_container))
        .routes(routes!(stop::stop_container))
        .routes(routes!(stop::restart_container))
        .routes(routes!(kill::kill_container))
        .routes(routes!(pause::pause_container))
        .routes(routes!(pause::unpause_container))
        .routes(routes!(wait::wait_container))
        .routes(routes!(logs::get_container_logs))
        .routes(routes!(exec::run::exec_container, exec::socket::open_exec))
        .routes(routes!(exec::instances::list_container_execs))
        .routes(routes!(exec::instances::get_container_exec, exec::instances::delete_container_exec))
        .routes(routes!(exec::instances::kill_container_exec))
        .routes(routes!(attach::attach_container))
        .routes(routes!(stats::get_container_stats))
        .routes(routes!(processes::list_container_processes))
        .routes(routes!(namespaces::list_container_namespaces))
        .routes(routes!(cgroup::get_container_cgroup))
        .routes(routes!(explain::explain_container))
        .routes(routes!(archive::get_container_archive, archive::put_container_archive))
        .routes(routes!(changes::list_container_changes))
}

/// 409 unless it has processes.
fn must_run(record: &ContainerRecord) -> ApiResult<()> {
    if matches!(record.status.phase, Phase::Running | Phase::Paused) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::WrongState, format!("the container {:?} is not running", record.meta.name)))
}
