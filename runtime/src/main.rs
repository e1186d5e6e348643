//! `berth-runtime`: the privileged half of Berth. Started by `berth serve` or by its own systemd unit; not for people.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runtime::error::SysError;
use runtime::id::InstanceId;
use runtime::rundir::Layout;
use runtime::sys::process;

#[derive(Debug, Parser)]
#[command(name = "berth-runtime", version, about = "Berth's privileged runtime; started by `berth serve`")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serves the launcher's socket: starts shims and workers.
    Launch {
        #[arg(long)]
        run_dir: PathBuf,
        #[arg(long)]
        data_dir: PathBuf,
        /// 8 hexadecimal digits in the name of every kernel object.
        #[arg(long)]
        instance: InstanceId,
        /// The control plane's user.
        #[arg(long)]
        uid: u32,
        #[arg(long)]
        gid: u32,
    },
    /// Looks at the host, and for all that bears Berth's name; prints it as JSON. For `berth doctor`, where no launcher can be asked.
    Examine {
        #[arg(long)]
        run_dir: PathBuf,
        #[arg(long)]
        data_dir: PathBuf,
        #[arg(long)]
        instance: Option<InstanceId>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(tracing::Level::INFO).init();
    let outcome = match arguments.verb {
        Verb::Launch { run_dir, data_dir, instance, uid, gid } => seal_self()
            .and_then(|()| runtime::launch::run(Layout { run_dir, data_dir, instance, uid, gid }, lifeline()?))
            .map_err(|error| format!("{error}: {}", error.source.desc())),
        Verb::Examine { run_dir, data_dir, instance } => examine(&run_dir, &data_dir, instance.as_ref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berth-runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn examine(run_dir: &Path, data_dir: &Path, instance: Option<&InstanceId>) -> Result<(), String> {
    let examination = runtime::launch::examine(run_dir, data_dir, instance).map_err(|error| error.to_string())?;
    println!("{}", serde_json::to_string(&examination).map_err(|error| error.to_string())?);
    Ok(())
}

/// Runs on from a sealed copy in memory. A process that enters a container shows its program as /proc/PID/exe there: this one cannot be
/// written to (CVE-2019-5736), and an upgrade may replace the file on disk while containers run.
fn seal_self() -> Result<(), SysError> {
    const MARK: &str = "BERTH_RUNTIME_SEALED";
    if std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let mut program = std::fs::File::open("/proc/self/exe").map_err(|error| SysError::io("open", "/proc/self/exe", &error))?;
    let copy = process::memfd(c"berth-runtime")?;
    let mut image = Vec::new();
    program.read_to_end(&mut image).map_err(|error| SysError::io("read", "/proc/self/exe", &error))?;
    let mut target = std::fs::File::from(copy);
    std::io::Write::write_all(&mut target, &image).map_err(|error| SysError::io("write", "memfd", &error))?;
    process::seal(target.as_fd())?;
    let argv: Vec<_> = std::env::args_os().filter_map(|part| CString::new(part.as_bytes()).ok()).collect();
    let mut env: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("BERTH_") || name == "RUST_BACKTRACE" || name == "NOTIFY_SOCKET")
        .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
        .collect();
    env.push(CString::new(format!("{MARK}=1")).unwrap_or_default());
    Err(process::execve_fd(target.as_fd(), &argv, &env))
}

/// Standard input, where `berth serve` has put a socket there: the launcher ends with it. A unit of its own has none.
fn lifeline() -> Result<Option<OwnedFd>, SysError> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| SysError::io("dup", "stdin", &error))?;
    let file = std::fs::File::from(input);
    let metadata = file.metadata().map_err(|error| SysError::io("fstat", "stdin", &error))?;
    Ok(metadata.file_type().is_socket().then(|| file.into()))
}
