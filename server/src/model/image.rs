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
    pub references: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// `sha256:` and the digest of the configuration's JSON.
    pub id: String,
    /// Lowest first.
    pub layers: Vec<ImageLayer>,
    /// Bytes on disk, unpacked; layers shared with other images are counted here too.
    pub size: u64,
    /// `imported`, or where it was pulled from.
    pub origin: String,
    pub architecture: String,
    pub os: String,
    pub config: ImageConfig,
    /// Names of the containers that use it.
    #[serde(default)]
    pub used_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageLayer {
    /// `sha256:` and the digest of the uncompressed tar (the OCI image specification's DiffID).
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
    /// `80/tcp`; for people: nothing is published by it.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"80/tcp": {}}))]
    pub exposed_ports: BTreeMap<String, Present>,
    /// Paths that get a volume of their own in each container.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"/var/lib/data": {}}))]
    pub volumes: BTreeMap<String, Present>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// The empty object that sets are written with: `{"80/tcp": {}}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Present {}

/// Docker's `HEALTHCHECK`. Times are in nanoseconds; 0 or absent is Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, argument…]` or `["CMD-SHELL", line]`; empty is none.
    #[serde(deserialize_with = "null_is_empty")]
    #[schema(example = json!(["CMD-SHELL", "wget -qO- http://127.0.0.1/ || exit 1"]))]
    pub test: Vec<String>,
    /// Between the end of one check and the next; 30 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// A check that takes longer has failed; 30 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// From the start: failures in it do not count; 0 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// As `Interval`, while the start period lasts; 5 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures in a row that make it unhealthy; 3.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u32,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_docker_wrote_comes_back() {
        let text = r#"{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Env":null,"Healthcheck":{"Test":["CMD-SHELL","true"],
            "Interval":30000000000,"Retries":3},"OnBuild":null}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let check = config.healthcheck.clone().unwrap();
        assert_eq!(
            (check.test, check.interval, check.timeout, check.retries),
            (vec!["CMD-SHELL".into(), "true".into()], 30_000_000_000, 0, 3)
        );
        assert_eq!((config.exposed_ports.len(), config.volumes.keys().next().unwrap().as_str()), (1, "/data"));
        let again: serde_json::Value = serde_json::to_value(&config).unwrap();
        assert_eq!(again["Healthcheck"], serde_json::json!({"Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000_u64, "Retries": 3}));
        assert_eq!(again["Volumes"], serde_json::json!({"/data": {}}));
    }

    /// The id of an imported image is the digest of its configuration: what is not said must not be written.
    #[test]
    fn an_empty_configuration_is_written_as_nothing() {
        assert_eq!(serde_json::to_string(&ImageConfig::default()).unwrap(), "{}");
    }
}
