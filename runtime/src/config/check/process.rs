//! The rules of what is run: strings that execve(2) takes, a folder, a user.

use super::{ConfigError, PLAIN_ABSOLUTE, is_plain_absolute};
use crate::config::{ExecConfig, Process};
use crate::security::user::{self, Part};

/// The kernel's MAX_ARG_STRLEN, final NUL included: one argument or one variable. See execve(2).
const MAX_STRING: usize = 128 << 10;
/// Arguments and environment together, each with its NUL and its pointer; the kernel's own limit is a quarter of the stack's.
const MAX_STRINGS: usize = 1 << 20;
/// The kernel's NGROUPS_MAX, less the primary group.
const MAX_GROUPS: usize = 65_535;

/// A container's own process; `ids` as the sandbox has them, None for all.
pub(super) fn check(process: &Process, ids: Option<u32>) -> Result<(), ConfigError> {
    let inner = |error: ConfigError| ConfigError { path: format!("/process{}", error.path), message: error.message };
    check_strings(&process.argv, &process.env).map_err(inner)?;
    if !is_plain_absolute(&process.cwd) {
        return Err(ConfigError::at("/process/cwd", PLAIN_ABSOLUTE));
    }
    check_user(&process.user, ids, "/process/user")?;
    if process.additional_gids.len() > MAX_GROUPS {
        return Err(ConfigError::at("/process/additionalGids", format!("must be at most {MAX_GROUPS}")));
    }
    for (index, &gid) in process.additional_gids.iter().enumerate() {
        check_id(gid, ids, &format!("/process/additionalGids/{index}"))?;
    }
    Ok(())
}

/// The rules of a further process.
pub fn check_exec(exec: &ExecConfig) -> Result<(), ConfigError> {
    check_strings(&exec.argv, &exec.env)?;
    if exec.cwd.as_ref().is_some_and(|cwd| !is_plain_absolute(cwd)) {
        return Err(ConfigError::at("/cwd", PLAIN_ABSOLUTE));
    }
    if exec.detach && exec.stdin {
        return Err(ConfigError::at("/stdin", "a detached process has none"));
    }
    if exec.timeout_ms == Some(0) {
        return Err(ConfigError::at("/timeoutMs", "must be at least 1"));
    }
    // Which ids there are is the container's to say: an id that it does not have fails when it is taken.
    exec.user.as_deref().map_or(Ok(()), |text| check_user(text, None, "/user"))
}

fn check_user(text: &str, ids: Option<u32>, path: &str) -> Result<(), ConfigError> {
    let parts = user::parse(text).map_err(|error| ConfigError::at(path, error.to_string()))?;
    for part in [Some(parts.user), parts.group].into_iter().flatten() {
        if let Part::Id(id) = part {
            check_id(id, ids, path)?;
        }
    }
    Ok(())
}

fn check_id(id: u32, ids: Option<u32>, path: &str) -> Result<(), ConfigError> {
    // Without a user namespace all ids but the kernel's "no change".
    let end = ids.unwrap_or(u32::MAX);
    if id < end { Ok(()) } else { Err(ConfigError::at(path, format!("{id} is not an id of this sandbox: they are 0 to {}", end - 1))) }
}

fn check_strings(argv: &[String], env: &[String]) -> Result<(), ConfigError> {
    if argv.is_empty() {
        return Err(ConfigError::at("/argv", "must name a program"));
    }
    if argv[0].is_empty() {
        return Err(ConfigError::at("/argv/0", "must name a program"));
    }
    for (list, name) in [(argv, "argv"), (env, "env")] {
        for (index, text) in list.iter().enumerate() {
            if text.contains('\0') || text.len() >= MAX_STRING {
                return Err(ConfigError::at(
                    format!("/{name}/{index}"),
                    format!("must be at most {} bytes, none of them NUL", MAX_STRING - 1),
                ));
            }
        }
    }
    for (index, text) in env.iter().enumerate() {
        let fault = |why: &str| Err(ConfigError::at(format!("/env/{index}"), why));
        match text.split_once('=') {
            None | Some(("", _)) => return fault("must be NAME=value"),
            // Programs write it into files of lines (CVE-2026-15809).
            Some(("HOME", folder)) if folder.chars().any(char::is_control) => return fault("HOME must have no control characters"),
            Some(_) => {}
        }
    }
    let total: usize = argv.iter().chain(env).map(|text| text.len() + 1 + size_of::<usize>()).sum();
    if total > MAX_STRINGS {
        return Err(ConfigError::at("/argv", format!("arguments and environment are {total} bytes; at most {MAX_STRINGS}")));
    }
    Ok(())
}
