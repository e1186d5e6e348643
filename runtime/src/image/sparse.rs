//! Sparse files: where the stored pieces belong in a file that is mostly holes.
//!
//! Four forms are in the wild: GNU's own (type `S`, extents in the header and in blocks after it) and PAX 0.0, 0.1 and 1.0 (extents
//! in records, or as text before the data). See the GNU tar manual, "Storing Sparse Files".

use super::header::{BLOCK, number};
use super::pax::decimal;

/// The most pieces that one file may have: 16 bytes each, so that a map is never more than 1 MiB of memory.
const MOST_EXTENTS: usize = 1 << 16;

/// `length` stored bytes belong at `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The pieces of one file, in order and apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) extents: Vec<Extent>,
    end: u64,
    stored: u64,
}

impl Map {
    /// Adds a piece; false when it overlaps, goes backwards, or is one too many. The empty pieces that mark an end are left out.
    fn push(&mut self, offset: u64, length: u64) -> Option<()> {
        if offset < self.end || self.extents.len() >= MOST_EXTENTS {
            return None;
        }
        self.end = offset.checked_add(length)?;
        if length > 0 {
            self.stored += length;
            self.extents.push(Extent { offset, length });
        }
        Some(())
    }

    /// Whether the map fits a file of `size` bytes of which `stored` are in the archive.
    pub(super) fn fits(&self, size: u64, stored: u64) -> bool {
        self.end <= size && self.stored == stored
    }

    /// The extents in a GNU header or in a block after it; whether another such block follows. None for nonsense.
    fn take_block(&mut self, fields: &[tar::GnuSparseHeader], more: u8) -> Option<bool> {
        for field in fields {
            if field.offset[0] == 0 || field.numbytes[0] == 0 {
                break;
            }
            self.push(unsigned(&field.offset)?, unsigned(&field.numbytes)?)?;
        }
        Some(more != 0)
    }

    pub(super) fn take_header(&mut self, header: &tar::GnuHeader) -> Option<bool> {
        self.take_block(&header.sparse, header.isextended[0])
    }

    pub(super) fn take_extension(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        let mut extension = tar::GnuExtSparseHeader::new();
        extension.as_mut_bytes().copy_from_slice(block);
        self.take_block(&extension.sparse, extension.isextended[0])
    }
}

pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(number(field)?).ok()
}

/// The `GNU.sparse.*` records of an entry, before it is known which form they make.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    real_size: Option<u64>,
    map: Map,
    /// The offset of form 0.0 whose length has not come yet.
    offset: Option<u64>,
    seen: bool,
}

/// What the records say about the file.
#[derive(Debug)]
pub(super) enum PaxForm {
    None,
    /// The map is known (0.0, 0.1).
    Map {
        size: u64,
        map: Map,
    },
    /// The map comes before the data (1.0).
    Inline {
        size: u64,
    },
}

impl PaxSparse {
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        self.seen = true;
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(value.to_vec()),
            // 0.x calls it size, 1.0 realsize.
            b"size" | b"realsize" if self.real_size.is_none() => self.real_size = Some(decimal(value)?),
            b"numblocks" => drop(decimal(value)?),
            b"offset" if self.offset.is_none() => self.offset = Some(decimal(value)?),
            b"numbytes" => self.map.push(self.offset.take()?, decimal(value)?)?,
            b"map" => {
                let mut numbers = value.split(|&byte| byte == b',').map(decimal);
                while let Some(offset) = numbers.next() {
                    self.map.push(offset?, numbers.next()??)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// None when the records contradict each other or are of a form that we do not know.
    pub(super) fn form(self) -> Option<PaxForm> {
        if !self.seen {
            return Some(PaxForm::None);
        }
        match (self.major, self.minor, self.offset) {
            (None, None, None) | (Some(0), Some(0 | 1), None) => Some(PaxForm::Map { size: self.real_size?, map: self.map }),
            (Some(1), Some(0), None) if self.map.extents.is_empty() => Some(PaxForm::Inline { size: self.real_size? }),
            _ => None,
        }
    }
}

/// Reads the text before the data of form 1.0: a count, then offset and length of each piece, one decimal a line.
#[derive(Debug, Default)]
pub(super) struct InlineMap {
    map: Map,
    line: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
}

impl InlineMap {
    /// Takes one block. `Some(Some(map))` when it was the last, `Some(None)` when more follow, None for nonsense.
    pub(super) fn take(&mut self, block: &[u8; BLOCK]) -> Option<Option<Map>> {
        for &byte in block {
            if self.count == Some(0) {
                // The rest of the last block is padding.
                break;
            }
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return None;
                }
                continue;
            }
            let value = decimal(&self.line)?;
            self.line.clear();
            match (self.count, self.offset.take()) {
                (None, _) if value <= MOST_EXTENTS as u64 => self.count = Some(value),
                (None, _) => return None,
                (Some(_), None) => self.offset = Some(value),
                (Some(left), Some(offset)) => {
                    self.map.push(offset, value)?;
                    self.count = Some(left - 1);
                }
            }
        }
        Some((self.count == Some(0)).then(|| std::mem::take(&mut self.map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_be_in_order_and_apart() {
        let mut map = Map::default();
        assert_eq!(map.push(0, 512), Some(()));
        assert_eq!(map.push(4096, 1), Some(()));
        assert_eq!(map.push(4096, 1), None);
        assert_eq!(map.push(u64::MAX, 1), None);
        assert!(map.fits(4097, 513) && !map.fits(4096, 513) && !map.fits(5000, 512));
    }

    #[test]
    fn an_inline_map_may_span_blocks() {
        let text: String = std::iter::once("200\n".to_owned()).chain((0..200).map(|n| format!("{}\n512\n", n * 4096))).collect();
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let mut reader = InlineMap::default();
        let outcomes: Vec<_> = bytes.chunks(BLOCK).map(|block| reader.take(block.try_into().unwrap()).unwrap()).collect();
        let (last, before) = outcomes.split_last().unwrap();
        assert!(before.iter().all(Option::is_none));
        assert_eq!(last.as_ref().unwrap().extents.len(), 200);
    }

    #[test]
    fn contradictions_are_refused() {
        let take = |records: &[(&str, &str)]| {
            let mut sparse = PaxSparse::default();
            records.iter().try_for_each(|(key, value)| sparse.take(key.as_bytes(), value.as_bytes()))?;
            sparse.form()
        };
        assert!(take(&[("size", "9"), ("map", "0,1,4,5")]).is_some());
        assert!(take(&[("size", "9"), ("map", "0,1,4")]).is_none());
        assert!(take(&[("size", "9"), ("map", "4,1,0,1")]).is_none());
        assert!(take(&[("size", "9"), ("numbytes", "1")]).is_none());
        assert!(take(&[("size", "9"), ("offset", "1")]).is_none());
        assert!(take(&[("map", "0,1")]).is_none());
        assert!(take(&[("major", "2"), ("minor", "0"), ("realsize", "1")]).is_none());
        assert!(take(&[("major", "1"), ("minor", "0"), ("realsize", "1"), ("map", "0,1")]).is_none());
        assert!(take(&[("unheard-of", "1")]).is_none());
    }
}
