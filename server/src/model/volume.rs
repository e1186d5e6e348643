//! A volume: a folder that outlives the containers that mount it.
//!
//! A named one is made by its name; an anonymous one for a container, where the spec mounts a volume without a name or the image asks for
//! one (`VOLUME`), and goes with that container when it is asked to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ContainerSpec;
use super::container::MountType;
use super::image::ImageConfig;
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
    /// Made for one container, without a name of its own.
    pub anonymous: bool,
    /// What it holds, where that has been measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<VolumeUsage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeUsage {
    /// On disk.
    pub bytes: u64,
    /// Files, folders and links.
    pub inodes: u64,
    #[schema(value_type = String, format = DateTime)]
    pub measured_at: Timestamp,
}

/// Where a container of this image gets a volume of its own: what the spec mounts without a name, and what the image asks for and nothing of
/// the spec is mounted at. In the plain form of a path.
pub fn anonymous_targets(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let own = spec.mounts.iter().filter(|mount| mount.kind == MountType::Volume && mount.source.is_none());
    let mut targets: Vec<String> = own.map(|mount| plain_path(&mount.target)).collect();
    let taken: BTreeSet<String> = spec.mounts.iter().map(|mount| plain_path(&mount.target)).collect();
    targets.extend(image_targets(image).into_iter().filter(|target| !taken.contains(target)));
    targets
}

/// The image's `VOLUME`s, each once. Its author's words: hostile until checked.
pub fn image_targets(image: &ImageConfig) -> BTreeSet<String> {
    image.volumes.keys().map(|path| plain_path(path)).collect()
}

/// From the root, with `.`, `..` and empty parts worked out by the text alone.
pub fn plain_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::Mount;
    use crate::model::image::Present;

    #[test]
    fn what_the_spec_mounts_hides_what_the_image_asks_for() {
        let volumes = ["/data", "data/../logs/", "/logs", "/cache"].map(|path| (path.to_owned(), Present {}));
        let image = ImageConfig { volumes: volumes.into(), ..ImageConfig::default() };
        let mount = |kind, target: &str| Mount { kind, target: target.to_owned(), ..Mount::default() };
        let spec = ContainerSpec {
            mounts: vec![mount(MountType::Tmpfs, "/cache/"), mount(MountType::Volume, "/own")],
            ..ContainerSpec::default()
        };
        assert_eq!(anonymous_targets(&spec, &image), ["/own", "/data", "/logs"]);
        assert_eq!(plain_path("/../../../etc//x/."), "/etc/x");
    }
}
