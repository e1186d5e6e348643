//! One header block: the checksum, and numbers read strictly. See "ustar Interchange Format" in pax(1p), and the GNU tar manual,
//! "Basic Tar Format".

/// The size of a header, and what everything in an archive is padded to.
pub(super) const BLOCK: usize = 512;

/// Which of the layouts a header has: they differ in what follows the link name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Before POSIX: no long names, no extensions.
    Old,
    Ustar,
    Gnu,
}

/// A header whose checksum is right.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) raw: &'a tar::Header,
    pub(super) layout: Layout,
    pub(super) kind: u8,
}

impl<'a> Header<'a> {
    /// None when the checksum does not fit: this is no header.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Option<Self> {
        let raw = tar::Header::from_byte_slice(block);
        let sum: u32 = block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u32::from(byte) }).sum();
        if number(&raw.as_old().cksum) != Some(i64::from(sum)) {
            return None;
        }
        let layout = if raw.as_gnu().is_some() {
            Layout::Gnu
        } else if raw.as_ustar().is_some() {
            Layout::Ustar
        } else {
            Layout::Old
        };
        Some(Header { raw, layout, kind: raw.as_old().linkflag[0] })
    }

    pub(super) fn link(&self) -> &[u8] {
        until_nul(&self.raw.as_old().linkname)
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits between spaces or NULs (nothing at all is 0), or GNU's base 256. None for anything else and for what
/// does not fit: the same field must not be a small number to one reader and a large one to another.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first()? {
        first if first & 0x80 != 0 => {
            // Bit 6 is the sign; 12 bytes of it fit an i128 with room to spare.
            let start: i128 = if first & 0x40 != 0 { i128::from(*first) - 0x100 } else { i128::from(first & 0x7f) };
            let value = field[1..].iter().fold(start, |value, &byte| (value << 8) | i128::from(byte));
            i64::try_from(value).ok()
        }
        _ => {
            let digits = field.trim_ascii_start();
            let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
            let (digits, rest) = digits.split_at(end);
            if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
                return None;
            }
            digits.iter().try_fold(0i64, |value, &digit| match digit {
                b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_writers_write_them() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"00000000017\0", 15),
            (b"777777777777", 0o777_777_777_777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1),
        ] {
            assert_eq!(number(field), Some(value), "{field:?}");
        }
    }

    #[test]
    fn numbers_that_readers_could_take_differently_are_refused() {
        for field in
            [&b"+644\0\0\0\0"[..], b"-1\0\0\0\0\0\0", b"0x10\0\0\0\0", b"648\0\0\0\0\0", b"12\0junk\0", b"\x80\x01\0\0\0\0\0\0\0\0\0\x05"]
        {
            assert_eq!(number(field), None, "{field:?}");
        }
    }
}
