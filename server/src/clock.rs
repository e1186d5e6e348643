//! Time, passed in: the only place that asks the machine what time it is.
//!
//! Timers are given as points on the same clock, so that a test which turns the hands also fires them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

pub trait Clock: fmt::Debug + Send + Sync {
    fn now(&self) -> Timestamp;
    /// Done when `at` has come, at once when it has passed. The wall clock may be turned meanwhile: look again after waking.
    fn sleep_until(&self, at: Timestamp) -> Sleep;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A clock for tests: it stands still until it is turned.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    sleepers: BTreeMap<Timestamp, Vec<oneshot::Sender<()>>>,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        ManualClock(Arc::new(Mutex::new(Hands { now, sleepers: BTreeMap::new() })))
    }

    /// Turns the hands and wakes who slept until then.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        hands.now = hands.now.saturating_add(by).unwrap_or(Timestamp::MAX);
        let later = hands.now.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        let rest = hands.sleepers.split_off(&later);
        for sleeper in std::mem::replace(&mut hands.sleepers, rest).into_values().flatten() {
            let _ = sleeper.send(());
        }
    }

    /// When the next sleeper wakes.
    pub fn next_timer(&self) -> Option<Timestamp> {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.sleepers.retain(|_, sleepers| {
            sleepers.retain(|sleeper| !sleeper.is_closed());
            !sleepers.is_empty()
        });
        hands.sleepers.keys().next().copied()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tell, told) = oneshot::channel();
        if at > hands.now {
            hands.sleepers.entry(at).or_default().push(tell);
        } else {
            let _ = tell.send(());
        }
        Box::pin(async move {
            let _ = told.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turning_the_hands_wakes_who_is_due() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let ten = clock.sleep_until(Timestamp::from_second(10).unwrap());
        let twenty = clock.sleep_until(Timestamp::from_second(20).unwrap());
        clock.sleep_until(Timestamp::UNIX_EPOCH).await;
        clock.advance(Duration::from_secs(10));
        ten.await;
        assert_eq!(clock.next_timer(), Some(Timestamp::from_second(20).unwrap()));
        drop(twenty);
        assert_eq!(clock.next_timer(), None);
    }
}
