//! The form that makes a container, with each fault beside the field it is about.

use askama::Template;

use super::form::CreateForm;
use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "containers/new.html")]
pub struct Create {
    pub frame: Frame,
    pub form: CreateForm,
    /// To choose from.
    pub images: Vec<String>,
    /// Containers whose namespaces may be joined.
    pub joinable: Vec<String>,
    /// Names of the volumes that are there.
    pub volumes: Vec<String>,
    /// The request that the form stands for, where it was asked for.
    pub preview: Option<Preview>,
}

/// A request before it is sent.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The body, laid out for people.
    pub json: String,
    /// The same as a line for a shell.
    pub curl: String,
}

impl Preview {
    /// `body` is JSON, once laid out and once in one line.
    pub fn new(frame: &Frame, laid_out: String, line: &str) -> Self {
        let body = line.replace('\'', "'\\''");
        let curl = format!(
            "curl -s --unix-socket {} -H 'Content-Type: application/json' http://localhost/api/v1/containers -d '{body}'",
            frame.socket
        );
        Preview { json: laid_out, curl }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_does_not_end_the_shell_word() {
        let frame = Frame { socket: "/run/berth.sock".into(), ..Frame::default() };
        let preview = Preview::new(&frame, String::new(), r#"{"command":["it's"]}"#);
        assert!(preview.curl.ends_with(r#"-d '{"command":["it'\''s"]}'"#), "{}", preview.curl);
    }
}
