//! The processes of a container as a tree.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Html;
use runtime::status::ProcessReport;
use web::pages::{Process, Processes};

use super::Look;
use crate::http::containers::views;
use crate::http::dashboard::ask::patiently;
use crate::http::dashboard::visit::html;
use crate::http::error::ApiResult;

/// Deeper ones are shown at this depth.
const MAX_DEPTH: usize = 64;

pub(super) async fn page(look: Look) -> ApiResult<Html<String>> {
    let (reports, remaining) =
        if look.runs() { patiently(views::processes::view(&look.state, &look.record)).await? } else { Default::default() };
    html(&Processes {
        rows: tree(reports, look.record.uid_base()),
        remaining,
        frame: {
            let calls = [look.api("/processes")];
            look.visit.calls(calls)
        },
        head: look.head,
    })
}

/// Parents before their children; who has no parent here (the first process, and what exec started) is a root.
fn tree(reports: Vec<ProcessReport>, uid_base: Option<u32>) -> Vec<Process> {
    let pids: BTreeSet<i32> = reports.iter().map(|report| report.pid).collect();
    let mut children: BTreeMap<i32, Vec<&ProcessReport>> = BTreeMap::new();
    for report in &reports {
        let parent = if pids.contains(&report.parent_pid) && report.parent_pid != report.pid { report.parent_pid } else { 0 };
        children.entry(parent).or_default().push(report);
    }
    let mut rows = Vec::with_capacity(reports.len());
    let mut waiting: Vec<(&ProcessReport, usize)> =
        children.remove(&0).unwrap_or_default().into_iter().rev().map(|root| (root, 0)).collect();
    while let Some((report, depth)) = waiting.pop() {
        rows.push(row(report, depth, uid_base));
        let below = children.remove(&report.pid).unwrap_or_default();
        waiting.extend(below.into_iter().rev().map(|child| (child, (depth + 1).min(MAX_DEPTH))));
    }
    rows
}

fn row(report: &ProcessReport, depth: usize, uid_base: Option<u32>) -> Process {
    Process {
        pid: report.pid,
        pid_inside: report.container_pid,
        depth,
        uid: report.uid,
        uid_inside: uid_base.and_then(|base| report.uid.checked_sub(base)).filter(|uid| *uid < 65_536),
        state: report.state.clone(),
        command: report.command.clone(),
        threads: report.threads,
        memory_bytes: report.memory_bytes,
        cpu_nanos: report.cpu_nanos,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent_pid: i32) -> ProcessReport {
        ProcessReport {
            pid,
            container_pid: pid - 99,
            parent_pid,
            uid: 231_173,
            state: "S".into(),
            command: String::new(),
            threads: 1,
            memory_bytes: 0,
            cpu_nanos: 0,
        }
    }

    #[test]
    fn children_follow_their_parents() {
        // 105 came by exec: its parent is outside.
        let reports = vec![process(100, 7), process(101, 100), process(102, 101), process(103, 100), process(105, 9)];
        let rows: Vec<_> = tree(reports, Some(231_072)).into_iter().map(|row| (row.pid, row.depth, row.uid_inside)).collect();
        assert_eq!(rows, [(100, 0, Some(101)), (101, 1, Some(101)), (102, 2, Some(101)), (103, 1, Some(101)), (105, 0, Some(101))]);
    }

    #[test]
    fn no_process_is_lost_and_no_circle_is_walked_for_ever() {
        let rows = tree(vec![process(100, 100), process(101, 7)], None);
        assert_eq!(rows.len(), 2);
    }
}
