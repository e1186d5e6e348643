//! The probe: starts a Berth of its own, and podman, Docker and containerd where they are installed; measures them beside the bare floor of the
//! kernel, crun and runc, alternating in one run; and prints tables in Markdown.
//!
//! ```text
//! for each round:  Berth create + start + wait + delete | podman | docker | floor | floor with v1 cgroups | crun run | runc run | ctr run
//! then in turn:    execs, memory, lists, idle time, eight clients, start-up, images, size; a thousand containers on Berth
//! ```
//!
//! Ratios within one run count; absolute figures belong to the machine. It needs root.

#![forbid(unsafe_code)]

mod client;
mod containerd;
mod daemon;
mod engine;
mod engines;
mod figures;
mod floor;
mod images;
mod layout;
mod leftovers;
mod lifecycle;
mod maps;
mod memory;
mod profile;
mod running;
mod size;
mod startup;
mod suite;
mod thousand;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;

/// Anything that stops the probe; it is told and that is all.
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(about = "Measures Berth beside the bare kernel and other runtimes")]
struct Options {
    /// Rounds of the alternating part
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Running containers on each engine, for lists and memory
    #[arg(long, default_value_t = 100)]
    containers: usize,
    /// Running containers on Berth alone, for how its cost grows
    #[arg(long, default_value_t = 1000)]
    many: usize,
    /// Another berth than the one beside this program
    #[arg(long)]
    berth: Option<PathBuf>,
    /// The alternating part only
    #[arg(long)]
    quick: bool,
    /// Berth, the floor, crun and runc only: no daemons
    #[arg(long)]
    no_daemons: bool,
    /// Where the time of a start and the memory go, and nothing else
    #[arg(long)]
    profile: bool,
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
        Ok(text) => {
            println!("{before}\n\n{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<String, Fault> {
    let program = match options.berth.clone() {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("berth"),
    };
    if !program.exists() {
        return Err(format!("{} does not exist: cargo build --release --workspace", program.display()).into());
    }
    let image = busybox()?;
    let scratch = tempfile::Builder::new().prefix("berth-bench-").tempdir()?;
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755))?;
    let outcome = suite::run(options, scratch.path(), &program, &image).await;
    leftovers::sweep(scratch.path());
    let run = engines::run_folders(scratch.path());
    leftovers::sweep(&run);
    let _ = std::fs::remove_dir_all(&run);
    outcome
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
