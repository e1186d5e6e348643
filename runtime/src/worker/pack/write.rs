//! A tar as it is written: headers of the GNU layout, PAX records before those that need them; in pieces for a connection.

use std::io::Write;

use nix::sys::stat::FileStat;

use super::{call, sys};
use crate::error::{RuntimeError, SysError};

const PIECE: usize = 64 << 10;
const BLOCK: usize = 512;
const NANOS: i128 = 1_000_000_000;

/// Puts what is written on a connection in pieces, each after its length. The end mark is for whoever knows that all is well.
pub(in super::super) struct Pieces<W> {
    to: W,
    /// The piece at hand, after four bytes for its length.
    buffer: Vec<u8>,
}

impl<W: Write> Pieces<W> {
    pub(in super::super) fn new(to: W) -> Self {
        Pieces { to, buffer: Vec::with_capacity(PIECE + 4) }
    }
}

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.extend_from_slice(&[0; 4]);
        }
        let length = data.len().min(PIECE + 4 - self.buffer.len());
        self.buffer.extend_from_slice(&data[..length]);
        if self.buffer.len() == PIECE + 4 {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.len() > 4 {
            let length = u32::try_from(self.buffer.len() - 4).map_err(std::io::Error::other)?;
            self.buffer[..4].copy_from_slice(&length.to_be_bytes());
            self.to.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }
}

/// What a header says of a file beside its names.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970, and nanoseconds within that second where they are to be told.
    pub(super) mtime: (i64, i64),
    pub(super) device: u64,
}

impl From<&FileStat> for Meta {
    fn from(stat: &FileStat) -> Self {
        Meta { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime: (stat.st_mtime, 0), device: stat.st_rdev }
    }
}

/// An extended attribute: its name and its value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

pub(super) struct TarWriter<W>(pub(super) W);

impl<W: Write> TarWriter<W> {
    /// A header, and before it a PAX one for what does not fit.
    pub(super) fn header(
        &mut self,
        kind: u8,
        path: &[u8],
        link: &[u8],
        meta: &Meta,
        size: u64,
        xattrs: &[Attribute],
    ) -> Result<(), RuntimeError> {
        let mut records = Vec::new();
        for (key, value) in [("path", path), ("linkpath", link)] {
            if value.len() > 100 {
                record(&mut records, key.as_bytes(), value);
            }
        }
        // A header has no fractions, and nothing before 1970.
        if meta.mtime.1 != 0 || meta.mtime.0 < 0 {
            record(&mut records, b"mtime", decimal(meta.mtime).as_bytes());
        }
        for (name, value) in xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            let mut extension = tar::Header::new_ustar();
            extension.as_old_mut().name[..12].copy_from_slice(b"PaxHeaders/0");
            extension.as_old_mut().linkflag[0] = b'x';
            extension.set_mode(0o644);
            extension.set_size(records.len() as u64);
            extension.set_cksum();
            self.put(path, extension.as_bytes())?;
            self.put(path, &records)?;
            self.pad(path, records.len() as u64)?;
        }
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.linkflag[0] = kind;
        let (name, target) = (&path[..path.len().min(100)], &link[..link.len().min(100)]);
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..target.len()].copy_from_slice(target);
        header.set_mode(meta.mode);
        header.set_uid(meta.uid.into());
        header.set_gid(meta.gid.into());
        header.set_mtime(u64::try_from(meta.mtime.0).unwrap_or(0));
        header.set_size(size);
        if matches!(kind, b'3' | b'4') {
            let (major, minor) = (nix::sys::stat::major(meta.device), nix::sys::stat::minor(meta.device));
            let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            // Both fields are there in a GNU header.
            let _ = header.set_device_major(number(major)).and_then(|()| header.set_device_minor(number(minor)));
        }
        header.set_cksum();
        self.put(path, header.as_bytes())
    }

    pub(super) fn put(&mut self, path: &[u8], data: &[u8]) -> Result<(), RuntimeError> {
        self.0.write_all(data).map_err(|error| call(path, "write", &error))
    }

    pub(super) fn pad(&mut self, path: &[u8], size: u64) -> Result<(), RuntimeError> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.put(path, &[0; BLOCK][..padding])
    }

    pub(super) fn end(&mut self) -> Result<(), RuntimeError> {
        self.put(b"", &[0; 2 * BLOCK])?;
        self.0.flush().map_err(|error| sys(b"", SysError::io("write", "end", &error)))
    }
}

/// `<length> <key>=<value>\n`, the length counting its own digits: see "pax Extended Header" in pax(1p).
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(&[key, b"=", value, b"\n"].concat());
}

/// A time as pax(1p) has it.
fn decimal((seconds, nanos): (i64, i64)) -> String {
    let all = i128::from(seconds) * NANOS + i128::from(nanos);
    let sign = if all < 0 { "-" } else { "" };
    format!("{sign}{}.{:09}", all.abs() / NANOS, all.abs() % NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_numbers() {
        for (time, text) in
            [((7, 5), "7.000000005"), ((0, 120_000_000), "0.120000000"), ((-1, 750_000_000), "-0.250000000"), ((-5, 0), "-5.000000000")]
        {
            assert_eq!(decimal(time), text);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 80, 90, 95, 980, 990] {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; length]);
            let text = String::from_utf8(records).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), text.len());
        }
    }
}
