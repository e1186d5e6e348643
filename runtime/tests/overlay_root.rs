//! Both ways of making a container's root file system, on this kernel: the older one works on every kernel, so it is tried on every kernel.
//!
//! Needs root, and says so without it. Without the test harness: a process that forks has exactly one thread.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use runtime::rootfs::overlay::Overlay;
use runtime::sys::mount::{Reach, clone_tree, open_in_root};

const LAYERS: usize = 40;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("both_ways_show_the_same: test");
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: these tests need root");
        return ExitCode::SUCCESS;
    }
    both_ways_show_the_same();
    what_cannot_be_says_why();
    println!("test result: ok. 2 passed; 0 failed");
    ExitCode::SUCCESS
}

fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

/// Folders for an overlay: more layers than one fsconfig string could name.
fn folders(below: &Path) -> (Vec<OwnedFd>, PathBuf, PathBuf) {
    let layers = (0..LAYERS).map(|number| {
        let layer = below.join(format!("a-layer-with-a-name-of-some-length-{number}"));
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join(format!("only-{number}")), "").unwrap();
        fs::write(layer.join("in-all"), number.to_string()).unwrap();
        clone_tree(open(&layer).as_fd(), "", Reach::One).unwrap()
    });
    let layers = layers.collect();
    // Characters that mean something in the options of mount(2).
    let (upper, work) = (below.join("upper,with:odd=name"), below.join("work,with:odd=name"));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&work).unwrap();
    (layers, upper, work)
}

fn both_ways_show_the_same() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let newer = |overlay: &Overlay<'_>| match overlay.by_descriptor() {
        Err(error) if matches!(error.source, Errno::EINVAL | Errno::EOPNOTSUPP) => {
            eprintln!("this kernel does not know the newer way: {error}");
            assert!(overlay.mount().unwrap().1, "the older way is taken by itself");
            None
        }
        made => Some(made.unwrap()),
    };
    let older = |overlay: &Overlay<'_>| Some(overlay.attached().unwrap());
    for make in [&newer as &dyn Fn(&Overlay<'_>) -> Option<OwnedFd>, &older] {
        let below = tempfile::tempdir().unwrap();
        let (layers, upper, work) = folders(below.path());
        let Some(mount) = make(&Overlay { layers: &layers, upper: &upper, work: &work }) else { continue };
        let read = |name: &str| {
            let mut text = String::new();
            fs::File::from(open_in_root(mount.as_fd(), name, OFlag::O_RDONLY).unwrap()).read_to_string(&mut text).unwrap();
            text
        };
        for number in 0..LAYERS {
            assert_eq!(read(&format!("only-{number}")), "");
        }
        assert_eq!(read("in-all"), (LAYERS - 1).to_string(), "the last layer is the uppermost");
        let mut file = fs::File::from(open_in_root(mount.as_fd(), "in-all", OFlag::O_WRONLY | OFlag::O_TRUNC).unwrap());
        file.write_all(b"written").unwrap();
        assert_eq!(read("in-all"), "written");
        assert_eq!(fs::read_to_string(upper.join("in-all")).unwrap(), "written", "the change is in the upper folder");
        assert_eq!(mounts(), before, "it shows in the host's mount table");
    }
    assert_eq!(mounts(), before);
}

/// An upper folder on another file system than the work folder is refused by every kernel.
fn what_cannot_be_says_why() {
    let below = tempfile::tempdir().unwrap();
    let (layers, upper, _) = folders(below.path());
    let overlay = Overlay { layers: &layers, upper: &upper, work: Path::new("/proc/self/task") };
    let error = overlay.mount().unwrap_err();
    assert!(error.subject.contains("overlay"), "{error}");
    let gone = Overlay { layers: &layers, upper: Path::new("/there/is/none"), work: Path::new("/there/is/none") };
    assert_eq!(gone.mount().unwrap_err().source, Errno::ENOENT);
}
