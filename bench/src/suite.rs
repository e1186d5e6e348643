//! The order of a run: who takes part, what is measured of whom, and that everything is ended whatever came of it.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::containerd::Containerd;
use crate::daemon::Daemon;
use crate::engine::Engine;
use crate::figures::{Table, not_measured};
use crate::floor::Peer;
use crate::{Fault, Options, engines, floor, images, layout, lifecycle, maps, profile, running, size, startup, thousand};

/// The daemons of a run, Berth first, with how long each one's first start took.
struct Cast {
    engines: Vec<Engine>,
    first: Vec<Duration>,
    containerd: Option<(Containerd, Duration)>,
}

/// Markdown.
pub(crate) async fn run(options: &Options, scratch: &Path, program: &Path, image: &[u8]) -> Result<String, Fault> {
    let mut berth = engines::berth(scratch, program)?;
    let first = berth.daemon.start().await?;
    let mut cast = Cast { engines: vec![berth], first: vec![first], containerd: None };
    let outcome = tokio::select! {
        outcome = measure(options, scratch, program, image, &mut cast) => outcome,
        signal = interrupted() => Err(signal?.into()),
    };
    if outcome.is_err() {
        eprintln!("{}", cast.engines[0].daemon.log());
    }
    for engine in &mut cast.engines {
        let ended = engine.end().await;
        if let Err(error) = ended {
            eprintln!("{} did not end well: {error}", engine.name);
        }
    }
    if let Some((containerd, _)) = &mut cast.containerd {
        containerd.daemon.stop().await?;
    }
    outcome
}

/// Answers when somebody wants the probe to end.
async fn interrupted() -> Result<&'static str, Fault> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome?,
        _ = terminate.recv() => {}
    }
    Ok("interrupted")
}

async fn measure(options: &Options, scratch: &Path, program: &Path, image: &[u8], cast: &mut Cast) -> Result<String, Fault> {
    let mut table = Table::new();
    let mut session = cast.engines[0].session().await?;
    session.import(image.to_vec()).await?;
    if options.profile {
        let start = profile::measure(options, &mut session).await?;
        let memory = maps::measure(&cast.engines[0], &mut session).await?;
        return Ok(format!("Where the time of a start goes, medians of {}:\n\n{start}\nWhere memory goes:\n\n{memory}", options.rounds));
    }
    drop(session);
    let rootfs = floor::unpack(image, scratch)?;
    let mut peers = floor::peers(scratch, &rootfs, &mut table)?;
    if !options.no_daemons {
        invite(scratch, image, cast, &mut peers, &mut table).await?;
    }
    running::control_planes(&cast.engines, cast.containerd.as_ref().map(|(containerd, _)| &containerd.daemon), &mut table)?;
    lifecycle::rounds(options, &cast.engines, &mut peers, &mut table).await?;
    drop(peers);
    if options.quick {
        return Ok(table.text());
    }
    lifecycle::eight_clients(&cast.engines, &mut table).await?;
    running::measure(options, &cast.engines, &mut table).await?;
    let mut daemons: Vec<(&'static str, &mut Daemon, Duration)> =
        cast.engines.iter_mut().zip(&cast.first).map(|(engine, first)| (engine.name, &mut engine.daemon, *first)).collect();
    if let Some((containerd, first)) = &mut cast.containerd {
        daemons.push(("containerd", &mut containerd.daemon, *first));
    }
    startup::measure(&mut daemons, &mut table).await?;
    if let Err(error) = images::measure(scratch, &cast.engines[0], &mut table).await {
        table.absent("image load and unpack", &not_measured(&error));
    }
    size::measure(scratch, program, &mut table)?;
    thousand::measure(options, &mut cast.engines[0], &mut table).await?;
    Ok(table.text())
}

/// The other engines, each where it is installed and able to run a container here.
async fn invite(scratch: &Path, image: &[u8], cast: &mut Cast, peers: &mut Vec<Peer>, table: &mut Table) -> Result<(), Fault> {
    let mut join = |name: &str, engine: Result<(Engine, Duration), Fault>| match engine {
        Ok((engine, first)) => {
            cast.engines.push(engine);
            cast.first.push(first);
        }
        Err(error) => table.absent(name, &not_measured(&error)),
    };
    let mut missing = Vec::new();
    for (name, program) in [("podman", "podman"), ("docker", "dockerd"), ("containerd", "containerd")] {
        match (name, size::installed(program)) {
            (_, false) => missing.push(name),
            ("podman", true) => join(name, engines::podman(scratch, image).await),
            ("docker", true) => join(name, engines::docker(scratch, image).await),
            (_, true) => {}
        }
    }
    missing.iter().for_each(|name| table.absent(name, "not installed"));
    if missing.contains(&"containerd") {
        return Ok(());
    }
    const REFERENCE: &str = "localhost/busybox:latest";
    let layout = layout::make(scratch, REFERENCE, image)?;
    let started = Containerd::start(scratch, &layout.archive).await;
    let peer = started.and_then(|(containerd, first)| {
        let peer = Peer::program("containerd, ctr run --rm", &containerd.run_command(REFERENCE));
        cast.containerd = Some((containerd, first));
        peer
    });
    match peer {
        Ok(peer) => peers.push(peer),
        Err(error) => table.absent("containerd", &not_measured(&error)),
    }
    Ok(())
}
