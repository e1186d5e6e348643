//! Layers imported for real: the worker forked as the launcher forks it, its confinement seen from outside, and what is left after each
//! way that it can end.
//!
//! Needs root, and says so without it. Without the test harness: a process that forks has exactly one thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use runtime::error::RuntimeError;
use runtime::protocol::{LauncherAnswer, LoadedImage, read_frame, write_frame};
use runtime::sys::process::{self, Child, Cloned};
use runtime::worker;
use sha2::{Digest, Sha256};

const TESTS: &[(&str, fn())] = &[
    ("a_root_file_system_is_imported_and_runs", a_root_file_system_is_imported_and_runs),
    ("whiteouts_hide_what_overlayfs_shows_of_the_layer_below", whiteouts_hide_what_overlayfs_shows_of_the_layer_below),
    ("owners_and_attributes_are_on_disk", owners_and_attributes_are_on_disk),
    ("the_same_layer_twice_is_one_layer", the_same_layer_twice_is_one_layer),
    ("what_is_refused_leaves_nothing", what_is_refused_leaves_nothing),
    ("a_client_that_still_sends_reads_the_answer", a_client_that_still_sends_reads_the_answer),
    ("a_full_disk_is_an_error_and_frees_what_it_took", a_full_disk_is_an_error_and_frees_what_it_took),
    ("the_unpacker_is_confined", the_unpacker_is_confined),
    ("memory_stays_small", memory_stays_small),
    ("a_killed_unpacker_is_an_answer", a_killed_unpacker_is_an_answer),
    ("a_killed_worker_takes_its_unpacker_along_and_the_sweep_the_rest", a_killed_worker_takes_its_unpacker_along_and_the_sweep_the_rest),
    ("a_staging_id_is_used_once", a_staging_id_is_used_once),
    ("an_oci_layout_is_loaded", an_oci_layout_is_loaded),
    ("a_docker_archive_is_loaded_with_its_shared_layers_once", a_docker_archive_is_loaded_with_its_shared_layers_once),
    ("an_archive_that_lies_leaves_nothing", an_archive_that_lies_leaves_nothing),
    ("layers_are_removed_and_measured", layers_are_removed_and_measured),
    ("volumes_come_and_go", volumes_come_and_go),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: these tests need root");
        return ExitCode::SUCCESS;
    }
    // What a test mounts is gone with this process, however it ends.
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = nix::mount::MsFlags::MS_PRIVATE | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter))) {
        let clock = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(test));
        println!("test {name} ... {} ({:.2?})", if outcome.is_ok() { "ok" } else { "FAILED" }, clock.elapsed());
        failed += usize::from(outcome.is_err());
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A data folder of its own, and the requests that workers answer on it.
struct Host {
    data: tempfile::TempDir,
}

/// A worker in the middle of its work, and the client's end of its connection.
struct Worker {
    child: Child,
    connection: UnixStream,
    ended: bool,
}

impl Host {
    fn new() -> Self {
        Host { data: tempfile::tempdir().unwrap() }
    }

    fn layers(&self) -> PathBuf {
        self.data.path().join("layers")
    }

    /// Every name in the layers folder.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.layers()) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Forks a worker that imports a layer.
    fn worker(&self, staging: u8) -> Worker {
        let id = format!("{staging:032x}").parse().unwrap();
        self.fork(|connection| worker::import_layer(connection, self.data.path(), &id, 64 << 20, 10_000))
    }

    /// Forks a worker as the launcher does.
    fn fork(&self, work: impl FnOnce(&UnixStream) -> Result<LauncherAnswer, RuntimeError>) -> Worker {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        match process::fork().unwrap() {
            Cloned::Child => {
                drop(ours);
                let outcome = work(&theirs);
                let answer = outcome.unwrap_or_else(|error| LauncherAnswer::Failed { error });
                let _ = write_frame(&mut theirs, &answer);
                process::exit_now(0)
            }
            Cloned::Parent(child) => Worker { child, connection: ours, ended: false },
        }
    }

    fn import(&self, archive: &[u8]) -> Result<Imported, RuntimeError> {
        let mut worker = self.worker(1);
        worker.send(archive);
        worker.answer()
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<LoadedImage>, RuntimeError> {
        let id = format!("{:032x}", 1).parse().unwrap();
        let mut worker = self.fork(|connection| worker::load_archive(connection, self.data.path(), &id, 64 << 20, 10_000, None));
        worker.send(archive);
        match worker.any_answer() {
            LauncherAnswer::ArchiveLoaded { images, .. } => Ok(images),
            LauncherAnswer::Failed { error } => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

impl Worker {
    /// All of it, or as much as is wanted.
    fn send(&mut self, archive: &[u8]) {
        let _ = self.connection.write_all(archive);
        let _ = self.connection.shutdown(Shutdown::Write);
    }

    fn any_answer(&mut self) -> LauncherAnswer {
        let answer = read_frame::<LauncherAnswer>(&mut self.connection).unwrap().expect("an answer before the end of the stream");
        process::reap(self.child.pidfd.as_fd()).unwrap();
        self.ended = true;
        answer
    }

    fn answer(&mut self) -> Result<Imported, RuntimeError> {
        match self.any_answer() {
            LauncherAnswer::LayerImported { layer, size, entries, compressed_digest, notes } => {
                Ok(Imported { layer: layer.to_string(), size, entries, compressed_digest, notes })
            }
            LauncherAnswer::Failed { error } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// The confined child, once its walls are up: no new privileges are the last but one of them.
    fn unpacker(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.child.pid);
        eventually("the unpacker is confined", || {
            let pid: i32 = fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()?;
            (status(pid).get("NoNewPrivs")? == "1").then_some(pid)
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.ended {
            let _ = process::pidfd_send_signal(self.child.pidfd.as_fd(), libc::SIGKILL);
            let _ = process::reap(self.child.pidfd.as_fd());
        }
    }
}

#[derive(Debug, PartialEq)]
struct Imported {
    layer: String,
    size: u64,
    entries: u64,
    compressed_digest: String,
    notes: Vec<String>,
}

/// Looks again and again, for what gives no event; panics after ten seconds, or as many times longer as `BERTH_TEST_SLOWNESS` says that
/// this machine is slower.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let slowness = std::env::var("BERTH_TEST_SLOWNESS").map_or(1, |text| text.parse().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10) * slowness;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

/// The lines of /proc/<pid>/status.
fn status(pid: i32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar of files, folders (no content) and what `more` adds.
fn tar(files: &[(&str, Option<&[u8]>)], more: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        header.set_mode(0o755);
        header.set_mtime(1_000_000_000);
        header.set_size(content.map_or(0, |content| content.len() as u64));
        builder.append_data(&mut header, name, content.unwrap_or_default()).unwrap();
    }
    more(&mut builder);
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn busybox() -> Vec<u8> {
    let program = fs::read("/bin/busybox").expect("busybox-static is installed");
    tar(&[("./", None), ("bin/", None), ("bin/busybox", Some(&program)), ("tmp/", None)], |builder| {
        for applet in ["sh", "echo", "cat"] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
        }
    })
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn a_root_file_system_is_imported_and_runs() {
    let host = Host::new();
    let archive = busybox();
    for stream in [archive.clone(), gzip(&archive), zstd::encode_all(&archive[..], 1).unwrap()] {
        let imported = host.import(&stream).unwrap();
        assert_eq!(imported.layer, sha256(&archive));
        assert_eq!(imported.compressed_digest, format!("sha256:{}", sha256(&stream)));
        assert_eq!((imported.entries, imported.size), (7, fs::metadata("/bin/busybox").unwrap().len()));
        assert_eq!(host.names(), [imported.layer.as_str()]);
        let root = host.layers().join(&imported.layer);
        assert_eq!(run("chroot", &[root.to_str().unwrap(), "/bin/sh", "-c", "echo from inside"]), "from inside\n");
    }
    assert_eq!(fs::metadata(host.layers()).unwrap().mode() & 0o777, 0o700, "set-uid programs of an image are nobody else's to run");
}

fn whiteouts_hide_what_overlayfs_shows_of_the_layer_below() {
    let host = Host::new();
    let lower = tar(
        &[
            ("gone", Some(b"1")),
            ("kept", Some(b"2")),
            ("opaque/", None),
            ("opaque/old", Some(b"3")),
            ("remade/", None),
            ("remade/old", Some(b"4")),
        ],
        |_| {},
    );
    let upper = tar(
        &[
            (".wh.gone", Some(b"")),
            ("opaque/", None),
            ("opaque/.wh..wh..opq", Some(b"")),
            ("opaque/new", Some(b"5")),
            (".wh.remade", Some(b"")),
            ("remade/new", Some(b"6")),
        ],
        |_| {},
    );
    let layer = |archive: &[u8]| host.layers().join(host.import(archive).unwrap().layer).to_str().unwrap().to_owned();
    let (lower, upper) = (layer(&lower), layer(&upper));
    let merged = host.data.path().join("merged");
    fs::create_dir(&merged).unwrap();
    let options = format!("lowerdir={upper}:{lower}");
    nix::mount::mount(Some("overlay"), &merged, Some("overlay"), nix::mount::MsFlags::empty(), Some(options.as_str())).unwrap();
    let listed = run("find", &[merged.to_str().unwrap(), "-mindepth", "1", "-printf", "%P\n"]);
    nix::mount::umount(&merged).unwrap();
    let mut names: Vec<_> = listed.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["kept", "opaque", "opaque/new", "remade", "remade/new"]);
}

fn owners_and_attributes_are_on_disk() {
    let host = Host::new();
    let archive = tar(&[], |builder| {
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let attributes = [("SCHILY.xattr.security.capability", &capability[..]), ("SCHILY.xattr.user.note", b"kept")];
        builder.append_pax_extensions(attributes).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o4755);
        header.set_uid(33);
        header.set_gid(44);
        header.set_size(2);
        builder.append_data(&mut header, "ping", &b"#!"[..]).unwrap();
    });
    let imported = host.import(&archive).unwrap();
    let file = host.layers().join(&imported.layer).join("ping");
    let meta = fs::metadata(&file).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (33, 44, 0o4755));
    let file = fs::File::open(file).unwrap();
    let attribute = |name: &[u8]| runtime::sys::xattr::get(file.as_fd(), name, 64).unwrap();
    assert_eq!(attribute(b"user.note").as_deref(), Some(&b"kept"[..]));
    assert_eq!(attribute(b"security.capability").map(|value| value.len()), Some(20));
    let root = fs::metadata(host.layers().join(&imported.layer)).unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (0, 0, 0o755), "a root that the archive does not name");
}

fn the_same_layer_twice_is_one_layer() {
    let host = Host::new();
    let archive = tar(&[("a", Some(b"1"))], |_| {});
    let first = host.import(&archive).unwrap();
    let inode = fs::metadata(host.layers().join(&first.layer)).unwrap().ino();
    assert_eq!(host.import(&archive).unwrap(), first);
    assert_eq!(fs::metadata(host.layers().join(&first.layer)).unwrap().ino(), inode);
    assert_eq!(host.names(), [first.layer]);
}

fn what_is_refused_leaves_nothing() {
    let host = Host::new();
    let archive = tar(&[("a", Some(&[1; 100_000])), ("b/", None), ("b/c", Some(&[2; 5000]))], |_| {});
    let zipped = gzip(&archive);
    let hostile = tar(&[("ok", Some(b"1"))], |builder| {
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.as_old_mut().name[..9].copy_from_slice(b"../escape");
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    });
    for (archive, entry) in [
        (&b""[..], ""),
        (b"<html>not found</html>", ""),
        (&archive[..60_000], "a"),
        (&archive[..archive.len() - 1024], "b/c"),
        (&zipped[..zipped.len() / 2], "a"),
        (&zipped[..zipped.len() - 4], "b/c"),
        (&hostile, "../escape"),
    ] {
        match host.import(archive).unwrap_err() {
            RuntimeError::BadArchive { entry: named, .. } => assert_eq!(named, entry),
            other => panic!("{other:?}"),
        }
        assert_eq!(host.names(), [""; 0]);
    }
    // A client that dies in the middle is a cut archive.
    let mut worker = host.worker(1);
    worker.connection.write_all(&archive[..50_000]).unwrap();
    worker.unpacker();
    worker.connection.shutdown(Shutdown::Both).unwrap();
    process::reap(worker.child.pidfd.as_fd()).unwrap();
    worker.ended = true;
    assert_eq!(host.names(), [""; 0]);
}

fn a_client_that_still_sends_reads_the_answer() {
    let host = Host::new();
    let mut worker = host.worker(1);
    let page = b"<html>".repeat(1000);
    let refused = std::iter::repeat_with(|| worker.connection.write_all(&page)).find_map(Result::err).unwrap();
    // ECONNRESET once, for what was sent and not read; then EPIPE.
    assert!(matches!(refused.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{refused}");
    assert!(matches!(worker.answer(), Err(RuntimeError::BadArchive { message, .. }) if message.contains("HTML")));
}

fn a_full_disk_is_an_error_and_frees_what_it_took() {
    let host = Host::new();
    let small = Some("size=4m");
    nix::mount::mount(Some("tmpfs"), host.data.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), small).unwrap();
    let free = || nix::sys::statvfs::statvfs(host.data.path()).unwrap().blocks_free();
    host.import(&tar(&[("small", Some(b"1"))], |_| {})).unwrap();
    let (before, names) = (free(), host.names());
    match host.import(&tar(&[("large", Some(&vec![1; 8 << 20]))], |_| {})).unwrap_err() {
        RuntimeError::Setup(error) => {
            assert_eq!((error.stage.as_str(), error.errno_name.as_str()), ("unpack", "ENOSPC"));
            assert!(error.detail.contains("\"large\""), "{}", error.detail);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((free(), host.names()), (before, names));
    nix::mount::umount(host.data.path()).unwrap();
}

fn the_unpacker_is_confined() {
    let host = Host::new();
    let mut worker = host.worker(1);
    let pid = worker.unpacker();
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    // Its whole file system is the folder that it unpacks to.
    let visible: Vec<_> = fs::read_dir(format!("/proc/{pid}/root/")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(visible, ["0"]);
    assert!(fs::metadata(format!("/proc/{pid}/root/etc/passwd")).is_err());
    assert!(fs::metadata(format!("/proc/{pid}/root/../../../../etc/passwd")).is_err());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    let mounts = read("mountinfo");
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    for flag in ["nosuid", "nodev", "noexec"] {
        assert!(mounts.contains(flag), "{mounts}");
    }
    // No network, and no one to signal or to trace.
    let interfaces: Vec<_> = read("net/dev").lines().skip(2).map(|line| line.split(':').next().unwrap().trim().to_owned()).collect();
    assert_eq!(interfaces, ["lo"]);
    assert_eq!(read("net/unix").lines().count(), 1, "no abstract socket is in reach");
    for namespace in ["pid", "mnt", "net", "ipc", "uts"] {
        let inode = |of: &str| fs::read_link(format!("/proc/{of}/ns/{namespace}")).unwrap();
        assert_ne!(inode(&pid.to_string()), inode("self"), "{namespace}");
    }
    let facts = status(pid);
    assert_eq!(facts["NSpid"].split_whitespace().last(), Some("1"));
    for ids in ["Uid", "Gid"] {
        assert!(facts[ids].split_whitespace().all(|id| id == "65533"), "{ids}: {}", facts[ids]);
    }
    assert_eq!(facts["Groups"], "");
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP.
    let few = format!("{:016x}", 1u64 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31);
    for (set, capabilities) in [("CapEff", few.as_str()), ("CapPrm", &few), ("CapInh", "0000000000000000"), ("CapBnd", "0000000000000000")]
    {
        assert_eq!(facts[set], capabilities, "{set}");
    }
    assert_eq!((facts["NoNewPrivs"].as_str(), facts["Threads"].as_str()), ("1", "1"));
    let limits = read("limits");
    for (limit, most) in [("Max data size", "536870912"), ("Max file size", "67108864"), ("Max open files", "64"), ("Max processes", "0")] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        assert_eq!(line[limit.len()..].split_whitespace().take(2).collect::<Vec<_>>(), [most, most], "{limit}");
    }
    // The connection, the report, its root, and the folder that it writes to; standard streams lead nowhere.
    let mut open: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
    open.sort();
    let kinds: Vec<_> = open.iter().map(|target| target.to_str().unwrap().split(':').next().unwrap().to_owned()).collect();
    assert_eq!(&kinds[kinds.len() - 2..], ["socket", "socket"]);
    assert!(kinds[..kinds.len() - 2].iter().all(|kind| matches!(kind.as_str(), "/dev/null" | "/null" | "/" | "/0")), "{kinds:?}");
    // And with all that it does its work.
    worker.connection.write_all(&tar(&[("a", Some(b"1")), ("b/.wh..wh..opq", Some(b""))], |_| {})).unwrap();
    worker.connection.shutdown(Shutdown::Write).unwrap();
    assert_eq!(worker.answer().unwrap().entries, 3);
}

fn memory_stays_small() {
    let host = Host::new();
    let mut worker = host.worker(1);
    let unpacker = worker.unpacker();
    let content = vec![7; 1 << 20];
    let files: Vec<_> = (0..40).map(|number| format!("folder-{number}/file")).collect();
    let files: Vec<_> = files.iter().map(|name| (name.as_str(), Some(&content[..]))).collect();
    let stream = gzip(&tar(&files, |_| {}));
    let (last, most) = stream.split_last().unwrap();
    worker.connection.write_all(most).unwrap();
    // All but the last byte is in, and what it says is on disk: it waits for the rest.
    let staged = host.layers().join(format!(".staging-{:032x}/0/folder-39/file", 1));
    eventually("the last file is there", || fs::metadata(&staged).ok().filter(|meta| meta.mtime() == 1_000_000_000));
    let peak: u64 = status(unpacker)["VmHWM"].split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
    worker.connection.write_all(&[*last]).unwrap();
    worker.connection.shutdown(Shutdown::Write).unwrap();
    assert_eq!(worker.answer().unwrap().size, 40 << 20);
}

fn a_killed_unpacker_is_an_answer() {
    let host = Host::new();
    let mut worker = host.worker(1);
    let pidfd = process::pidfd_open(worker.unpacker()).unwrap();
    worker.connection.write_all(&tar(&[("a", Some(b"1"))], |_| {})[..600]).unwrap();
    process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
    match worker.answer().unwrap_err() {
        RuntimeError::Protocol { message } => assert!(message.contains("Signaled(9)"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(host.names(), [""; 0]);
}

fn a_killed_worker_takes_its_unpacker_along_and_the_sweep_the_rest() {
    let host = Host::new();
    let mut dead = host.worker(1);
    let mut alive = host.worker(2);
    let unpacker = process::pidfd_open(dead.unpacker()).unwrap();
    alive.unpacker();
    process::pidfd_send_signal(dead.child.pidfd.as_fd(), libc::SIGKILL).unwrap();
    process::reap(dead.child.pidfd.as_fd()).unwrap();
    dead.ended = true;
    let gone = [nix::poll::PollFd::new(unpacker.as_fd(), nix::poll::PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut gone.clone(), 10_000u16).unwrap(), 1, "the unpacker outlives its worker");
    let staging = |number: u8| format!(".staging-{number:032x}");
    assert_eq!(host.names(), [staging(1), staging(2)]);
    fs::create_dir_all(host.layers().join(".trash-7/half/removed")).unwrap();
    worker::sweep(host.data.path());
    assert_eq!(host.names(), [staging(2)], "what lives is left alone");
    alive.connection.write_all(&tar(&[("a", Some(b"1"))], |_| {})).unwrap();
    alive.connection.shutdown(Shutdown::Write).unwrap();
    assert_eq!(host.names().len(), 1);
    let layer = alive.answer().unwrap().layer;
    assert_eq!(host.names(), [layer]);
}

fn a_staging_id_is_used_once() {
    let host = Host::new();
    let first = host.worker(1);
    first.unpacker();
    assert!(matches!(host.worker(1).answer(), Err(RuntimeError::Conflict { .. })));
    first.unpacker();
    assert_eq!(host.names().len(), 1);
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

fn configuration(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    serde_json::to_vec(&config).unwrap()
}

/// An OCI layout of one image, as a tar; `stored` are its layers as they are kept.
fn layout(layers: &[&[u8]], stored: &[Vec<u8>]) -> Vec<u8> {
    let mut blobs: Vec<Vec<u8>> = stored.to_vec();
    let describe = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let config = configuration(layers);
    let stored: Vec<_> = stored.iter().map(|layer| describe("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
    let manifest = serde_json::json!({"schemaVersion": 2, "layers": stored,
        "config": describe("application/vnd.oci.image.config.v1+json", &config)});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut entry = describe("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = serde_json::json!({"io.containerd.image.name": "docker.io/library/busybox:1"});
    let index = serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "manifests": [entry]})).unwrap();
    blobs.extend([config, manifest]);
    let mut files: Vec<(String, Vec<u8>)> = blobs.into_iter().map(|blob| (format!("blobs/sha256/{}", sha256(&blob)), blob)).collect();
    files.extend([("index.json".into(), index), ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())]);
    tar(&files.iter().map(|(name, content)| (name.as_str(), Some(&content[..]))).collect::<Vec<_>>(), |_| {})
}

fn an_oci_layout_is_loaded() {
    let host = Host::new();
    let (base, top) = (busybox(), tar(&[("etc/motd", Some(b"hello\n")), (".wh.tmp", Some(b""))], |_| {}));
    let stored = [gzip(&base), zstd::encode_all(&top[..], 1).unwrap()];
    let archive = layout(&[&base, &top], &stored);
    for archive in [gzip(&archive), archive] {
        let images = host.load(&archive).unwrap();
        assert_eq!((images.len(), &images[0].references[..]), (1, &["docker.io/library/busybox:1".to_owned()][..]));
        assert_eq!(images[0].config.as_bytes(), configuration(&[&base, &top]));
        assert_eq!(images[0].config_digest, digest(images[0].config.as_bytes()));
        let layers: Vec<_> = images[0].layers.iter().map(|layer| (layer.layer.as_str(), layer.compressed_digest.as_str())).collect();
        let (a, b, c, d) = (sha256(&base), digest(&stored[0]), sha256(&top), digest(&stored[1]));
        assert_eq!(layers, [(a.as_str(), b.as_str()), (&c, &d)]);
        let mut names = [a, c];
        names.sort();
        assert_eq!(host.names(), names);
    }
    let top = host.layers().join(sha256(&top));
    assert_eq!(fs::read(top.join("etc/motd")).unwrap(), b"hello\n");
    assert_eq!(fs::symlink_metadata(top.join("tmp")).unwrap().rdev(), 0);
}

fn a_docker_archive_is_loaded_with_its_shared_layers_once() {
    let host = Host::new();
    let (base, other) = (tar(&[("base", Some(b"1"))], |_| {}), tar(&[("other", Some(b"2"))], |_| {}));
    let configs = [configuration(&[&base]), configuration(&[&base, &other])];
    let names = configs.clone().map(|config| format!("{}.json", sha256(&config)));
    let manifest = serde_json::json!([
        {"Config": names[0], "RepoTags": ["one:1"], "Layers": ["a/layer.tar"]},
        {"Config": names[1], "RepoTags": null, "Layers": ["b/layer.tar", "c/layer.tar"]},
    ]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let files: &[(&str, Option<&[u8]>)] = &[
        ("a/layer.tar", Some(&base)),
        ("c/layer.tar", Some(&other)),
        (&names[0], Some(&configs[0])),
        (&names[1], Some(&configs[1])),
        ("manifest.json", Some(&manifest)),
    ];
    let archive = tar(files, |builder| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "b/layer.tar", "../a/layer.tar").unwrap();
    });
    let images = host.load(&archive).unwrap();
    let shapes: Vec<_> = images.iter().map(|image| (image.references.len(), image.layers.len(), image.manifest_digest.clone())).collect();
    assert_eq!(shapes, [(1, 1, None), (0, 2, None)]);
    assert_eq!(images[0].layers[0], images[1].layers[0]);
    assert_eq!(host.names().len(), 2);
}

fn an_archive_that_lies_leaves_nothing() {
    let host = Host::new();
    let (honest, other) = (tar(&[("a", Some(b"1"))], |_| {}), tar(&[("b", Some(b"2"))], |_| {}));
    let escape = tar(&[("ok", Some(b"1"))], |builder| {
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.as_old_mut().name[..5].copy_from_slice(b"../up");
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    });
    let archive = layout(&[&honest], std::slice::from_ref(&honest));
    let at = archive.windows(5).position(|bytes| bytes == b"\"Cmd\"").unwrap();
    let mut changed = archive.clone();
    changed[at + 1] = b'X';
    for (archive, says) in [
        (layout(&[&honest, &other], &[honest.clone(), honest.clone()]), "two different layers"),
        (layout(&[&honest, &other], &[other.clone(), honest.clone()]), "by the image's configuration"),
        (layout(&[&escape], std::slice::from_ref(&escape)), "\"..\""),
        (changed, "its digest is"),
        (archive[..archive.len() / 2].to_vec(), "cut"),
        (tar(&[("just", Some(b"a tar"))], |_| {}), "no image in it"),
        (b"nonsense".repeat(100), "not a tar archive"),
    ] {
        match host.load(&archive).unwrap_err() {
            RuntimeError::BadArchive { message, .. } => assert!(message.contains(says), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(host.names(), [""; 0]);
    }
}

fn layers_are_removed_and_measured() {
    let host = Host::new();
    let imported = host.import(&tar(&[("a", Some(&[1; 100_000])), ("b/", None)], |_| {})).unwrap();
    let usage = worker::disk_usage(host.data.path()).unwrap();
    assert_eq!((usage.len(), usage[0].kind.as_str(), usage[0].id.as_str(), usage[0].inodes), (1, "layer", imported.layer.as_str(), 3));
    assert!((100_000..200_000).contains(&usage[0].bytes), "{}", usage[0].bytes);
    let layer = imported.layer.parse().unwrap();
    worker::remove_layer(host.data.path(), &layer).unwrap();
    assert_eq!(host.names(), [""; 0]);
    assert!(matches!(worker::remove_layer(host.data.path(), &layer), Err(RuntimeError::NotFound { .. })));
}

fn volumes_come_and_go() {
    let host = Host::new();
    let volume = "0123456789abcdef0123456789abcdef".parse().unwrap();
    worker::create_volume(host.data.path(), &volume).unwrap();
    let files = host.data.path().join("volumes").join(volume.as_str()).join("_data");
    fs::write(files.join("kept"), "1").unwrap();
    worker::create_volume(host.data.path(), &volume).unwrap();
    let mut content = String::new();
    fs::File::open(files.join("kept")).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!((content.as_str(), fs::metadata(&files).unwrap().mode() & 0o7777), ("1", 0o755));
    // Somebody's disk is mounted in it: not one file may go.
    fs::create_dir(files.join("mounted")).unwrap();
    nix::mount::mount(Some("tmpfs"), &files.join("mounted"), Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
    match worker::remove_volume(host.data.path(), &volume).unwrap_err() {
        RuntimeError::Setup(error) => assert_eq!(error.errno_name, "EBUSY"),
        other => panic!("{other:?}"),
    }
    assert!(files.join("kept").exists());
    nix::mount::umount(&files.join("mounted")).unwrap();
    worker::remove_volume(host.data.path(), &volume).unwrap();
    assert!(fs::read_dir(host.data.path().join("volumes")).unwrap().next().is_none());
    assert!(matches!(worker::remove_volume(host.data.path(), &volume), Err(RuntimeError::NotFound { .. })));
}
