//! One container: a head that all its pages share, and a page for each way of looking at it.

pub(super) mod cgroup;
pub(super) mod events;
pub(super) mod explain;
pub(super) mod limits;
pub(super) mod logs;
pub(super) mod namespaces;
pub(super) mod overview;
pub(super) mod processes;
pub(super) mod terminal;

use super::parts::{Badge, State};
use crate::format::{self, Moment};
use crate::frame::Frame;
use crate::routes;

/// The ways of looking at a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Limits,
    Namespaces,
    Processes,
    Cgroup,
    Explain,
    Logs,
    Events,
    Terminal,
}

impl Tab {
    pub const ALL: [Tab; 9] =
        [Tab::Overview, Tab::Logs, Tab::Terminal, Tab::Limits, Tab::Processes, Tab::Namespaces, Tab::Cgroup, Tab::Explain, Tab::Events];

    /// The last part of the path; nothing for the first.
    pub fn segment(self) -> &'static str {
        match self {
            Tab::Overview => "",
            Tab::Limits => "limits",
            Tab::Namespaces => "namespaces",
            Tab::Processes => "processes",
            Tab::Cgroup => "cgroup",
            Tab::Explain => "explain",
            Tab::Logs => "logs",
            Tab::Events => "events",
            Tab::Terminal => "terminal",
        }
    }

    pub fn from_segment(segment: &str) -> Option<Tab> {
        Tab::ALL.into_iter().find(|tab| tab.segment() == segment)
    }

    fn title(self, frame: &Frame) -> &'static str {
        let lang = frame.lang;
        match self {
            Tab::Overview => lang.t("tab.overview"),
            Tab::Limits => lang.t("tab.limits"),
            Tab::Namespaces => lang.t("tab.namespaces"),
            Tab::Processes => lang.t("tab.processes"),
            Tab::Cgroup => lang.t("tab.cgroup"),
            Tab::Explain => lang.t("tab.explain"),
            Tab::Logs => lang.t("tab.logs"),
            Tab::Events => lang.t("tab.events"),
            Tab::Terminal => lang.t("tab.terminal"),
        }
    }
}

/// What may be done to the container in its present state, by the one who looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Can {
    pub start: bool,
    pub stop: bool,
    pub restart: bool,
    pub kill: bool,
    pub pause: bool,
    pub unpause: bool,
    pub delete: bool,
}

impl Can {
    /// What makes sense in `state`; nothing for someone who may only look.
    pub fn in_state(state: State, may_change: bool, deleting: bool) -> Can {
        if !may_change || deleting {
            return Can::default();
        }
        let running = state == State::Running;
        Can {
            start: matches!(state, State::Created | State::Exited | State::Dead),
            stop: matches!(state, State::Running | State::Paused | State::Restarting),
            restart: running,
            kill: state.is_up(),
            pause: running,
            unpause: state == State::Paused,
            delete: true,
        }
    }
}

/// The head of each of a container's pages.
#[derive(Debug, Clone)]
pub struct Head {
    pub name: String,
    pub uid: String,
    pub badge: Badge,
    pub image: String,
    /// Of the first process, on the host.
    pub pid: Option<i32>,
    /// The same process as its container sees it; 1 unless the pid namespace is shared.
    pub pid_inside: Option<i32>,
    pub started: Option<Moment>,
    pub finished: Option<Moment>,
    pub created: Moment,
    pub restarts: u32,
    pub next_restart: Option<Moment>,
    /// `healthy`, `unhealthy`, `starting`; empty where nothing is checked.
    pub health: String,
    pub can: Can,
    /// The question whether it is really to be deleted stands open.
    pub ask_delete: bool,
}

impl Head {
    fn link(&self, tab: &Tab) -> String {
        let base = self.base();
        if *tab == Tab::Overview { base } else { format!("{base}/{}", tab.segment()) }
    }

    fn base(&self) -> String {
        routes::container(&self.name, &self.uid)
    }

    fn action(&self, verb: &str) -> String {
        format!("{}/{verb}", self.base())
    }

    fn api(&self) -> String {
        format!("/api/v1/containers/{}", routes::encode(&self.name))
    }

    fn short_uid(&self) -> &str {
        self.uid.get(..12).unwrap_or(&self.uid)
    }

    fn runs(&self) -> bool {
        self.badge.state.is_up()
    }

    /// How long it ran or has been running, in words.
    fn uptime(&self, frame: &Frame) -> Option<String> {
        let started = self.started.as_ref()?;
        let end = match &self.finished {
            Some(finished) if !self.runs() => finished.age_seconds,
            _ if self.runs() => 0,
            _ => return None,
        };
        Some(format::duration(frame.lang, u64::try_from(started.age_seconds - end).unwrap_or(0)))
    }
}
