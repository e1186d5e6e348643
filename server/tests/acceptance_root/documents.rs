//! What the documents show is run: each `sh` block in one shell, in order, its output compared with the `text` block behind it.
//!
//! `…` in a `text` block stands for anything on its line. Where no `text` block follows, nothing may be printed.

use std::fmt::Write;
use std::process::{Command, Stdio};

use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Own: from_docker_runs_as_it_is_printed]
}

/// A block that is run, and what it must print.
#[derive(Debug)]
struct Block {
    line: usize,
    script: String,
    expected: Vec<String>,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let content: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        match kind {
            "sh" => blocks.push(Block { line: number + 1, script: content.join("\n"), expected: Vec::new() }),
            "text" => {
                let block = blocks.last_mut().expect("output belongs to a block above it");
                block.expected = content.iter().map(|line| (*line).to_owned()).collect();
            }
            other => panic!("line {}: a block of {other:?} is not run", number + 1),
        }
    }
    blocks
}

/// Whether `line` is `pattern`, in which `…` is anything.
fn is_like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// One script of all blocks; a mark before each tells their outputs apart.
fn script_of(blocks: &[Block]) -> String {
    let mut script = "set -euo pipefail\nexec 2>&1\n".to_owned();
    for (index, block) in blocks.iter().enumerate() {
        let _ = writeln!(script, "printf '\\n@@@ {index}\\n'\n{}", block.script);
    }
    script
}

fn from_docker_runs_as_it_is_printed(scope: &Scope<'_>) {
    scope.berth.need_busybox();
    run(scope, include_str!("../../../docs/from-docker.md"));
}

fn run(scope: &Scope<'_>, document: &str) {
    let blocks = blocks(document);
    assert!(!blocks.is_empty(), "nothing to run");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .args(["-c", &script_of(&blocks)])
        .current_dir(folder.path())
        .env("BERTH_SOCKET", scope.berth.run_dir().join("berth.sock"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let outputs: Vec<&str> = said.split("\n@@@ ").skip(1).map(|part| part.split_once('\n').map_or("", |(_, text)| text)).collect();
    for (block, printed) in blocks.iter().zip(&outputs) {
        let printed: Vec<&str> = printed.lines().collect();
        let fits =
            printed.len() == block.expected.len() && printed.iter().zip(&block.expected).all(|(line, pattern)| is_like(pattern, line));
        assert!(fits, "line {}:\n{}\nprinted\n{}\ninstead of\n{}", block.line, block.script, printed.join("\n"), block.expected.join("\n"));
    }
    assert!(output.status.success() && outputs.len() == blocks.len(), "it ended early ({:?}):\n{said}", output.status);
    host::until("nothing is left of the document's containers", || {
        let list = scope.api().get("/api/v1/containers").send().expect(200).json();
        Some(()).filter(|()| list["items"].as_array().is_some_and(Vec::is_empty))
    });
}
