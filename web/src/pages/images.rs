//! The images on this machine, and one of them.

use askama::Template;

use super::first::{self, Step};
use super::form::CreateForm;
use super::parts::Paging;
use crate::format::Moment;
use crate::frame::Frame;
use crate::routes;

#[derive(Debug, Template)]
#[template(path = "images/list.html")]
pub struct Images {
    pub frame: Frame,
    pub rows: Vec<ImageRow>,
    pub paging: Paging,
    /// Of all pages.
    pub count: u64,
    /// Of all pages, each layer once.
    pub total_bytes: u64,
    /// To upload another.
    pub form: CreateForm,
}

#[derive(Debug, Clone)]
pub struct ImageRow {
    /// Names it is known by.
    pub references: Vec<String>,
    pub digest: String,
    /// Bytes of its unpacked layers.
    pub size: u64,
    pub layers: usize,
    /// `linux/amd64`.
    pub platform: String,
    pub created: Option<Moment>,
    /// Program and arguments that it starts without further words.
    pub command: Vec<String>,
    /// Containers made from it.
    pub used_by: u64,
}

/// One image: what it is made of, and what it starts.
#[derive(Debug, Template)]
#[template(path = "images/one.html")]
pub struct ImagePage {
    pub frame: Frame,
    pub image: ImageRow,
    /// Lowest first: digest and bytes.
    pub layers: Vec<(String, u64)>,
    /// `imported`, or where it came from.
    pub origin: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<(String, String)>,
    pub user: String,
    pub working_dir: String,
    pub stop_signal: String,
    /// What it says that it listens on: `80/tcp`.
    pub ports: Vec<String>,
    /// Paths that get a volume of their own.
    pub volumes: Vec<String>,
    pub labels: Vec<(String, String)>,
    /// Name and uid of the containers made from it.
    pub used_by: Vec<(String, String)>,
}

impl Images {
    fn first_step(&self) -> Step {
        first::import(&self.frame)
    }

    fn upload_is_open(&self) -> bool {
        self.count == 0 || !self.form.errors.is_empty()
    }
}

impl ImageRow {
    /// `sha256:` and twelve digits: enough to tell images apart.
    fn short_digest(&self) -> &str {
        let from = self.digest.find(':').map_or(0, |at| at + 1);
        self.digest.get(..from + 12).unwrap_or(&self.digest)
    }

    fn link(&self) -> String {
        routes::image(&self.digest)
    }

    /// What people call it.
    fn name(&self) -> &str {
        self.references.first().map_or(self.short_digest(), String::as_str)
    }

    fn run_link(&self) -> String {
        format!("/containers/new?image={}", routes::encode(self.name()))
    }
}

impl ImagePage {
    fn title(&self) -> &str {
        self.image.name()
    }

    fn delete_action(&self) -> String {
        format!("{}/delete", self.image.link())
    }

    /// Of the API: the whole image as a tar.
    fn archive_path(&self) -> String {
        format!("/api/v1/images/{}/archive", routes::encode(self.image.name()))
    }

    /// Without one of several names the image stays.
    fn untag_action(&self, reference: &str) -> String {
        format!("/images/{}/delete", routes::encode(reference))
    }

    fn link(&self, name: &str, uid: &str) -> String {
        routes::container(name, uid)
    }

    fn or_none<'a>(&self, text: &'a str) -> &'a str {
        if text.is_empty() { "–" } else { text }
    }
}
