//! The log by its records: any split of the input gives the same ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

const BIG: LogConfig = LogConfig { max_size: 1 << 30, max_files: 3 };

fn group() -> u32 {
    nix::unistd::getegid().as_raw()
}

fn open(dir: &tempfile::TempDir, config: LogConfig) -> Log {
    Log::open(dir.path(), 0, &config, group()).unwrap()
}

/// What a record says, without its time.
type Said = (Stream, bool, Vec<u8>);

fn records(path: &Path) -> Vec<Said> {
    let bytes = fs::read(path).unwrap();
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let parse = |line: &[u8]| {
        assert_eq!(line.last(), Some(&b'\n'), "a torn record");
        parse_record(line).map(|r| (r.stream, r.partial, r.text.to_vec()))
    };
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("no record: {:?}", String::from_utf8_lossy(line)))).collect()
}

/// All files of the log, oldest first.
fn all_records(dir: &tempfile::TempDir) -> Vec<Said> {
    let mut number = 0;
    let mut paths = vec![dir.path().join("0.log")];
    while let Some(path) = Some(dir.path().join(format!("0.log.{}", number + 1))).filter(|path| path.exists()) {
        paths.insert(0, path);
        number += 1;
    }
    paths.iter().flat_map(|path| records(path)).collect()
}

fn whole(text: &str) -> Said {
    (Stream::Stdout, false, text.as_bytes().to_vec())
}

#[test]
fn no_two_records_have_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, BIG);
    log.write(Stream::Stdout, "line\n".repeat(1000).as_bytes());
    log.write(Stream::Stderr, b"other\n");
    let mark = log.mark();
    log.write(Stream::Stdout, b"later\nand the rest");
    log.close();
    let text = fs::read_to_string(dir.path().join("0.log")).unwrap();
    let times: Vec<Timestamp> = text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(times.len(), 1003);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(times[1000] <= mark && mark < times[1001]);
}

#[test]
fn stamps_go_on_over_the_end_of_a_second() {
    let mut stamps = Stamps::from("2026-11-28T20:59:59.999999999Z".parse().unwrap());
    let mut header = || {
        let mut header = [0; HEADER];
        stamps.header(Stream::Stderr, b'F', &mut header);
        String::from_utf8(header.to_vec()).unwrap()
    };
    assert_eq!(header(), "2026-11-28T20:59:59.999999999Z stderr F ");
    assert_eq!(header(), "2026-11-28T21:00:00.000000000Z stderr F ");
    assert_eq!(header(), "2026-11-28T21:00:00.000000001Z stderr F ");
}

#[test]
fn lines_become_records_whatever_the_reads_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, BIG);
    for piece in ["one\ntw", "o\n\nth", "ree"] {
        log.write(Stream::Stdout, piece.as_bytes());
    }
    log.write(Stream::Stderr, b"err\n");
    assert_eq!(log.close(), 0);
    let stderr = (Stream::Stderr, false, b"err".to_vec());
    let three = (Stream::Stdout, true, b"three".to_vec());
    assert_eq!(records(&dir.path().join("0.log")), [whole("one"), whole("two"), whole(""), stderr, three]);
    assert_eq!(fs::metadata(dir.path().join("0.log")).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn the_format_is_cri_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, BIG);
    let before = Timestamp::now();
    log.write(Stream::Stderr, b"a b\n");
    let text = fs::read_to_string(dir.path().join("0.log")).unwrap();
    assert_eq!(&text[29..], "Z stderr F a b\n");
    let record = parse_record(text.as_bytes()).unwrap();
    assert!(before <= record.timestamp && record.timestamp <= Timestamp::now());
}

#[test]
fn a_long_line_is_cut_at_16_kib_and_only_if_it_is_longer() {
    for (length, parts) in [(LONGEST, vec![false]), (LONGEST + 1, vec![true, false]), (2 * LONGEST, vec![true, false])] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, BIG);
        log.write(Stream::Stdout, &vec![b'x'; length]);
        log.write(Stream::Stdout, b"\nend\n");
        log.close();
        let mut said = records(&dir.path().join("0.log"));
        assert_eq!(said.pop(), Some(whole("end")));
        assert_eq!(said.iter().map(|(_, partial, _)| *partial).collect::<Vec<_>>(), parts, "{length}");
        assert_eq!(said.iter().map(|(.., text)| text.len()).sum::<usize>(), length);
    }
}

#[test]
fn files_are_turned_over_at_their_size_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    // A record of 9 bytes of text is 50 bytes long.
    let mut log = open(&dir, LogConfig { max_size: 100, max_files: 3 });
    for n in 0..9 {
        log.write(Stream::Stdout, format!("line {n:04}\n").as_bytes());
    }
    log.close();
    let text =
        |name: &str| records(&dir.path().join(name)).into_iter().map(|(.., text)| String::from_utf8(text).unwrap()).collect::<Vec<_>>();
    assert_eq!(text("0.log"), ["line 0008"]);
    assert_eq!(text("0.log.1"), ["line 0006", "line 0007"]);
    assert_eq!(text("0.log.2"), ["line 0004", "line 0005"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn one_file_alone_and_records_beyond_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig { max_size: 10, max_files: 1 });
    log.write(Stream::Stdout, b"first\nsecond\n");
    log.close();
    assert_eq!(records(&dir.path().join("0.log")), [whole("second")]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_a_crash_tore_is_cut_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, BIG);
    log.write(Stream::Stdout, b"one\n");
    drop(log);
    let path = dir.path().join("0.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"2026-11-23T20:51:04.1");
    fs::write(&path, &bytes).unwrap();
    let mut log = open(&dir, BIG);
    log.write(Stream::Stdout, b"two\n");
    assert_eq!(records(&path), [whole("one"), whole("two")]);
}

#[test]
fn a_symlink_or_a_fifo_in_the_files_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/null", dir.path().join("0.log")).unwrap();
    assert_eq!(Log::open(dir.path(), 0, &BIG, group()).unwrap_err().source, Errno::ELOOP);
    nix::unistd::mkfifo(&dir.path().join("1.log"), Mode::S_IRWXU).unwrap();
    assert_eq!(Log::open(dir.path(), 1, &BIG, group()).unwrap_err().source, Errno::EINVAL);
    assert_eq!(Log::open(&dir.path().join("none/none"), 0, &BIG, group()).unwrap_err().source, Errno::ENOENT);
}

#[test]
fn what_a_full_disk_does_not_take_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, BIG);
    log.write(Stream::Stdout, b"one\n");
    log.sink.file = Some(File::options().write(true).open("/dev/full").unwrap());
    log.write(Stream::Stdout, b"lost\n");
    assert_eq!(log.lost(), 5);
    log.write(Stream::Stdout, b"two\n");
    assert_eq!(log.close(), 5);
    assert_eq!(records(&dir.path().join("0.log")), [whole("one"), whole("two")]);
}

/// A file system of 64 KiB, seen by this thread alone, that fills up and has room again.
#[test]
fn a_file_system_that_fills_up_leaves_whole_records() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: skipped, no file system can be mounted");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use nix::mount::{MsFlags, mount};
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
            fs::write(dir.path().join("ballast"), vec![0; 32 << 10]).unwrap();
            let mut log = open(&dir, BIG);
            let line = format!("{}\n", "x".repeat(999));
            for _ in 0..64 {
                log.write(Stream::Stdout, line.as_bytes());
            }
            let kept = records(&dir.path().join("0.log")).len() as u64;
            assert!(log.lost() > 0 && log.lost() == (64 - kept) * 1000, "{} lost, {kept} kept", log.lost());
            fs::remove_file(dir.path().join("ballast")).unwrap();
            log.write(Stream::Stdout, b"room again\n");
            assert_eq!(records(&dir.path().join("0.log")).last(), Some(&whole("room again")));
        });
    });
}

#[test]
fn what_is_no_record_is_none() {
    let stamp = "2026-11-23T20:51:04.123456789Z";
    for bad in ["", "x", stamp, &format!("{stamp} stdout"), &format!("{stamp} stdin F x"), &format!("{stamp} stdout X x"), "now stdout F x"]
    {
        assert_eq!(parse_record(bad.as_bytes()), None, "{bad:?}");
    }
    let other_zone = parse_record(b"2016-10-06T00:17:09.669794202+02:00 stderr P:later log content \n").unwrap();
    assert!(other_zone.partial && other_zone.stream == Stream::Stderr && other_zone.text == b"log content ");
    assert_eq!(parse_record(format!("{stamp} stdout F").as_bytes()).unwrap().text, b"");
}

/// Text of both kinds: many short lines, and lines beyond the longest record.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40),
        1 => (LONGEST - 2..LONGEST + 3).prop_map(|n| vec![b'a'; n]),
        1 => (2 * LONGEST - 2..2 * LONGEST + 3).prop_map(|n| vec![b'b'; n]),
    ];
    proptest::collection::vec((line, any::<bool>()), 0..30).prop_map(|lines| {
        lines.into_iter().fold(Vec::new(), |mut all, (line, ended)| {
            all.extend(line);
            all.extend(ended.then_some(b'\n'));
            all
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_records(
        bytes in output(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        max_size in prop_oneof![Just(1_u64 << 30), 50..40_000_u64],
    ) {
        let config = || LogConfig { max_size, max_files: u32::MAX };
        let (at_once, in_pieces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = open(&at_once, config());
        log.write(Stream::Stdout, &bytes);
        prop_assert_eq!(log.close(), 0);
        let mut log = open(&in_pieces, config());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            log.write(Stream::Stdout, &bytes[from..cut]);
            from = cut;
        }
        prop_assert_eq!(log.close(), 0);
        let said = all_records(&at_once);
        prop_assert_eq!(&said, &all_records(&in_pieces));
        // And the text comes back: F ends a line, P does not.
        let text: Vec<u8> = said.iter().flat_map(|(_, partial, text)| text.iter().copied().chain((!partial).then_some(b'\n'))).collect();
        prop_assert_eq!(text, bytes);
        for entry in fs::read_dir(at_once.path()).unwrap() {
            let path = entry.unwrap().path();
            prop_assert!(fs::metadata(&path).unwrap().len() <= max_size || records(&path).len() == 1);
        }
    }
}
