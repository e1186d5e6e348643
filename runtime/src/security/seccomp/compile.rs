//! From a policy to a program of classic BPF.
//!
//! ```text
//! load arch --other--> foreign verdict
//! load nr                              a binary tree of "nr >= K": each leaf is a verdict,
//! nr >= 232 ?                          or the rules of a call whose arguments count
//!   |no         |yes
//! nr >= 92 ?   nr >= 424 ?   ...       only those leaves load arguments: for all other calls the kernel finds, when the filter is
//!   |            |                     loaded, that it always allows them, and skips the filter from then on (its bitmap cache)
//! rules of clone, socket, ...          rules in order, each a chain of tests
//! return verdict, ...                  one copy of each, or a few when it would be out of a jump's reach
//! ```
//!
//! Written from the end to the start: jumps go forward only, so that a jump's target is always there already and its distance is known.
//! See bpf(4) of the BSDs for the instructions, Documentation/userspace-api/seccomp_filter.rst of the kernel for what a filter may use.

use std::collections::{BTreeMap, HashMap};

use super::SockFilter;
use super::policy::{Comparison, Condition, Policy, Rule, Verdict, Width};

/// `BPF_LD | BPF_W | BPF_ABS`: a word of `struct seccomp_data` into the accumulator.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(super) const JUMP_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`.
pub(super) const JUMP_SET: u16 = 0x45;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The kernel's `BPF_MAXINSNS`.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// The program; its length may be beyond `MAX_INSTRUCTIONS`.
pub(super) fn program(policy: &Policy) -> Vec<SockFilter> {
    let mut code = Backwards::default();
    let leaves = leaves(policy, &mut code);
    let tree = code.tree(&leaves);
    let tree = code.adjacent(tree);
    let numbers = code.load(NUMBER, tree);
    let native = code.branch(JUMP_EQUAL, policy.arch.audit(), Target::At(numbers), Target::Return(policy.foreign));
    let native = code.adjacent(native);
    code.load(ARCH, native);
    code.reversed.reverse();
    code.reversed
}

/// All call numbers as intervals: each leaf holds from its number up to the next one's. Emits the rules of calls with arguments.
fn leaves(policy: &Policy, code: &mut Backwards) -> Vec<(u32, Target)> {
    let default = |number: u32| match (policy.arch.second_abi(), policy.beyond) {
        (Some(first), _) if number >= first => Target::Return(policy.second_abi),
        (_, Some((first, verdict))) if number >= first => Target::Return(verdict),
        _ => Target::Return(policy.default),
    };
    let edges = [Some(0), policy.beyond.map(|(first, _)| first), policy.arch.second_abi()];
    let mut starts: BTreeMap<u32, Target> = edges.into_iter().flatten().map(|number| (number, default(number))).collect();
    // Calls with the same rules (socket and socketpair) share them.
    let mut emitted: HashMap<&[Rule], Target> = HashMap::new();
    for (&number, rules) in &policy.calls {
        let target = *emitted.entry(rules).or_insert_with(|| code.rules(rules, policy.default));
        starts.insert(number, target);
        starts.entry(number + 1).or_insert_with(|| default(number + 1));
    }
    let mut leaves: Vec<(u32, Target)> = starts.into_iter().collect();
    leaves.dedup_by_key(|&mut (_, target)| target);
    leaves
}

/// Where a jump goes: an instruction that is already there, or a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    At(Label),
    Return(Verdict),
}

/// An instruction's position, counted from the program's end: the last one is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

/// The farthest that a conditional jump is let reach: 255, less room for what may be put between while both of its ways are made ready.
const REACH: usize = 250;

/// The program from its end towards its start.
#[derive(Default)]
struct Backwards {
    reversed: Vec<SockFilter>,
    /// The nearest copy of each verdict's return.
    returns: HashMap<Verdict, Label>,
}

impl Backwards {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(SockFilter { code, jt, jf, k });
        Label(self.reversed.len())
    }

    /// How many instructions lie between one pushed next and the one at `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    /// Something within a conditional jump's reach that leads to `target`.
    fn reachable(&mut self, target: Target) -> Label {
        match target {
            Target::At(label) if self.distance(label) <= REACH => label,
            Target::At(label) => self.jump(label),
            Target::Return(verdict) => match self.returns.get(&verdict) {
                Some(&label) if self.distance(label) <= REACH => label,
                _ => {
                    let label = self.push(RETURN, 0, 0, verdict.encode());
                    self.returns.insert(verdict, label);
                    label
                }
            },
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        // A program of more instructions than u32 can count does not exist: the distance always fits.
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, distance)
    }

    /// `target` as the very next instruction: what a load needs, which does not jump.
    fn adjacent(&mut self, target: Target) -> Label {
        let label = self.reachable(target);
        if self.distance(label) == 0 { label } else { self.jump(label) }
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        debug_assert_eq!(self.distance(next), 0, "a load falls through to what was pushed last");
        self.push(LOAD, 0, 0, offset)
    }

    /// One conditional jump; nothing at all where both ways are the same.
    fn branch(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let yes = self.reachable(yes);
        let no = self.reachable(no);
        // `reachable` leaves both within 250, and the second of them adds one instruction at most.
        let hop = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let (jt, jf) = (hop(self.distance(yes)), hop(self.distance(no)));
        Target::At(self.push(code, jt, jf, k))
    }

    /// The decision among `leaves`, which start at ascending numbers; the accumulator holds the call's number.
    fn tree(&mut self, leaves: &[(u32, Target)]) -> Target {
        match leaves {
            [] => Target::Return(Verdict::KillProcess),
            [(_, only)] => *only,
            // One number that differs from those around it: one comparison instead of two.
            [(_, around), (number, inside), (after, again)] if around == again && *after == number + 1 => {
                self.branch(JUMP_EQUAL, *number, *inside, *around)
            }
            _ => {
                let middle = leaves.len() / 2;
                let upper = self.tree(&leaves[middle..]);
                let lower = self.tree(&leaves[..middle]);
                self.branch(JUMP_GREATER_OR_EQUAL, leaves[middle].0, upper, lower)
            }
        }
    }

    /// The rules of one call, the first that matches deciding; `default` where none does.
    fn rules(&mut self, rules: &[Rule], default: Verdict) -> Target {
        let mut next = Target::Return(default);
        for rule in rules.iter().rev() {
            let no = next;
            next = Target::Return(rule.verdict);
            for condition in rule.conditions.iter().rev() {
                next = self.condition(condition, next, no);
            }
        }
        next
    }

    fn condition(&mut self, condition: &Condition, yes: Target, no: Target) -> Target {
        let value = condition.value;
        match condition.comparison {
            Comparison::Equal => self.masked(condition, u64::MAX, value, yes, no),
            Comparison::NotEqual => self.masked(condition, u64::MAX, value, no, yes),
            Comparison::Masked(mask) => self.masked(condition, mask, value & mask, yes, no),
            Comparison::GreaterOrEqual => self.ordered(condition, JUMP_GREATER_OR_EQUAL, yes, no),
            Comparison::Less => self.ordered(condition, JUMP_GREATER_OR_EQUAL, no, yes),
            Comparison::Greater => self.ordered(condition, JUMP_GREATER, yes, no),
            Comparison::LessOrEqual => self.ordered(condition, JUMP_GREATER, no, yes),
        }
    }

    /// `argument & mask == value`: the upper half, then the lower one.
    fn masked(&mut self, condition: &Condition, mask: u64, value: u64, yes: Target, no: Target) -> Target {
        let lower = self.masked_half(condition.lower(), mask as u32, value as u32, yes, no);
        match condition.width {
            Width::Low32 => lower,
            Width::Full64 => self.masked_half(condition.upper(), (mask >> 32) as u32, (value >> 32) as u32, lower, no),
        }
    }

    fn masked_half(&mut self, word: u32, mask: u32, value: u32, yes: Target, no: Target) -> Target {
        if mask == 0 {
            return yes;
        }
        if yes == no {
            return yes;
        }
        let tested = match (mask, value) {
            (u32::MAX, _) => self.test(word, JUMP_EQUAL, value, yes, no),
            (_, 0) => self.test(word, JUMP_SET, mask, no, yes),
            _ => {
                let equal = self.branch(JUMP_EQUAL, value, yes, no);
                self.adjacent(equal);
                Target::At(self.push(AND, 0, 0, mask))
            }
        };
        let next = self.adjacent(tested);
        Target::At(self.load(word, next))
    }

    /// `argument >= value` (or `>`): decided by the upper half unless that is equal.
    fn ordered(&mut self, condition: &Condition, code: u16, yes: Target, no: Target) -> Target {
        let (upper, lower) = ((condition.value >> 32) as u32, condition.value as u32);
        let low = self.test(condition.lower(), code, lower, yes, no);
        let low = self.loaded(condition.lower(), low);
        if condition.width == Width::Low32 {
            return low;
        }
        let equal = self.test(condition.upper(), JUMP_EQUAL, upper, low, no);
        let greater = self.test(condition.upper(), JUMP_GREATER, upper, yes, equal);
        self.loaded(condition.upper(), greater)
    }

    /// A comparison of the accumulator, which holds `word`: where a way would only load that again, it goes past the load.
    fn test(&mut self, word: u32, code: u16, k: u32, yes: Target, no: Target) -> Target {
        let yes = self.past_load(word, yes);
        let no = self.past_load(word, no);
        self.branch(code, k, yes, no)
    }

    fn past_load(&self, word: u32, target: Target) -> Target {
        match target {
            Target::At(label) if label.0 > 1 => {
                let instruction = self.reversed[label.0 - 1];
                if (instruction.code, instruction.k) == (LOAD, word) { Target::At(Label(label.0 - 1)) } else { target }
            }
            _ => target,
        }
    }

    /// `target` with the accumulator loaded before it.
    fn loaded(&mut self, word: u32, target: Target) -> Target {
        let next = self.adjacent(target);
        Target::At(self.load(word, next))
    }
}

impl Condition {
    fn lower(&self) -> u32 {
        ARGUMENTS + u32::from(self.argument) * 8
    }

    fn upper(&self) -> u32 {
        self.lower() + 4
    }
}
