//! A named volume: a folder that outlives the containers that mount it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::meta::ObjectMeta;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Always `Volume`.
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: VolumeSpec,
    pub status: VolumeStatus,
}

/// Nothing to wish for yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeStatus {
    /// Names of the containers that mount it.
    #[schema(required = true, example = json!(["web"]))]
    pub used_by: Vec<String>,
}
