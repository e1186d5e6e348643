//! What running containers cost on each engine: starting them, an exec, memory, lists, and processor time while nothing happens.

use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::engine::Engine;
use crate::figures::{Goal, Samples, Table, not_measured};
use crate::lifecycle::{at_once, rate_row};
use crate::{Fault, Options, memory};

/// A helper gives back what its start took a moment later, and nothing tells when.
pub(crate) const SETTLED: Duration = Duration::from_secs(1);

/// One engine's figures; what failed is an error in its place.
pub(crate) struct Figures {
    exec: Samples,
    left_by_execs: usize,
    helper_alone: u64,
    helper_of_many: u64,
    started: Duration,
    list: Samples,
    idle: f64,
}

pub(crate) async fn measure(options: &Options, engines: &[Engine], table: &mut Table) -> Result<(), Fault> {
    let mut all = Vec::new();
    let mut rates = Vec::new();
    for engine in engines {
        eprintln!("running containers: {}", engine.name);
        let figures = one(options, engine).await;
        if figures.is_ok() {
            rates.push((engine.name, at_once(8, Duration::from_secs(2), engine, async |session, _| session.list().await.map(drop)).await));
        }
        all.push((engine.name, figures));
        let mut session = engine.session().await?;
        for name in session.names().await? {
            session.remove(&name).await?;
        }
    }
    let [(_, berth), others @ ..] = all.as_mut_slice() else { return Err("no engine".into()) };
    let berth = std::mem::replace(berth, Err("taken".into()))?;
    rows(options.containers, &berth, others, table);
    rate_row(&format!("list {} running, 8 connections", options.containers), rates, 5000.0, table)
}

async fn one(options: &Options, engine: &Engine) -> Result<Figures, Fault> {
    let home = engine.daemon.home();
    let mut session = engine.session().await?;
    let first = session.run_idle("running-0").await?;
    let helpers = |pids: &[i32]| -> Result<u64, Fault> {
        let parents = pids.iter().map(|pid| memory::parent(*pid).and_then(memory::pss));
        parents.sum::<Option<u64>>().ok_or_else(|| "a container has no parent".into())
    };
    tokio::time::sleep(SETTLED).await;
    let helper_alone = helpers(&[first])?;
    let before = memory::processes_that_name(home).len();
    let mut exec = Samples::default();
    for _ in 0..options.rounds {
        let began = Instant::now();
        session.exec("running-0").await?;
        exec.add(began.elapsed());
    }
    let left_by_execs = memory::processes_that_name(home).len().saturating_sub(before);
    session.remove("running-0").await?;
    let began = Instant::now();
    let mut pids = Vec::new();
    for number in 0..options.containers {
        pids.push(session.run_idle(&format!("running-{number}")).await?);
    }
    let started = began.elapsed();
    tokio::time::sleep(SETTLED).await;
    let helper_of_many = helpers(&pids)? / u64::try_from(pids.len())?.max(1);
    let listed = session.names().await?.len();
    if listed != options.containers {
        return Err(format!("{listed} containers are in a list of {}", options.containers).into());
    }
    let mut list = Samples::default();
    for _ in 0..100 {
        let began = Instant::now();
        session.list().await?;
        list.add(began.elapsed());
    }
    let idle = idle(engine, &pids).await?;
    Ok(Figures { exec, left_by_execs, helper_alone, helper_of_many, started, list, idle })
}

/// Before anything is asked of it but the image and a first container.
pub(crate) fn control_planes(engines: &[Engine], containerd: Option<&Daemon>, table: &mut Table) -> Result<(), Fault> {
    let text = |(size, processes): (u64, usize)| format!("{:.1} MiB in {processes}", mebibytes(size));
    let [berth, others @ ..] = engines else { return Err("no engine".into()) };
    let daemons = others.iter().map(|engine| (engine.name, &engine.daemon)).chain(containerd.map(|daemon| ("containerd", daemon)));
    let mut beside = Vec::new();
    for (name, daemon) in daemons {
        beside.push(format!("{name}: {}", text(resident(daemon)?)));
    }
    let own = resident(&berth.daemon)?;
    table.row("idle control plane, RSS of all its processes", &text(own), Some(Goal::at_most(mebibytes(own.0), 16.0, "MiB")), &beside);
    Ok(())
}

/// KiB and processes of the control plane.
pub(crate) fn resident(daemon: &Daemon) -> Result<(u64, usize), Fault> {
    let own = memory::control_plane(daemon.home(), daemon.pid()?);
    let sizes: Vec<u64> = own.iter().filter_map(|pid| memory::rss(*pid)).collect();
    Ok((sizes.iter().sum(), sizes.len()))
}

/// How much of a processor, in percent, the control plane and the containers' helpers take while nobody asks for anything.
pub(crate) async fn idle(engine: &Engine, containers: &[i32]) -> Result<f64, Fault> {
    const WINDOW: Duration = Duration::from_secs(10);
    let mut pids = memory::control_plane(engine.daemon.home(), engine.daemon.pid()?);
    pids.extend(containers.iter().filter_map(|pid| memory::parent(*pid)));
    pids.sort_unstable();
    pids.dedup();
    let total = || pids.iter().map(|pid| memory::cpu_time(*pid)).sum::<Duration>();
    tokio::time::sleep(SETTLED).await;
    let (before, began) = (total(), Instant::now());
    tokio::time::sleep(WINDOW).await;
    Ok((total().saturating_sub(before)).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures of a table, far below 2^52")]
pub(crate) fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "figures of a table, far below 2^52")]
fn rows(count: usize, berth: &Figures, others: &[(&'static str, Result<Figures, Fault>)], table: &mut Table) {
    let beside = |text: fn(&Figures) -> String| -> Vec<String> {
        let each = others.iter().map(|(name, figures)| match figures {
            Ok(figures) => format!("{name}: {}", text(figures)),
            Err(error) => format!("{name}: {}", not_measured(error)),
        });
        each.collect()
    };
    let mut row = |measure: &str, text: fn(&Figures) -> String, goal: Option<Goal>| table.row(measure, &text(berth), goal, &beside(text));
    let share = count as f64 / 100.0;
    row("exec, until its code is known (p50 / p95)", |f| f.exec.text(), Some(Goal::at_most(berth.exec.median(), 4.0, "ms")));
    row(
        "– processes left by all of those execs",
        |f| f.left_by_execs.to_string(),
        Some(Goal::at_most(berth.left_by_execs as f64, 0.0, "processes")),
    );
    let helper = Goal::at_most(berth.helper_alone as f64, 250.0, "KiB");
    row("memory beside the workload, one container (PSS of its helper)", |f| format!("{} KiB", f.helper_alone), Some(helper));
    row(&format!("– the same, each of {count}"), |f| format!("{} KiB", f.helper_of_many), None);
    let started = Goal::at_most(berth.started.as_secs_f64(), 0.8 * share, "s");
    row(&format!("{count} containers created and started, one at a time"), |f| format!("{:.2} s", f.started.as_secs_f64()), Some(started));
    let list = Goal::at_most(berth.list.median(), share.max(1.0), "ms");
    row(&format!("list {count} running, one client (p50 / p95)"), |f| f.list.text(), Some(list));
    let idle = Goal::at_most(berth.idle, 0.2, "%");
    row(&format!("idle with {count} running, of one processor"), |f| format!("{:.3} %", f.idle), Some(idle));
}
