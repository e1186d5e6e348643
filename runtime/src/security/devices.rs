//! The device nodes of a container's /dev, and which devices its cgroup lets it use.
//!
//! Data only: `rootfs` makes the nodes (by binding the host's, where a user namespace forbids mknod), `cgroup` turns the rules into lines of
//! `devices.allow` (v1) or into a BPF program (v2). The two go together: a node without a rule cannot be opened, a rule without a node lets a
//! container with CAP_MKNOD make it.
//!
//! No rule lets every node be *made*, as Docker's `c *:* m` does: what cannot be opened need not be made.

use std::fmt;

/// Which table of drivers a device number belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    Character,
    Block,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

impl Access {
    pub const ALL: Access = Access { read: true, write: true, mknod: true };

    /// True when all of `wanted` is in here.
    pub fn covers(self, wanted: Access) -> bool {
        (self.read || !wanted.read) && (self.write || !wanted.write) && (self.mknod || !wanted.mknod)
    }
}

impl fmt::Display for Access {
    /// `rwm`, or what of it is there: the form of the v1 files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.mknod, "m")];
        letters.into_iter().filter(|(there, _)| *there).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// One rule of an allow-list; None is every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    pub kind: Option<DeviceKind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

impl DeviceRule {
    const fn character(major: u32, minor: Option<u32>) -> DeviceRule {
        DeviceRule { kind: Some(DeviceKind::Character), major: Some(major), minor, access: Access::ALL }
    }

    /// True when this rule lets `access` to that device through.
    pub fn allows(&self, kind: DeviceKind, major: u32, minor: u32, access: Access) -> bool {
        self.kind.is_none_or(|one| one == kind)
            && self.major.is_none_or(|one| one == major)
            && self.minor.is_none_or(|one| one == minor)
            && self.access.covers(access)
    }
}

impl fmt::Display for DeviceRule {
    /// A line of `devices.allow` and `devices.list`: `c 1:3 rwm`, `c 136:* rwm`, and `a` for everything.
    /// See Documentation/admin-guide/cgroup-v1/devices.rst.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            Some(DeviceKind::Character) => "c",
            Some(DeviceKind::Block) => "b",
            None => return write!(f, "a *:* {}", self.access),
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{letter} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// What a container may use unless it is privileged; everything else is denied first (`a` to `devices.deny` on v1).
pub const DEFAULT_RULES: [DeviceRule; 8] = [
    DeviceRule::character(1, Some(3)),
    DeviceRule::character(1, Some(5)),
    DeviceRule::character(1, Some(7)),
    DeviceRule::character(1, Some(8)),
    DeviceRule::character(1, Some(9)),
    DeviceRule::character(5, Some(0)),
    // The container's own /dev/ptmx, and the terminals of its own devpts instance (major 136 to 143; Linux uses 136 only).
    DeviceRule::character(5, Some(2)),
    DeviceRule::character(136, None),
];

/// Privileged: everything.
pub const PRIVILEGED_RULES: [DeviceRule; 1] = [DeviceRule { kind: None, major: None, minor: None, access: Access::ALL }];

/// The rules of a container.
pub fn rules(privileged: bool) -> &'static [DeviceRule] {
    if privileged { &PRIVILEGED_RULES } else { &DEFAULT_RULES }
}

/// A character device in /dev.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNode {
    /// Below /dev.
    pub name: &'static str,
    pub major: u32,
    pub minor: u32,
    /// Permission bits, as in chmod.
    pub mode: u32,
}

const fn node(name: &'static str, major: u32, minor: u32) -> DeviceNode {
    DeviceNode { name, major, minor, mode: 0o666 }
}

/// The nodes that every container has, all owned by its root. A node that is bound from the host is to be checked against its number first.
pub const NODES: [DeviceNode; 6] =
    [node("null", 1, 3), node("zero", 1, 5), node("full", 1, 7), node("random", 1, 8), node("urandom", 1, 9), node("tty", 5, 0)];

/// The symbolic links of /dev: name below /dev, target.
pub const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use super::*;

    const READ_WRITE: Access = Access { read: true, write: true, mknod: false };

    fn allowed(kind: DeviceKind, major: u32, minor: u32) -> bool {
        DEFAULT_RULES.iter().any(|rule| rule.allows(kind, major, minor, READ_WRITE))
    }

    #[test]
    fn lines_are_those_of_the_v1_files() {
        let lines: Vec<String> = DEFAULT_RULES.iter().map(DeviceRule::to_string).collect();
        let expected = ["c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"];
        assert_eq!(lines, expected);
        assert_eq!(PRIVILEGED_RULES[0].to_string(), "a *:* rwm");
        let read_only = DeviceRule {
            kind: Some(DeviceKind::Block),
            major: Some(8),
            minor: None,
            access: Access { write: false, mknod: false, read: true },
        };
        assert_eq!(read_only.to_string(), "b 8:* r");
    }

    #[test]
    fn only_harmless_devices_open() {
        for major in 0..512 {
            for minor in 0..64 {
                let harmless = matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0 | 2) | (136, _));
                assert_eq!(allowed(DeviceKind::Character, major, minor), harmless, "c {major}:{minor}");
                assert!(!allowed(DeviceKind::Block, major, minor), "b {major}:{minor}");
                let mknod = Access { read: false, write: false, mknod: true };
                assert_eq!(DEFAULT_RULES.iter().any(|rule| rule.allows(DeviceKind::Character, major, minor, mknod)), harmless);
            }
        }
        assert!(rules(true)[0].allows(DeviceKind::Block, 8, 0, Access::ALL));
        assert_eq!(rules(false), DEFAULT_RULES);
    }

    #[test]
    fn an_access_covers_what_is_in_it() {
        let all = |bits: u8| Access { read: bits & 1 != 0, write: bits & 2 != 0, mknod: bits & 4 != 0 };
        for (have, want) in (0..8).flat_map(|have| (0..8).map(move |want| (have, want))) {
            assert_eq!(all(have).covers(all(want)), have & want == want, "{have} {want}");
        }
        assert_eq!(all(5).to_string(), "rm");
    }

    #[test]
    fn each_node_has_its_rule_and_is_what_the_host_has() {
        for node in NODES {
            assert!(allowed(DeviceKind::Character, node.major, node.minor), "{}", node.name);
            let metadata = std::fs::metadata(format!("/dev/{}", node.name)).expect("every Linux has it");
            assert!(metadata.file_type().is_char_device());
            assert_eq!(metadata.rdev(), nix::sys::stat::makedev(node.major.into(), node.minor.into()), "{}", node.name);
        }
        let mut names: Vec<&str> =
            NODES.iter().map(|node| node.name).chain(LINKS.iter().map(|link| link.0)).chain(["mqueue", "pts", "shm"]).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero");
    }
}
