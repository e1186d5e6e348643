//! Where the time of a start goes: the kernel operations that `GET …/explain` recorded, and what the server did before, between and after them.

use std::fmt::Write as _;

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

fn span(from: Timestamp, to: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl Profile {
    fn add(&mut self, asked: Timestamp, answered: Timestamp, explained: &Value) -> Result<(), Fault> {
        let items = explained["items"].as_array().ok_or("no operations")?;
        let mut times = Vec::new();
        let mut sums: Vec<(usize, usize, std::time::Duration)> = Vec::new();
        for item in items {
            let started: Timestamp = item["startedAt"].as_str().ok_or("no startedAt")?.parse()?;
            // What happened when it was created, or after the answer, is no part of the start.
            if started < asked || started > answered {
                continue;
            }
            let took = std::time::Duration::from_nanos(item["durationNanos"].as_u64().ok_or("no durationNanos")?);
            times.push((started, started.checked_add(took)?.min(answered)));
            let group = self.group(item);
            match sums.iter_mut().find(|(index, _, _)| *index == group) {
                Some((_, calls, sum)) => (*calls, *sum) = (*calls + 1, *sum + took),
                None => sums.push((group, 1, took)),
            }
        }
        for (group, calls, sum) in sums {
            self.groups[group].calls = calls;
            self.groups[group].samples.add(sum);
        }
        times.sort_unstable();
        let (first, last) = (times.first().ok_or("no operation")?.0, times.iter().map(|time| time.1).max().unwrap_or(asked));
        self.whole.add(span(asked, answered));
        self.before.add(span(asked, first));
        self.between.add(span(first, last).saturating_sub(covered(&times)));
        self.after.add(span(last, answered));
        Ok(())
    }

    /// In the order of the first start.
    fn group(&mut self, item: &Value) -> usize {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let (actor, stage, call) = (text("actor"), text("stage"), text("call"));
        let same = |group: &Group| (&group.actor, &group.stage, &group.call) == (&actor, &stage, &call);
        self.groups.iter().position(same).unwrap_or_else(|| {
            self.groups.push(Group { actor, stage, call, calls: 0, samples: Samples::default() });
            self.groups.len() - 1
        })
    }

    fn text(&self) -> String {
        let micros = |samples: &Samples| samples.median() * 1e3;
        let mut text = "| who | stage | call | times | p50, µs |\n| --- | --- | --- | --- | --- |\n".to_owned();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| server | request to the first operation |  |  | {:.0} |", micros(&self.before));
        let mut rest = 0.0;
        for group in &self.groups {
            let median = micros(&group.samples);
            if median < WORTH_A_ROW_MICROS {
                rest += median;
            } else {
                let _ = writeln!(text, "| {} | {} | {} | {} | {median:.0} |", group.actor, group.stage, group.call, group.calls);
            }
        }
        let _ = writeln!(text, "| all | those below {WORTH_A_ROW_MICROS} µs each, together |  |  | {rest:.0} |");
        let _ = writeln!(text, "| all | between the operations, none at work |  |  | {:.0} |", micros(&self.between));
        let _ = writeln!(text, "| server | last operation to the answer |  |  | {:.0} |", micros(&self.after));
        let _ = writeln!(text, "| client | the whole call |  |  | {:.0} |", micros(&self.whole));
        text
    }
}

/// How long at least one of them was at work; they are sorted by their start.
fn covered(times: &[(Timestamp, Timestamp)]) -> std::time::Duration {
    let mut total = std::time::Duration::ZERO;
    let mut until = Timestamp::MIN;
    for (from, to) in times {
        total += span(until.max(*from), (*to).max(until));
        until = until.max(*to);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_operations_count_once() {
        let at = |micros: i64| Timestamp::from_microsecond(1_700_000_000_000_000 + micros).expect("a time");
        let times = [(at(0), at(10)), (at(2), at(5)), (at(8), at(20)), (at(30), at(31))];
        assert_eq!(covered(&times).as_micros(), 21);
    }
}
