//! Runs a filter as the kernel would: to tell what it decides, and to check the compiler.
//!
//! Knows the instructions that seccomp filters are made of (`compile` writes fewer still), not all of classic BPF.

use super::compile::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, JUMP_SET, LOAD, RETURN};
use super::{SockFilter, Verdict};

/// What the kernel shows a filter of a call: `struct seccomp_data`. See seccomp(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub number: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    pub arguments: [u64; 6],
}

impl Call {
    /// The 32-bit word at a byte offset, as on a little-endian machine (all that `Arch` knows are).
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64, upper: bool| if upper { (value >> 32) as u32 } else { value as u32 };
        Some(match offset {
            0 => self.number,
            4 => self.arch,
            // The instruction pointer: no filter of ours looks at it.
            8 | 12 => 0,
            16..64 if offset.is_multiple_of(4) => half(self.arguments[(offset as usize - 16) / 8], !offset.is_multiple_of(8)),
            _ => return None,
        })
    }
}

/// The verdict, or None for a program that the kernel would have refused to load.
pub(super) fn run(program: &[SockFilter], call: &Call) -> Option<Verdict> {
    let mut accumulator = 0u32;
    let mut at = 0usize;
    loop {
        let instruction = program.get(at)?;
        let k = instruction.k;
        let branch = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
        at += 1;
        match instruction.code {
            LOAD => accumulator = call.word(k)?,
            AND => accumulator &= k,
            JUMP => at += k as usize,
            JUMP_EQUAL => at += branch(accumulator == k),
            JUMP_GREATER => at += branch(accumulator > k),
            JUMP_GREATER_OR_EQUAL => at += branch(accumulator >= k),
            JUMP_SET => at += branch(accumulator & k != 0),
            RETURN => return Verdict::decode(k),
            _ => return None,
        }
    }
}
