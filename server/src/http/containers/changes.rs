//! `GET /api/v1/containers/{name}/changes`.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use runtime::protocol::{Bytes, ChangeKind, LauncherAnswer, LauncherRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::archive::configs;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::list::List;
use crate::http::state::AppState;
use crate::model::ListMeta;
use crate::node::NodeError;

/// The most items of one answer.
const MOST: u32 = 10_000;

/// `limit`, `continue`.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ChangesParams {
    /// Most items of the answer; 10,000 when absent or 0, or more.
    #[param(minimum = 0, example = 100)]
    limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    continue_token: Option<String>,
}

/// One difference from the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Absolute inside the container; what is no UTF-8 is replaced.
    #[schema(example = "/etc/passwd")]
    path: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FileChange)]
pub enum Kind {
    Added,
    Modified,
    Deleted,
}

/// What a container's files differ in from its image, in the order of their paths.
///
/// As `docker diff`: a folder is `Modified` when something in it is listed, or its mode or owner is another. The places that a start mounts
/// something on (`/proc`, `/etc/hosts`, the container's own mounts) are left out, and so is what lies in volumes and other mounts.
#[utoipa::path(get, path = "/api/v1/containers/{name}/changes", operation_id = "listContainerChanges", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), ChangesParams),
    responses((status = 200, description = "The differences", body = List<Change>,
        example = json!({"items": [{"path": "/etc", "kind": "Modified"}, {"path": "/etc/motd", "kind": "Added"}], "metadata": {"continue": "", "remainingItemCount": 0, "resourceVersion": "7"}}))))]
pub async fn list_container_changes(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(params): ApiQuery<ChangesParams>,
) -> ApiResult<Json<List<Change>>> {
    let record = state.store.container(&name)?;
    let after = params.continue_token.filter(|token| !token.is_empty()).map(|token| {
        URL_SAFE_NO_PAD.decode(token).map(Bytes).map_err(|_| ApiError::field("/query/continue", "is not from a list of this kind"))
    });
    let limit = params.limit.filter(|limit| *limit > 0).unwrap_or(MOST).min(MOST);
    let (_, container) = configs(&state, &record).await?;
    let request =
        LauncherRequest::Changes { pod: record.uid.clone(), container, id_base: record.uid_base(), after: after.transpose()?, limit };
    let LauncherAnswer::Changes { items, remaining } = state.node.launcher(request).await? else {
        return Err(ApiError::internal(NodeError::Unexpected { verb: "changes" }));
    };
    let continue_token = match items.last() {
        Some(last) if remaining > 0 => URL_SAFE_NO_PAD.encode(&last.key.0),
        _ => String::new(),
    };
    let metadata = ListMeta { continue_token, remaining_item_count: remaining, resource_version: record.meta.resource_version.clone() };
    Ok(Json(List { items: items.into_iter().map(|item| Change { path: item.path, kind: kind(item.kind) }).collect(), metadata }))
}

fn kind(kind: ChangeKind) -> Kind {
    match kind {
        ChangeKind::Added => Kind::Added,
        ChangeKind::Modified => Kind::Modified,
        ChangeKind::Deleted => Kind::Deleted,
    }
}
