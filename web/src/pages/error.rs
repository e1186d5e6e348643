//! What went wrong: the API's problem document (RFC 9457) as a page.

use askama::Template;

use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub frame: Frame,
    pub status: u16,
    pub title: String,
    pub detail: String,
    /// Kebab-case, as in the API.
    pub code: String,
    /// JSON pointer and message of each fault.
    pub errors: Vec<(String, String)>,
    /// The request's id, to be found in the log.
    pub instance: Option<String>,
    /// Where to go from here.
    pub back: String,
}

impl ErrorPage {
    /// What a person can do about it.
    fn advice(&self) -> &'static str {
        let lang = self.frame.lang;
        match self.status {
            401 => lang.t("error.advice.401"),
            403 => lang.t("error.advice.403"),
            404 => lang.t("error.advice.404"),
            409 | 412 => lang.t("error.advice.409"),
            422 | 400 => lang.t("error.advice.422"),
            503 => lang.t("error.advice.503"),
            500.. => lang.t("error.advice.500"),
            _ => "",
        }
    }
}
