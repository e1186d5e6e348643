//! The images on this machine.

use askama::Template;

use super::first::{self, Step};
use crate::format::Moment;
use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "images.html")]
pub struct Images {
    pub frame: Frame,
    pub rows: Vec<ImageRow>,
    pub total_bytes: u64,
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

impl Images {
    fn first_step(&self) -> Step {
        first::import(&self.frame)
    }
}

impl ImageRow {
    /// `sha256:` and twelve digits: enough to tell images apart.
    fn short_digest(&self) -> &str {
        let from = self.digest.find(':').map_or(0, |at| at + 1);
        self.digest.get(..from + 12).unwrap_or(&self.digest)
    }
}
