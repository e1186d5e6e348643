//! How the kernel was asked to make this container: every operation in order, with its time, its result and a shell line that does the same.

use askama::Template;

use super::{Head, Tab};
use crate::format;
use crate::frame::Frame;

#[derive(Debug, Template)]
#[template(path = "container/explain.html")]
pub struct Explain {
    pub frame: Frame,
    pub head: Head,
    pub operations: Vec<Operation>,
}

#[derive(Debug, Clone)]
pub struct Operation {
    pub stage: String,
    /// `launcher`, `shim` or `init`.
    pub actor: String,
    /// The system call.
    pub call: String,
    pub arguments: Vec<String>,
    pub duration_nanos: u64,
    /// `ok`, a value, or the errno's name.
    pub result: String,
    pub failed: bool,
    /// Empty where no shell can do it.
    pub shell: String,
}

/// A stage with more operations begins closed.
const OPEN_UP_TO: usize = 4;

/// Operations that follow one another in one stage.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    name: &'a str,
    actor: &'a str,
    nanos: u64,
    /// Not seen before: then it is explained.
    first: bool,
    steps: Vec<Step<'a>>,
    /// Its place on the line of time.
    offset: String,
    width: String,
}

impl Stage<'_> {
    /// Long stages are opened on demand; a failure is never hidden.
    fn is_open(&self) -> bool {
        self.steps.len() <= OPEN_UP_TO || self.steps.iter().any(|step| step.operation.failed)
    }
}

/// An operation and its place among all: bars on one line of time.
#[derive(Debug)]
pub(super) struct Step<'a> {
    number: usize,
    operation: &'a Operation,
    /// Percent of the whole before it, and its own.
    offset: String,
    width: String,
}

/// Percent, but never too thin to be seen.
fn width(percent: f64) -> String {
    format!("{:.2}", percent.max(0.6))
}

impl Explain {
    const TAB: Tab = Tab::Explain;

    fn total(&self) -> u64 {
        self.operations.iter().map(|operation| operation.duration_nanos).sum()
    }

    fn total_words(&self) -> String {
        self.frame.lang.with("explain.total", &[("count", &self.operations.len()), ("time", &format::nanos(self.total()))])
    }

    /// The line of time holds only what the kernel took: waiting at the gate between create and start would drown it.
    fn stages(&self) -> Vec<Stage<'_>> {
        let total = self.total().max(1) as f64;
        let mut before = 0;
        let mut stages: Vec<Stage<'_>> = Vec::new();
        for (at, operation) in self.operations.iter().enumerate() {
            let percent = |nanos: u64| nanos as f64 / total * 100.0;
            let step = Step {
                number: at + 1,
                operation,
                offset: format!("{:.2}", percent(before).min(99.4)),
                width: width(percent(operation.duration_nanos)),
            };
            before += operation.duration_nanos;
            match stages.last_mut() {
                Some(stage) if stage.name == operation.stage && stage.actor == operation.actor => {
                    stage.nanos += operation.duration_nanos;
                    stage.width = width(percent(stage.nanos));
                    stage.steps.push(step);
                }
                _ => stages.push(Stage {
                    name: &operation.stage,
                    actor: &operation.actor,
                    nanos: operation.duration_nanos,
                    first: stages.iter().all(|stage| stage.name != operation.stage),
                    offset: step.offset.clone(),
                    width: step.width.clone(),
                    steps: vec![step],
                }),
            }
        }
        stages
    }

    /// Why there is such a stage; nothing for one that the catalogue does not know yet.
    fn about(&self, stage: &str) -> &'static str {
        self.frame.lang.lookup(&format!("stage.{stage}")).unwrap_or_default()
    }

    fn actor_words(&self, actor: &str) -> &'static str {
        self.frame.lang.lookup(&format!("actor.{actor}")).unwrap_or_default()
    }

    /// All shell lines, one below the other.
    fn script(&self) -> String {
        let mut script = String::new();
        let mut stage = "";
        for operation in self.operations.iter().filter(|operation| !operation.shell.is_empty()) {
            if operation.stage != stage {
                script.push_str(&format!("# {}\n", operation.stage));
                stage = &operation.stage;
            }
            script.push_str(&operation.shell);
            script.push('\n');
        }
        script
    }

    fn nanos(&self, nanos: &u64) -> String {
        format::nanos(*nanos)
    }
}
