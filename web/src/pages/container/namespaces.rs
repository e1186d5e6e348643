//! A container's namespaces, as lsns(8) lists them, and who else is in them.

use askama::Template;

use super::{Head, Tab};
use crate::frame::Frame;
use crate::routes;

#[derive(Debug, Template)]
#[template(path = "container/namespaces.html")]
pub struct Namespaces {
    pub frame: Frame,
    pub head: Head,
    pub rows: Vec<Namespace>,
}

#[derive(Debug, Clone)]
pub struct Namespace {
    /// `pid`, `mnt`, `net`, …
    pub kind: String,
    pub inode: u64,
    /// `/proc/PID/ns/<type>`.
    pub path: String,
    /// The host's own.
    pub host: bool,
    pub processes: u32,
    /// Lowest pid in it.
    pub pid: i32,
    pub command: String,
    /// Name and uid of other containers in it.
    pub shared_with: Vec<(String, String)>,
}

impl Namespaces {
    const TAB: Tab = Tab::Namespaces;

    fn what(&self, kind: &str) -> &'static str {
        self.frame.lang.lookup(&format!("ns.{kind}")).unwrap_or_default()
    }

    fn link(&self, name: &str, uid: &str) -> String {
        routes::container(name, uid)
    }

    /// The same list without Berth.
    fn lsns(&self) -> String {
        format!("lsns -p {}", self.head.pid.unwrap_or_default())
    }

    /// Into all of them, as far as nsenter(1) goes.
    fn nsenter(&self) -> String {
        format!("nsenter -t {} -a", self.head.pid.unwrap_or_default())
    }
}
