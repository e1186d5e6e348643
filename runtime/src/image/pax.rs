//! PAX extended header records: `<length> <key>=<value>\n`. See "pax Extended Header" in pax(1p).
//!
//! Values are bytes and may hold newlines and NULs, so a record ends where its length says and nowhere else.

use super::sparse::PaxSparse;

/// The most bytes that one extended header may have.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// The most records with a key of their own.
const MOST_RECORDS: usize = 1024;

/// Extended attributes of one entry, by name.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What the records of one entry say. None where they are silent, or where an empty value takes the setting back.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds since 1970 and nanoseconds within that second.
    pub(super) mtime: Option<(i64, i64)>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: PaxSparse,
}

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";

/// Each record of an extended header, in order.
fn records(mut data: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), String>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let parsed = record(data);
        data = parsed.map_or(&[], |(_, _, rest)| rest);
        Some(parsed.map(|(key, value, _)| (key, value)).ok_or_else(|| "a PAX record is malformed".to_owned()))
    })
}

/// The first record's key and value, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(8).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let body = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    if equals == 0 || body[..equals].contains(&0) {
        return None;
    }
    Some((&body[..equals], &body[equals + 1..], &data[length..]))
}

/// Digits only, at least one: no sign, no space, no overflow.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

impl Pax {
    /// The records of an `x` header, which describe the next entry.
    pub(super) fn parse(data: &[u8]) -> Result<Self, String> {
        let mut pax = Pax::default();
        let mut seen = Vec::new();
        for record in records(data) {
            let (key, value) = record?;
            // Readers disagree whether the first or the last of two wins; only the old sparse form repeats keys on purpose.
            if !matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                if seen.contains(&key) {
                    return Err(format!("the PAX record {:?} is there twice", String::from_utf8_lossy(key)));
                }
                if seen.len() == MOST_RECORDS {
                    return Err(format!("more than {MOST_RECORDS} PAX records"));
                }
                seen.push(key);
            }
            pax.take(key, value).ok_or_else(|| format!("the PAX record {:?} has a bad value", String::from_utf8_lossy(key)))?;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.push((name.to_vec(), value.to_vec()));
        } else if let Some(name) = key.strip_prefix(SPARSE) {
            self.sparse.take(name, value)?;
        } else if !value.is_empty() {
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(decimal(value)?),
                b"uid" => self.uid = Some(decimal(value)?),
                b"gid" => self.gid = Some(decimal(value)?),
                b"mtime" => self.mtime = Some(time(value)?),
                // Names of owners, access times, comments, vendors' keys: they change nothing that is unpacked.
                _ => {}
            }
        }
        Some(())
    }
}

/// The records of a `g` header, which describe all later entries. GNU tar applies them and Go's reader does not, so only those that
/// change nothing are taken.
pub(super) fn check_global(data: &[u8]) -> Result<(), String> {
    for record in records(data) {
        let (key, _) = record?;
        let matters = matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime");
        if matters || key.starts_with(XATTR) || key.starts_with(SPARSE) {
            return Err(format!("a global PAX header sets {:?}, which readers understand differently", String::from_utf8_lossy(key)));
        }
    }
    Ok(())
}

/// `[-]seconds[.fraction]`, rounded down to nanoseconds.
fn time(text: &[u8]) -> Option<(i64, i64)> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |value, at| value * 10 + fraction.get(at).map_or(0, |&digit| i64::from(digit - b'0')));
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::pax_records;
    use proptest::prelude::*;

    #[test]
    fn values_may_hold_newlines_and_nuls() {
        let value = b"a\nb\0c=d\n\n";
        let pax = Pax::parse(&pax_records(&[("SCHILY.xattr.user.x", value), ("path", b"p\nq")])).unwrap();
        assert_eq!(pax.xattrs, vec![(b"user.x".to_vec(), value.to_vec())]);
        assert_eq!(pax.path.unwrap(), b"p\nq");
    }

    #[test]
    fn an_empty_value_takes_the_setting_back() {
        assert_eq!(Pax::parse(b"8 path=\n").unwrap().path, None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for data in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b\n6",
            b"99 a=b\n",
            b"6 aab\n",
            b"0 a=b\n",
            b"-6 a=b\n",
            b"5 =b\n",
            b"7 a\0=b\n",
            b"18446744073709551616 a=b\n",
            b"10 size=-1\n",
            b"10 size= 1\n",
            b"11 size=0x1\n",
            b"9 path=a\n9 path=b\n",
        ] {
            assert!(Pax::parse(data).is_err(), "{:?}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn global_records_that_matter_are_refused() {
        assert_eq!(check_global(&pax_records(&[("comment", b"deadbeef")])), Ok(()));
        for key in ["path", "size", "SCHILY.xattr.user.a", "GNU.sparse.map"] {
            assert!(check_global(&pax_records(&[(key, b"1")])).unwrap_err().contains("global"), "{key}");
        }
    }

    #[test]
    fn times_with_fractions_and_before_1970() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-7"), Some((-7, 0)));
        for bad in [&b""[..], b"1.x", b"1e3", b"--1", b"99999999999999999999"] {
            assert_eq!(time(bad), None);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(data: Vec<u8>) {
            let _ = Pax::parse(&data);
            let _ = check_global(&data);
        }
    }
}
