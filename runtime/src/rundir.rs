//! Paths and locks: where a sandbox's volatile and lasting files are, by id alone.
//!
//! ```text
//! <run-dir>/launch.sock                 the launcher's socket
//! <run-dir>/pods/<pod>/                 volatile: gone with the sandbox
//!     config.json                       the intent, written before anything is made
//!     lock                              held by the shim as long as it lives
//!     shim.sock                         the shim's socket
//!     state.json                        what the shim last reported; exits are written here before they are told
//!     etc/{hosts,hostname,resolv.conf}  bind-mounted into containers
//! <data-dir>/pods/<pod>/                lasting: kept until the pod is deleted
//!     upper/<hash>/ work/<hash>/        overlayfs; the hash is of the container's name
//!     logs/<container>/<attempt>.log    CRI format
//!     copy.lock                         held while files are copied: shared with others by a copy from or to a running container
//!     explain-<container>.json          the kernel operations of the newest attempt
//! <data-dir>/layers/<layer>/            unpacked image layers, shared
//! <data-dir>/volumes/<volume>/_data/    named volumes
//! <data-dir>/volumes/<volume>/filling, staged/    while a first use fills it (see rootfs::fill)
//! ```

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::SysError;
use crate::id::{ContainerName, InstanceId, LayerId, PodId, VolumeId};

/// Where one installation keeps its files, and who may read them beside root.
#[derive(Debug, Clone)]
pub struct Layout {
    pub run_dir: PathBuf,
    pub data_dir: PathBuf,
    pub instance: InstanceId,
    /// The control plane's user and group: they may connect to shims and read logs.
    pub uid: u32,
    pub gid: u32,
}

impl Layout {
    pub fn launcher_socket(&self) -> PathBuf {
        self.run_dir.join("launch.sock")
    }
    pub fn pods_run_dir(&self) -> PathBuf {
        self.run_dir.join("pods")
    }
    pub fn run(&self, pod: &PodId) -> RunDir {
        RunDir(self.pods_run_dir().join(pod.as_str()))
    }
    pub fn data(&self, pod: &PodId) -> DataDir {
        DataDir(self.data_dir.join("pods").join(pod.as_str()))
    }
    pub fn layer(&self, layer: &LayerId) -> PathBuf {
        self.data_dir.join("layers").join(layer.as_str())
    }
    pub fn volume(&self, volume: &VolumeId) -> PathBuf {
        self.data_dir.join("volumes").join(volume.as_str()).join("_data")
    }
}

/// A sandbox's volatile folder.
#[derive(Debug, Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    pub fn socket(&self) -> PathBuf {
        self.0.join("shim.sock")
    }
    pub fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }
    pub fn etc(&self, file: &str) -> PathBuf {
        self.0.join("etc").join(file)
    }
}

/// A sandbox's lasting folder.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// A container sees this path in its own /proc/self/mountinfo: it tells ids, and no name.
    pub fn upper(&self, container: &ContainerName) -> PathBuf {
        self.0.join("upper").join(short_hash(container))
    }
    pub fn work(&self, container: &ContainerName) -> PathBuf {
        self.0.join("work").join(short_hash(container))
    }
    pub fn logs(&self, container: &ContainerName) -> PathBuf {
        self.0.join("logs").join(container.as_str())
    }
    /// Held by a worker that copies files: shared while the container runs, alone while it does not.
    pub fn copy_lock(&self) -> PathBuf {
        self.0.join("copy.lock")
    }
    pub fn explain(&self, container: &ContainerName) -> PathBuf {
        self.0.join(format!("explain-{container}.json"))
    }
}

fn short_hash(name: &ContainerName) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(name.as_str().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a directory with exactly this mode and owner; an existing one is left as it is.
pub fn make_dir(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<(), SysError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(SysError::io("mkdir", path.display(), &error)),
    }
    if mode & 0o077 != 0 {
        // The umask may have taken bits that others need.
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(|error| SysError::io("chmod", path.display(), &error))?;
    }
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid)).map_err(|error| SysError::io("chown", path.display(), &error))?;
    }
    Ok(())
}

/// Replaces a file by a rename, so that a reader sees the old or the new content and never half of one. Not synced: the run dir does not
/// outlive the machine's run, and a process that dies loses nothing that it has written.
pub fn replace_file(path: &Path, content: &[u8], mode: u32, group: Option<u32>) -> Result<(), SysError> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        if let Some(gid) = group {
            std::os::unix::fs::fchown(&file, None, Some(gid))?;
        }
        file.write_all(content)?;
        std::fs::rename(&temporary, path)
    })();
    written.map_err(|error| SysError::io("rename", path.display(), &error))
}

/// Takes a lock, and makes its file; None when another has it. See flock(2): the lock is the open file's, so it is inherited over fork and
/// ends with the last process that has it open.
pub fn try_lock(path: &Path) -> Result<Option<File>, SysError> {
    try_lock_by(path, File::try_lock)
}

/// The same, but beside others that share it.
pub fn try_lock_shared(path: &Path) -> Result<Option<File>, SysError> {
    try_lock_by(path, File::try_lock_shared)
}

fn try_lock_by(path: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Option<File>, SysError> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| SysError::io("open", path.display(), &error))?;
    match lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(SysError::io("flock", path.display(), &error)),
    }
}
