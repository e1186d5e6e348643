//! This machine: what it is, what it can isolate, and what it cannot.

use askama::Template;

use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "system.html")]
pub struct System {
    pub frame: Frame,
    pub facts: Vec<HostFact>,
    /// `v1`, `hybrid` or `v2`.
    pub cgroup_mode: String,
    pub controllers: Vec<String>,
    pub features: Vec<Feature>,
    /// Containers by state, images and the like: catalogue key and number.
    pub counts: Vec<(&'static str, u64)>,
    /// What is on disk; why it is not known where it could not be measured in time.
    pub disk: Result<Vec<DiskShare>, String>,
}

/// What one kind of thing takes of the disk.
#[derive(Debug, Clone)]
pub struct DiskShare {
    /// Catalogue key of the kind.
    pub key: &'static str,
    pub count: u64,
    pub active: u64,
    pub bytes: u64,
    pub reclaimable_bytes: u64,
}

/// A fact with the catalogue key of its name.
#[derive(Debug, Clone)]
pub struct HostFact {
    pub key: &'static str,
    pub value: String,
}

#[derive(Debug, Clone)]
pub struct Feature {
    /// As the API names it: `idmapped-mounts`.
    pub name: String,
    /// None: it is there. Else why not.
    pub missing: Option<String>,
}

impl Feature {
    /// What it is good for, in words; nothing for a feature that the catalogue does not know yet.
    fn purpose(&self, frame: &Frame) -> &'static str {
        frame.lang.lookup(&format!("feature.{}", self.name)).unwrap_or_default()
    }
}

impl System {
    fn degraded(&self) -> Vec<&Feature> {
        self.features.iter().filter(|feature| feature.missing.is_some()).collect()
    }

    fn cgroup_words(&self) -> &'static str {
        match self.cgroup_mode.as_str() {
            "v1" => self.frame.lang.t("system.cgroup.v1"),
            "v2" => self.frame.lang.t("system.cgroup.v2"),
            _ => self.frame.lang.t("system.cgroup.hybrid"),
        }
    }
}
