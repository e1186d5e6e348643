//! An image: unpacked layers and the configuration that says how to run what is in them.
//!
//! The configuration is what the image's author wrote: hostile input until checked, and never merged into Berth's own metadata.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::meta::ObjectMeta;

/// `metadata.name` is the first reference in its short form, or the first 12 digits of the id; `metadata.uid` is the id's digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Always `Image`.
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ImageSpec,
    pub status: ImageStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageSpec {
    /// What this image is called on this machine, normalised: `docker.io/library/busybox:latest`.
    #[schema(required = true, example = json!(["docker.io/library/busybox:latest"]))]
    pub references: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// `sha256:` and the digest of the configuration's JSON.
    #[schema(example = "sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270")]
    pub id: String,
    /// Lowest first.
    pub layers: Vec<ImageLayer>,
    /// Bytes on disk, unpacked; layers shared with other images are counted here too.
    pub size: u64,
    /// `imported`, or where it was pulled from.
    pub origin: String,
    #[schema(example = "amd64")]
    pub architecture: String,
    #[schema(example = "linux")]
    pub os: String,
    pub config: ImageConfig,
    /// Names of the containers that use it.
    #[serde(default)]
    #[schema(required = true, example = json!(["web"]))]
    pub used_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageLayer {
    /// `sha256:` and the digest of the uncompressed tar (the OCI image specification's DiffID).
    #[schema(example = "sha256:cb7fcd98c0ad8c3f1b6e1e2e3f9e9b7a5f0f9a1b8f9a3a7e6c5d4b3a29181706")]
    pub diff_id: String,
    /// Bytes on disk, unpacked.
    pub size: u64,
}

/// The `config` object of the OCI image specification, with its own names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// Image builders write `null` where they mean an empty list.
fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The part of an OCI image configuration that Berth reads and writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OciImage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: ImageConfig,
    pub rootfs: OciRootfs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRootfs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    pub diff_ids: Vec<String>,
}
