//! The byte stream: what it is compressed with, its two digests, and the limits that stop a bomb.
//!
//! ```text
//!  Read --(count, sha256: the compressed digest)--> gzip | zstd | nothing --(count, limits, sha256: the DiffID)--> tar
//! ```

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use sha2::{Digest, Sha256};

/// What an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of the uncompressed tar, and of the files in it (holes included).
    pub max_bytes: u64,
    /// The most files, folders, links and whiteouts.
    pub max_entries: u64,
    /// Refuse an archive that ends without its two zero blocks. Where no digest is known beforehand they are all that tells a whole plain
    /// tar from one that was cut between two entries.
    pub require_end: bool,
}

/// From here on a stream may be at most [`MAX_RATIO`] times as large as what it was compressed to.
const RATIO_FROM: u64 = 64 << 20;
const MAX_RATIO: u64 = 200;

/// 128 MiB: what zstd(1) takes without being asked, and so what real images need.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

const BUFFER: usize = 128 << 10;

/// What has come in so far. Shared, as the reader that counts is buried in the decompressor.
#[derive(Debug, Default)]
struct Tally {
    bytes: Cell<u64>,
    /// None when the input is not compressed: then both digests are one.
    digest: RefCell<Option<Sha256>>,
}

struct Counting<R> {
    inner: R,
    tally: Rc<Tally>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.inner.read(buffer) {
            // SO_RCVTIMEO, see socket(7).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the sender stalled"));
            }
            outcome => outcome?,
        };
        self.tally.bytes.set(self.tally.bytes.get() + length as u64);
        if let Some(digest) = self.tally.digest.borrow_mut().as_mut() {
            digest.update(&buffer[..length]);
        }
        Ok(length)
    }
}

/// The uncompressed stream.
pub(super) struct Input<'a> {
    decoder: Box<dyn Read + 'a>,
    tally: Rc<Tally>,
    digest: Sha256,
    bytes: u64,
    max_bytes: u64,
    first: [u8; 6],
}

/// Both digests of a stream that was read to its end, as 64 hexadecimal digits.
#[derive(Debug)]
pub(super) struct Digests {
    pub(super) compressed: String,
    pub(super) plain: String,
}

impl<'a> Input<'a> {
    /// Reads the first few bytes to see what it is. Fails when the stream is empty or cannot be read.
    pub(super) fn new(source: impl Read + 'a, max_bytes: u64) -> io::Result<Self> {
        let tally = Rc::new(Tally { digest: RefCell::new(Some(Sha256::new())), ..Tally::default() });
        let mut counting = Counting { inner: source, tally: Rc::clone(&tally) };
        let mut first = [0; 6];
        let length = read_up_to(&mut counting, &mut first)?;
        if length == 0 {
            return Err(invalid("the archive is empty: not one byte came"));
        }
        let rest = Cursor::new(first[..length].to_vec()).chain(BufReader::with_capacity(BUFFER, counting));
        let decoder: Box<dyn Read + 'a> = match first {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(rest)),
            // A frame, or one of the frames to skip that some writers put first (RFC 8878, 3.1).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Box::new(zstd(rest)?),
            _ => {
                *tally.digest.borrow_mut() = None;
                Box::new(rest)
            }
        };
        Ok(Input { decoder, tally, digest: Sha256::new(), bytes: 0, max_bytes, first })
    }

    /// What the stream looks like, where it is a well-known thing that is no tar of ours; for the message.
    pub(super) fn looks_like(&self) -> Option<&'static str> {
        Some(match self.first {
            [b'B', b'Z', b'h', ..] => "bzip2, which is not supported (gzip, zstd or no compression are)",
            [0xfd, b'7', b'z', b'X', b'Z', 0] => "xz, which is not supported (gzip, zstd or no compression are)",
            [b'P', b'K', 3, 4, ..] => "a zip file",
            [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
            [0x7f, b'E', b'L', b'F', ..] => "a program",
            [b'<', ..] => "an HTML or XML page",
            [b'{' | b'[', ..] => "JSON",
            _ => return None,
        })
    }

    /// Uncompressed bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.bytes
    }

    /// The digests, when `read` has answered 0.
    pub(super) fn digests(self) -> Digests {
        let plain = hex(self.digest);
        let compressed = self.tally.digest.borrow_mut().take().map_or_else(|| plain.clone(), hex);
        Digests { compressed, plain }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = loop {
            match self.decoder.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.digest.update(&buffer[..length]);
        self.bytes += length as u64;
        if self.bytes > self.max_bytes {
            return Err(invalid(format!("the uncompressed archive is over the limit of {} bytes", self.max_bytes)));
        }
        if self.bytes > RATIO_FROM && self.bytes / MAX_RATIO > self.tally.bytes.get() {
            return Err(invalid(format!("more than {MAX_RATIO} times as large as what it was compressed to")));
        }
        Ok(length)
    }
}

fn zstd<'a>(source: impl BufRead + 'a) -> io::Result<zstd::stream::read::Decoder<'a, impl BufRead + 'a>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

pub(super) fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// Fills as much of `buffer` as there is before the end; its length.
pub(super) fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A digest as lower-case hexadecimal digits.
pub(crate) fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::{gzip, sha256, zstandard};

    fn read_all(source: &[u8], max_bytes: u64) -> io::Result<(Vec<u8>, Digests)> {
        let mut input = Input::new(source, max_bytes)?;
        let mut out = Vec::new();
        input.read_to_end(&mut out)?;
        Ok((out, input.digests()))
    }

    #[test]
    fn both_digests_are_those_of_the_bytes() {
        let plain = b"not a tar, but bytes".repeat(100);
        let two_members = [gzip(&plain[..7]), gzip(&plain[7..])].concat();
        let two_frames = [zstandard(&plain[..7]), zstandard(&plain[7..])].concat();
        for stream in [plain.clone(), gzip(&plain), two_members, zstandard(&plain), two_frames] {
            let (out, digests) = read_all(&stream, 1 << 20).unwrap();
            assert_eq!(out, plain);
            assert_eq!(digests.compressed, sha256(&stream));
            assert_eq!(digests.plain, sha256(&plain));
        }
    }

    #[test]
    fn what_is_cut_or_followed_by_garbage_is_an_error() {
        let plain = b"some text that is long enough to be cut".repeat(50);
        for stream in [gzip(&plain), zstandard(&plain)] {
            for cut in [7, stream.len() / 2, stream.len() - 1] {
                assert!(read_all(&stream[..cut], 1 << 20).is_err(), "cut at {cut} of {}", stream.len());
            }
            assert!(read_all(&[&stream[..], b"garbage"].concat(), 1 << 20).is_err());
        }
    }

    #[test]
    fn an_empty_stream_is_an_error_and_a_short_one_is_not() {
        assert!(read_all(b"", 1 << 20).unwrap_err().to_string().contains("empty"));
        assert_eq!(read_all(b"abc", 1 << 20).unwrap().0, b"abc");
    }

    #[test]
    fn bombs_stop_at_the_limit_and_at_the_ratio() {
        let zeros = vec![0; 1 << 20];
        let bomb = gzip(&zeros).repeat(80);
        let mut input = Input::new(&bomb[..], 1 << 30).unwrap();
        let error = io::copy(&mut input, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("200 times"), "{error}");
        assert!((RATIO_FROM..80 << 20).contains(&input.offset()));
        for bomb in [&bomb, &zstandard(&zeros).repeat(80)] {
            let error = io::copy(&mut Input::new(&bomb[..], 1 << 21).unwrap(), &mut io::sink()).unwrap_err();
            assert!(error.to_string().contains("limit of 2097152"), "{error}");
        }
    }

    #[test]
    fn a_zstd_window_beyond_128_mib_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        io::copy(&mut &b"small"[..], &mut encoder).unwrap();
        let frame = encoder.finish().unwrap();
        assert!(read_all(&frame, 1 << 20).is_err());
    }
}
