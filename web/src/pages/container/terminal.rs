//! A terminal in the container, and for those without scripts one command at a time.

use askama::Template;

use super::{Head, Tab};
use crate::frame::Frame;
use crate::pages::form::CreateForm;

#[derive(Debug, Template)]
#[template(path = "container/terminal.html")]
pub struct Terminal {
    pub frame: Frame,
    pub head: Head,
    /// The container's own program has a terminal.
    pub tty: bool,
    /// The container's own program can be written to.
    pub stdin: bool,
    /// One command, as it was typed.
    pub form: CreateForm,
    /// What became of it.
    pub executed: Option<Executed>,
}

/// A command that has been run to its end.
#[derive(Debug, Clone, Default)]
pub struct Executed {
    pub command: String,
    pub exit_code: i32,
    /// `SIGKILL`.
    pub signal: Option<String>,
    pub stdout: String,
    pub stderr: String,
    /// There was more output than is kept.
    pub truncated: bool,
    pub timed_out: bool,
}

impl Terminal {
    const TAB: Tab = Tab::Terminal;

    fn can_run(&self) -> bool {
        self.frame.can_change() && self.head.badge.state == crate::pages::State::Running
    }
}

impl Executed {
    fn words(&self, frame: &Frame) -> String {
        let lang = frame.lang;
        match &self.signal {
            _ if self.timed_out => lang.t("exec.timedout").to_owned(),
            Some(signal) => lang.with("exec.signal", &[("signal", signal), ("code", &self.exit_code)]),
            None => lang.with("exec.code", &[("code", &self.exit_code)]),
        }
    }

    fn is_good(&self) -> bool {
        self.exit_code == 0 && !self.timed_out
    }
}
