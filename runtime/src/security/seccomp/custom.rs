//! A user's own profile: the JSON of Docker (conditions by capability, architecture and kernel) or of the OCI runtime specification.
//!
//! It means here what it means to runc with libseccomp, so that a profile can be carried over:
//! - names of calls that this architecture or this version does not have are ignored;
//! - a rule without arguments beats those with arguments, and the first of several such rules counts;
//! - a rule that names one argument twice is one rule for each of its tests (either matches);
//! - a rule that only repeats the default action is passed over;
//! - calls with higher numbers than any that the profile names are ENOSYS, not the default action: the profile was written before they were.
//!
//! Different here: where rules with arguments contradict each other the strictest verdict holds, as among several filters in the kernel (in
//! libseccomp that depends on the inner order of its tree); only the native ABI is opened, whatever `architectures` says, because arguments of 32-bit calls are elsewhere
//! (`socketcall`) and no rule would hold for them; and an unknown field, action or operator is a fault, never passed over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::json::{Node, Object};
use super::policy::{Comparison, Condition, Policy, Rule, Verdict, Width};
use super::{CapSet, Capability, Options, PROFILE};
use crate::config::ConfigError;

/// A kernel release's first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    pub major: u32,
    pub minor: u32,
}

impl KernelVersion {
    /// The running kernel's; 0.0, which is older than any, when /proc does not say.
    pub fn running() -> KernelVersion {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        KernelVersion::parse_release(&release).unwrap_or(KernelVersion { major: 0, minor: 0 })
    }

    /// From `6.1.0-18-amd64`, `5.10-rc3` and the like.
    pub fn parse_release(release: &str) -> Option<KernelVersion> {
        let (major, rest) = release.trim().split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(KernelVersion { major: major.parse().ok()?, minor: rest[..end].parse().ok()? })
    }
}

/// Rules of all calls together; a profile with more would not fit into a program anyway.
const MAX_RULES: usize = 16_384;
/// Tests in one rule: a call has six arguments, and some profiles name one several times.
const MAX_TESTS: usize = 64;
/// The kernel's `MAX_ERRNO`.
const MAX_ERRNO: u64 = 4095;

/// Reads a profile; a fault points into it.
pub(super) fn policy(profile: &Value, capabilities: CapSet, options: &Options) -> Result<Policy, ConfigError> {
    let top = Node::root(profile, PROFILE).object(&[
        "defaultAction",
        "defaultErrno",
        "defaultErrnoRet",
        "architectures",
        "archMap",
        "flags",
        "syscalls",
    ])?;
    let default = action(&top, "defaultAction", "defaultErrno", "defaultErrnoRet")?;
    check_architectures(&top)?;
    for flag in top.list("flags")? {
        check_flag(&flag)?;
    }
    let mut collected = Collected::default();
    for entry in top.list("syscalls")? {
        collected.entry(&entry, &Context { capabilities, options })?;
    }
    let mut policy = Policy::new(options.arch, default);
    policy.beyond = collected.highest.filter(|_| is_refusal(default)).map(|highest| (highest + 1, Verdict::Errno(libc::ENOSYS as u16)));
    let calls = collected.calls.into_iter().map(|(number, rules)| (number, in_order(rules, default)));
    policy.calls = calls.filter(|(_, rules)| !rules.is_empty()).collect();
    Ok(policy)
}

fn is_refusal(default: Verdict) -> bool {
    match default {
        // A tracer knows best what to answer to a new call.
        Verdict::Allow | Verdict::Log | Verdict::Trace(_) => false,
        Verdict::Errno(_) | Verdict::Trap | Verdict::KillThread | Verdict::KillProcess => true,
    }
}

struct Context<'a> {
    capabilities: CapSet,
    options: &'a Options,
}

#[derive(Default)]
struct Collected {
    calls: BTreeMap<u32, Vec<Rule>>,
    /// Of all numbers that the profile names for this container.
    highest: Option<u32>,
    rules: usize,
}

impl Collected {
    /// One member of `syscalls`; checked as a whole even where its conditions leave it out.
    fn entry(&mut self, entry: &Node<'_>, context: &Context<'_>) -> Result<(), ConfigError> {
        let rule = entry.object(&["name", "names", "action", "errno", "errnoRet", "args", "includes", "excludes"])?;
        let names = names(&rule)?;
        let verdict = action(&rule, "action", "errno", "errnoRet")?;
        let tests = rule.list("args")?;
        if tests.len() > MAX_TESTS {
            return Err(rule.need("args")?.fault(format!("must not have more than {MAX_TESTS} members")));
        }
        let conditions = tests.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        let included = rule.get("includes").map_or(Ok(true), |filter| Ok(Conditions::parse(&filter)?.included(context)))?;
        let excluded = rule.get("excludes").map_or(Ok(false), |filter| Ok(Conditions::parse(&filter)?.excluded(context)))?;
        if !included || excluded {
            return Ok(());
        }
        let numbers: BTreeSet<u32> = names.into_iter().filter_map(|name| context.options.arch.number(name)).collect();
        self.highest = self.highest.max(numbers.last().copied());
        let rules = rules_of(conditions, verdict);
        self.rules += rules.len() * numbers.len();
        if self.rules > MAX_RULES {
            return Err(entry.fault(format!("is where the profile's rules become more than {MAX_RULES}")));
        }
        for number in numbers {
            self.calls.entry(number).or_default().extend(rules.iter().cloned());
        }
        Ok(())
    }
}

/// All tests in one rule, or one rule a test where an argument is named twice.
fn rules_of(conditions: Vec<Condition>, verdict: Verdict) -> Vec<Rule> {
    let arguments: BTreeSet<u8> = conditions.iter().map(|condition| condition.argument).collect();
    // A mask of nothing always holds: a rule of such tests only is one without any.
    let rule = |mut conditions: Vec<Condition>| {
        conditions.retain(|condition| condition.comparison != Comparison::Masked(0));
        Rule::when(conditions, verdict)
    };
    if arguments.len() == conditions.len() {
        vec![rule(conditions)]
    } else {
        conditions.into_iter().map(|condition| rule([condition].into())).collect()
    }
}

/// The rules of one call in the order in which they are to be tried.
fn in_order(mut rules: Vec<Rule>, default: Verdict) -> Vec<Rule> {
    rules.retain(|rule| rule.verdict != default);
    if let Some(at) = rules.iter().position(|rule| rule.conditions.is_empty()) {
        return vec![rules.swap_remove(at)];
    }
    rules.sort_by_key(|rule| Reverse(rule.verdict.strictness()));
    rules
}

fn names<'a>(rule: &Object<'a>) -> Result<Vec<&'a str>, ConfigError> {
    match (rule.get("name"), rule.get("names")) {
        (Some(name), None) => Ok(vec![name.text()?]),
        (Some(name), Some(names)) if !names.items()?.is_empty() => Err(name.fault("is there beside names: give one of them")),
        (Some(name), Some(_)) => Ok(vec![name.text()?]),
        (None, _) => rule.need("names")?.items()?.iter().map(Node::text).collect(),
    }
}

/// An action with its errno, which Podman writes by name in a field of its own.
fn action(object: &Object<'_>, action: &str, errno_name: &str, errno_number: &str) -> Result<Verdict, ConfigError> {
    let by_name = object.get(errno_name).filter(|node| node.text() != Ok(""));
    let given = match (&by_name, object.get(errno_number)) {
        (Some(name), _) => Some((name.clone(), errno_by_name(name)?)),
        (None, Some(number)) => Some((number.clone(), number.number(MAX_ERRNO)? as u16)),
        (None, None) => None,
    };
    let node = object.need(action)?;
    let errno = given.as_ref().map_or(libc::EPERM as u16, |(_, errno)| *errno);
    let verdict = match node.text()? {
        "SCMP_ACT_ALLOW" => Verdict::Allow,
        "SCMP_ACT_LOG" => Verdict::Log,
        "SCMP_ACT_ERRNO" => return Ok(Verdict::Errno(errno)),
        "SCMP_ACT_TRACE" => return Ok(Verdict::Trace(errno)),
        "SCMP_ACT_TRAP" => Verdict::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Verdict::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Verdict::KillProcess,
        "SCMP_ACT_NOTIFY" => return Err(node.fault("SCMP_ACT_NOTIFY is not supported: there is no listener")),
        other => return Err(node.fault(format!("{:?} is not an action", shorten(other)))),
    };
    match given {
        // The OCI runtime specification: "When the action doesn't support an errno, the runtime MUST print and error and fail."
        Some((node, _)) => Err(node.fault("is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only")),
        None => Ok(verdict),
    }
}

fn errno_by_name(node: &Node<'_>) -> Result<u16, ConfigError> {
    let name = node.text()?;
    (1..=133u16)
        .find(|&number| format!("{:?}", nix::errno::Errno::from_raw(i32::from(number))) == name)
        .ok_or_else(|| node.fault(format!("{:?} is not an errno", shorten(name))))
}

fn condition(test: &Node<'_>) -> Result<Condition, ConfigError> {
    let fields = test.object(&["index", "value", "valueTwo", "op"])?;
    let argument = fields.need("index")?.number(5)? as u8;
    let number = |name| fields.get(name).map_or(Ok(0), |node| node.number(u64::MAX));
    let (value, second) = (number("value")?, number("valueTwo")?);
    let operator = fields.need("op")?;
    let (comparison, value) = match operator.text()? {
        "SCMP_CMP_NE" => (Comparison::NotEqual, value),
        "SCMP_CMP_LT" => (Comparison::Less, value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, value),
        "SCMP_CMP_EQ" => (Comparison::Equal, value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, value),
        "SCMP_CMP_GT" => (Comparison::Greater, value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::Masked(value), second),
        other => return Err(operator.fault(format!("{:?} is not an operator", shorten(other)))),
    };
    Ok(Condition { argument, width: Width::Full64, comparison, value })
}

/// `includes` or `excludes` of a rule.
struct Conditions<'a> {
    capabilities: Vec<&'a str>,
    arches: Vec<&'a str>,
    min_kernel: Option<KernelVersion>,
}

impl<'a> Conditions<'a> {
    fn parse(node: &Node<'a>) -> Result<Conditions<'a>, ConfigError> {
        let fields = node.object(&["caps", "arches", "minKernel"])?;
        let texts = |name| fields.list(name)?.iter().map(Node::text).collect::<Result<Vec<_>, _>>();
        let min_kernel = fields.get("minKernel").filter(|node| node.text() != Ok("")).map(|node| version(&node)).transpose()?;
        Ok(Conditions { capabilities: texts("caps")?, arches: texts("arches")?, min_kernel })
    }

    /// Everything that is said holds: all of the capabilities, one of the architectures, the kernel new enough.
    fn included(&self, context: &Context<'_>) -> bool {
        let capabilities = self.capabilities.iter().all(|name| holds(name, context));
        let arch = self.arches.is_empty() || self.arches.contains(&context.options.arch.go_name());
        capabilities && arch && self.min_kernel.is_none_or(|least| context.options.kernel >= least)
    }

    /// Anything that is said holds.
    fn excluded(&self, context: &Context<'_>) -> bool {
        let capability = self.capabilities.iter().any(|name| holds(name, context));
        let arch = self.arches.contains(&context.options.arch.go_name());
        capability || arch || self.min_kernel.is_some_and(|least| context.options.kernel >= least)
    }
}

/// A capability that this version does not know is one that no container has.
fn holds(name: &str, context: &Context<'_>) -> bool {
    Capability::from_name(name).is_some_and(|capability| context.capabilities.contains(capability))
}

/// `<major>.<minor>`, nothing else.
fn version(node: &Node<'_>) -> Result<KernelVersion, ConfigError> {
    let text = node.text()?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = text.split_once('.').filter(|(major, minor)| digits(major) && digits(minor));
    parts
        .and_then(|(major, minor)| Some(KernelVersion { major: major.parse().ok()?, minor: minor.parse().ok()? }))
        .ok_or_else(|| node.fault(format!("{:?} is not a kernel version of the form 4.8", shorten(text))))
}

/// Both forms are read and checked, and change nothing: see above.
fn check_architectures(top: &Object<'_>) -> Result<(), ConfigError> {
    let listed = top.list("architectures")?;
    let mapped = top.list("archMap")?;
    if !listed.is_empty() && !mapped.is_empty() {
        return Err(top.need("archMap")?.fault("is there beside architectures: give one of them"));
    }
    listed.iter().try_for_each(check_architecture)?;
    for entry in &mapped {
        let fields = entry.object(&["architecture", "subArchitectures"])?;
        check_architecture(&fields.need("architecture")?)?;
        fields.list("subArchitectures")?.iter().try_for_each(check_architecture)?;
    }
    Ok(())
}

fn check_architecture(node: &Node<'_>) -> Result<(), ConfigError> {
    /// The OCI runtime specification's, without `SCMP_ARCH_`.
    const KNOWN: &str = " X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X \
                          PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB ";
    let name = node.text()?;
    match name.strip_prefix("SCMP_ARCH_") {
        Some(bare) if KNOWN.split_ascii_whitespace().any(|known| known == bare) => Ok(()),
        _ => Err(node.fault(format!("{:?} is not an architecture", shorten(name)))),
    }
}

fn check_flag(node: &Node<'_>) -> Result<(), ConfigError> {
    match node.text()? {
        // Always so: a set-up process has one thread, and the mitigation is declined for every filter.
        "SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(()),
        other => Err(node.fault(format!("{:?} is not a flag that is supported", shorten(other)))),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
