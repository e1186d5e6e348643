//! A container's processes, each with its pid on both sides.

use askama::Template;

use super::{Head, Tab};
use crate::format;
use crate::frame::Frame;

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

    fn memory(&self) -> String {
        format::bytes(self.memory_bytes)
    }

    fn cpu(&self) -> String {
        format::nanos(self.cpu_nanos)
    }
}
