//! The two halves of a worker that meets hostile input, and what they say to each other.
//!
//! ```text
//!  trusted half                              confined half (see confine)
//!    clone3 ------------------------------->   enter, then the job
//!    fsetxattr  <------ Opaque + a folder --     (descriptor of a folder that it has open)
//!               ------- done, or an errno -->
//!    fgetxattr  <------ IsOpaque + a folder -
//!               ------- yes, no, an errno -->
//!    append     <------ Report, in pieces ---
//!    end of stream, reap                       exit
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::confine::Cell;
use super::staging::Staging;
use super::{confine, failed};
use crate::error::{RuntimeError, SysError};
use crate::sys::process::{self, Child, Cloned, Ended};
use crate::sys::{socket, xattr};

/// The first byte of a message.
const OPAQUE: u8 = b'o';
const IS_OPAQUE: u8 = b'q';
const REPORT: u8 = b'r';

/// The attribute of a folder that hides what is below it. Only CAP_SYS_ADMIN may read or set it.
const ATTRIBUTE: &[u8] = b"trusted.overlay.opaque";
/// The answer to `IS_OPAQUE` that is no errno.
const YES: i32 = -1;

/// A piece of a report: well below what a packet may be (net.core.wmem_default).
const PIECE: usize = 32 << 10;

/// The most bytes of a report: a frame to berth may be 1 MiB, and nothing in it is written longer here.
const MOST_REPORT: usize = 2 << 20;

/// What the confined half has.
pub(super) struct Confined<'a> {
    /// Its root: the staging folder, or a container's.
    pub(super) root: OwnedFd,
    report: BorrowedFd<'a>,
}

impl Confined<'_> {
    /// Has the trusted half mark an open folder as opaque for overlayfs.
    pub(super) fn mark_opaque(&self, folder: BorrowedFd<'_>) -> Result<(), SysError> {
        match self.ask(OPAQUE, folder)? {
            0 => Ok(()),
            errno => Err(SysError::new("fsetxattr", "trusted.overlay.opaque", Errno::from_raw(errno))),
        }
    }

    /// Whether a folder is marked so.
    pub(super) fn is_opaque(&self, folder: BorrowedFd<'_>) -> Result<bool, SysError> {
        match self.ask(IS_OPAQUE, folder)? {
            0 => Ok(false),
            YES => Ok(true),
            errno => Err(SysError::new("fgetxattr", "trusted.overlay.opaque", Errno::from_raw(errno))),
        }
    }

    fn ask(&self, what: u8, folder: BorrowedFd<'_>) -> Result<i32, SysError> {
        socket::send(self.report, &[what], &[folder.as_raw_fd()])?;
        let mut answer = [0; 4];
        match socket::receive(self.report, &mut answer)?.0 {
            4 => Ok(i32::from_le_bytes(answer)),
            _ => Err(SysError::new("recvmsg", "trusted half", Errno::ECONNRESET)),
        }
    }
}

/// Runs `job` in a confined child and gives what it reports. `keep` stays open there beside the staging folder; `file_bytes` is the size
/// of the largest file that it can write. The child is gone when this returns, whatever the outcome.
pub(super) fn confined<T: Serialize + DeserializeOwned>(
    staging: &Staging,
    keep: BorrowedFd<'_>,
    file_bytes: u64,
    job: impl FnOnce(&Confined<'_>) -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    let cell = Cell::of_folder(staging.folder(), file_bytes).map_err(failed("confine"))?;
    in_cell(&cell, Some(staging), keep, job)
}

/// The same in any cell; without a staging folder nothing can be marked opaque.
pub(super) fn in_cell<T: Serialize + DeserializeOwned>(
    cell: &Cell,
    staging: Option<&Staging>,
    keep: BorrowedFd<'_>,
    job: impl FnOnce(&Confined<'_>) -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    let (ours, theirs) = socket::packet_pair().map_err(failed("confine"))?;
    match process::clone3(confine::NAMESPACES, None).map_err(failed("confine"))? {
        Cloned::Child => {
            let code = child(cell, keep, theirs.as_fd(), job);
            process::exit_now(code)
        }
        Cloned::Parent(child) => {
            // Else its end would never be the end of the stream.
            drop(theirs);
            let report = listen(&ours, staging);
            if report.is_err() {
                // ESRCH: it has ended already, which is as good.
                let _ = process::pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL);
            }
            let ended = reap(&child)?;
            let report = report.map_err(failed("confine"))?;
            if ended != Ended::Exited(0) || report.is_empty() {
                return Err(RuntimeError::Protocol { message: format!("the worker ended early: {ended:?}") });
            }
            serde_json::from_slice::<Result<T, RuntimeError>>(&report)
                .map_err(|error| RuntimeError::Protocol { message: format!("the worker's report: {error}") })?
        }
    }
}

/// The child's whole life; its exit code.
fn child<T: Serialize>(
    cell: &Cell,
    keep: BorrowedFd<'_>,
    report: BorrowedFd<'_>,
    job: impl FnOnce(&Confined<'_>) -> Result<T, RuntimeError>,
) -> i32 {
    let walled = confine::enter(cell, &[keep, report]).map_err(failed("confine"));
    let outcome = walled.and_then(|root| {
        let confined = Confined { root, report };
        catch_unwind(AssertUnwindSafe(|| job(&confined))).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied()).unwrap_or("");
            Err(RuntimeError::Protocol { message: format!("the worker panicked: {message}") })
        })
    });
    let Ok(text) = serde_json::to_vec(&outcome) else { return 1 };
    if send_report(report, &text).is_ok() { 0 } else { 1 }
}

fn send_report(socket: BorrowedFd<'_>, report: &[u8]) -> Result<(), SysError> {
    report.chunks(PIECE).try_for_each(|piece| socket::send(socket, &[&[REPORT][..], piece].concat(), &[]))
}

fn reap(child: &Child) -> Result<Ended, RuntimeError> {
    process::reap(child.pidfd.as_fd()).map_err(failed("confine"))
}

/// Serves the child until it closes its end; the report's bytes.
fn listen(socket: &OwnedFd, staging: Option<&Staging>) -> Result<Vec<u8>, SysError> {
    let mut report = Vec::new();
    let mut message = vec![0; PIECE + 1];
    loop {
        let (length, descriptors) = socket::receive(socket, &mut message)?;
        match (message[..length].split_first(), descriptors.as_slice()) {
            (None, _) => return Ok(report),
            (Some((&OPAQUE, [])), [folder]) => {
                let errno = mark(folder, staging).err().map_or(0, |error| error.source as i32);
                socket::send(socket, &errno.to_le_bytes(), &[])?;
            }
            (Some((&IS_OPAQUE, [])), [folder]) => {
                let answer = match xattr::get(folder.as_fd(), ATTRIBUTE, 1) {
                    Ok(value) if value.as_deref() == Some(b"y") => YES,
                    Ok(_) => 0,
                    Err(error) if error.source == Errno::ENOTSUP => 0,
                    Err(error) => error.source as i32,
                };
                socket::send(socket, &answer.to_le_bytes(), &[])?;
            }
            (Some((&REPORT, piece)), []) if report.len() + piece.len() <= MOST_REPORT => report.extend_from_slice(piece),
            _ => return Err(SysError::new("recvmsg", "unpacker", Errno::EPROTO)),
        }
    }
}

/// Only on a folder of the file system that the staging folder is on: the child can open no other, but need not be itself any more.
fn mark(folder: &OwnedFd, staging: Option<&Staging>) -> Result<(), SysError> {
    let staging = staging.ok_or_else(|| SysError::new("fsetxattr", "trusted.overlay.opaque", Errno::EPERM))?;
    let stat = |fd: BorrowedFd<'_>| fstat(fd).map_err(|errno| SysError::new("fstat", "opaque folder", errno));
    let (stat, own) = (stat(folder.as_fd())?, stat(staging.folder())?);
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() || stat.st_dev != own.st_dev {
        return Err(SysError::new("fsetxattr", "trusted.overlay.opaque", Errno::EPERM));
    }
    xattr::set(folder.as_fd(), ATTRIBUTE, b"y")
}
