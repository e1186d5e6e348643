//! What has happened to one container.

use askama::Template;

use super::{Head, Tab};
use crate::frame::Frame;
use crate::pages::events::EventRow;

#[derive(Debug, Template)]
#[template(path = "container/events.html")]
pub struct ContainerEvents {
    pub frame: Frame,
    pub head: Head,
    pub rows: Vec<EventRow>,
}

impl ContainerEvents {
    const TAB: Tab = Tab::Events;
}
