//! What is true of one sandbox, as far as is known.

use runtime::id::{ContainerName, PodId};
use runtime::protocol::ShimEvent;
use runtime::status::{ContainerReport, ContainerState, PodReport};
use tokio::sync::mpsc;

use crate::node::{Attachment, Node, NodeError, Notice};

/// A sandbox seen from here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Observed {
    /// Nothing of it is on the machine but its files.
    NoShim,
    /// It has a run dir or cgroups, and nobody who holds its lock.
    ShimLost {
        last: Option<PodReport>,
    },
    Live(PodReport),
}

impl Observed {
    /// The container in the sandbox, as it was last reported.
    pub(super) fn container(&self, name: &str) -> Option<&ContainerReport> {
        match self {
            Observed::NoShim | Observed::ShimLost { last: None } => None,
            Observed::ShimLost { last: Some(report) } | Observed::Live(report) => {
                report.containers.iter().find(|c| c.name.as_str() == name)
            }
        }
    }

    fn live_container(&mut self, name: &ContainerName) -> Option<&mut ContainerReport> {
        match self {
            Observed::Live(report) => report.containers.iter_mut().find(|c| c.name == *name),
            _ => None,
        }
    }

    /// What the shim told. An event about what is not known is dropped: the next look finds it.
    pub(super) fn learn(&mut self, event: ShimEvent) {
        match event {
            ShimEvent::Exited { container, attempt, exit } => {
                if let Some(known) = self.live_container(&container).filter(|known| known.attempt == attempt) {
                    known.state = ContainerState::Stopped { exit };
                }
            }
            ShimEvent::OomKill { container, oom_kills } => {
                if let Some(known) = self.live_container(&container) {
                    known.oom_kills = known.oom_kills.max(oom_kills);
                }
            }
            // Output goes to those who asked for it, on connections of their own.
            ShimEvent::Output { .. } | ShimEvent::ExecStarted { .. } | ShimEvent::ExecOutput { .. } => {}
        }
    }

    /// A container's newest report.
    pub(super) fn learn_report(&mut self, report: ContainerReport) {
        if let Observed::Live(pod) = self {
            pod.containers.retain(|known| known.name != report.name);
            pod.containers.push(report);
        }
    }

    pub(super) fn learn_paused(&mut self, name: &ContainerName, now_paused: bool) {
        if let Some(ContainerReport { state: ContainerState::Running { paused, .. }, .. }) = self.live_container(name) {
            *paused = now_paused;
        }
    }
}

/// A look at one sandbox. When its shim lives, it is watched from here on.
pub(super) async fn look(node: &dyn Node, pod: &PodId) -> Result<(Observed, Option<mpsc::UnboundedReceiver<Notice>>), NodeError> {
    match node.watch(pod).await {
        Ok(Attachment { report, notices }) => Ok((Observed::Live(report), Some(notices))),
        Err(NodeError::NoShim { .. } | NodeError::ShimGone { .. }) => {
            let entry = node.list().await?.into_iter().find(|entry| entry.pod == *pod);
            match entry {
                None => Ok((Observed::NoShim, None)),
                Some(entry) if !entry.alive => Ok((Observed::ShimLost { last: entry.last }, None)),
                // It holds its lock and does not listen: it is just beginning, or just ending. Look again.
                Some(_) => Err(NodeError::ShimGone { pod: pod.clone() }),
            }
        }
        Err(error) => Err(error),
    }
}
