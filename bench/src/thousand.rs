//! How Berth's cost grows: a life, a list, memory and a restart with a thousand containers running. Berth alone: a thousand take the others minutes.

use std::time::Instant;

use crate::engine::{Engine, Session};
use crate::figures::{Goal, Samples, Table, milliseconds};
use crate::lifecycle::Lives;
use crate::running::{idle, mebibytes, resident};
use crate::{Fault, Options};

pub(crate) async fn measure(options: &Options, berth: &mut Engine, table: &mut Table) -> Result<(), Fault> {
    const FEW: usize = 10;
    let count = options.many;
    let mut session = berth.session().await?;
    let mut pids = run(&mut session, 0, FEW).await?;
    let few = lives(options, &mut session, "few").await?;
    pids.extend(run(&mut session, FEW, count).await?);
    let many = lives(options, &mut session, "many").await?;
    let ratio = many.median() / few.median();
    let text = format!("{:.2} ms; with {FEW}: {:.2} ms; ratio {ratio:.2}", many.median(), few.median());
    table.row(&format!("a life with {count} running (p50)"), &text, Some(Goal::at_most(ratio, 1.2, "times that with 10")), &[]);
    let mut list = Samples::default();
    for _ in 0..50 {
        let began = Instant::now();
        session.list().await?;
        list.add(began.elapsed());
    }
    table.row(&format!("list {count} running (p50 / p95)"), &list.text(), Some(Goal::at_most(list.median(), 6.0, "ms")), &[]);
    let size = mebibytes(resident(&berth.daemon)?.0);
    table.row(&format!("control plane with {count} running, RSS"), &format!("{size:.1} MiB"), Some(Goal::at_most(size, 40.0, "MiB")), &[]);
    let share = idle(berth, &pids).await?;
    let measure = format!("idle with {count} running, of one processor");
    table.row(&measure, &format!("{share:.3} %"), Some(Goal::at_most(share, 0.2, "%")), &[]);
    drop(session);
    berth.daemon.stop().await?;
    let first = milliseconds(berth.daemon.start().await?);
    let measure = format!("start to first answer with {count} running");
    table.row(&measure, &format!("{first:.0} ms"), Some(Goal::at_most(first, 500.0, "ms")), &[]);
    let mut session = berth.session().await?;
    for name in session.names().await? {
        session.remove(&name).await?;
    }
    Ok(())
}

async fn run(session: &mut Session, from: usize, to: usize) -> Result<Vec<i32>, Fault> {
    let mut pids = Vec::new();
    for number in from..to {
        pids.push(session.run_idle(&format!("many-{number}")).await?);
    }
    Ok(pids)
}

async fn lives(options: &Options, session: &mut Session, name: &str) -> Result<Samples, Fault> {
    let mut lives = Lives::default();
    for round in 0..options.rounds {
        lives.one(session, &format!("{name}-life-{round}")).await?;
    }
    Ok(lives.whole)
}
