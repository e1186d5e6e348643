//! A bucket of failed attempts: whoever presents wrong credentials is slowed down; right ones are never kept waiting by it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// This many failures at once…
const BURST: f64 = 20.0;
/// …and as many each second from then on.
const PER_SECOND: f64 = 1.0;

/// One for all of TCP: over loopback every caller has the same address.
#[derive(Debug)]
pub struct Throttle {
    state: Mutex<(f64, Instant)>,
}

impl Throttle {
    pub fn new(now: Instant) -> Self {
        Throttle { state: Mutex::new((BURST, now)) }
    }

    /// Counts one failure. `Err` is the number of seconds to wait before the next may be answered in full.
    pub fn failed(&self, now: Instant) -> Result<(), u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, last) = *state;
        let filled = (tokens + now.saturating_duration_since(last).as_secs_f64() * PER_SECOND).min(BURST);
        if filled < 1.0 {
            *state = (filled, now);
            return Err(1);
        }
        *state = (filled - 1.0, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_slowed_down_and_forgotten() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let answered = (0..1000).filter(|_| throttle.failed(start).is_ok()).count();
        assert_eq!(answered, 20);
        assert!(throttle.failed(start + Duration::from_millis(1100)).is_ok());
        assert!(throttle.failed(start + Duration::from_millis(1200)).is_err());
    }
}
