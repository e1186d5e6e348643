//! Resource limits: names, numbers, and what a container has unless it says otherwise. See getrlimit(2).
//!
//! Setting them is `sys::process`'s work. Raising one beyond the launcher's own hard limit needs CAP_SYS_RESOURCE, which Berth may not
//! have: whoever sets them does what can be done and reports the rest as a condition.

use nix::sys::resource::Resource;

use crate::config::Rlimit;

/// Each limit's name in a configuration, and what it is to the kernel.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// `RLIM_INFINITY`: no limit.
pub const UNLIMITED: u64 = u64::MAX;

/// One limit as the kernel takes it; `UNLIMITED` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

impl Limit {
    /// `RLIMIT_*` as a number, for prlimit(2).
    pub fn number(&self) -> u32 {
        self.resource as u32
    }
}

/// What a container has of these two, whatever the launcher was started with.
///
/// No core files: they would land in the container's own file system, or go to a program of the host. Files: systemd's defaults, low enough
/// for programs that use select(2) or walk over all possible descriptors.
const DEFAULTS: [(&str, u64, u64); 2] = [("core", 0, 0), ("nofile", 1024, 524_288)];

/// By its name without `RLIMIT_`, in lower case.
pub fn resource(name: &str) -> Option<Resource> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
}

/// All names, for an error's text.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// The limits to set: the defaults, each replaced by the container's own where it has one; in a fixed order. Names that are not known are
/// left out: `config::check` has refused them.
pub fn effective(own: &[Rlimit]) -> Vec<Limit> {
    let wanted = |name: &str| own.iter().rev().find(|limit| limit.kind == name).map(|limit| (limit.soft, limit.hard));
    let default = |name: &str| DEFAULTS.iter().find(|(known, ..)| *known == name).map(|&(_, soft, hard)| (soft, hard));
    let limit = |&(name, resource): &(&'static str, Resource)| {
        let (soft, hard) = wanted(name).or_else(|| default(name))?;
        Some(Limit { name, resource, soft, hard })
    };
    NAMES.iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(kind: &str, soft: u64, hard: u64) -> Rlimit {
        Rlimit { kind: kind.to_owned(), soft, hard }
    }

    #[test]
    fn names_are_the_kernels() {
        // The names in /proc/PID/limits are other ones; these numbers are include/uapi/asm-generic/resource.h's.
        let order = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime";
        for (number, name) in order.split_ascii_whitespace().enumerate() {
            assert_eq!(resource(name).map(|resource| resource as u32), u32::try_from(number).ok(), "{name}");
        }
        assert_eq!(names().count(), 16);
        for wrong in ["", "NOFILE", "RLIMIT_NOFILE", "nofiles", "openfiles"] {
            assert_eq!(resource(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn defaults_hold_until_said_otherwise() {
        let of = |limits: &[Rlimit]| effective(limits).iter().map(|one| (one.name, one.soft, one.hard)).collect::<Vec<_>>();
        assert_eq!(of(&[]), [("core", 0, 0), ("nofile", 1024, 524_288)]);
        let changed = of(&[own("nofile", 64, 128), own("stack", 8 << 20, UNLIMITED), own("no-such", 1, 1)]);
        assert_eq!(changed, [("core", 0, 0), ("nofile", 64, 128), ("stack", 8 << 20, UNLIMITED)]);
        assert_eq!(of(&[own("core", UNLIMITED, UNLIMITED)])[0], ("core", UNLIMITED, UNLIMITED));
        assert_eq!(effective(&[])[1].number(), 7);
    }
}
