//! The walls of a worker that meets hostile input, put up before the first byte of it is read.
//!
//! | wall | against |
//! | --- | --- |
//! | mount namespace, `pivot_root` into a nosuid, nodev, noexec view of the staging folder, or of a container's tree | every other file of the host |
//! | network, IPC and UTS namespaces | connecting, abstract sockets, shared memory |
//! | pid namespace; a uid that nothing else has, or the container's user namespace | signals, ptrace; ids that are not the container's |
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
use nix::sched::CloneFlags as CloneFlag;
use nix::sys::signal::Signal;

use crate::error::SysError;
use crate::security::capabilities::{CapSet, Capability};
use crate::shim::place;
use crate::sys::mount::{self, FsContext, Reach, attr};
use crate::sys::process::{self, CloneFlags};
use crate::sys::{cap, descriptors, namespace, signal};

/// The namespaces that the confined process is born into.
pub(super) const NAMESPACES: CloneFlags =
    CloneFlags(CloneFlags::NEWPID | CloneFlags::NEWNS | CloneFlags::NEWNET | CloneFlags::NEWIPC | CloneFlags::NEWUTS);

const CAPABILITIES: CapSet =
    CapSet::of(&[Capability::CHOWN, Capability::DAC_OVERRIDE, Capability::FOWNER, Capability::FSETID, Capability::SETFCAP]);

/// The uid and gid: no account has them and no container's range begins below it. Root's uid could signal every process of root's that
/// it can name, and would not be bound by the limit on processes.
const UNPACKER: u32 = 65_533;

/// The most memory, in bytes: a zstd window is 128 MiB of it, an archive's folders 64 MiB.
const MOST_MEMORY: u64 = 512 << 20;

/// How many descriptors are enough for an unpacker.
const FEW_DESCRIPTORS: u64 = 64;

/// Where a process is shut in, and as whom.
#[derive(Debug)]
pub(super) struct Cell {
    /// Becomes its root.
    pub(super) view: OwnedFd,
    /// Attached below that, in this order: the place, whether it is a folder, and the mount.
    pub(super) mounts: Vec<(String, bool, OwnedFd)>,
    /// The root, but none of the mounts below it, is to be read-only.
    pub(super) read_only: bool,
    pub(super) ids: Ids,
    /// The size of the largest file that it can write; None is no limit.
    pub(super) file_bytes: Option<u64>,
    pub(super) descriptors: u64,
}

/// Whose ids it has and sees.
#[derive(Debug)]
pub(super) enum Ids {
    /// The host's, as nobody.
    Nobody,
    /// Root of this user namespace, which is `root` outside.
    RootOf { user_namespace: OwnedFd, root: (u32, u32) },
    /// Root's own, of a container that has the host's ids.
    Root,
}

impl Cell {
    /// A folder of ours as all there is, for the unpacker.
    pub(super) fn of_folder(folder: BorrowedFd<'_>, file_bytes: u64) -> Result<Self, SysError> {
        let view = mount::clone_tree(folder, "", Reach::One)?;
        let (ids, file_bytes) = (Ids::Nobody, Some(file_bytes));
        Ok(Cell { view, mounts: Vec::new(), read_only: false, ids, file_bytes, descriptors: FEW_DESCRIPTORS })
    }

    /// Folders as all there is, read-only, named `0`, `1`, … in their order.
    pub(super) fn of_layers(folders: &[OwnedFd], descriptors: u64) -> Result<Self, SysError> {
        let view = FsContext::open("tmpfs")?.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        let mounts = folders.iter().enumerate().map(|(number, folder)| {
            let mount = mount::clone_tree(folder.as_fd(), "", Reach::One)?;
            mount::set_attributes(mount.as_fd(), attr::RDONLY, Reach::One)?;
            Ok((number.to_string(), true, mount))
        });
        let mounts = mounts.collect::<Result<_, SysError>>()?;
        Ok(Cell { view, mounts, read_only: true, ids: Ids::Nobody, file_bytes: None, descriptors })
    }
}

/// Shuts the calling process, a child cloned with [`NAMESPACES`], into `cell`; its new root, open.
///
/// Closes every descriptor but `keep` and the standard three, which become /dev/null: nothing that the caller or its callers hold may be
/// used or dropped afterwards.
pub(super) fn enter(cell: &Cell, keep: &[BorrowedFd<'_>]) -> Result<OwnedFd, SysError> {
    silence()?;
    change_root(cell)?;
    let users = match &cell.ids {
        Ids::RootOf { user_namespace, .. } => Some(user_namespace.as_fd()),
        Ids::Nobody | Ids::Root => None,
    };
    descriptors::close_all_but(&keep.iter().copied().chain(users).collect::<Vec<_>>())?;
    limit(cell)?;
    drop_privileges(&cell.ids)?;
    if let Some(users) = users {
        process::close_inherited(users)?;
    }
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

fn change_root(cell: &Cell) -> Result<(), SysError> {
    let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let view = cell.view.as_fd();
    // First, so that nothing mounted from here on shows on the host, nor in a container whose mounts these are copies of.
    for mounts in [root.as_fd(), view] {
        mount::set_propagation(mounts, MsFlags::MS_PRIVATE, Reach::Recursive)?;
    }
    // Any place will do, as all of the old tree goes; `/` is always there.
    mount::attach(view, root.as_fd(), "/")?;
    let owner = match cell.ids {
        Ids::RootOf { root, .. } => Some(root),
        Ids::Nobody | Ids::Root => None,
    };
    for (target, directory, source) in &cell.mounts {
        mount::set_propagation(source.as_fd(), MsFlags::MS_PRIVATE, Reach::Recursive)?;
        mount::attach(source.as_fd(), place::find_or_make_for(view, target, *directory, owner)?.as_fd(), target)?;
    }
    mount::set_attributes(view, attr::NOSUID | attr::NODEV | attr::NOEXEC, Reach::Recursive)?;
    if cell.read_only {
        mount::set_attributes(view, attr::RDONLY, Reach::One)?;
    }
    nix::unistd::fchdir(view).map_err(|errno| SysError::new("fchdir", "view", errno))?;
    mount::pivot_here()
}

fn limit(cell: &Cell) -> Result<(), SysError> {
    if let Some(most) = cell.file_bytes {
        process::set_rlimit(libc::RLIMIT_FSIZE, most, most)?;
    }
    for (resource, most) in [
        (libc::RLIMIT_DATA, MOST_MEMORY),
        (libc::RLIMIT_NOFILE, cell.descriptors),
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

fn drop_privileges(ids: &Ids) -> Result<(), SysError> {
    let id = match ids {
        Ids::Nobody => UNPACKER,
        Ids::Root => 0,
        Ids::RootOf { user_namespace, .. } => {
            // From here on it has capabilities over what the container's ids own, and over nothing else of the host.
            namespace::join(user_namespace, CloneFlag::CLONE_NEWUSER)?;
            0
        }
    };
    // Where keyrings are switched off there is nothing to leave behind.
    let _ = process::new_session_keyring();
    // Emptying the bounding set needs CAP_SETPCAP, so it comes first; the capabilities come last, as changing ids needs them.
    cap::limit_bounding(CapSet::EMPTY.bits())?;
    cap::keep_over_setuid()?;
    process::set_groups(&[])?;
    process::set_gid(id)?;
    process::set_uid(id)?;
    cap::clear_ambient()?;
    cap::set(CAPABILITIES.bits())?;
    process::set_no_new_privs()?;
    // After the change of ids, which takes both back.
    process::set_not_dumpable()?;
    process::set_parent_death_signal(Signal::SIGKILL)
}
