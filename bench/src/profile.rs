//! Where the time of a start goes: the kernel operations that `GET …/explain` recorded, and what the server did before, between and after them.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::engine::Session;
use crate::figures::Samples;
use crate::{Fault, Options};

/// What the clock's resolution and the table's use leave out.
const WORTH_A_ROW_MICROS: f64 = 20.0;

/// One stage's calls of the same name, over all starts.
#[derive(Debug)]
struct Group {
    actor: String,
    stage: String,
    call: String,
    /// In one start.
    calls: usize,
    samples: Samples,
    /// How long nothing recorded was at work before it: another process woken up, a fork, an execve.
    gaps: Samples,
}

#[derive(Debug, Default)]
struct Profile {
    groups: Vec<Group>,
    whole: Samples,
    before: Samples,
    between: Samples,
    after: Samples,
}

/// A Markdown table.
pub(crate) async fn measure(options: &Options, session: &mut Session) -> Result<String, Fault> {
    let mut profile = Profile::default();
    for round in 0..options.rounds {
        let name = format!("profile-{round}");
        session.create(&name, &["true"]).await?;
        let asked = Timestamp::now();
        session.start(&name).await?;
        let answered = Timestamp::now();
        session.wait(&name).await?;
        let body = session.client.get(&format!("/api/v1/containers/{name}/explain")).await?;
        profile.add(asked, answered, &serde_json::from_slice(&body)?)?;
        session.delete(&name).await?;
    }
    Ok(profile.text())
}

fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl Profile {
    fn add(&mut self, asked: Timestamp, answered: Timestamp, explained: &Value) -> Result<(), Fault> {
        let items = explained["items"].as_array().ok_or("no operations")?;
        let mut times = Vec::new();
        for item in items {
            let started: Timestamp = item["startedAt"].as_str().ok_or("no startedAt")?.parse()?;
            // What happened when it was created, or after the answer, is no part of the start.
            if started < asked || started > answered {
                continue;
            }
            let took = Duration::from_nanos(item["durationNanos"].as_u64().ok_or("no durationNanos")?);
            times.push((started, started.checked_add(took)?.min(answered), took, self.group(item)));
        }
        times.sort_unstable();
        let first = times.first().ok_or("no operation")?.0;
        let mut sums = vec![(0, Duration::ZERO, Duration::ZERO); self.groups.len()];
        let (mut until, mut between) = (first, Duration::ZERO);
        for (started, ended, took, group) in times {
            let gap = span(until, started.max(until));
            let (calls, sum, gaps) = &mut sums[group];
            (*calls, *sum, *gaps) = (*calls + 1, *sum + took, *gaps + gap);
            between += gap;
            until = until.max(ended);
        }
        for (group, (calls, sum, gaps)) in self.groups.iter_mut().zip(sums).filter(|(_, (calls, _, _))| *calls > 0) {
            group.calls = calls;
            group.samples.add(sum);
            group.gaps.add(gaps);
        }
        self.whole.add(span(asked, answered));
        self.before.add(span(asked, first));
        self.between.add(between);
        self.after.add(span(until, answered));
        Ok(())
    }

    /// In the order of the first start.
    fn group(&mut self, item: &Value) -> usize {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let (actor, stage, call) = (text("actor"), text("stage"), text("call"));
        let same = |group: &Group| (&group.actor, &group.stage, &group.call) == (&actor, &stage, &call);
        self.groups.iter().position(same).unwrap_or_else(|| {
            self.groups.push(Group { actor, stage, call, calls: 0, samples: Samples::default(), gaps: Samples::default() });
            self.groups.len() - 1
        })
    }

    fn text(&self) -> String {
        let micros = |samples: &Samples| samples.median() * 1e3;
        let mut text =
            "| who | stage | call | times | p50, µs | and nothing recorded before it, µs |\n| --- | --- | --- | --- | --- | --- |\n"
                .to_owned();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| server | request to the first operation |  |  | {:.0} |  |", micros(&self.before));
        let (mut rest, mut gaps) = (0.0, 0.0);
        for group in &self.groups {
            let (median, gap) = (micros(&group.samples), micros(&group.gaps));
            if median.max(gap) < WORTH_A_ROW_MICROS {
                rest += median;
                gaps += gap;
            } else {
                let _ = writeln!(text, "| {} | {} | {} | {} | {median:.0} | {gap:.0} |", group.actor, group.stage, group.call, group.calls);
            }
        }
        let _ = writeln!(text, "| all | those below {WORTH_A_ROW_MICROS} µs each, together |  |  | {rest:.0} | {gaps:.0} |");
        let _ = writeln!(text, "| all | the last column, of a start |  |  |  | {:.0} |", micros(&self.between));
        let _ = writeln!(text, "| server | last operation to the answer |  |  | {:.0} |  |", micros(&self.after));
        let _ = writeln!(text, "| client | the whole call |  |  | {:.0} |  |", micros(&self.whole));
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_is_of_an_operation_of_a_gap_or_of_the_server() {
        let at = |micros: i64| Timestamp::from_microsecond(1_700_000_000_000_000 + micros).expect("a time");
        let operation = |call: &str, started: i64, micros: i64| json!({"actor": "shim", "stage": "mounts", "call": call, "startedAt": at(started).to_string(), "durationNanos": micros * 1000});
        // The second begins within the first, the last is after the answer.
        let items = [operation("a", 100, 50), operation("b", 120, 60), operation("a", 200, 40), operation("late", 900, 1)];
        let mut profile = Profile::default();
        profile.add(at(0), at(300), &json!({"items": items})).expect("a profile");
        let text = profile.text();
        for row in [
            "| server | request to the first operation |  |  | 100 |  |",
            "| shim | mounts | a | 2 | 90 | 20 |",
            "| shim | mounts | b | 1 | 60 | 0 |",
            "| all | the last column, of a start |  |  |  | 20 |",
            "| server | last operation to the answer |  |  | 60 |  |",
            "| client | the whole call |  |  | 300 |  |",
        ] {
            assert!(text.contains(row), "{row} in\n{text}");
        }
        assert!(!text.contains("late"), "{text}");
    }
}
