//! What the reader makes of honest and hostile archives, without unpacking them. E76 to E83 of the hardening checks, as far as they
//! are about reading.

use proptest::prelude::*;

use super::*;
use crate::image::testing::{Entry, archive, gzip, pax_records, zstandard};

/// Every member with its data.
fn list(bytes: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, ImageError> {
    let input = Input::new(bytes, 64 << 20).map_err(|error| ImageError::archive(b"", error.to_string()))?;
    let mut members = Members::new(input, true);
    let mut out = Vec::new();
    while let Some(member) = members.next()? {
        let mut data = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match members.read(&mut buffer)? {
                0 => break,
                length => data.extend_from_slice(&buffer[..length]),
            }
        }
        out.push((member, data));
    }
    Ok(out)
}

fn names(bytes: &[u8]) -> Vec<String> {
    list(bytes).unwrap().into_iter().map(|(member, _)| display(&member.path)).collect()
}

/// The entry and the message that an archive is refused with.
fn refusal(bytes: &[u8]) -> (String, String) {
    match list(bytes) {
        Err(ImageError::Archive { entry, message }) => (entry, message),
        other => panic!("not refused as an archive: {other:?}"),
    }
}

#[test]
fn members_and_their_data_in_order() {
    let bytes = archive(&[Entry::dir("a/"), Entry::file("a/one", &[7; 1300]), Entry::file("a/none", b""), Entry::symlink("s", "a/one")]);
    for stream in [bytes.clone(), gzip(&bytes), zstandard(&bytes)] {
        let members = list(&stream).unwrap();
        let kinds: Vec<_> = members.iter().map(|(member, data)| (member.kind, data.len())).collect();
        assert_eq!(kinds, [(Kind::Directory, 0), (Kind::File, 1300), (Kind::File, 0), (Kind::Symlink, 0)]);
        assert_eq!((members[0].0.mode, members[1].0.mode), (0o755, 0o644));
        assert_eq!(members[1].0.mtime, (1_000_000_000, 0));
        assert_eq!(members[3].0.link, b"a/one");
    }
}

#[test]
fn pax_and_gnu_names_and_sizes_apply_to_the_next_member_only() {
    let long = "d/".repeat(100) + "f";
    let bytes = archive(&[
        Entry::pax(&[("path", long.as_bytes()), ("mtime", b"5.25"), ("uid", b"1000"), ("SCHILY.xattr.user.k", b"v\nw")]),
        Entry::file("short", b"data"),
        Entry::new(b'L', "././@LongLink", format!("{long}\0").as_bytes()).with(gnu),
        Entry::new(b'K', "././@LongLink", format!("{long}\0").as_bytes()).with(gnu),
        Entry::symlink("short", "short").with(gnu),
        Entry::pax(&[("size", b"3")]),
        Entry::file("sized", b"abc").claiming(0),
        Entry::file("plain", b""),
    ]);
    let members = list(&bytes).unwrap();
    assert_eq!(members[0].0.path, long.as_bytes());
    assert_eq!((members[0].0.mtime, members[0].0.uid), ((5, 250_000_000), 1000));
    assert_eq!(members[0].0.xattrs, vec![(b"user.k".to_vec(), b"v\nw".to_vec())]);
    assert_eq!((&members[1].0.path[..], &members[1].0.link[..]), (long.as_bytes(), long.as_bytes()));
    assert_eq!(members[2].1, b"abc");
    assert_eq!((&members[3].0.path[..], members[3].0.uid), (&b"plain"[..], 0));
}

fn gnu(header: &mut tar::Header) {
    let bytes = header.as_mut_bytes();
    bytes[257..265].copy_from_slice(b"ustar  \0");
}

#[test]
fn not_an_archive_says_what_it_looks_like() {
    let page = [&b"<!DOCTYPE html><html>"[..], &[b' '; 600]].concat();
    let picture = [&b"\x89PNG\r\n\x1a\n"[..], &[1; 600]].concat();
    for (bytes, says) in [(page, "HTML"), (picture, "PNG"), (vec![0x42; 5000], "checksum"), (b"PK\x03\x04".repeat(200), "zip")] {
        let (entry, message) = refusal(&bytes);
        assert_eq!(entry, "");
        assert!(message.contains(says) && message.contains("offset 0"), "{message}");
    }
    assert!(refusal(b"").1.contains("empty"));
    assert!(refusal(b"short").1.contains("offset 0"));
    assert!(refusal(&gzip(b"")).1.contains("cut"));
}

#[test]
fn a_cut_archive_is_refused_wherever_it_is_cut() {
    let bytes = archive(&[Entry::dir("a"), Entry::pax(&[("path", b"b")]), Entry::file("x", &[1; 700]), Entry::file("c", b"tail")]);
    let zeros = bytes.len() - 1024;
    for cut in (1..=zeros).step_by(256).chain([zeros]) {
        let (_, message) = refusal(&bytes[..cut]);
        assert!(message.contains("cut"), "cut at {cut}: {message}");
    }
    assert_eq!(refusal(&bytes[..1536 + 600]).0, "b");
    // One zero block is as good as two, and so is any padding.
    assert_eq!(names(&bytes[..zeros + 512]), ["a", "b", "c"]);
    assert_eq!(names(&[&bytes[..], &[0; 9000]].concat()), ["a", "b", "c"]);
}

#[test]
fn what_follows_the_end_is_refused() {
    let bytes = archive(&[Entry::file("a", b"1")]);
    for tail in [&b"x"[..], &[&[0; 512][..], b"garbage"].concat(), &bytes] {
        assert!(refusal(&[&bytes[..], tail].concat()).1.contains("follows the end"));
    }
    assert!(refusal(&[&bytes[..1024], b"garbage instead of a header"].concat()).1.contains("cut"));
    assert!(refusal(&[&bytes[..1024], &[b'x'; 512][..]].concat()).1.contains("checksum"));
}

#[test]
fn what_readers_understand_differently_is_refused() {
    let file = Entry::file("f", b"");
    let pax = |records: &[(&str, &[u8])]| Entry::pax(records);
    let long_name = Entry::new(b'L', "././@LongLink", b"long\0").with(gnu);
    for (what, entries) in [
        ("two PAX headers", vec![pax(&[("path", b"a")]), pax(&[("path", b"b")]), file.clone()]),
        ("two long names", vec![long_name.clone(), long_name.clone(), file.clone()]),
        ("a GNU and a PAX name", vec![long_name.clone(), pax(&[("path", b"b")]), file.clone()]),
        ("a PAX and a GNU name", vec![pax(&[("path", b"b")]), long_name.clone(), file.clone()]),
        ("a record twice", vec![pax(&[("size", b"0"), ("size", b"512")]), file.clone()]),
        ("a global size", vec![Entry::new(b'g', "g", &pax_records(&[("size", b"512")])), file.clone()]),
        ("a header for nobody", vec![file.clone(), pax(&[("path", b"b")])]),
        ("bytes behind a long name's NUL", vec![Entry::new(b'L', "n", b"a\0/../b\0").with(gnu), file.clone()]),
        ("a symlink with data", vec![Entry::new(b'2', "s", &[0; 512]).to("x")]),
        ("a hard link with data", vec![file.clone(), Entry::new(b'1', "h", &[0; 512]).to("f")]),
        ("a folder with data", vec![Entry::new(b'5', "d", &[0; 512])]),
        ("a PAX size for a folder", vec![pax(&[("size", b"512")]), Entry::dir("d")]),
        ("a file with a slash", vec![Entry::file("f/", b"")]),
        ("an unknown type", vec![Entry::new(b'Z', "z", b"")]),
        ("a multi-volume part", vec![Entry::new(b'M', "m", b"").with(gnu)]),
        ("an extension in an old archive", vec![pax(&[("path", b"a")]).with(|h| h.as_mut_bytes()[257..265].fill(0)), file.clone()]),
        ("a size that is no number", vec![file.clone().with(|h| h.as_old_mut().size.copy_from_slice(b"0000000-512\0"))]),
        ("a size of 2^64", vec![pax(&[("size", b"18446744073709551616")]), file.clone()]),
        ("a size of 2^63", vec![pax(&[("size", b"9223372036854775808")]), file.clone()]),
        ("a negative size", vec![file.clone().with(|h| h.as_old_mut().size = [0xff; 12])]),
    ] {
        let (_, message) = refusal(&archive(&entries));
        assert!(!message.is_empty(), "{what}");
    }
}

#[test]
fn harmless_oddities_are_taken() {
    let old = |h: &mut tar::Header| h.as_mut_bytes()[257..].fill(0);
    let bytes = archive(&[
        Entry::new(b'g', "pax_global_header", &pax_records(&[("comment", b"a commit")])),
        Entry::new(b'V', "a label", b"").with(gnu),
        Entry::new(0, "old-folder/", b"").with(old),
        Entry::new(0, "old-file", b"x").with(old),
        Entry::new(b'7', "contiguous", b"y"),
        Entry::file("before-1970", b"").with(|h| h.as_old_mut().mtime = [0xff; 12]),
        Entry::pax(&[("VENDOR.key", b"\0\xff"), ("path", b"")]),
        Entry::file("vendor", b""),
    ]);
    assert_eq!(names(&bytes), ["old-folder/", "old-file", "contiguous", "before-1970", "vendor"]);
    assert_eq!(list(&bytes).unwrap()[0].0.kind, Kind::Directory);
    assert_eq!(list(&bytes).unwrap()[3].0.mtime, (-1, 0));
}

#[test]
fn ids_that_no_container_has_are_refused_by_name() {
    let (entry, message) = refusal(&archive(&[Entry::file("ok", b""), Entry::file("high", b"").with(|h| h.set_uid(65_536))]));
    assert_eq!(entry, "high");
    assert!(message.contains("uid 65536"), "{message}");
    let (entry, message) = refusal(&archive(&[Entry::pax(&[("gid", b"4294967296")]), Entry::file("pax", b"")]));
    assert_eq!(entry, "pax");
    assert!(message.contains("gid 4294967296"), "{message}");
    assert_eq!(list(&archive(&[Entry::file("most", b"").with(|h| h.set_uid(65_535))])).unwrap()[0].0.uid, 65_535);
}

#[test]
fn endless_extension_headers_are_refused_before_they_are_read() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let (_, message) = refusal(&Entry::new(kind, "x", b"").claiming(1 << 30).bytes());
        assert!(message.contains("over the limit"), "{message}");
    }
}

#[test]
fn sparse_files_of_every_form_have_their_map() {
    let data = [&[1; 512][..], &[2; 100]].concat();
    let inline = [&b"2\n0\n512\n100000\n100\n"[..], &[0; 512 - 19], &data].concat();
    let forms = [
        vec![
            Entry::pax(&[
                ("GNU.sparse.size", b"200000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"512"),
                ("GNU.sparse.offset", b"100000"),
                ("GNU.sparse.numbytes", b"100"),
            ]),
            Entry::file("f", &data),
        ],
        vec![
            Entry::pax(&[("GNU.sparse.size", b"200000"), ("GNU.sparse.map", b"0,512,100000,100"), ("GNU.sparse.name", b"f")]),
            Entry::file("GNUSparseFile.1/f", &data),
        ],
        vec![
            Entry::pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"200000"),
                ("GNU.sparse.name", b"f"),
            ]),
            Entry::file("GNUSparseFile.1/f", &inline),
        ],
        vec![gnu_sparse(&data, &[(0, 512), (100_000, 100)], 200_000)],
    ];
    for form in forms {
        let members = list(&archive(&[form, vec![Entry::file("next", b"n")]].concat())).unwrap();
        let (member, stored) = &members[0];
        let extents: Vec<_> = member.map.as_ref().unwrap().extents.iter().map(|extent| (extent.offset, extent.length)).collect();
        assert_eq!((member.size, &extents[..]), (200_000, &[(0, 512), (100_000, 100)][..]));
        assert_eq!((&member.path[..], stored), (&b"f"[..], &data));
        assert_eq!(members[1].0.path, b"next");
    }
}

fn gnu_sparse(data: &[u8], extents: &[(u64, u64)], real_size: u64) -> Entry {
    let octal = |value: u64| -> [u8; 12] { format!("{value:011o}\0").as_bytes().try_into().unwrap() };
    Entry::new(b'S', "f", data).with(gnu).with(|header| {
        let fields = header.as_gnu_mut().unwrap();
        for (field, (offset, length)) in fields.sparse.iter_mut().zip(extents) {
            (field.offset, field.numbytes) = (octal(*offset), octal(*length));
        }
        fields.realsize = octal(real_size);
    })
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    for (data, extents, real_size) in [
        (&[1; 512][..], &[(0, 512), (100, 0), (50, 1)][..], 1000),
        (&[1; 512], &[(0, 512), (600, 512)], 2000),
        (&[1; 512], &[(0, 512)], 100),
        (&[1; 512], &[(0, 256)], 1000),
    ] {
        assert!(refusal(&archive(&[gnu_sparse(data, extents, real_size)])).1.contains("sparse"));
    }
    let records: [(&str, &[u8]); 3] = [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")];
    for map in ["9999999999999\n", "2\n0\n1\n", "1\n5\nx\n", "-1\n"] {
        assert_eq!(refusal(&archive(&[Entry::pax(&records), Entry::file("f", &[map.as_bytes(), &[0; 500]].concat())])).0, "f", "{map:?}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = list(&bytes);
    }

    /// An honest archive with a few bytes changed, its checksums put right again: the reader must end, without a panic.
    #[test]
    fn damage_behind_a_right_checksum_never_panics(changes in proptest::collection::vec((0usize..4096, any::<u8>()), 1..12)) {
        let mut bytes = archive(&[
            Entry::pax(&[("path", b"a/b"), ("size", b"4"), ("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"9")]),
            Entry::file("f", b"data"),
            Entry::new(b'L', "l", b"long/name\0").with(gnu),
            gnu_sparse(b"data", &[(0, 2), (8, 2)], 10),
        ]);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        for block in bytes.chunks_mut(512).filter(|block| block.len() == 512) {
            let mut header = tar::Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let _ = list(&bytes);
    }
}
