//! From the start of a daemon until its first answer, without containers. The first start makes what is stored; the others are what a restart costs.

use std::time::Duration;

use crate::Fault;
use crate::daemon::Daemon;
use crate::figures::{Goal, Samples, Table, milliseconds, not_measured};

pub(crate) async fn measure(daemons: &mut [(&'static str, &mut Daemon, Duration)], table: &mut Table) -> Result<(), Fault> {
    let mut all = Vec::new();
    for (name, daemon, first) in daemons.iter_mut() {
        all.push((*name, restarts(daemon).await, milliseconds(*first)));
    }
    let text = |samples: &Samples, first: f64| format!("{}; the first one {first:.0} ms", samples.text());
    let [(_, berth, first), others @ ..] = all.as_slice() else { return Err("no daemon".into()) };
    let berth = berth.as_ref().map_err(ToString::to_string)?;
    let beside: Vec<String> = others
        .iter()
        .map(|(name, samples, first)| match samples {
            Ok(samples) => format!("{name}: {}", text(samples, *first)),
            Err(error) => format!("{name}: {}", not_measured(error)),
        })
        .collect();
    let goal = Goal::at_most(berth.median(), 25.0, "ms");
    table.row("start to first answer (p50 / p95 of restarts)", &text(berth, *first), Some(goal), &beside);
    Ok(())
}

async fn restarts(daemon: &mut Daemon) -> Result<Samples, Fault> {
    let mut samples = Samples::default();
    for _ in 0..5 {
        daemon.stop().await?;
        samples.add(daemon.start().await?);
    }
    Ok(samples)
}
