//! Samples and the table that is made of them.

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

    /// `p50 / p95` in milliseconds.
    pub(crate) fn milliseconds(&self) -> String {
        format!("{:.2} / {:.2} ms", self.p50().as_secs_f64() * 1e3, self.percentile(95).as_secs_f64() * 1e3)
    }
}

/// A Markdown table of what was measured.
#[derive(Debug)]
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new() -> Self {
        Table("| measure | Berth | beside it, in the same run | goal |\n| --- | --- | --- | --- |\n".to_owned())
    }

    pub(crate) fn row(&mut self, measure: &str, berth: &str, beside: &str, goal: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "| {measure} | {berth} | {beside} | {goal} |");
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
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
}
