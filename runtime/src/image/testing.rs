//! Archives for tests: honest ones by the `tar` crate's header, hostile ones by hand.

use std::io::Write;

use sha2::{Digest, Sha256};

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// One header of a tar, with everything in it free to be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) header: tar::Header,
    data: Vec<u8>,
}

impl Entry {
    /// A ustar header of this type; `name` is put in as it is, hostile or not, and must be at most 100 bytes.
    pub(crate) fn new(kind: u8, name: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkflag[0] = kind;
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        Entry { header, data: data.to_vec() }
    }

    pub(crate) fn file(name: &str, data: &[u8]) -> Self {
        Entry::new(b'0', name, data)
    }

    pub(crate) fn dir(name: &str) -> Self {
        Entry::new(b'5', name, b"")
    }

    pub(crate) fn symlink(name: &str, target: &str) -> Self {
        Entry::new(b'2', name, b"").to(target)
    }

    pub(crate) fn hardlink(name: &str, target: &str) -> Self {
        Entry::new(b'1', name, b"").to(target)
    }

    /// An extended header with these records.
    pub(crate) fn pax(records: &[(&str, &[u8])]) -> Self {
        Entry::new(b'x', "PaxHeaders/x", &pax_records(records))
    }

    pub(crate) fn to(mut self, target: &str) -> Self {
        self.header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut tar::Header)) -> Self {
        change(&mut self.header);
        self
    }

    /// Claims to be `size` bytes long, whatever follows.
    pub(crate) fn claiming(self, size: u64) -> Self {
        self.with(|header| header.set_size(size))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

pub(crate) fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        // The length counts its own digits.
        let length = (1..8).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length).unwrap();
        out.extend_from_slice(format!("{length} {key}=").as_bytes());
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}

/// The entries and the two zero blocks.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}
