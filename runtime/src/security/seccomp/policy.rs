//! What a filter shall decide, before it is a program: per call number a list of rules. Made by `profile` or `custom`, read by `compile`.

use std::collections::BTreeMap;

use super::names::Arch;

/// What the kernel does with a call. See seccomp(2), "Filter return values".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    /// Done, and written to the host's log.
    Log,
    /// Not done; the caller gets this errno (at most 4,095, the kernel's `MAX_ERRNO`).
    Errno(u16),
    /// Not done; SIGSYS.
    Trap,
    /// The tracer of the caller decides, who sees this number; without one the caller gets ENOSYS.
    Trace(u16),
    KillThread,
    KillProcess,
}

impl Verdict {
    /// The program's return value: `SECCOMP_RET_*` of <linux/seccomp.h> and the data in the low 16 bits.
    pub(super) fn encode(self) -> u32 {
        match self {
            Verdict::Allow => 0x7fff_0000,
            Verdict::Log => 0x7ffc_0000,
            Verdict::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Verdict::Trap => 0x0003_0000,
            Verdict::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Verdict::KillThread => 0,
            Verdict::KillProcess => 0x8000_0000,
        }
    }

    /// The kernel's order of precedence among several filters: the higher one holds.
    pub(super) fn strictness(self) -> u8 {
        match self {
            Verdict::Allow => 0,
            Verdict::Log => 1,
            Verdict::Trace(_) => 2,
            Verdict::Errno(_) => 3,
            Verdict::Trap => 4,
            Verdict::KillThread => 5,
            Verdict::KillProcess => 6,
        }
    }

    /// None for an action that no filter of ours returns.
    pub(super) fn decode(value: u32) -> Option<Verdict> {
        let data = (value & 0xffff) as u16;
        Some(match value & 0xffff_0000 {
            0x7fff_0000 => Verdict::Allow,
            0x7ffc_0000 => Verdict::Log,
            0x0005_0000 => Verdict::Errno(data),
            0x0003_0000 => Verdict::Trap,
            0x7ff0_0000 => Verdict::Trace(data),
            0 => Verdict::KillThread,
            0x8000_0000 => Verdict::KillProcess,
            _ => return None,
        })
    }
}

/// How an argument is compared with a value, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// `argument & mask == value & mask`.
    Masked(u64),
}

/// How much of an argument register the call looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Width {
    /// The kernel takes an `int`: what is in the upper half does not count, and must not make a difference here either.
    Low32,
    Full64,
}

/// One test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u8,
    pub(super) width: Width,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
}

impl Condition {
    /// For an argument that is an `int` (or `unsigned int`) to the kernel.
    pub(super) fn int(argument: u8, comparison: Comparison, value: u32) -> Condition {
        Condition { argument, width: Width::Low32, comparison, value: u64::from(value) }
    }
}

/// When all conditions hold (or there are none), this verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::security) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) verdict: Verdict,
}

impl Rule {
    pub(super) fn always(verdict: Verdict) -> Rule {
        Rule { conditions: Vec::new(), verdict }
    }

    pub(super) fn when(conditions: impl Into<Vec<Condition>>, verdict: Verdict) -> Rule {
        Rule { conditions: conditions.into(), verdict }
    }
}

/// A whole filter's decisions. The rules of a call are tried in order; where none matches, `default` holds.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) arch: Arch,
    /// Calls of another architecture on the same machine: 32-bit programs.
    pub(super) foreign: Verdict,
    /// Calls of a second ABI of the same architecture: x32.
    pub(super) second_abi: Verdict,
    pub(super) default: Verdict,
    /// From this number on, this verdict instead of the default.
    pub(super) beyond: Option<(u32, Verdict)>,
    pub(super) calls: BTreeMap<u32, Vec<Rule>>,
}

impl Policy {
    /// A policy that closes every ABI but the native one.
    ///
    /// A 32-bit program is killed, so that it is seen at once why; it could do nothing useful with an errno from every call, its exit
    /// included. An x32 call gets what a kernel without x32 answers.
    pub(super) fn new(arch: Arch, default: Verdict) -> Policy {
        let second_abi = Verdict::Errno(libc::ENOSYS as u16);
        Policy { arch, foreign: Verdict::KillProcess, second_abi, default, beyond: None, calls: BTreeMap::new() }
    }
}
