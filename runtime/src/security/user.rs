//! Which uid, gids and home a container's `user` means, by the image's own /etc/passwd and /etc/group.
//!
//! Both files are hostile input: they come from an image or a running container. Nothing here opens a path from outside the container's
//! root, reads more than a megabyte, waits, or lets a line that is not understood count. And nothing ever falls to root: a text that is not
//! exactly an id or a name is an error, whatever the files say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::OFlag;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};

use crate::error::SysError;
use crate::sys::mount::open_in_root;

/// The most that is read of one database.
pub const MAX_DATABASE: u64 = 1 << 20;

/// Supplementary groups of one process: the kernel's `NGROUPS_MAX`.
const MAX_GROUPS: usize = 65_536;

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Neither ids nor names.
    #[error("{text:?} is not a user: it must be uid, uid:gid, name or name:group")]
    Syntax { text: String },
    /// A number beyond 4,294,967,294: the next one is the kernel's "no change".
    #[error("{text:?} is not an id from 0 to 4294967294")]
    Range { text: String },
    #[error("the image's /etc/passwd has no user {name:?}")]
    NoSuchUser { name: String },
    #[error("the image's /etc/group has no group {name:?}")]
    NoSuchGroup { name: String },
    #[error("the image puts {name:?} into more than 65536 groups")]
    TooManyGroups { name: String },
    /// Not a regular file, too large, or part of a kernel file system.
    #[error("the image's {path} is {what}")]
    Database { path: String, what: &'static str },
    #[error("reading the image's {path}")]
    Read {
        path: String,
        #[source]
        source: SysError,
    },
}

/// Who a process is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// For setgroups(2): the primary group first, as its absence would let a program shed it (CVE-2022-36109), then those that the image
    /// gives the user. Ascending but for the first, no doubles.
    pub groups: Vec<u32>,
    /// None when the database gives none that can be used as HOME (an absolute path without control characters): then it is `/`.
    pub home: Option<String>,
    /// As the database has it; None for a uid that is not in it.
    pub name: Option<String>,
}

/// A `user` text taken apart, nothing looked up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserText<'a> {
    pub user: Part<'a>,
    pub group: Option<Part<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    Id(u32),
    Name(&'a str),
}

/// Takes `uid`, `uid:gid`, `name` or `name:group` apart; the empty text is root. All digits are an id, never a name.
pub fn parse(text: &str) -> Result<UserText<'_>, UserError> {
    if text.is_empty() {
        return Ok(UserText { user: Part::Id(0), group: None });
    }
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let group = group.map(|group| parse_part(group, text)).transpose()?;
    Ok(UserText { user: parse_part(user, text)?, group })
}

fn parse_part<'a>(part: &'a str, whole: &str) -> Result<Part<'a>, UserError> {
    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits {
        parse_id(part.as_bytes()).map(Part::Id).ok_or_else(|| UserError::Range { text: part.chars().take(80).collect() })
    } else if is_name(part.as_bytes()) {
        Ok(Part::Name(part))
    } else {
        Err(UserError::Syntax { text: whole.chars().take(80).collect() })
    }
}

/// Decimal digits only, up to 4,294,967,294.
fn parse_id(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let id: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (id != u32::MAX).then_some(id)
}

/// POSIX's portable names, which do not start like a number or an option; with the `$` that Samba's machine accounts end in.
fn is_name(text: &[u8]) -> bool {
    let body = text.strip_suffix(b"$").unwrap_or(text);
    let starts = body.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    starts && text.len() <= 255 && body.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Looks `user` up in the contents of a passwd(5) and a group(5) file, either of which may be empty.
///
/// Without a group in the text the user's own group is taken, and the groups that list the user's name; with one, only that group (Docker's
/// meaning). A uid that is not in the database has gid 0 and home `/`. Fails for a text that is no user, and for names that are not there.
pub fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, UserError> {
    let text = parse(user)?;
    let entry = match text.user {
        Part::Id(uid) => users(passwd).find(|entry| entry.uid == uid),
        Part::Name(name) => {
            let found = users(passwd).find(|entry| entry.name == name);
            Some(found.ok_or_else(|| UserError::NoSuchUser { name: name.to_owned() })?)
        }
    };
    let uid = match text.user {
        Part::Id(uid) => uid,
        Part::Name(_) => entry.as_ref().map_or(u32::MAX, |entry| entry.uid),
    };
    let (gid, more) = match text.group {
        Some(Part::Id(gid)) => (gid, BTreeSet::new()),
        Some(Part::Name(name)) => {
            let found = groups(group).find(|entry| entry.name == name);
            (found.ok_or_else(|| UserError::NoSuchGroup { name: name.to_owned() })?.gid, BTreeSet::new())
        }
        None => match &entry {
            Some(entry) => (entry.gid, memberships(group, entry.name)?),
            None => (0, BTreeSet::new()),
        },
    };
    let home = entry.as_ref().map_or_else(|| Some("/".to_owned()), |entry| entry.home.map(str::to_owned));
    Ok(ResolvedUser {
        uid,
        gid,
        groups: std::iter::once(gid).chain(more.into_iter().filter(|one| *one != gid)).collect(),
        home,
        name: entry.map(|entry| entry.name.to_owned()),
    })
}

/// One line of passwd(5).
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: Option<&'a str>,
}

/// The lines that are understood: `name:password:uid:gid:comment:home:shell`, of which the last three may be missing.
fn users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = name_field(fields.next()?)?;
        let uid = parse_id(fields.nth(1)?)?;
        let gid = parse_id(fields.next()?)?;
        Some(User { name, uid, gid, home: fields.nth(1).and_then(home_field) })
    })
}

/// One line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a [u8],
}

/// The lines that are understood: `name:password:gid:member,member`, of which the last may be missing.
fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = name_field(fields.next()?)?;
        let gid = parse_id(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn memberships(group: &[u8], user: &str) -> Result<BTreeSet<u32>, UserError> {
    let lists = |entry: &Group<'_>| entry.members.split(|b| *b == b',').any(|member| member == user.as_bytes());
    let gids: BTreeSet<u32> = groups(group).filter(lists).map(|entry| entry.gid).collect();
    // One less: the primary group is set with them.
    if gids.len() < MAX_GROUPS { Ok(gids) } else { Err(UserError::TooManyGroups { name: user.to_owned() }) }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.contains(&0))
}

fn name_field(field: &[u8]) -> Option<&str> {
    is_name(field).then(|| std::str::from_utf8(field).ok()).flatten()
}

/// An absolute path that can go into the environment and into logs.
fn home_field(field: &[u8]) -> Option<&str> {
    let home = std::str::from_utf8(field).ok()?;
    (home.starts_with('/') && home.len() < 4096 && !home.chars().any(char::is_control)).then_some(home)
}

/// The content of a database (`/etc/passwd`, `/etc/group`) below a container's root; empty when there is none.
///
/// `root` is the container's root directory. Links are followed inside it only. Anything but a regular file of at most a megabyte on an
/// ordinary file system is an error at once, never a wait: a FIFO, a device, /proc/self/mem, a sparse giant.
pub fn read_database(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, UserError> {
    let fault = |what| UserError::Database { path: path.to_owned(), what };
    let read = |source| UserError::Read { path: path.to_owned(), source };
    // A path descriptor first: opening a device, or a file of the kernel, can do something by itself.
    let found = match open_in_root(root, path, OFlag::O_PATH) {
        Ok(found) => File::from(found),
        Err(error) if error.source == nix::errno::Errno::ENOENT => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let metadata = found.metadata().map_err(|error| read(SysError::io("fstat", path, &error)))?;
    if !metadata.is_file() {
        return Err(fault("not a regular file"));
    }
    if metadata.len() > MAX_DATABASE {
        return Err(fault("larger than 1 MiB"));
    }
    let kind = fstatfs(found.as_fd()).map_err(|errno| read(SysError::new("fstatfs", path, errno)))?.filesystem_type();
    if kind == PROC_SUPER_MAGIC || kind == SYSFS_MAGIC {
        return Err(fault("a file of the kernel"));
    }
    let file = File::from(open_in_root(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).map_err(read)?);
    let same = file.metadata().map_err(|error| read(SysError::io("fstat", path, &error)))?;
    if (same.dev(), same.ino()) != (metadata.dev(), metadata.ino()) {
        // Swapped since: what was checked is not what would be read.
        return Err(fault("being replaced"));
    }
    let mut content = Vec::new();
    file.take(MAX_DATABASE + 1).read_to_end(&mut content).map_err(|error| read(SysError::io("read", path, &error)))?;
    if content.len() as u64 > MAX_DATABASE { Err(fault("larger than 1 MiB")) } else { Ok(content) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{OpenOptionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        web:x:33:34:Web,,,:/var/www:/bin/false\n\
        short:x:40:41\n\
        ws$:x:50:50::relative:/bin/sh\n\
        web:x:0:0:a second one:/root:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:34:\nlog:x:4:root,web\naudio:x:29:webb,web\nlog2:x:4:web\nnone:x:77";

    fn ids(user: &str) -> (u32, u32, Vec<u32>) {
        let resolved = resolve(user, PASSWD, GROUP).unwrap_or_else(|error| panic!("{user}: {error}"));
        (resolved.uid, resolved.gid, resolved.groups)
    }

    #[test]
    fn users_are_found_by_id_and_by_name() {
        assert_eq!(ids(""), (0, 0, vec![0, 4]));
        assert_eq!(ids("0"), (0, 0, vec![0, 4]));
        assert_eq!(ids("root"), (0, 0, vec![0, 4]));
        assert_eq!(ids("web"), (33, 34, vec![34, 4, 29]), "the first line of that name counts");
        assert_eq!(ids("33"), (33, 34, vec![34, 4, 29]));
        assert_eq!(ids("0033"), (33, 34, vec![34, 4, 29]), "digits are a number, as with chown");
        assert_eq!(ids("short"), (40, 41, vec![41]));
        assert_eq!(ids("1000"), (1000, 0, vec![0]));
        assert_eq!(ids("4294967294"), (4_294_967_294, 0, vec![0]));
        assert_eq!(ids("2147483648"), (2_147_483_648, 0, vec![0]));
    }

    #[test]
    fn a_group_in_the_text_is_the_only_one() {
        assert_eq!(ids("web:audio"), (33, 29, vec![29]));
        assert_eq!(ids("web:0"), (33, 0, vec![0]));
        assert_eq!(ids("1000:1001"), (1000, 1001, vec![1001]));
        assert_eq!(ids("1000:none"), (1000, 77, vec![77]));
    }

    #[test]
    fn homes_and_names_come_from_the_database() {
        let of = |user| resolve(user, PASSWD, GROUP).map(|found| (found.name, found.home)).expect("a user");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("web"), (text("web"), text("/var/www")));
        assert_eq!(of("0"), (text("root"), text("/root")));
        assert_eq!(of("1000"), (None, text("/")));
        assert_eq!(of("short"), (text("short"), None));
        assert_eq!(of("ws$"), (text("ws$"), None), "a relative home is none");
    }

    #[test]
    fn what_is_no_user_is_an_error_and_never_root() {
        let syntax = [
            "-1", "1:", ":0", ":", "1x", " 0", "0 ", "0x0", "+0", "0:0:0", "web:", "a b", "0\n", "\0", "é", "web:-1", "-rf", ".", "$",
            "a/b",
        ];
        // The image may well have users of such names.
        let hostile: String = syntax.iter().map(|name| format!("{name}:x:0:0::/root:/bin/sh\n")).collect();
        for text in syntax.into_iter().chain([&*"a".repeat(4096)]) {
            assert!(matches!(resolve(text, hostile.as_bytes(), b""), Err(UserError::Syntax { .. })), "{text:?}");
        }
        for text in ["4294967295", "4294967296", "99999999999999999999", "0:4294967295", "18446744073709551616"] {
            assert!(matches!(resolve(text, PASSWD, GROUP), Err(UserError::Range { .. })), "{text:?}");
        }
        let missing = resolve("nobody", PASSWD, GROUP).map_err(|error| error.to_string());
        assert_eq!(missing, Err("the image's /etc/passwd has no user \"nobody\"".to_owned()));
        let missing = resolve("web:staff", PASSWD, GROUP).map_err(|error| error.to_string());
        assert_eq!(missing, Err("the image's /etc/group has no group \"staff\"".to_owned()));
    }

    #[test]
    fn hostile_lines_do_not_count() {
        let lines: &[u8] =
            b"a:x:-1:0::/:/bin/sh\na:x:4294967295:0::/:\na:x: 0:0::/:\na:x:0x0:0\na:x::0\na\n:x:0:0::/:\na:x:0\n\xff:x:0:0\n\
            a\0:x:0:0::/:\na:x:0:\na:x:99999999999:1\n a:x:0:0::/:\na:x:7:8::/a\x1b[2J:/bin/sh\n";
        let found = resolve("a", lines, b"g:x:-1:a\ng:x:5\n:x:6:a\nh:x:9:b,a,c\n").expect("the last line is sound");
        assert_eq!((found.uid, found.gid, found.groups, found.home), (7, 8, vec![8, 9], None));
    }

    #[test]
    fn endless_groups_are_an_error() {
        let many = |count: u32| (1..=count).map(|gid| format!("g{gid}:x:{gid}:web\n")).collect::<String>();
        assert!(matches!(resolve("web", PASSWD, many(70_000).as_bytes()), Err(UserError::TooManyGroups { .. })));
        assert_eq!(resolve("web", PASSWD, many(60_000).as_bytes()).map(|found| found.groups.len()).ok(), Some(60_000));
    }

    proptest! {
        /// Whatever the files say: the id that was asked for, or an error.
        #[test]
        fn ids_are_exact(uid in 0..u32::MAX, gid in 0..u32::MAX, passwd: Vec<u8>, group: Vec<u8>) {
            let found = resolve(&format!("{uid}:{gid}"), &passwd, &group).expect("ids need no database");
            prop_assert_eq!((found.uid, found.gid, found.groups), (uid, gid, vec![gid]));
        }

        /// Only a text that says so is uid 0, in a database where nobody is.
        #[test]
        fn no_text_falls_to_root(text in "[0-9a-zA-Z:+ x-]{1,12}", lines in "([a-z]{1,3}:x:[1-9][0-9]{0,3}:[1-9]:[a-z:/]{0,8}\n){0,8}") {
            if let Ok(found) = resolve(&text, lines.as_bytes(), lines.as_bytes()) {
                let says_zero = text.split(':').next().is_some_and(|user| user.bytes().all(|b| b == b'0'));
                prop_assert_eq!(found.uid == 0, says_zero, "{}", text);
            }
        }

        /// Any bytes as files, any text as user: an answer, no panic, no id that is "no change".
        #[test]
        fn garbage_is_survived(text in ".{0,20}", passwd: Vec<u8>, group: Vec<u8>) {
            if let Ok(found) = resolve(&text, &passwd, &group) {
                prop_assert!(found.uid != u32::MAX && found.gid != u32::MAX && !found.groups.contains(&u32::MAX));
                prop_assert_eq!(found.groups.first(), Some(&found.gid));
            }
        }
    }

    fn read_in(root: &Path, path: &str) -> Result<Vec<u8>, UserError> {
        let root = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(root).expect("a folder");
        read_database(root.as_fd(), path)
    }

    fn what(outcome: Result<Vec<u8>, UserError>) -> String {
        match outcome {
            Ok(content) => format!("{} bytes", content.len()),
            Err(UserError::Database { what, .. }) => what.to_owned(),
            Err(UserError::Read { source, .. }) => format!("{:?}", source.source),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn databases_are_small_regular_files_below_the_root() {
        let root = tempfile::tempdir().expect("a folder");
        let etc = root.path().join("etc");
        let outside = tempfile::NamedTempFile::new().expect("a file");
        std::fs::create_dir(&etc).expect("a folder");
        let start = Instant::now();
        let put = |name: &str, content: &[u8]| std::fs::write(etc.join(name), content).expect("a file");
        put("good", PASSWD);
        put("largest", &vec![b'x'; 1 << 20]);
        put("large", &vec![b'x'; (1 << 20) + 1]);
        File::create(etc.join("sparse")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        nix::unistd::mkfifo(&etc.join("fifo"), nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
        symlink("good", etc.join("inside")).expect("a link");
        symlink("/etc/good", etc.join("absolute")).expect("a link");
        symlink(outside.path(), etc.join("outside")).expect("a link");
        symlink("../../../../../../etc/good", etc.join("above")).expect("a link");
        symlink("loop", etc.join("loop")).expect("a link");
        let cases = [
            ("good", format!("{} bytes", PASSWD.len())),
            ("inside", format!("{} bytes", PASSWD.len())),
            ("absolute", format!("{} bytes", PASSWD.len())),
            ("above", format!("{} bytes", PASSWD.len())),
            ("outside", "0 bytes".to_owned()),
            ("missing", "0 bytes".to_owned()),
            ("largest", "1048576 bytes".to_owned()),
            ("large", "larger than 1 MiB".to_owned()),
            ("sparse", "larger than 1 MiB".to_owned()),
            ("fifo", "not a regular file".to_owned()),
            (".", "not a regular file".to_owned()),
            ("loop", "ELOOP".to_owned()),
        ];
        for (name, expected) in cases {
            assert_eq!(what(read_in(root.path(), &format!("/etc/{name}"))), expected, "{name}");
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn files_of_the_kernel_are_no_databases() {
        // The whole host as root: what a link of an image could reach if /proc were there already.
        let host = Path::new("/");
        assert_eq!(what(read_in(host, "/proc/self/mem")), "a file of the kernel");
        assert_eq!(what(read_in(host, "/proc/version")), "a file of the kernel");
        assert_eq!(what(read_in(host, "/proc/self/fd/0")), "ELOOP");
        assert_eq!(what(read_in(host, "/dev/zero")), "not a regular file");
    }
}
