//! What has happened on this machine, newest first.

use askama::Template;

use crate::format::Moment;
use crate::frame::Frame;
use crate::routes;

#[derive(Debug, Template)]
#[template(path = "events.html")]
pub struct Events {
    pub frame: Frame,
    pub rows: Vec<EventRow>,
    pub kind: String,
    pub name: String,
    pub reason: String,
    /// Sequence number before which older ones lie.
    pub older: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct EventRow {
    pub sequence: u64,
    pub time: Moment,
    /// Something to look at, not the ordinary course.
    pub warning: bool,
    /// `Container`, `Image`, …
    pub kind: String,
    pub name: String,
    pub uid: String,
    /// CamelCase cause: `Started`, `OOMKilled`, …
    pub reason: String,
    pub message: String,
    /// Who asked for it, where someone did.
    pub actor: Option<String>,
}

impl EventRow {
    /// Where the thing that it is about can be seen.
    pub(crate) fn link(&self) -> Option<String> {
        match self.kind.as_str() {
            "Container" if !self.name.is_empty() => Some(routes::container(&self.name, &self.uid)),
            // By its name alone it may be gone or be another one.
            "Image" => Some("/images".to_owned()),
            "Volume" => Some("/volumes".to_owned()),
            _ => None,
        }
    }
}

impl Events {
    fn is_filtered(&self) -> bool {
        [&self.kind, &self.name, &self.reason].iter().any(|filter| !filter.is_empty())
    }

    fn is_kind(&self, kind: &str) -> bool {
        self.kind == kind
    }

    fn older_link(&self, before: &u64) -> String {
        let encode = routes::encode;
        format!("/events?kind={}&name={}&reason={}&before={before}", encode(&self.kind), encode(&self.name), encode(&self.reason))
    }
}
