//! The overlay of an image's layers under a container's own folder, as a detached mount.
//!
//! ```text
//! by descriptor  every layer as it is, a detached mount          Linux 6.15 (fsconfig takes descriptors from 6.13 on)
//! attached       the same in a mount namespace that lives for    older: overlayfs takes layers only by paths to mounts that are
//!                this one call                                   attached in the namespace of who asks
//! ```
//!
//! Either way nothing shows in the host's mount table. See the kernel's filesystems/overlayfs.rst.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, mkdirat};

use super::host::open_path;
use crate::error::SysError;
use crate::sys::mount::{FsContext, Reach, attach, attr, clone_tree, set_propagation};
use crate::sys::process::{self, CloneFlags, Cloned, Ended};
use crate::sys::socket;

/// What lies over one another.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// Detached mounts, the lowest first.
    pub layers: &'a [OwnedFd],
    /// What is written goes here.
    pub upper: &'a Path,
    /// Empty, and on the file system of `upper`.
    pub work: &'a Path,
}

impl Overlay<'_> {
    /// Makes the mount in the way that this kernel knows, and says whether the layers had to be attached.
    pub fn mount(&self) -> Result<(OwnedFd, bool), SysError> {
        match self.by_descriptor() {
            // EOPNOTSUPP: overlayfs does not know the new mount API at all (before 6.5); EINVAL: no descriptors, or no detached mounts.
            Err(first) if matches!(first.source, Errno::EOPNOTSUPP | Errno::EINVAL) => {
                let second =
                    self.attached().map_err(|error| SysError::new(error.call, format!("{} (after {first})", error.subject), error.source));
                second.map(|mount| (mount, true))
            }
            other => other.map(|mount| (mount, false)),
        }
    }

    /// The way of newer kernels alone.
    pub fn by_descriptor(&self) -> Result<OwnedFd, SysError> {
        let overlay = FsContext::open("overlay")?;
        // lowerdir+ takes the uppermost first.
        for layer in self.layers.iter().rev() {
            overlay.set_fd("lowerdir+", layer.as_fd())?;
        }
        overlay.set_fd("upperdir", open_path(self.upper)?.as_fd())?;
        overlay.set_fd("workdir", open_path(self.work)?.as_fd())?;
        overlay.set("source", "overlay")?;
        overlay.mount(attr::NODEV)
    }

    /// The way of older kernels, which newer ones know, too. The caller must have one thread only.
    pub fn attached(&self) -> Result<OwnedFd, SysError> {
        let (ours, theirs) = socket::packet_pair()?;
        match process::clone3(CloneFlags(CloneFlags::NEWNS), None)? {
            Cloned::Child => {
                let outcome = self.in_own_namespace().and_then(|mount| socket::send(&theirs, b"m", &[mount.as_raw_fd()]));
                let code = outcome.map_or_else(
                    |error| {
                        // When even this fails there is the exit code.
                        let _ = socket::send(&theirs, error.to_string().as_bytes(), &[]);
                        error.source as i32
                    },
                    |()| 0,
                );
                process::exit_now(code)
            }
            Cloned::Parent(child) => {
                drop(theirs);
                let mut text = [0; 1024];
                let received = socket::receive(&ours, &mut text);
                let ended = process::reap(child.pidfd.as_fd())?;
                let (length, descriptors) = received?;
                descriptors.into_iter().next().ok_or_else(|| {
                    let errno = match ended {
                        Ended::Exited(code) if code != 0 => Errno::from_raw(code),
                        _ => Errno::ECHILD,
                    };
                    SysError::new("mount", format!("overlay ({})", String::from_utf8_lossy(&text[..length])), errno)
                })
            }
        }
    }

    /// The layers on numbered folders of a tmpfs, which keeps the text of the options within the one page that mount(2) takes. What this
    /// process attaches is gone with it; the overlay holds on to what it uses.
    fn in_own_namespace(&self) -> Result<OwnedFd, SysError> {
        set_propagation(open_path(Path::new("/"))?.as_fd(), MsFlags::MS_PRIVATE, Reach::Recursive)?;
        // Opened again, for they must be of this namespace; and before the tmpfs covers the place.
        let (upper, work) = (open_path(self.upper)?, open_path(self.work)?);
        let place = FsContext::open("tmpfs")?.mount(attr::NOSUID | attr::NODEV)?;
        attach(place.as_fd(), work.as_fd(), "tmpfs")?;
        let folder = |name: &str| {
            mkdirat(&place, name, Mode::from_bits_truncate(0o700)).map_err(|errno| SysError::new("mkdirat", name, errno))?;
            let opened = openat(&place, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
            opened.map_err(|errno| SysError::new("openat", name, errno))
        };
        let mut lower = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            attach(layer.as_fd(), folder(&number.to_string())?.as_fd(), "layer")?;
            lower.push(number.to_string());
        }
        lower.reverse();
        folder("merged")?;
        nix::unistd::fchdir(&place).map_err(|errno| SysError::new("fchdir", "tmpfs", errno))?;
        let by_number = |file: &OwnedFd| format!("/proc/self/fd/{}", file.as_raw_fd());
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), by_number(&upper), by_number(&work));
        nix::mount::mount(Some("overlay"), "merged", Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()))
            .map_err(|errno| SysError::new("mount", format!("overlay {options}"), errno))?;
        let merged = openat(&place, "merged", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        clone_tree(merged.map_err(|errno| SysError::new("openat", "merged", errno))?.as_fd(), "", Reach::One)
    }
}
