//! Container logs in the CRI format: raw bytes of a pipe in, records in a file that is turned over at its size; and one record parsed again.
//!
//! ```text
//! 2026-11-23T20:51:04.123456789Z stdout F a whole line, or the end of a long one
//! 2026-11-23T20:51:04.123456789Z stderr P 16,384 bytes of a line that goes on in the next record of this stream
//! ```
//!
//! A line that is not ended stays in memory (at most 16 KiB a stream) until its end comes, the stream ends or it
//! is longer than that (then it is written as `P`). So the records do not depend on how the bytes were cut by the pipe, and a stamp is the time
//! when a record's last byte came, to the microsecond: the nanoseconds also tell records apart that came together. Records go to the kernel with one writev(2) a batch and are never copied; nothing is allocated a line.
//!
//! The writer never waits and never fails: what a full disk does not take is counted and dropped, and the file ends at a whole record again.
//! It is not for reading, searching or following: that is the server's part, with [`parse_record`].
//!
//! Source: the kubelet's CRI logging format, <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>.

use std::fs::File;
use std::io::{BufRead, ErrorKind, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::config::LogConfig;
use crate::error::SysError;
use crate::rundir::make_dir;

/// The longest text of one record, in bytes: as in containerd and the kubelet.
pub const LONGEST: usize = 16 * 1024;

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One attempt's log: `<attempt>.log` and the older `<attempt>.log.1`, `.2`, …
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    /// What came of a line that is not ended yet; stdout's, stderr's.
    rests: [Vec<u8>; 2],
    /// The stamp of the last record.
    last: Timestamp,
}

impl Log {
    /// Opens `<attempt>.log` in `dir` for appending, mode 0640 and of that group, which the server reads it by; the folder is made if it is
    /// missing. A file that is there is gone on with, less a record that a crash left torn. Fails where the folder cannot be made, or the name
    /// is taken by something that is no regular file (ELOOP for a symlink).
    pub fn open(dir: &Path, attempt: u32, config: &LogConfig, group: u32) -> Result<Log, SysError> {
        make_dir(dir, 0o750, Some((0, group)))?;
        let opened = File::options().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(dir);
        let folder = opened.map_err(|e| SysError::io("open", dir.display(), &e))?;
        let name = format!("{attempt}.log");
        let path = dir.join(&name);
        let mut sink = Sink { dir: folder.into(), path, name, group, file: None, size: 0, config: config.clone(), lost: 0 };
        sink.open()?;
        Ok(Log { sink, rests: [Vec::new(), Vec::new()], last: Timestamp::UNIX_EPOCH })
    }

    /// Takes what one read of a stream's pipe gave.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let rest = &mut self.rests[stream as usize];
        let mut stamps = Stamps::after(self.last);
        let (mut carried, mut left) = (rest.as_slice(), bytes);
        let mut any = false;
        loop {
            let mut headers = [[0; HEADER]; RECORDS];
            let mut free = headers.iter_mut();
            let mut batch = Batch::new(&mut self.sink);
            let more = loop {
                let room = LONGEST - carried.len();
                let line = line_in(&left[..left.len().min(room + 1)]);
                if line.is_none() && left.len() <= room {
                    break false;
                }
                let Some(header) = free.next() else { break true };
                let (length, kind, end): (usize, u8, &[u8]) = line.map_or((room, b'P', b"\n"), |length| (length, b'F', b""));
                stamps.header(stream, kind, header);
                batch.add([header, carried, &left[..length], end]);
                left = &left[length..];
                (carried, any) = (&[], true);
            };
            batch.flush();
            if !more {
                break;
            }
        }
        self.last = stamps.last();
        if any {
            rest.clear();
        }
        rest.extend_from_slice(left);
    }

    /// The stream has ended: a line without an end stays one (`P`), so that what is read is what was written.
    pub fn end_of(&mut self, stream: Stream) {
        let rest = &mut self.rests[stream as usize];
        if !rest.is_empty() {
            let (mut stamps, mut header) = (Stamps::after(self.last), [0; HEADER]);
            stamps.header(stream, b'P', &mut header);
            self.last = stamps.last();
            let mut batch = Batch::new(&mut self.sink);
            batch.add([&header, rest, b"", b"\n"]);
            batch.flush();
            *rest = Vec::new();
        }
    }

    /// Both streams have ended. Gives the bytes that were lost.
    pub fn close(&mut self) -> u64 {
        self.end_of(Stream::Stdout);
        self.end_of(Stream::Stderr);
        self.sink.file = None;
        self.sink.lost
    }

    /// A time that is not before any record until now, and before each later one.
    pub fn mark(&mut self) -> Timestamp {
        self.last = Timestamp::now().max(self.last);
        self.last
    }

    /// What came of lines that are not ended yet and so is in no file: stdout's, stderr's.
    pub fn unfinished(&self) -> [&[u8]; 2] {
        self.rests.each_ref().map(Vec::as_slice)
    }

    /// Bytes of the container's output that no file took.
    pub fn lost(&self) -> u64 {
        self.sink.lost
    }
}

/// `<time> <stream> F `, in bytes.
const HEADER: usize = 40;
const NANOS_A_SECOND: u32 = 1_000_000_000;

/// Stamps of a batch: the first is the time now, each next one a nanosecond later. So no two records of a log have the same, whatever the clock
/// does, and a reader can say after which it goes on.
struct Stamps {
    next: Timestamp,
    /// `next` as text, always 30 bytes from year 0 to 9999; a clock beyond that gives a record that no reader takes, and no harm.
    text: [u8; 30],
    nanos: u32,
}

impl Stamps {
    fn after(last: Timestamp) -> Self {
        Stamps::from(Timestamp::now().max(later(last)))
    }

    fn from(next: Timestamp) -> Self {
        let mut text = [b' '; 30];
        let _ = write!(&mut text[..], "{next:.9}");
        Stamps { next, text, nanos: u32::try_from(next.subsec_nanosecond()).unwrap_or(0) }
    }

    fn header(&mut self, stream: Stream, kind: u8, into: &mut [u8; HEADER]) {
        *into = [b' '; HEADER];
        into[..30].copy_from_slice(&self.text);
        into[31..37].copy_from_slice(stream.name().as_bytes());
        into[38] = kind;
        self.next = later(self.next);
        self.nanos += 1;
        if self.nanos == NANOS_A_SECOND {
            *self = Stamps::from(self.next);
            return;
        }
        // The fraction alone: formatting a time costs more than all the rest of a record.
        let mut nanos = self.nanos;
        for digit in self.text[20..29].iter_mut().rev() {
            *digit = b'0' + u8::try_from(nanos % 10).unwrap_or(0);
            nanos /= 10;
        }
    }

    /// That of the last record, or one before the first.
    fn last(&self) -> Timestamp {
        self.next.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(self.next)
    }
}

fn later(time: Timestamp) -> Timestamp {
    time.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(time)
}

/// The length of the first line with its end, if one ends in the window.
fn line_in(mut window: &[u8]) -> Option<usize> {
    let start = window;
    // std has a fast search for a byte behind this name only; a slice never fails to be read.
    let length = window.skip_until(b'\n').unwrap_or(0);
    (length > 0 && start[length - 1] == b'\n').then_some(length)
}

/// Records of a batch. Their headers are on the stack, 5 KiB, and so are the pieces, 8 KiB.
const RECORDS: usize = 128;
/// Pieces of a batch: a record has four at most.
const SLOTS: usize = 4 * RECORDS;

/// Records on their way to the file, as pieces of the buffers that they came in.
struct Batch<'a, 's> {
    sink: &'s mut Sink,
    slices: [IoSlice<'a>; SLOTS],
    used: usize,
    /// Bytes of all pieces, and those of them that are the container's own.
    bytes: u64,
    text: u64,
}

impl<'a, 's> Batch<'a, 's> {
    fn new(sink: &'s mut Sink) -> Self {
        Batch { sink, slices: [IoSlice::new(&[]); SLOTS], used: 0, bytes: 0, text: 0 }
    }

    /// A record: header, carried text, text, line end. Turns the file over before a record that would make it too long.
    fn add(&mut self, pieces: [&'a [u8]; 4]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let (length, text) = (length as u64, (pieces[1].len() + pieces[2].len()) as u64);
        let before = self.sink.size + self.bytes;
        if before > 0 && before + length > self.sink.config.max_size {
            self.flush();
            if !self.sink.turn_over() {
                self.sink.lost += text;
                return;
            }
        }
        if self.used + pieces.len() > SLOTS {
            self.flush();
        }
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            self.slices[self.used] = IoSlice::new(piece);
            self.used += 1;
        }
        self.bytes += length;
        self.text += text;
    }

    fn flush(&mut self) {
        if self.used > 0 {
            self.sink.put(&mut self.slices[..self.used], self.bytes, self.text);
        }
        (self.used, self.bytes, self.text) = (0, 0, 0);
    }
}

/// The file and its older ones.
#[derive(Debug)]
struct Sink {
    dir: OwnedFd,
    /// For errors.
    path: PathBuf,
    name: String,
    group: u32,
    /// None after it could not be opened again: tried anew at the next batch.
    file: Option<File>,
    size: u64,
    config: LogConfig,
    lost: u64,
}

impl Sink {
    /// Writes whole records, or none of them: a batch that does not fit is cut off again and counted.
    fn put(&mut self, mut left: &mut [IoSlice<'_>], bytes: u64, text: u64) {
        if self.file.is_none() && self.open().is_err() {
            self.lost += text;
            return;
        }
        let Some(file) = &mut self.file else { return };
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(written) if written > 0 => IoSlice::advance_slices(&mut left, written),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.lost += text;
                    // If it cannot be cut, opening it anew does it.
                    if file.set_len(self.size).is_err() {
                        self.file = None;
                    }
                    return;
                }
            }
        }
        self.size += bytes;
    }

    fn open(&mut self) -> Result<(), SysError> {
        let fault = |call, errno| SysError::new(call, self.path.display(), errno);
        // O_NONBLOCK: a FIFO in the file's place is an error and no wait. Reading is for the last record.
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP;
        let file = openat(&self.dir, self.name.as_str(), flags, mode).map_err(|errno| fault("openat", errno))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|e| SysError::io("fstat", self.path.display(), &e))?;
        if !metadata.is_file() {
            return Err(fault("openat", Errno::EINVAL));
        }
        if metadata.mode() & 0o7777 != mode.bits() {
            // The umask took a bit.
            fchmod(&file, mode).map_err(|errno| fault("fchmod", errno))?;
        }
        if metadata.gid() != self.group {
            fchown(&file, None, Some(self.group)).map_err(|e| SysError::io("fchown", self.path.display(), &e))?;
        }
        self.size = cut_torn(&file, metadata.size()).map_err(|e| SysError::io("ftruncate", self.path.display(), &e))?;
        self.file = Some(file);
        Ok(())
    }

    /// `.log` becomes `.log.1`, that `.log.2`, and so on; the one beyond `max_files` goes. False when the file could not be put away: then it
    /// stays as long as it is.
    fn turn_over(&mut self) -> bool {
        let older = self.config.max_files.saturating_sub(1);
        let moved = if older == 0 { unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir) } else { self.move_up(older) };
        if !matches!(moved, Ok(()) | Err(Errno::ENOENT)) {
            return false;
        }
        self.file = None;
        self.size = 0;
        self.open().is_ok()
    }

    /// Makes `.1` free, from the first gap down, and moves the file there.
    fn move_up(&self, older: u32) -> Result<(), Errno> {
        let name = |n: u32| format!("{}.{n}", self.name);
        let there = |n: u32| nix::sys::stat::fstatat(&self.dir, name(n).as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        let mut gap = 1;
        while gap < older && there(gap) {
            gap += 1;
        }
        for n in (1..gap).rev() {
            renameat(&self.dir, name(n).as_str(), &self.dir, name(n + 1).as_str())?;
        }
        renameat(&self.dir, self.name.as_str(), &self.dir, name(1).as_str())
    }
}

/// Cuts what follows the last line end: a crash, or a full disk, tore that record. Gives the length that is left.
fn cut_torn(file: &File, size: u64) -> std::io::Result<u64> {
    let mut tail = [0_u8; LONGEST + 64];
    let from = size.saturating_sub(tail.len() as u64);
    let read = file.read_at(&mut tail, from)?;
    let whole = tail[..read].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let kept = from + whole as u64;
    if kept < size {
        file.set_len(kept)?;
    }
    Ok(kept)
}

/// One record of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub timestamp: Timestamp,
    pub stream: Stream,
    /// The line goes on in this stream's next record.
    pub partial: bool,
    pub text: &'a [u8],
}

/// Reads one line of a log file, with or without its line end; None for what is no record.
pub fn parse_record(line: &[u8]) -> Option<Record<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let timestamp = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; the first says whether the line is whole, others are for times to come.
    let partial = match parts.next()?.split(|&byte| byte == b':').next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(Record { timestamp, stream, partial, text: parts.next().unwrap_or_default() })
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
