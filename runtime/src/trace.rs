//! The record of each kernel operation: call, arguments, duration, result, equivalent shell line.
//!
//! Written by the stage that does the thing, at the time it does it, so that `explain` never guesses. A record is made for a failure too.

use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::SysError;

/// One kernel operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The stage it belongs to: `cgroup`, `namespaces`, `mounts`, `pivot-root`, …
    pub stage: String,
    /// Who did it: `launcher`, `shim` or `init`.
    pub actor: String,
    /// The system call's name.
    pub call: String,
    pub arguments: Vec<String>,
    pub started_at: Timestamp,
    pub duration_nanos: u64,
    /// `ok`, a value, or the errno's name.
    pub result: String,
    /// A shell line that does the same; empty where there is none.
    pub shell: String,
}

/// Collects operations in order.
#[derive(Debug, Clone)]
pub struct Trace {
    actor: &'static str,
    stage: &'static str,
    operations: Vec<Operation>,
}

impl Trace {
    pub fn new(actor: &'static str) -> Self {
        Trace { actor, stage: "", operations: Vec::with_capacity(48) }
    }

    /// All that follows belongs to this stage.
    pub fn stage(&mut self, stage: &'static str) {
        self.stage = stage;
    }

    pub fn current_stage(&self) -> &'static str {
        self.stage
    }

    /// Does one thing and records it, whatever comes of it.
    pub fn run<T>(
        &mut self,
        call: &'static str,
        arguments: impl IntoIterator<Item = String>,
        shell: impl Into<String>,
        operation: impl FnOnce() -> Result<T, SysError>,
    ) -> Result<T, SysError> {
        let started_at = Timestamp::now();
        let clock = Instant::now();
        let outcome = operation();
        let result = match &outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.source),
        };
        self.operations.push(Operation {
            stage: self.stage.to_owned(),
            actor: self.actor.to_owned(),
            call: call.to_owned(),
            arguments: arguments.into_iter().collect(),
            started_at,
            duration_nanos: u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX),
            result,
            shell: shell.into(),
        });
        outcome
    }

    pub fn append(&mut self, mut other: Vec<Operation>) {
        self.operations.append(&mut other);
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The records so far; what follows begins anew.
    pub fn take(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.operations)
    }

    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

impl Trace {
    /// The newest record, for arguments that are known only afterwards.
    pub fn last_mut(&mut self) -> Option<&mut Operation> {
        self.operations.last_mut()
    }
}

impl Trace {
    /// Records what another process did, seen from here: the program's execve.
    pub fn note(&mut self, call: &str, arguments: Vec<String>, started_at: Timestamp) {
        let shell = format!("exec {}", arguments.join(" "));
        let duration = Timestamp::now().duration_since(started_at).as_nanos();
        self.operations.push(Operation {
            stage: self.stage.to_owned(),
            actor: "init".to_owned(),
            call: call.to_owned(),
            arguments,
            started_at,
            duration_nanos: u64::try_from(duration).unwrap_or(0),
            result: "ok".to_owned(),
            shell,
        });
    }
}
