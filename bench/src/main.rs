//! The probe: starts a Berth of its own, measures it beside the bare floor of the kernel and whichever other runtimes are installed, alternating
//! in one run, and prints a table in Markdown.
//!
//! ```text
//! for each round:  Berth create + start + wait + delete | floor | floor with v1 cgroups | crun run | runc run
//! then alone:      exec, memory, list, eight clients, start-up
//! ```
//!
//! Ratios within one run count; absolute figures belong to the machine. It needs root.

#![forbid(unsafe_code)]

mod client;
mod figures;
mod floor;
mod instance;
mod measure;
mod memory;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;

use figures::Table;
use instance::Instance;

/// Anything that stops the probe; it is told and that is all.
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(about = "Measures Berth beside the bare kernel and other runtimes")]
struct Options {
    /// Rounds of the alternating part
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Containers for the list and the count of a hundred
    #[arg(long, default_value_t = 100)]
    containers: usize,
    /// Another berth than the one beside this program
    #[arg(long)]
    berth: Option<PathBuf>,
    /// The alternating part only
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !rustix::process::geteuid().is_root() {
        eprintln!("probe: needs root");
        return ExitCode::FAILURE;
    }
    let before = machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Fault::from).and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(table) => {
            println!("{before}\n\n{}", table.text());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<Table, Fault> {
    let image = busybox()?;
    let mut instance = Instance::new(options.berth.clone())?;
    let outcome = measure_all(options, &mut instance, image).await;
    if outcome.is_err() {
        eprintln!("{}", std::fs::read_to_string(instance.home().join("log")).unwrap_or_default());
    }
    instance.stop().await?;
    outcome
}

async fn measure_all(options: &Options, instance: &mut Instance, image: Vec<u8>) -> Result<Table, Fault> {
    let mut table = Table::new();
    let first = instance.start().await?;
    let mut client = client::Client::connect(&instance.socket()).await?;
    client.import("busybox:latest", image.clone()).await?;
    let rootfs = floor::unpack(&image, instance.home())?;
    let mut peers = floor::peers(instance.home(), &rootfs)?;
    measure::lifecycle(options, &mut client, &mut peers, &mut table).await?;
    drop(peers);
    if !options.quick {
        measure::exec(options, &mut client, &mut table).await?;
        measure::memory(instance, &mut client, &mut table).await?;
        measure::many(options, instance, &mut client, &mut table).await?;
        measure::eight_clients(instance, &mut table).await?;
        drop(client);
        measure::start_up(first, instance, &mut table).await?;
    }
    Ok(table)
}

/// From the repository's own script.
fn busybox() -> Result<Vec<u8>, Fault> {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/make-busybox-image"));
    let output = Command::new(&script).output().map_err(|error| format!("{}: {error}", script.display()))?;
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    format!("Linux {}, {cpus} processors, load before {}", read("/proc/sys/kernel/osrelease"), load.split(' ').next().unwrap_or_default())
}
