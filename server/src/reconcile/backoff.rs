//! How long to wait before starting again what ended. Docker's figures, for containers; and those for trying an action of ours again.

use std::time::Duration;

use jiff::SignedDuration;

const FIRST_MS: u64 = 100;
const MOST_MS: u64 = 60_000;
/// Who ran this long had a good start.
const GOOD_RUN: SignedDuration = SignedDuration::from_secs(10);

/// The next delay in milliseconds, from the last one and how long the program ran: 100 ms, doubling to a minute, from the beginning again
/// after a run of 10 s.
pub(super) fn restart_delay(last_ms: u64, ran: Option<SignedDuration>) -> u64 {
    if last_ms == 0 || ran.is_some_and(|ran| ran >= GOOD_RUN) { FIRST_MS } else { (last_ms * 2).min(MOST_MS) }
}

/// Before trying again what the runtime could not do: 100 ms, doubling to 10 s.
pub(super) fn retry_delay(failures: u32) -> Duration {
    Duration::from_millis((100_u64 << failures.saturating_sub(1).min(7)).min(10_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_a_minute_and_begin_again_after_a_good_run() {
        let short = Some(SignedDuration::from_secs(1));
        let mut delays = vec![restart_delay(0, short)];
        for _ in 0..11 {
            delays.push(restart_delay(*delays.last().unwrap(), short));
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(restart_delay(60_000, Some(SignedDuration::from_secs(10))), 100);
        assert_eq!(restart_delay(800, None), 1600);
        let retries: Vec<_> = [1, 2, 3, 7, 8, 100].map(|n| retry_delay(n).as_millis()).into();
        assert_eq!(retries, [100, 200, 400, 6400, 10_000, 10_000]);
    }
}
