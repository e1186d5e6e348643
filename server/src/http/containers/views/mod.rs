//! What the kernel says about a container: asked of its shim, now.

pub mod cgroup;
pub mod explain;
pub mod namespaces;
pub mod processes;
pub mod schema;
pub mod stats;

use runtime::id::ContainerName;
use runtime::protocol::{ShimAnswer, ShimRequest};

use crate::http::error::{ApiError, ApiResult};
use crate::http::state::App;
use crate::node::convert;
use crate::store::ContainerRecord;

/// Asks the shim of a container that runs.
pub(super) async fn ask(
    state: &App,
    record: &ContainerRecord,
    request: impl FnOnce(ContainerName) -> ShimRequest,
) -> ApiResult<ShimAnswer> {
    super::must_run(record)?;
    let container = convert::name(record).map_err(ApiError::internal)?;
    Ok(state.node.shim(&record.uid, request(container)).await?)
}

pub(super) fn unexpected(answer: &ShimAnswer) -> ApiError {
    ApiError::internal(format!("an answer that does not belong to the question: {answer:?}"))
}
