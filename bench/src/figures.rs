//! Samples, and the table that is made of them: each row with its goal, and whether Berth met it in this run.

use std::fmt::Write as _;
use std::time::Duration;

/// Durations of the same thing, done many times.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The value that `percent` of the samples do not exceed (nearest rank); zero without samples.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    /// The median in milliseconds.
    pub(crate) fn median(&self) -> f64 {
        milliseconds(self.p50())
    }

    /// `p50 / p95` in milliseconds.
    pub(crate) fn text(&self) -> String {
        format!("{:.2} / {:.2} ms", self.median(), milliseconds(self.percentile(95)))
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What Berth is to reach, and whether it did.
#[derive(Debug)]
pub(crate) struct Goal {
    text: String,
    met: bool,
}

impl Goal {
    pub(crate) fn at_most(value: f64, limit: f64, unit: &str) -> Goal {
        Goal { text: format!("≤ {} {unit}", number(limit)), met: value <= limit }
    }

    pub(crate) fn at_least(value: f64, limit: f64, unit: &str) -> Goal {
        Goal { text: format!("≥ {} {unit}", number(limit)), met: value >= limit }
    }

    /// One more condition.
    pub(crate) fn and(self, text: &str, met: bool) -> Goal {
        Goal { text: format!("{}, {text}", self.text), met: self.met && met }
    }
}

/// Without the digits that a binary fraction has too many.
fn number(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A Markdown table of what was measured.
#[derive(Debug)]
pub(crate) struct Table {
    rows: String,
    absent: Vec<String>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let head = "| measure | Berth | goal | met | beside it, in the same run |\n| --- | --- | --- | --- | --- |\n";
        Table { rows: head.to_owned(), absent: Vec::new() }
    }

    pub(crate) fn row(&mut self, measure: &str, berth: &str, goal: Option<Goal>, beside: &[String]) {
        let (text, met) = match &goal {
            Some(goal) => (goal.text.as_str(), if goal.met { "yes" } else { "**missed**" }),
            None => ("", ""),
        };
        eprintln!("{measure}: {berth} {text} {met}; {}", beside.join("; "));
        // Writing to a String cannot fail.
        let _ = writeln!(self.rows, "| {measure} | {berth} | {text} | {met} | {} |", beside.join("; "));
    }

    /// Something that is not in the table, and why.
    pub(crate) fn absent(&mut self, name: &str, why: &str) {
        eprintln!("{name}: {why}");
        self.absent.push(format!("- {name}: {why}"));
    }

    pub(crate) fn text(&self) -> String {
        match self.absent.as_slice() {
            [] => self.rows.clone(),
            absent => format!("{}\nNot in the table:\n\n{}\n", self.rows, absent.join("\n")),
        }
    }
}

/// The first line of an error, in the words of a row.
pub(crate) fn not_measured(error: &crate::Fault) -> String {
    let text = error.to_string();
    format!("not measured: {}", text.lines().next().unwrap_or_default().replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut samples = Samples::default();
        (1..=100).rev().for_each(|ms| samples.add(Duration::from_millis(ms)));
        let at = |percent| samples.percentile(percent).as_millis();
        assert_eq!((at(50), at(95), at(100)), (50, 95, 100));
        assert_eq!(Samples::default().p50(), Duration::ZERO);
    }

    #[test]
    fn a_row_says_whether_its_goal_was_met() {
        let mut table = Table::new();
        table.row("start", "7 ms", Some(Goal::at_most(7.0, 6.0, "ms")), &["docker: 200 ms".to_owned()]);
        table.row("list", "9 /s", Some(Goal::at_least(9.0, 5.0, "/s").and("or so", true)), &[]);
        table.absent("podman", "not installed");
        let text = table.text();
        assert!(text.contains("| start | 7 ms | ≤ 6 ms | **missed** | docker: 200 ms |"), "{text}");
        assert!(text.contains("| list | 9 /s | ≥ 5 /s, or so | yes |  |"), "{text}");
        assert!(text.ends_with("- podman: not installed\n"), "{text}");
    }
}
