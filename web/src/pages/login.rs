//! The way in: a token is pasted here, or came with the link that the first start printed.

use askama::Template;

use crate::frame::Frame;

/// Why there is still a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    /// Wrong ones came too often: even a right one waits.
    TooMany,
}

#[derive(Debug, Template)]
#[template(path = "login.html")]
pub struct Login {
    pub frame: Frame,
    /// A token was given, and did not open.
    pub refused: Option<Refused>,
    /// Where to go afterwards.
    pub next: String,
}

impl Login {
    fn fault(&self) -> &'static str {
        match self.refused {
            Some(Refused::TooMany) => self.frame.lang.t("login.slow"),
            _ => self.frame.lang.t("login.refused"),
        }
    }
}
