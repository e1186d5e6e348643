//! Named points between two steps where a test can make the process die, as a power cut would: `BERTH_CRASH=store.committed:3` aborts the
//! third time that point is passed. Always compiled in, so that what is tested is what is shipped; unset, a point is one atomic load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set while the environment names a point.
static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

#[derive(Debug)]
struct Plan {
    point: String,
    left: AtomicU32,
}

fn read_plan() -> Option<Plan> {
    let text = std::env::var("BERTH_CRASH").ok()?;
    let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
    Some(Plan { point: point.to_owned(), left: AtomicU32::new(nth.parse().ok().filter(|n| *n > 0)?) })
}

/// Called by `crash_point!`.
pub fn pass(point: &str) {
    if let Some(plan) = PLAN.get_or_init(read_plan)
        && plan.point == point
        && plan.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        tracing::error!(point, "BERTH_CRASH names this point: aborting");
        std::process::abort();
    }
}

/// Dies here when `BERTH_CRASH` names this point.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::pass($name)
    };
}
