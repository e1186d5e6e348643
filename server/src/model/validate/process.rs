//! What runs: image, command line, environment, user, names of the host, signals, log.

use super::{Faults, shortened};
use crate::model::container::{ContainerSpec, Healthcheck};
use crate::model::name::{Reference, is_dns_label};
use crate::model::signal;

/// The kernel's own limit for one string of a command line or environment, with its final NUL (execve(2), MAX_ARG_STRLEN).
const MAX_STRING: usize = 128 << 10;
/// All strings together. The kernel allows a quarter of the stack limit; this leaves room for the image's part.
const MAX_STRINGS: usize = 512 << 10;
/// See limits.h: PATH_MAX.
const MAX_PATH: usize = 4096;
/// A year: longer than anyone waits, and far from any overflow.
const MAX_STOP_TIMEOUT: u64 = 365 * 86_400;

/// A day: what is looked at less often is not looked at.
const MAX_HEALTH_SECONDS: u64 = 86_400;

pub(super) fn check(spec: &ContainerSpec, faults: &mut Faults) {
    image(&spec.image, faults);
    command_line(spec, faults);
    environment(spec, faults);
    if let Some(folder) = &spec.working_dir {
        path("/spec/workingDir", folder, faults);
    }
    if let Some(message) = spec.user.as_deref().and_then(|user| check_user(user).err()) {
        faults.add("/spec/user", message);
    }
    host_name("/spec/hostname", spec.hostname.as_deref(), 63, faults);
    host_name("/spec/domainname", spec.domainname.as_deref(), 64, faults);
    if let Some(error) = spec.stop_signal.as_deref().and_then(|text| signal::parse(text).err()) {
        faults.add("/spec/stopSignal", error.to_string());
    }
    if let Some(seconds) = spec.stop_timeout_seconds.filter(|s| *s > MAX_STOP_TIMEOUT) {
        faults.add("/spec/stopTimeoutSeconds", format!("must be at most {MAX_STOP_TIMEOUT}, and is {seconds}"));
    }
    if let Some(check) = &spec.healthcheck {
        healthcheck(check, faults);
    }
    if spec.logging.max_size.0 < 4096 {
        faults.add("/spec/logging/maxSize", format!("must be at least 4096 bytes, and is {}", spec.logging.max_size.0));
    }
    if !matches!(spec.logging.max_files, 1..=100) {
        faults.add("/spec/logging/maxFiles", format!("must be 1 to 100, and is {}", spec.logging.max_files));
    }
}

fn healthcheck(check: &Healthcheck, faults: &mut Faults) {
    let arguments = check.test.len().saturating_sub(1);
    let known = match check.test.first().map(String::as_str) {
        None => true,
        Some("NONE") => arguments == 0,
        Some("CMD") => arguments > 0 && !check.test[1].is_empty(),
        Some("CMD-SHELL") => arguments == 1,
        Some(_) => false,
    };
    if !known {
        faults.add("/spec/healthcheck/test", "must be [\"NONE\"], [\"CMD\", program, argument…] or [\"CMD-SHELL\", line]");
    }
    for (index, text) in check.test.iter().enumerate() {
        string(&format!("/spec/healthcheck/test/{index}"), text, faults);
    }
    for (field, seconds, least) in [
        ("intervalSeconds", check.interval_seconds, 1),
        ("timeoutSeconds", check.timeout_seconds, 1),
        ("startPeriodSeconds", check.start_period_seconds, 0),
        ("startIntervalSeconds", check.start_interval_seconds, 1),
    ] {
        if let Some(seconds) = seconds.filter(|seconds| !(least..=MAX_HEALTH_SECONDS).contains(seconds)) {
            faults.add(format!("/spec/healthcheck/{field}"), format!("must be {least} to {MAX_HEALTH_SECONDS}, and is {seconds}"));
        }
    }
    if check.retries == Some(0) {
        faults.add("/spec/healthcheck/retries", "must be at least 1");
    }
}

/// A reference, or an id: `sha256:…` or its digits.
fn image(image: &str, faults: &mut Faults) {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = matches!(digits.len(), 8..=64) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if image.is_empty() {
        faults.add("/spec/image", "is required");
    } else if !is_id && let Err(error) = image.parse::<Reference>() {
        faults.add("/spec/image", error.to_string());
    }
}

fn command_line(spec: &ContainerSpec, faults: &mut Faults) {
    for (field, list) in [("command", &spec.command), ("args", &spec.args)] {
        for (index, text) in list.iter().flatten().enumerate() {
            string(&format!("/spec/{field}/{index}"), text, faults);
        }
    }
    if spec.command.as_ref().and_then(|command| command.first()).is_some_and(String::is_empty) {
        faults.add("/spec/command/0", "names the program and must not be empty");
    }
    let arguments = spec.command.iter().chain(&spec.args).flatten().map(|text| text.len() + 1);
    let total: usize = arguments.chain(spec.env.iter().map(|env| env.name.len() + env.value.len() + 2)).sum();
    if total > MAX_STRINGS {
        faults.add("/spec", format!("command, args and env are {total} bytes together; the most is {MAX_STRINGS}"));
    }
}

fn environment(spec: &ContainerSpec, faults: &mut Faults) {
    for (index, variable) in spec.env.iter().enumerate() {
        let path = format!("/spec/env/{index}");
        if variable.name.is_empty() {
            faults.add(format!("{path}/name"), "must not be empty");
        }
        if variable.name.contains('=') {
            faults.add(format!("{path}/name"), format!("{:?} must not contain '='", shortened(&variable.name)));
        }
        string(&format!("{path}/name"), &variable.name, faults);
        string(&format!("{path}/value"), &variable.value, faults);
    }
}

/// What can cross execve(2).
fn string(path: &str, text: &str, faults: &mut Faults) {
    if text.contains('\0') {
        faults.add(path, "must not contain a NUL character");
    }
    if text.len() >= MAX_STRING {
        faults.add(path, format!("is {} bytes; the kernel takes at most {} in one string", text.len(), MAX_STRING - 1));
    }
}

/// An absolute path that leads where it says, but for symbolic links. One fault at most: the first thing that is wrong with it.
pub(super) fn path(pointer: &str, path: &str, faults: &mut Faults) -> bool {
    let fault = if !path.starts_with('/') {
        format!("{:?} must be an absolute path", shortened(path))
    } else if path.contains('\0') {
        "must not contain a NUL character".to_owned()
    } else if path.len() >= MAX_PATH {
        format!("is {} bytes; a path has at most {}", path.len(), MAX_PATH - 1)
    } else if path.split('/').any(|part| matches!(part, "." | "..")) {
        format!("{:?} must not contain '.' or '..' as a part", shortened(path))
    } else {
        return true;
    };
    faults.add(pointer, fault);
    false
}

/// `uid`, `uid:gid`, `name`, `name:group` and their mixtures; never anything that a lenient reader could take for root.
pub fn check_user(user: &str) -> Result<(), String> {
    let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    for (what, part) in [("user", Some(name)), ("group", group)] {
        let Some(part) = part else { continue };
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if digits {
            // The last one is the kernel's "no change". Ids above the sandbox's range are refused by the runtime.
            if part.len() > 10 || part.parse::<u32>().is_ok_and(|id| id == u32::MAX) || part.parse::<u32>().is_err() {
                return Err(format!("{what} id {:?} must be 0 to 4294967294", shortened(part)));
            }
        } else if !is_account_name(part) {
            let rule = "must be a number, or a name of at most 64 letters, digits, '_', '-' and '.' that begins with a letter or '_'";
            return Err(format!("{what} {:?} {rule}", shortened(part)));
        }
    }
    Ok(())
}

fn is_account_name(name: &str) -> bool {
    let body = name.strip_suffix('$').unwrap_or(name);
    let first = body.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.len() <= 64 && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// RFC 1123 labels joined by dots; the kernel takes at most 64 bytes (sethostname(2)).
fn host_name(pointer: &str, name: Option<&str>, most: usize, faults: &mut Faults) {
    if let Some(name) = name.filter(|name| name.len() > most || !name.split('.').all(is_dns_label)) {
        let rule = "lower-case letters, digits and inner hyphens, in parts joined by dots";
        faults.add(pointer, format!("{:?} must be at most {most} characters: {rule}", shortened(name)));
    }
}
