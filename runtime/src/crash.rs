//! Named points between two side effects, at which a test can end this process.
//!
//! `BERTH_CRASH=shim.create.cgroup` (or `…:3` for the third time) makes the process kill itself there, as `kill -9` would. Always compiled
//! in: the path that is tested is the path that runs. Unset, a point costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
static PASSED: AtomicU32 = AtomicU32::new(0);

/// Ends the process here when the environment asks for this point.
pub fn point(name: &'static str) {
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("BERTH_CRASH").ok()?;
        let (name, count) = text.split_once(':').map_or((text.as_str(), 1), |(name, count)| (name, count.parse().unwrap_or(1)));
        Some((name.to_owned(), count))
    });
    if let Some((wanted, count)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// See [`point`].
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::point($name)
    };
}
