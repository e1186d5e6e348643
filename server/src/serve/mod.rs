//! `berth serve`: from a command line to a process that serves, and back to nothing.
//!
//! ```text
//! as root                                          as the unprivileged user, same pid
//! folders, lock, instance id, unix socket          takes them from its standard input
//! berth-runtime launch (stays root) <--lifeline--> nothing left of root? else stop
//! exec itself ------------------------------------> store, reconciler, listeners, READY
//!                                                  SIGTERM: drain, end; containers go on
//! ```
//!
//! As two services: `berth launch`, as root, makes the folders and becomes the launcher; `berth serve`, started without root, expects it at
//! `<run-dir>/launch.sock`. Each can be restarted without the other.

mod folders;
mod handover;
mod launcher;
mod privileges;
mod server;

use std::io;
use std::path::PathBuf;

use crate::config::{Config, ConfigError, ServeArgs};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot prepare the folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the folder {path} cannot be trusted: {why}")]
    UnsafeFolder { path: PathBuf, why: &'static str },
    #[error(
        "user {uid} cannot reach {folder}: {above} is closed to others (mode {mode:04o}); choose another place, or `chmod o+x {above}`"
    )]
    Unreachable { folder: PathBuf, above: PathBuf, mode: u32, uid: u32 },
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("another berth (pid {holder}) serves the data folder {data_dir}")]
    Locked { data_dir: PathBuf, holder: String },
    #[error("cannot read or make the instance's id in {path}")]
    Instance { path: PathBuf, source: io::Error },
    #[error("cannot listen at {path}")]
    BindSocket { path: PathBuf, source: io::Error },
    #[error("cannot find this program's own place")]
    FindLauncher { source: io::Error },
    #[error("cannot start the launcher {path}")]
    StartLauncher { path: PathBuf, source: io::Error },
    #[error("there is no user {user:?}")]
    NoSuchUser { user: String },
    #[error("--user must not be root: the process that speaks HTTP has no power over the machine")]
    RootUser,
    #[error("cannot give up privileges")]
    Narrow { source: io::Error },
    #[error("cannot become user {uid}")]
    Become { uid: u32, source: io::Error },
    #[error("cannot read /proc/self/status")]
    ReadStatus { source: io::Error },
    #[error("refusing to serve with privileges left: {left}")]
    StillPrivileged { left: String },
    #[error("the second phase of the start did not get what the first prepared")]
    Handover { source: io::Error },
    #[error("not started as root, and no launcher listens at {path}: start `berth serve` as root, or berth-runtime's own unit first")]
    NoLauncher { path: PathBuf, source: io::Error },
    #[error("cannot start the threads that serve")]
    Runtime { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
    #[error("cannot listen at {address}")]
    BindTcp { address: std::net::SocketAddr, source: io::Error },
    #[error("the launcher does not answer")]
    Launcher { source: crate::node::NodeError },
    #[error(
        "the launcher is Berth {version} and speaks version {theirs} of the protocol, this is Berth {} and speaks {}: restart the launcher (systemctl restart berth-launcher)",
        env!("CARGO_PKG_VERSION"),
        runtime::protocol::PROTOCOL_VERSION
    )]
    LauncherVersion { version: String, theirs: u32 },
    #[error("`berth launch` is for root: it becomes the launcher, which makes containers")]
    LaunchNeedsRoot,
    #[error("cannot use the store")]
    Store(#[from] crate::store::StoreError),
}

/// Serves until a signal ends it.
pub fn run(args: ServeArgs) -> Result<(), ServeError> {
    if std::env::var_os(handover::VARIABLE).is_some() {
        return second_phase(handover::unpack()?);
    }
    let config = Config::resolve(args)?;
    if rustix::process::geteuid().is_root() { first_phase(config) } else { unprivileged_from_the_start(config) }
}

/// As root. Comes back only with an error: success is an exec.
fn first_phase(config: Config) -> Result<(), ServeError> {
    let identity = privileges::Identity::find(config.user.as_deref())?;
    folders::prepare(&config, identity, folders::Mode::OneService)?;
    // From here on nothing is made that others could open.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let lock = folders::lock(&config, Some(identity))?;
    let instance = folders::instance(&config, true)?;
    let listener = folders::bind_socket(&config.socket)?;
    let lifeline = launcher::start(&config, &instance, identity)?;
    let message = handover::Message { config, instance, uid: identity.uid, gid: identity.gid };
    let input = handover::pack(&message, &lock, &listener, &lifeline)?;
    Err(privileges::drop_for_good(identity, input))
}

/// As root, where the control plane is a service of its own: prepares what that one cannot, and becomes the launcher. Comes back only with an
/// error.
pub fn launch(args: ServeArgs) -> Result<(), ServeError> {
    let config = Config::resolve(args)?;
    if !rustix::process::geteuid().is_root() {
        return Err(ServeError::LaunchNeedsRoot);
    }
    let identity = privileges::Identity::find(config.user.as_deref())?;
    folders::prepare(&config, identity, folders::Mode::TwoServices)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    folders::make_lock(&config, identity)?;
    folders::clear_socket(&config.socket, identity)?;
    let instance = folders::instance(&config, true)?;
    Err(launcher::become_it(&config, &instance, identity))
}

/// As the unprivileged user, with what root prepared.
fn second_phase(handover: handover::Handover) -> Result<(), ServeError> {
    privileges::verify_unprivileged()?;
    let handover::Handover { message, lock, listener, lifeline } = handover;
    let handover::Message { config, instance, .. } = message;
    server::run(server::Prepared { config, instance, listener, lifeline: Some(lifeline), lock })
}

/// Two units: somebody else started the launcher and made the folders for this user.
fn unprivileged_from_the_start(config: Config) -> Result<(), ServeError> {
    privileges::verify_unprivileged()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let launcher = config.run_dir.join("launch.sock");
    std::os::unix::net::UnixStream::connect(&launcher).map_err(|source| ServeError::NoLauncher { path: launcher, source })?;
    let lock = folders::lock(&config, None)?;
    let instance = folders::instance(&config, false)?;
    let listener = folders::bind_socket(&config.socket)?;
    server::run(server::Prepared { config, instance, listener, lifeline: None, lock })
}
