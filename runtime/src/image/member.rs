//! The members of a tar, one after the other, with all that their extension headers say.
//!
//! ```text
//!  x L K g  ->  [header] data padding  ->  ...  ->  zero block, zeros to the end
//!  about the next       |
//!                       +-- S: more extents, before the data
//! ```
//!
//! Refused, as readers differ on it: two extension headers of one kind before one member, a name given in two ways, a size on what has
//! no data, bytes after the end. See pax(1p) and the GNU tar manual, "Basic Tar Format".

use super::error::{ImageError, display};
use super::header::{BLOCK, Header, Layout, number, until_nul};
use super::input::{Digests, Input, read_up_to};
use super::pax::{self, Pax, Xattrs};
use super::sparse::{InlineMap, Map, PaxForm, PaxSparse, unsigned};

/// The most bytes of a GNU long name, far above the longest path.
const MOST_LONG_NAME: u64 = 64 << 10;

/// The highest uid and gid: what a sandbox's range of 65,536 can map.
const MOST_ID: u64 = 65_535;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    Fifo,
    Device,
}

#[derive(Debug)]
pub(super) struct Member {
    /// As written: not safe to use before it is an `EntryPath`.
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits, set-id bits and the sticky bit.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds within that second.
    pub(super) mtime: (i64, i64),
    /// Of the file as it will be, holes included.
    pub(super) size: u64,
    /// Where the data belong; None when they are the whole file.
    pub(super) map: Option<Map>,
    pub(super) xattrs: Xattrs,
}

/// Extension headers that wait for the member they describe.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.path.is_none() && self.link.is_none()
    }
}

pub(super) struct Members<'a> {
    input: Input<'a>,
    /// The member at hand, as written; for messages.
    name: Vec<u8>,
    /// Stored bytes of it that are not read yet, and the padding behind them.
    left: u64,
    padding: u64,
    require_end: bool,
}

impl<'a> Members<'a> {
    pub(super) fn new(input: Input<'a>, require_end: bool) -> Self {
        Members { input, name: Vec::new(), left: 0, padding: 0, require_end }
    }

    /// The next member, past what is left of the last one; None at the end, which is then checked to be one.
    pub(super) fn next(&mut self) -> Result<Option<Member>, ImageError> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut pending = Pending::default();
        loop {
            let offset = self.input.offset();
            let mut block = [0; BLOCK];
            match self.fill(&mut block)? {
                0 => return self.end_without_marker(&pending),
                BLOCK => {}
                _ => return Err(self.fault(format!("the archive is cut: it ends inside the header at offset {offset}"))),
            }
            if block == [0; BLOCK] {
                self.check_nothing_follows(&pending)?;
                return Ok(None);
            }
            let Some(header) = Header::parse(&block) else { return Err(self.no_header(offset)) };
            if !self.take_extension(&header, &mut pending)? {
                return self.member(&header, pending).map(Some);
            }
        }
    }

    /// Reads data of the member; 0 at its end. Fails when the archive ends before it.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.fill(&mut buffer[..most])?;
        if length < most {
            return Err(self.fault("the archive is cut: it ends inside this entry's data"));
        }
        self.left -= length as u64;
        Ok(length)
    }

    /// Once `next` has answered None.
    pub(super) fn digests(self) -> Digests {
        self.input.digests()
    }

    fn fault(&self, message: impl Into<String>) -> ImageError {
        ImageError::archive(&self.name, message)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        read_up_to(&mut self.input, buffer).map_err(|error| self.fault(format!("cannot be read: {error}")))
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), ImageError> {
        let mut buffer = [0; 32 << 10];
        while bytes > 0 {
            let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
            let length = self.fill(&mut buffer[..most])?;
            if length < most {
                return Err(self.fault("the archive is cut: it ends inside this entry's data"));
            }
            bytes -= length as u64;
        }
        Ok(())
    }

    fn no_header(&mut self, offset: u64) -> ImageError {
        if offset > 0 {
            return self.fault(format!("what follows at offset {offset} is not a tar header: its checksum is wrong"));
        }
        let seems = self.input.looks_like().map(|what| format!("; it looks like {what}")).unwrap_or_default();
        ImageError::archive(b"", format!("not a tar archive: the checksum of the header at offset 0 is wrong{seems}"))
    }

    fn end_without_marker(&self, pending: &Pending) -> Result<Option<Member>, ImageError> {
        if !pending.is_empty() {
            return Err(self.fault("the archive is cut: an extension header describes a member that does not come"));
        }
        if self.require_end {
            return Err(self.fault("the archive is cut: it ends after this entry, without the zero blocks that mark the end"));
        }
        Ok(None)
    }

    /// After the first zero block: only zeros, as much as the writer liked to pad with.
    fn check_nothing_follows(&mut self, pending: &Pending) -> Result<(), ImageError> {
        if !pending.is_empty() {
            return Err(self.fault("an extension header describes a member that does not come"));
        }
        let mut buffer = [0; 32 << 10];
        loop {
            let offset = self.input.offset();
            match self.fill(&mut buffer)? {
                0 => return Ok(()),
                length if buffer[..length].iter().all(|&byte| byte == 0) => {}
                _ => return Err(self.fault(format!("something follows the end of the archive, at or after offset {offset}"))),
            }
        }
    }

    /// Takes an extension header in; false when the header is that of a member.
    fn take_extension(&mut self, header: &Header<'_>, pending: &mut Pending) -> Result<bool, ImageError> {
        if !matches!(header.kind, b'x' | b'g' | b'L' | b'K' | b'V') {
            return Ok(false);
        }
        if header.layout == Layout::Old {
            return Err(self.fault(format!("an extension header (type {:?}) in an old-style archive", char::from(header.kind))));
        }
        let kind = char::from(header.kind);
        let most = if matches!(header.kind, b'x' | b'g') { pax::MOST_BYTES } else { MOST_LONG_NAME };
        let data = self.extension_data(header, most)?;
        let twice = match header.kind {
            b'x' => pending.pax.replace(Pax::parse(&data).map_err(|message| self.fault(message))?).is_some(),
            b'g' => pax::check_global(&data).map(|()| false).map_err(|message| self.fault(message))?,
            b'L' => pending.path.replace(self.long_name(&data)?).is_some(),
            b'K' => pending.link.replace(self.long_name(&data)?).is_some(),
            // The volume's label: for people.
            _ => false,
        };
        if twice {
            return Err(self.fault(format!("two extension headers of type {kind:?} describe one member")));
        }
        Ok(true)
    }

    fn extension_data(&mut self, header: &Header<'_>, most: u64) -> Result<Vec<u8>, ImageError> {
        let kind = char::from(header.kind);
        let size = unsigned(&header.raw.as_old().size).ok_or_else(|| self.fault("an extension header's size is not a number"))?;
        if size > most {
            return Err(self.fault(format!("an extension header (type {kind:?}) of {size} bytes is over the limit of {most}")));
        }
        let mut data = vec![0; usize::try_from(size).unwrap_or_default().next_multiple_of(BLOCK)];
        if self.fill(&mut data)? < data.len() {
            return Err(self.fault("the archive is cut: it ends inside an extension header"));
        }
        data.truncate(usize::try_from(size).unwrap_or_default());
        Ok(data)
    }

    /// A GNU long name ends at its NUL; what is hidden behind it is refused.
    fn long_name(&self, data: &[u8]) -> Result<Vec<u8>, ImageError> {
        let name = until_nul(data);
        if data[name.len()..].iter().any(|&byte| byte != 0) {
            return Err(self.fault("a long name has bytes behind its NUL"));
        }
        Ok(name.to_vec())
    }

    fn member(&mut self, header: &Header<'_>, pending: Pending) -> Result<Member, ImageError> {
        let mut pax = pending.pax.unwrap_or_default();
        let sparse_name = pax.sparse.name.take();
        if (pending.path.is_some() && (pax.path.is_some() || sparse_name.is_some())) || (pending.link.is_some() && pax.link.is_some()) {
            return Err(self.fault("a name is given twice, by a GNU long name and by a PAX record"));
        }
        let path = sparse_name.or(pax.path.take()).or(pending.path).unwrap_or_else(|| header.raw.path_bytes().into_owned());
        self.name.clone_from(&path);
        let link = pax.link.take().or(pending.link).unwrap_or_else(|| header.link().to_vec());
        let stored = match pax.size {
            Some(size) => i64::try_from(size).ok().map(i64::cast_unsigned),
            None => unsigned(&header.raw.as_old().size),
        };
        let stored = stored.ok_or_else(|| self.fault("its size is not a number, or beyond 2^63"))?;
        let kind = self.kind(header, stored)?;
        if stored > 0 && kind != Kind::File {
            return Err(self.fault("a size on what has no data"));
        }
        self.left = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
        let (size, map) = self.sparse_map(header, std::mem::take(&mut pax.sparse), stored)?;
        let field = header.raw.as_old();
        let mode = number(&field.mode).and_then(|mode| u32::try_from(mode).ok()).ok_or_else(|| self.fault("its mode is not a number"))?;
        let mtime = match pax.mtime {
            Some(time) => time,
            None => (number(&field.mtime).ok_or_else(|| self.fault("its mtime is not a number"))?, 0),
        };
        Ok(Member {
            uid: self.id("uid", pax.uid.or_else(|| unsigned(&field.uid)))?,
            gid: self.id("gid", pax.gid.or_else(|| unsigned(&field.gid)))?,
            path,
            link,
            kind,
            mode: mode & 0o7777,
            mtime,
            size,
            map,
            xattrs: pax.xattrs,
        })
    }

    fn kind(&self, header: &Header<'_>, stored: u64) -> Result<Kind, ImageError> {
        let folder_by_name = self.name.last() == Some(&b'/');
        Ok(match header.kind {
            // Before there was a type for folders their names ended in a slash.
            0 if folder_by_name && stored == 0 => Kind::Directory,
            b'0' | 0 | b'7' | b'S' if folder_by_name => return Err(self.fault("a file whose name ends in a slash")),
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(self.fault(format!("a member of the unknown type {:?}", char::from(other)))),
        })
    }

    fn id(&self, what: &str, id: Option<u64>) -> Result<u32, ImageError> {
        match id {
            Some(id) if id <= MOST_ID => u32::try_from(id).map_err(|_| self.fault(format!("its {what} is not a number"))),
            Some(id) => Err(self.fault(format!("its {what} {id} is over {MOST_ID}: no container could see it"))),
            None => Err(self.fault(format!("its {what} is not a number"))),
        }
    }

    /// The size that the file will have and where its data belong. Reads the parts of the map that stand before the data.
    fn sparse_map(&mut self, header: &Header<'_>, records: PaxSparse, stored: u64) -> Result<(u64, Option<Map>), ImageError> {
        let nonsense = "its sparse map makes no sense";
        let form = records.form().ok_or_else(|| self.fault(nonsense))?;
        let (size, map) = match (header.kind, form) {
            (b'S', PaxForm::None) => self.gnu_map(header).ok_or_else(|| self.fault(nonsense))?,
            (b'S', _) => return Err(self.fault("sparse in two ways")),
            (_, PaxForm::None) => return Ok((stored, None)),
            (b'0' | 0, PaxForm::Map { size, map }) => (size, map),
            (b'0' | 0, PaxForm::Inline { size }) => (size, self.inline_map()?.ok_or_else(|| self.fault(nonsense))?),
            _ => return Err(self.fault("sparse, but not a file")),
        };
        if !map.fits(size, self.left) {
            return Err(self.fault("its sparse map does not fit its size"));
        }
        Ok((size, Some(map)))
    }

    /// The map of a type `S` header, whose further blocks do not count as data.
    fn gnu_map(&mut self, header: &Header<'_>) -> Option<(u64, Map)> {
        let gnu = header.raw.as_gnu()?;
        let mut map = Map::default();
        let mut more = map.take_header(gnu)?;
        while more {
            let mut block = [0; BLOCK];
            if self.fill(&mut block).ok()? < BLOCK {
                return None;
            }
            more = map.take_extension(&block)?;
        }
        Some((unsigned(&gnu.realsize)?, map))
    }

    /// The map of PAX form 1.0, which is the first part of the data.
    fn inline_map(&mut self) -> Result<Option<Map>, ImageError> {
        let mut reader = InlineMap::default();
        loop {
            let mut block = [0; BLOCK];
            if self.read(&mut block)? < BLOCK {
                return Ok(None);
            }
            match reader.take(&block) {
                Some(None) => {}
                Some(Some(map)) => return Ok(Some(map)),
                None => return Ok(None),
            }
        }
    }
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("name", &display(&self.name)).field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
