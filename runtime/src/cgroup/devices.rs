//! Which device nodes a container may open or make: the `devices` controller on v1, a BPF program on v2.
//!
//! Both start from "none" and add what the rules name. The kernel asks at open(2) and mknod(2), whoever made the node and wherever it is, so
//! that a node smuggled in by an image or a volume opens nothing. See the kernel's admin-guide/cgroup-v1/devices.rst and
//! admin-guide/cgroup-v2.rst, "Device controller".

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use super::Cgroup;
use super::error::CgroupError;
use super::file;
use super::hierarchy::Version;
use crate::sys::bpf::{self, Instruction};
use crate::trace::Trace;

/// Character or block: major and minor numbers are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    Char,
    Block,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceAccess {
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

impl DeviceAccess {
    pub const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };
    pub const MKNOD: DeviceAccess = DeviceAccess { read: false, write: false, mknod: true };
}

/// One line of the list; `None` stands for every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    pub kind: DeviceKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: DeviceAccess,
}

/// What a container may reach.
#[derive(Debug, Clone, Copy)]
pub enum DeviceRules<'a> {
    /// Everything: a privileged container.
    All,
    /// These and nothing else.
    Only(&'a [DeviceRule]),
}

impl Cgroup {
    /// Closes the new cgroup to all devices but these. On v1 by `devices.deny` and `devices.allow`, compared with `devices.list` afterwards;
    /// on v2 by a program that stays for as long as the cgroup exists. Fails with `Unsupported` where the host has neither.
    pub(super) fn restrict_devices(&self, rules: &DeviceRules<'_>, trace: &mut Trace) -> Result<(), CgroupError> {
        let DeviceRules::Only(rules) = rules else { return Ok(()) };
        if let Some(v1) = self.hierarchies.v1("devices") {
            return allow_v1(&v1.mount.join(&self.relative), rules, trace);
        }
        self.attach_device_program(rules, trace)
    }

    /// The v2 way, also on a hybrid host (where the v1 list does the work and this is for whoever wants both).
    pub fn attach_device_program(&self, rules: &[DeviceRule], trace: &mut Trace) -> Result<(), CgroupError> {
        let Some(cgroup) = self.leaf_fd()? else {
            return Err(CgroupError::Unsupported {
                feature: "device control".to_owned(),
                pointer: "/security".to_owned(),
                message: "neither the devices controller of cgroup v1 nor a cgroup v2 tree".to_owned(),
            });
        };
        let program = device_program(rules);
        let listed = rules.iter().map(line).collect::<Vec<_>>().join(", ");
        let loaded = trace.run("bpf", ["BPF_PROG_LOAD".to_owned(), "BPF_PROG_TYPE_CGROUP_DEVICE".to_owned(), listed], "", || {
            bpf::load_device_program(&program)
        })?;
        let path = self.directory(Version::V2).map(|dir| dir.display().to_string()).unwrap_or_default();
        trace.run(
            "bpf",
            ["BPF_PROG_ATTACH".to_owned(), "BPF_CGROUP_DEVICE".to_owned(), path.clone()],
            format!("bpftool cgroup attach {path} device pinned <program> multi"),
            || bpf::attach_device_program(cgroup.as_fd(), loaded.as_fd()),
        )?;
        Ok(())
    }
}

/// Written by us and not by cgroups-rs: the crate opens the file anew for each line, and a list has a dozen.
fn allow_v1(dir: &std::path::Path, rules: &[DeviceRule], trace: &mut Trace) -> Result<(), CgroupError> {
    let deny = dir.join("devices.deny");
    super::tree::write(&deny, "a", trace)?;
    let allow = dir.join("devices.allow");
    let mut opened = file::open_for_writing(&allow)?;
    for rule in rules {
        let text = line(rule);
        let shell = format!("echo {text:?} > {}", allow.display());
        trace.run("write", [allow.display().to_string(), text.clone()], shell, || file::put(&mut opened, &allow, &text))?;
    }
    let list = dir.join("devices.list");
    let found = file::read(&list)?;
    if parse_list(&found) == Some(merged(rules)) {
        return Ok(());
    }
    let wanted = rules.iter().map(line).collect::<Vec<_>>().join("\n");
    Err(CgroupError::NotHeld { pointer: "/security".to_owned(), file: list, wanted, found })
}

/// `c 1:3 rwm`, as devices.allow takes it and devices.list states it.
fn line(rule: &DeviceRule) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let mut text = match rule.kind {
        DeviceKind::Char => "c ",
        DeviceKind::Block => "b ",
    }
    .to_owned();
    text.push_str(&format!("{}:{} ", number(rule.major), number(rule.minor)));
    for (has, letter) in [(rule.access.read, 'r'), (rule.access.write, 'w'), (rule.access.mknod, 'm')] {
        if has {
            text.push(letter);
        }
    }
    text
}

type Merged = BTreeMap<(DeviceKind, Option<u32>, Option<u32>), u8>;

/// The kernel keeps one entry a device, with the accesses of all its lines.
fn merged(rules: &[DeviceRule]) -> Merged {
    let mut map = Merged::new();
    for rule in rules {
        *map.entry((rule.kind, rule.major, rule.minor)).or_default() |= bits(rule.access);
    }
    map
}

fn parse_list(text: &str) -> Option<Merged> {
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    let mut map = Merged::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        let kind = match parts.next()? {
            "c" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            _ => return None,
        };
        let (major, minor) = parts.next()?.split_once(':')?;
        let letters = parts.next()?;
        let access = DeviceAccess { read: letters.contains('r'), write: letters.contains('w'), mknod: letters.contains('m') };
        *map.entry((kind, number(major)?, number(minor)?)).or_default() |= bits(access);
    }
    Some(map)
}

/// BPF_DEVCG_ACC_MKNOD, _READ and _WRITE.
fn bits(access: DeviceAccess) -> u8 {
    u8::from(access.mknod) | u8::from(access.read) << 1 | u8::from(access.write) << 2
}

// The few instructions of BPF that the program needs (the kernel's Documentation/bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const COPY: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const SET: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const JUMP_UNLESS: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The rules as a program: registers hold kind, access, major and minor; each rule is a row of tests that jump to the next rule, and ends in
/// "allow"; behind the last one stands "deny".
///
/// ```text
/// kind = ctx.access_type & 0xffff; access = ctx.access_type >> 16; major = ctx.major; minor = ctx.minor
/// rule: kind == k && (access & !allowed) == 0 && major == M && minor == N -> return 1
/// …
/// return 0
/// ```
fn device_program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let plain = |code, to, from: u8, offset, immediate| Instruction { code, registers: from << 4 | to, offset, immediate };
    let mut program = vec![
        plain(LOAD_WORD, KIND, CONTEXT, 0, 0),
        plain(COPY, ACCESS, KIND, 0, 0),
        plain(AND, KIND, 0, 0, 0xffff),
        plain(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        plain(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        plain(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        let mut row = Vec::with_capacity(8);
        let kind = match rule.kind {
            DeviceKind::Block => 1,
            DeviceKind::Char => 2,
        };
        row.push(plain(JUMP_UNLESS, KIND, 0, 0, kind));
        if rule.access != DeviceAccess::ALL {
            // The context is not needed any more, so its register is free.
            row.push(plain(COPY, CONTEXT, ACCESS, 0, 0));
            row.push(plain(AND, CONTEXT, 0, 0, i32::from(!bits(rule.access) & 7)));
            row.push(plain(JUMP_UNLESS, CONTEXT, 0, 0, 0));
        }
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            if let Some(number) = number {
                row.push(plain(JUMP_UNLESS, register, 0, 0, number.cast_signed()));
            }
        }
        row.push(plain(SET, RESULT, 0, 0, 1));
        row.push(plain(EXIT, 0, 0, 0, 0));
        let length = row.len();
        for (at, instruction) in row.iter_mut().enumerate().filter(|(_, i)| i.code == JUMP_UNLESS) {
            // A row has at most eight instructions.
            instruction.offset = i16::try_from(length - at - 1).unwrap_or(0);
        }
        program.append(&mut row);
    }
    program.push(plain(SET, RESULT, 0, 0, 0));
    program.push(plain(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rule(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: DeviceAccess) -> DeviceRule {
        DeviceRule { kind, major, minor, access }
    }

    const RULES: [DeviceRule; 3] = [
        rule(DeviceKind::Char, Some(1), Some(3), DeviceAccess::ALL),
        rule(DeviceKind::Char, Some(136), None, DeviceAccess { read: true, write: true, mknod: false }),
        rule(DeviceKind::Block, None, None, DeviceAccess::MKNOD),
    ];

    /// Runs the program as the kernel would.
    fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        loop {
            let i = program[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            at += 1;
            let immediate = u64::from(i.immediate.cast_unsigned());
            match i.code {
                LOAD_WORD => registers[to] = context[usize::try_from(i.offset).unwrap() / 4].into(),
                AND => registers[to] &= immediate,
                SHIFT_RIGHT => registers[to] >>= immediate,
                COPY => registers[to] = registers[from],
                SET => registers[to] = immediate,
                JUMP_UNLESS if registers[to] != immediate => at += usize::try_from(i.offset).unwrap(),
                JUMP_UNLESS => {}
                EXIT => return registers[0],
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_allows_what_the_rules_name_and_nothing_else() {
        let program = device_program(&RULES);
        let expected = |kind: DeviceKind, access: u8, major: u32, minor: u32| {
            RULES.iter().any(|r| {
                r.kind == kind && access & !bits(r.access) == 0 && r.major.is_none_or(|m| m == major) && r.minor.is_none_or(|m| m == minor)
            })
        };
        for (kind, number) in [(DeviceKind::Block, 1), (DeviceKind::Char, 2)] {
            for access in 1..8_u8 {
                for major in [0, 1, 3, 136, 254, u32::MAX] {
                    for minor in [0, 1, 3, 5, u32::MAX] {
                        let allowed = run(&program, number, access.into(), major, minor) == 1;
                        assert_eq!(allowed, expected(kind, access, major, minor), "{kind:?} {access} {major}:{minor}");
                    }
                }
            }
        }
        assert_eq!(run(&device_program(&[]), 2, 2, 1, 3), 0, "no rule allows nothing");
    }

    #[test]
    fn lines_are_as_the_kernel_states_them() {
        assert_eq!(RULES.map(|r| line(&r)), ["c 1:3 rwm", "c 136:* rw", "b *:* m"]);
        assert_eq!(parse_list("b *:* m\nc 136:* rw\nc 1:3 rwm\n"), Some(merged(&RULES)));
        assert_ne!(parse_list("a *:* rwm"), Some(merged(&RULES)), "an open list is no list");
        let twice = [RULES[0], rule(DeviceKind::Char, Some(1), Some(3), DeviceAccess::MKNOD)];
        assert_eq!(merged(&twice), merged(&RULES[..1]));
    }

    #[test]
    fn a_list_that_did_not_take_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("devices.list"), "a *:* rwm\n").unwrap();
        let error = allow_v1(dir.path(), &RULES, &mut Trace::new("test")).unwrap_err();
        assert!(matches!(error, CgroupError::NotHeld { ref file, .. } if file.ends_with("devices.list")), "{error}");
    }
}
