//! What is measured, one function a group of rows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, container};
use crate::figures::{Samples, Table};
use crate::floor::Peer;
use crate::instance::Instance;
use crate::{Fault, Options, memory};

const API: &str = "/api/v1/containers";

/// The four calls of one container's life, timed apart.
#[derive(Debug, Default)]
struct Lives {
    create: Samples,
    start: Samples,
    wait: Samples,
    delete: Samples,
    whole: Samples,
}

impl Lives {
    async fn one(&mut self, client: &mut Client, name: &str) -> Result<(), Fault> {
        let path = format!("{API}/{name}");
        let began = Instant::now();
        client.post(API, &container(name, &["true"])).await?;
        let created = Instant::now();
        client.post(&format!("{path}/start"), &json!({})).await?;
        let started = Instant::now();
        client.post(&format!("{path}/wait"), &json!({"condition": "exited"})).await?;
        let ended = Instant::now();
        client.delete(&path).await?;
        let deleted = Instant::now();
        self.create.add(created - began);
        self.start.add(started - created);
        self.wait.add(ended - started);
        self.delete.add(deleted - ended);
        self.whole.add(deleted - began);
        Ok(())
    }
}

/// Berth and the others in turn, so that whatever else the machine does hits all alike.
pub(crate) async fn lifecycle(options: &Options, client: &mut Client, peers: &mut [Peer], table: &mut Table) -> Result<(), Fault> {
    let mut warm_up = Lives::default();
    for round in 0..5 {
        warm_up.one(client, &format!("warm-{round}")).await?;
    }
    let mut lives = Lives::default();
    for round in 0..options.rounds {
        lives.one(client, &format!("life-{round}")).await?;
        for peer in peers.iter_mut() {
            peer.measure()?;
        }
    }
    let beside: Vec<String> = peers.iter().map(|peer| format!("{}: {}", peer.name, peer.samples.milliseconds())).collect();
    table.row("create + start + wait + delete (p50 / p95)", &lives.whole.milliseconds(), &beside.join("; "), "≤ 12 ms and ≤ crun run");
    table.row("– create", &lives.create.milliseconds(), "", "");
    table.row("– start (answer after execve)", &lives.start.milliseconds(), "", "≤ 6 ms");
    table.row("– wait", &lives.wait.milliseconds(), "", "");
    table.row("– delete", &lives.delete.milliseconds(), "", "");
    for peer in peers.iter() {
        let ratio = lives.whole.p50().as_secs_f64() / peer.samples.p50().as_secs_f64();
        table.row(&format!("ratio of medians to {}", peer.name), &format!("{ratio:.2}"), "", "");
    }
    Ok(())
}

async fn run_idle(client: &mut Client, name: &str) -> Result<i32, Fault> {
    client.post(API, &container(name, &["sleep", "1000000"])).await?;
    client.post(&format!("{API}/{name}/start"), &json!({})).await?;
    let found: Value = serde_json::from_slice(&client.get(&format!("{API}/{name}")).await?)?;
    Ok(i32::try_from(found["status"]["pid"].as_i64().ok_or("no pid")?)?)
}

async fn remove(client: &mut Client, name: &str) -> Result<(), Fault> {
    client.delete(&format!("{API}/{name}?force=true&gracePeriodSeconds=0")).await?;
    Ok(())
}

pub(crate) async fn exec(options: &Options, client: &mut Client, table: &mut Table) -> Result<(), Fault> {
    run_idle(client, "exec").await?;
    let mut samples = Samples::default();
    for _ in 0..options.rounds {
        let began = Instant::now();
        client.post(&format!("{API}/exec/exec"), &json!({"command": ["true"]})).await?;
        samples.add(began.elapsed());
    }
    remove(client, "exec").await?;
    table.row("exec, until its code is known (p50 / p95)", &samples.milliseconds(), "", "≤ 4 ms");
    Ok(())
}

pub(crate) async fn memory(instance: &Instance, client: &mut Client, table: &mut Table) -> Result<(), Fault> {
    const MANY: usize = 10;
    /// A shim gives back what its start took a moment later.
    const SETTLED: Duration = Duration::from_millis(400);
    let berth = i32::try_from(instance.pid().ok_or("berth does not run")?)?;
    let own = memory::control_plane(instance.home(), berth);
    let resident: u64 = own.iter().filter_map(|pid| memory::rss(*pid)).sum();
    table.row("idle control plane, RSS of all its processes", &format!("{resident} KiB in {} processes", own.len()), "", "≤ 16 MiB");
    let mut shims = Vec::new();
    let mut alone = 0;
    for number in 0..MANY {
        let pid = run_idle(client, &format!("memory-{number}")).await?;
        shims.push(memory::parent(pid).ok_or("the container has no parent")?);
        if number == 0 {
            tokio::time::sleep(SETTLED).await;
            alone = shims.iter().filter_map(|pid| memory::pss(*pid)).sum();
        }
    }
    tokio::time::sleep(SETTLED).await;
    let each: u64 = shims.iter().filter_map(|pid| memory::pss(*pid)).sum::<u64>() / MANY as u64;
    let berth = format!("{alone} KiB; each of {MANY}: {each} KiB");
    table.row("memory beside the workload, one container (PSS of its shim)", &berth, "", "≤ 250 KiB");
    for number in 0..MANY {
        remove(client, &format!("memory-{number}")).await?;
    }
    Ok(())
}

pub(crate) async fn many(options: &Options, instance: &Instance, client: &mut Client, table: &mut Table) -> Result<(), Fault> {
    let count = options.containers;
    let began = Instant::now();
    for number in 0..count {
        client.post(API, &container(&format!("many-{number}"), &["sleep", "1000000"])).await?;
        client.post(&format!("{API}/many-{number}/start"), &json!({})).await?;
    }
    let took = began.elapsed().as_secs_f64();
    table.row(&format!("{count} containers created and started, one at a time"), &format!("{took:.2} s"), "", "≤ 0.8 s for 100");
    let list = format!("{API}?limit={count}");
    let mut samples = Samples::default();
    for _ in 0..200 {
        let began = Instant::now();
        client.get(&list).await?;
        samples.add(began.elapsed());
    }
    table.row(&format!("list {count} running, one client (p50 / p95)"), &samples.milliseconds(), "", "≤ 1 ms");
    let rate = at_once(8, Duration::from_secs(2), instance, async |client, _| client.get(&list).await.map(drop)).await?;
    table.row(&format!("list {count} running, 8 connections"), &format!("{rate:.0} /s"), "", "≥ 5,000 /s");
    for number in 0..count {
        remove(client, &format!("many-{number}")).await?;
    }
    Ok(())
}

pub(crate) async fn eight_clients(instance: &Instance, table: &mut Table) -> Result<(), Fault> {
    let rate = at_once(8, Duration::from_secs(5), instance, async |client, name| Lives::default().one(client, &name).await).await?;
    table.row("lifecycles per second, 8 clients", &format!("{rate:.0} /s"), "", "≥ 150 /s");
    Ok(())
}

/// Does something on several connections for a while; answers how often a second.
async fn at_once(
    clients: usize,
    time: Duration,
    instance: &Instance,
    work: impl AsyncFn(&mut Client, String) -> Result<(), Fault>,
) -> Result<f64, Fault> {
    let began = Instant::now();
    let loops = (0..clients).map(|number| {
        let work = &work;
        async move {
            let mut client = Client::connect(&instance.socket()).await?;
            let mut done = 0_u32;
            while began.elapsed() < time {
                work(&mut client, format!("client-{number}-{done}")).await?;
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

/// The first start makes the database; the others are what a restart costs.
pub(crate) async fn start_up(first: Duration, instance: &mut Instance, table: &mut Table) -> Result<(), Fault> {
    let mut samples = Samples::default();
    for _ in 0..5 {
        instance.stop().await?;
        samples.add(instance.start().await?);
    }
    let first = format!("the first one: {:.0} ms", first.as_secs_f64() * 1e3);
    table.row("start to ready (p50 / p95)", &samples.milliseconds(), &first, "≤ 25 ms");
    Ok(())
}
