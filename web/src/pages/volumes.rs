//! Named volumes: what outlives the containers that mount it.

use askama::Template;

use super::form::CreateForm;
use super::parts::Paging;
use crate::format::Moment;
use crate::frame::Frame;
use crate::routes;

#[derive(Debug, Template)]
#[template(path = "volumes.html")]
pub struct Volumes {
    pub frame: Frame,
    pub rows: Vec<VolumeRow>,
    pub paging: Paging,
    /// To make one: its `name` and `labels`.
    pub form: CreateForm,
}

#[derive(Debug, Clone)]
pub struct VolumeRow {
    pub name: String,
    pub created: Moment,
    pub labels: Vec<(String, String)>,
    /// Names of the containers that mount it.
    pub used_by: Vec<String>,
}

impl VolumeRow {
    fn action(&self) -> String {
        format!("/volumes/{}/delete", routes::encode(&self.name))
    }

    /// The page of a container that mounts it; one called `new` has no page under its name.
    fn link(&self, container: &str) -> String {
        routes::container(container, "")
    }
}
