//! The unpacker's walls, put up before the first hostile byte is read.
//!
//! | wall | against |
//! | --- | --- |
//! | mount namespace, `pivot_root` into a nosuid, nodev, noexec view of the staging folder | every other file of the host |
//! | network, IPC and UTS namespaces | connecting, abstract sockets, shared memory |
//! | pid namespace, a uid that nothing else has | signals, ptrace |
//! | no descriptor but the connection and the report | sockets and files of the launcher |
//! | five capabilities, none that opens by handle, mounts or makes devices; no new privileges | all else that root may do |
//! | rlimits: memory, file size, descriptors, no further process | bombs |
//!
//! It keeps CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID and CAP_SETFCAP, which reach no further than the folder does. Whiteouts
//! (devices 0:0) need none since Linux 5.8.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::signal::Signal;

use crate::error::SysError;
use crate::security::capabilities::{CapSet, Capability};
use crate::sys::mount::{self, Reach, attr};
use crate::sys::process::{self, CloneFlags};
use crate::sys::{cap, descriptors, signal};

/// The namespaces that the unpacker is born into.
pub(super) const NAMESPACES: CloneFlags =
    CloneFlags(CloneFlags::NEWPID | CloneFlags::NEWNS | CloneFlags::NEWNET | CloneFlags::NEWIPC | CloneFlags::NEWUTS);

const CAPABILITIES: CapSet =
    CapSet::of(&[Capability::CHOWN, Capability::DAC_OVERRIDE, Capability::FOWNER, Capability::FSETID, Capability::SETFCAP]);

/// The uid and gid: no account has them and no container's range begins below it. Root's uid could signal every process of root's that
/// it can name, and would not be bound by the limit on processes.
const UNPACKER: u32 = 65_533;

/// The most memory, in bytes: a zstd window is 128 MiB of it, an archive's folders 64 MiB.
const MOST_MEMORY: u64 = 512 << 20;

const MOST_DESCRIPTORS: u64 = 64;

/// The view of the staging folder that becomes the unpacker's root: a detached mount, as a folder that was opened in one mount namespace
/// cannot be bound in another.
pub(super) fn view(folder: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let view = mount::clone_tree(folder, "", Reach::One)?;
    mount::set_attributes(view.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC, Reach::One)?;
    Ok(view)
}

/// Shuts the calling process, a child cloned with [`NAMESPACES`], into `view`; that folder as its new root, open.
///
/// Closes every descriptor but `keep` and the standard three, which become /dev/null: nothing that the caller or its callers hold may be
/// used or dropped afterwards. `file_bytes` is the size of the largest file that it can write.
pub(super) fn enter(view: BorrowedFd<'_>, keep: &[BorrowedFd<'_>], file_bytes: u64) -> Result<OwnedFd, SysError> {
    silence()?;
    change_root(view)?;
    descriptors::close_all_but(keep)?;
    limit(file_bytes)?;
    drop_privileges()?;
    open("/", OFlag::O_DIRECTORY)
}

fn open(path: &'static str, flags: OFlag) -> Result<OwnedFd, SysError> {
    let opened = File::options().read(true).custom_flags(flags.bits()).open(path);
    opened.map(OwnedFd::from).map_err(|error| SysError::io("open", path, &error))
}

/// The launcher's log is no place for a hostile archive to write to.
fn silence() -> Result<(), SysError> {
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|error| SysError::io("open", "/dev/null", &error))?;
    (0..=2).try_for_each(|target| process::dup_to(null.as_fd(), target))
}

fn change_root(view: BorrowedFd<'_>) -> Result<(), SysError> {
    let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    // First, so that nothing mounted from here on shows on the host.
    mount::set_propagation(root.as_fd(), MsFlags::MS_PRIVATE, Reach::Recursive)?;
    // Any place will do, as all of the old tree goes; `/` is always there.
    mount::attach(view, root.as_fd(), "/")?;
    nix::unistd::fchdir(view).map_err(|errno| SysError::new("fchdir", "staging", errno))?;
    mount::pivot_here()
}

fn limit(file_bytes: u64) -> Result<(), SysError> {
    for (resource, most) in [
        (libc::RLIMIT_DATA, MOST_MEMORY),
        (libc::RLIMIT_FSIZE, file_bytes),
        (libc::RLIMIT_NOFILE, MOST_DESCRIPTORS),
        (libc::RLIMIT_NPROC, 0),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_MEMLOCK, 0),
        (libc::RLIMIT_MSGQUEUE, 0),
    ] {
        process::set_rlimit(resource, most, most)?;
    }
    // Too large a file is an error with a name then, not a death.
    signal::ignore(Signal::SIGXFSZ)
}

fn drop_privileges() -> Result<(), SysError> {
    // Where keyrings are switched off there is nothing to leave behind.
    let _ = process::new_session_keyring();
    // Emptying the bounding set needs CAP_SETPCAP, so it comes first; the capabilities come last, as changing ids needs them.
    cap::limit_bounding(CapSet::EMPTY.bits())?;
    cap::keep_over_setuid()?;
    process::set_groups(&[])?;
    process::set_gid(UNPACKER)?;
    process::set_uid(UNPACKER)?;
    cap::clear_ambient()?;
    cap::set(CAPABILITIES.bits())?;
    process::set_no_new_privs()?;
    // After the change of ids, which takes both back.
    process::set_not_dumpable()?;
    process::set_parent_death_signal(Signal::SIGKILL)
}
