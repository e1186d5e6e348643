//! The files of a container's cgroup, word for word as the kernel writes them, each with what it means.

use askama::Template;

use super::{Head, Tab};
use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "container/cgroup.html")]
pub struct Cgroup {
    pub frame: Frame,
    pub head: Head,
    /// `v1`, `hybrid` or `v2`.
    pub version: String,
    pub controllers: Vec<Controller>,
}

#[derive(Debug, Clone)]
pub struct Controller {
    /// `memory`, …; `unified` is the v2 tree.
    pub name: String,
    pub path: String,
    pub files: Vec<CgroupFile>,
}

#[derive(Debug, Clone)]
pub struct CgroupFile {
    pub name: String,
    pub content: String,
}

impl Cgroup {
    const TAB: Tab = Tab::Cgroup;

    fn version_words(&self) -> &'static str {
        match self.version.as_str() {
            "v1" => self.frame.lang.t("system.cgroup.v1"),
            "v2" => self.frame.lang.t("system.cgroup.v2"),
            _ => self.frame.lang.t("system.cgroup.hybrid"),
        }
    }

    /// What a file says, where the catalogue knows it.
    fn about(&self, file: &str) -> &'static str {
        self.frame.lang.lookup(&format!("file.{file}")).unwrap_or_default()
    }

    fn anchor(&self, controller: &str) -> String {
        controller.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }
}
