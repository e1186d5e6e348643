//! One container's whole life, on each engine and beside the bare floor in turn; and as many lives as eight clients get done.

use std::time::{Duration, Instant};

use crate::engine::{Engine, Session};
use crate::figures::{Goal, Samples, Table, not_measured};
use crate::floor::Peer;
use crate::{Fault, Options};

/// The four calls of one container's life, timed apart.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    create: Samples,
    start: Samples,
    wait: Samples,
    delete: Samples,
    pub(crate) whole: Samples,
}

impl Lives {
    pub(crate) async fn one(&mut self, session: &mut Session, name: &str) -> Result<(), Fault> {
        let began = Instant::now();
        session.create(name, &["true"]).await?;
        let created = Instant::now();
        session.start(name).await?;
        let started = Instant::now();
        session.wait(name).await?;
        let ended = Instant::now();
        session.delete(name).await?;
        let deleted = Instant::now();
        self.create.add(created - began);
        self.start.add(started - created);
        self.wait.add(ended - started);
        self.delete.add(deleted - ended);
        self.whole.add(deleted - began);
        Ok(())
    }
}

/// An engine's part in the rounds, until it fails.
struct Line {
    name: &'static str,
    session: Session,
    lives: Lives,
    failed: Option<Fault>,
}

impl Line {
    async fn one(&mut self, name: &str) {
        if self.failed.is_none() {
            self.failed = self.lives.one(&mut self.session, name).await.err();
        }
    }

    fn text(&self, part: impl Fn(&Lives) -> &Samples) -> String {
        match &self.failed {
            None => format!("{}: {}", self.name, part(&self.lives).text()),
            Some(error) => format!("{}: {}", self.name, not_measured(error)),
        }
    }
}

/// Berth and the others in turn, so that whatever else the machine does hits all alike.
pub(crate) async fn rounds(options: &Options, engines: &[Engine], peers: &mut [Peer], table: &mut Table) -> Result<(), Fault> {
    const WARM_UP: usize = 5;
    let mut lines = Vec::new();
    for engine in engines {
        lines.push(Line { name: engine.name, session: engine.session().await?, lives: Lives::default(), failed: None });
    }
    for round in 0..WARM_UP + options.rounds {
        for line in &mut lines {
            line.one(&format!("life-{round}")).await;
        }
        for peer in peers.iter_mut() {
            peer.measure()?;
        }
        if round + 1 == WARM_UP {
            lines.iter_mut().for_each(|line| line.lives = Lives::default());
            peers.iter_mut().for_each(|peer| peer.samples = Samples::default());
        }
    }
    let [berth, others @ ..] = lines.as_mut_slice() else { return Err("no engine".into()) };
    if let Some(error) = berth.failed.take() {
        return Err(error);
    }
    rows(&berth.lives, others, peers, table);
    Ok(())
}

fn rows(berth: &Lives, others: &[Line], peers: &[Peer], table: &mut Table) {
    let mut beside: Vec<String> = peers.iter().map(|peer| format!("{}: {}", peer.name, peer.samples.text())).collect();
    beside.extend(others.iter().map(|line| line.text(|lives| &lives.whole)));
    let median = berth.whole.median();
    let mut goal = Goal::at_most(median, 12.0, "ms");
    if let Some(crun) = peers.iter().find(|peer| peer.name == "crun run") {
        goal = goal.and("≤ crun run", berth.whole.p50() <= crun.samples.p50());
    }
    table.row("create + start + wait + delete (p50 / p95)", &berth.whole.text(), Some(goal), &beside);
    let times = |name: &str, other: &Samples| format!("{name}: {:.2}", other.median() / median);
    let mut ratios: Vec<String> = peers.iter().map(|peer| times(&peer.name, &peer.samples)).collect();
    ratios.extend(others.iter().filter(|line| line.failed.is_none()).map(|line| times(line.name, &line.lives.whole)));
    let podman = others.iter().find(|line| line.name == "podman" && line.failed.is_none());
    let goal = podman.map(|line| Goal::at_least(line.lives.whole.median() / median, 18.0, "for podman"));
    table.row("– the same as a multiple of Berth's median", "1", goal, &ratios);
    let part = |pick: fn(&Lives) -> &Samples| others.iter().map(|line| line.text(pick)).collect::<Vec<_>>();
    table.row("– create", &berth.create.text(), None, &part(|lives| &lives.create));
    let goal = Goal::at_most(berth.start.median(), 6.0, "ms");
    table.row("– start (answer after execve)", &berth.start.text(), Some(goal), &part(|lives| &lives.start));
    table.row("– wait", &berth.wait.text(), None, &part(|lives| &lives.wait));
    table.row("– delete", &berth.delete.text(), None, &part(|lives| &lives.delete));
}

pub(crate) async fn eight_clients(engines: &[Engine], table: &mut Table) -> Result<(), Fault> {
    let mut rates = Vec::new();
    for engine in engines {
        let rate = at_once(8, Duration::from_secs(5), engine, async |session, name| Lives::default().one(session, &name).await).await;
        rates.push((engine.name, rate));
    }
    rate_row("lifecycles per second, 8 clients", rates, 150.0, table)
}

/// Berth's rate first, then the others'.
pub(crate) fn rate_row(measure: &str, rates: Vec<(&'static str, Result<f64, Fault>)>, goal: f64, table: &mut Table) -> Result<(), Fault> {
    let mut rates = rates.into_iter();
    let berth = rates.next().ok_or("no engine")?.1?;
    let beside: Vec<String> = rates
        .map(|(name, rate)| match rate {
            Ok(rate) => format!("{name}: {rate:.1} /s"),
            Err(error) => format!("{name}: {}", not_measured(&error)),
        })
        .collect();
    table.row(measure, &format!("{berth:.0} /s"), Some(Goal::at_least(berth, goal, "/s")), &beside);
    Ok(())
}

/// Does something on several connections for a while; answers how often a second.
pub(crate) async fn at_once(
    clients: usize,
    time: Duration,
    engine: &Engine,
    work: impl AsyncFn(&mut Session, String) -> Result<(), Fault>,
) -> Result<f64, Fault> {
    let began = Instant::now();
    let loops = (0..clients).map(|number| {
        let work = &work;
        async move {
            let mut session = engine.session().await?;
            let mut done = 0_u32;
            while began.elapsed() < time {
                work(&mut session, format!("client-{number}-{done}")).await?;
                done += 1;
            }
            Ok::<u32, Fault>(done)
        }
    });
    let mut done = 0;
    for count in futures_util::future::join_all(loops).await {
        done += count?;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}
