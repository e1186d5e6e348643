//! A container's processes, each with its pid on both sides.

use std::borrow::Cow;

use askama::Template;

use super::{Head, Tab};
use crate::format;
use crate::frame::Frame;

/// Characters of a command.
const LONGEST: usize = 300;

#[derive(Debug, Template)]
#[template(path = "container/processes.html")]
pub struct Processes {
    pub frame: Frame,
    pub head: Head,
    pub rows: Vec<Process>,
    /// How many more there are.
    pub remaining: u64,
}

#[derive(Debug, Clone)]
pub struct Process {
    /// On the host.
    pub pid: i32,
    pub pid_inside: i32,
    /// Depth below the first process, for the tree.
    pub depth: usize,
    pub uid: u32,
    /// The same user inside, where it is mapped.
    pub uid_inside: Option<u32>,
    /// As in proc_pid_stat(5).
    pub state: String,
    pub command: String,
    pub threads: u32,
    pub memory_bytes: u64,
    pub cpu_nanos: u64,
}

impl Processes {
    const TAB: Tab = Tab::Processes;

    fn state_words(&self, state: &str) -> &'static str {
        self.frame.lang.lookup(&format!("process.{state}")).unwrap_or_default()
    }
}

impl Process {
    /// The branch that leads to it: `└─ ` below its parent.
    fn branch(&self) -> String {
        if self.depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(self.depth.min(12) - 1)) }
    }

    /// As much of it as a row can hold; the API has more.
    fn shown(&self) -> Cow<'_, str> {
        match self.command.char_indices().nth(LONGEST) {
            None => Cow::Borrowed(&self.command),
            Some((end, _)) => Cow::Owned(format!("{}…", &self.command[..end])),
        }
    }

    fn memory(&self) -> String {
        format::bytes(self.memory_bytes)
    }

    fn cpu(&self) -> String {
        format::nanos(self.cpu_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut_between_characters() {
        let process = |command: String| Process {
            pid: 1,
            pid_inside: 1,
            depth: 0,
            uid: 0,
            uid_inside: None,
            state: String::new(),
            command,
            threads: 1,
            memory_bytes: 0,
            cpu_nanos: 0,
        };
        assert_eq!(process("é".repeat(300)).shown(), "é".repeat(300));
        assert_eq!(process("é".repeat(301)).shown(), format!("{}…", "é".repeat(300)));
    }
}
