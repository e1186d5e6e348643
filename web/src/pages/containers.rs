//! The list of containers, a page of it at a time.

use askama::Template;

use super::container::Can;
use super::first::{self, Step};
use super::parts::{Badge, Gauge, Paging, State};
use crate::format::Moment;
use crate::frame::Frame;
use crate::routes;

#[derive(Debug, Template)]
#[template(path = "containers/list.html")]
pub struct Containers {
    pub frame: Frame,
    pub rows: Vec<ContainerRow>,
    /// The label selector as it was typed.
    pub selector: String,
    pub selector_error: Option<String>,
    pub phase: Option<State>,
    /// More than what is shown.
    pub remaining: u64,
    /// The API's continue token for the next page.
    pub next: Option<String>,
    /// This is not the first page.
    pub later_page: bool,
    /// There is an image to make a container from.
    pub has_images: bool,
}

#[derive(Debug, Clone)]
pub struct ContainerRow {
    pub name: String,
    pub uid: String,
    pub badge: Badge,
    pub image: String,
    /// On the host.
    pub pid: Option<i32>,
    /// Started, while it runs; finished, once it ended; created before.
    pub since: Option<Moment>,
    pub restarts: u32,
    pub memory: Gauge,
    pub cpu: Gauge,
    pub labels: Vec<(String, String)>,
}

impl Containers {
    fn is_filtered(&self) -> bool {
        !self.selector.is_empty() || self.phase.is_some()
    }

    fn first_steps(&self) -> Vec<Step> {
        let import = (!self.has_images).then(|| first::import(&self.frame));
        import.into_iter().chain([first::create(&self.frame)]).collect()
    }

    fn is_first_use(&self) -> bool {
        self.rows.is_empty() && !self.is_filtered() && !self.later_page
    }

    /// This list with another page or filter.
    fn link(&self, selector: &str, phase: Option<State>, page: Option<&str>) -> String {
        let mut pairs = Vec::new();
        if !selector.is_empty() {
            pairs.push(("labelSelector", selector));
        }
        if let Some(phase) = phase {
            pairs.push(("phase", phase.code()));
        }
        if let Some(page) = page {
            pairs.push(("continue", page));
        }
        let query: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", routes::encode(value))).collect();
        if query.is_empty() { "/containers".to_owned() } else { format!("/containers?{}", query.join("&")) }
    }

    fn paging(&self) -> Paging {
        let page = |token: Option<&str>| self.link(&self.selector, self.phase, token);
        let next = self.next.as_deref().map(|token| page(Some(token)));
        Paging { first: page(None), next, later_page: self.later_page, remaining: self.remaining }
    }

    fn every_state_link(&self) -> String {
        self.link(&self.selector, None, None)
    }

    fn state_link(&self, state: &State) -> String {
        self.link(&self.selector, Some(*state), None)
    }

    fn is_state(&self, state: &State) -> bool {
        self.phase == Some(*state)
    }

    fn label_link(&self, key: &str, value: &str) -> String {
        self.link(&format!("{key}={value}"), self.phase, None)
    }
}

impl ContainerRow {
    fn link(&self) -> String {
        routes::container(&self.name, &self.uid)
    }

    fn api(&self) -> String {
        format!("/api/v1/containers/{}", self.uid)
    }

    fn can(&self, frame: &Frame) -> Can {
        Can::in_state(self.badge.state, frame.can_change(), self.badge.deleting)
    }

    /// What `since` counts from.
    fn since_key(&self) -> &'static str {
        match self.badge.state {
            State::Running | State::Paused => "since.running",
            State::Exited | State::Dead | State::Restarting => "since.ended",
            State::Created => "since.created",
        }
    }
}
