//! For the tests: the same profile through libseccomp, and a policy's verdict without any program.

use std::io::{Read, Seek};

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use super::policy::{Comparison, Condition, Policy, Rule, Verdict, Width};
use super::{Call, SockFilter};

/// What the policy says, read off its rules.
pub(super) fn by_hand(policy: &Policy, call: &Call) -> Verdict {
    if call.arch != policy.arch.audit() {
        return policy.foreign;
    }
    if policy.arch.second_abi().is_some_and(|first| call.number >= first) {
        return policy.second_abi;
    }
    let matching = |rule: &&Rule| rule.conditions.iter().all(|condition| holds(condition, call));
    if let Some(rule) = policy.calls.get(&call.number).and_then(|rules| rules.iter().find(matching)) {
        return rule.verdict;
    }
    match policy.beyond {
        Some((first, verdict)) if call.number >= first && !policy.calls.contains_key(&call.number) => verdict,
        _ => policy.default,
    }
}

pub(super) fn holds(condition: &Condition, call: &Call) -> bool {
    let whole = call.arguments[usize::from(condition.argument)];
    let argument = if condition.width == Width::Low32 { whole & 0xffff_ffff } else { whole };
    match condition.comparison {
        Comparison::NotEqual => argument != condition.value,
        Comparison::Less => argument < condition.value,
        Comparison::LessOrEqual => argument <= condition.value,
        Comparison::Equal => argument == condition.value,
        Comparison::GreaterOrEqual => argument >= condition.value,
        Comparison::Greater => argument > condition.value,
        Comparison::Masked(mask) => argument & mask == condition.value & mask,
    }
}

/// Rules in the order in which a profile has them, as libseccomp compiles them for x86-64.
pub(super) fn libseccomp(default: Verdict, bad_arch: Verdict, rules: &[(u32, Rule)]) -> Vec<SockFilter> {
    let mut context = ScmpFilterContext::new(scmp_action(default)).expect("a context");
    context.add_arch(ScmpArch::X8664).expect("x86-64");
    if ScmpArch::native() != ScmpArch::X8664 {
        context.remove_arch(ScmpArch::native()).expect("no other");
    }
    context.set_act_badarch(scmp_action(bad_arch)).expect("the action for other architectures");
    for (number, rule) in rules {
        let compare: Vec<ScmpArgCompare> = rule.conditions.iter().map(scmp_compare).collect();
        let call = ScmpSyscall::from_raw_syscall(i32::try_from(*number).expect("small"));
        // A rule that contradicts an earlier one is refused (EEXIST): the earlier one stays.
        let _ = context.add_rule_conditional(scmp_action(rule.verdict), call, &compare);
    }
    let mut file = tempfile::tempfile().expect("a file");
    context.export_bpf(&file).expect("a program");
    file.rewind().expect("a regular file");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("a regular file");
    let half = |b: &[u8]| u16::from_ne_bytes([b[0], b[1]]);
    let word = |b: &[u8]| u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
    bytes.chunks_exact(8).map(|b| SockFilter { code: half(b), jt: b[2], jf: b[3], k: word(b) }).collect()
}

fn scmp_action(verdict: Verdict) -> ScmpAction {
    match verdict {
        Verdict::Allow => ScmpAction::Allow,
        Verdict::Log => ScmpAction::Log,
        Verdict::Errno(errno) => ScmpAction::Errno(errno.into()),
        Verdict::Trap => ScmpAction::Trap,
        Verdict::Trace(data) => ScmpAction::Trace(data),
        Verdict::KillThread => ScmpAction::KillThread,
        Verdict::KillProcess => ScmpAction::KillProcess,
    }
}

fn scmp_compare(condition: &Condition) -> ScmpArgCompare {
    let operator = match condition.comparison {
        Comparison::NotEqual => ScmpCompareOp::NotEqual,
        Comparison::Less => ScmpCompareOp::Less,
        Comparison::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Comparison::Equal => ScmpCompareOp::Equal,
        Comparison::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
        Comparison::Greater => ScmpCompareOp::Greater,
        Comparison::Masked(mask) => ScmpCompareOp::MaskedEqual(mask),
    };
    assert_eq!(condition.width, Width::Full64, "libseccomp compares whole registers");
    ScmpArgCompare::new(condition.argument.into(), operator, condition.value)
}

/// Values around every edge of the rules of a call, and those where halves of a register are confused.
pub(super) fn edges(rules: &[Rule], argument: u8) -> Vec<u64> {
    let mut values = vec![0, 1, 0xffff_ffff, 0x1_0000_0000, u64::MAX];
    for condition in rules.iter().flat_map(|rule| &rule.conditions).filter(|condition| condition.argument == argument) {
        let mask = if let Comparison::Masked(mask) = condition.comparison { mask } else { 0 };
        for base in [condition.value, condition.value & mask, mask, !mask] {
            values.extend([base, base.wrapping_add(1), base.wrapping_sub(1), base ^ (1 << 32), base ^ (1 << 63), base | 0xffff_ffff]);
            values.extend([base.rotate_left(32), base ^ 0x8000_0000, base << 32]);
        }
        values.extend((0..64).filter(|bit| mask & (1 << bit) != 0).map(|bit| condition.value ^ (1 << bit)));
    }
    values.sort_unstable();
    values.dedup();
    values
}
