//! The last stages before execve, the same for a container's first process and for an exec.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::report::{FromInit, report};
use crate::error::{SetupError, SysError};
use crate::security::SecurityPlan;
use crate::security::user::{self, ResolvedUser};
use crate::sys::process::Cloned;
use crate::sys::{cap, process, seccomp, signal, terminal};
use crate::trace::Trace;

/// What a process is to become.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) argv: &'a [String],
    pub(super) env: &'a [String],
    pub(super) user: &'a ResolvedUser,
    pub(super) security: &'a SecurityPlan,
    pub(super) stdio: [&'a OwnedFd; 3],
    pub(super) control: &'a OwnedFd,
    /// Run it below a small pid 1.
    pub(super) below_init: bool,
}

/// Used where the environment has no PATH: what Docker sets.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Moves this process into each hierarchy. The files were opened by the shim: the kernel checks the opener's rights (Linux 5.16), so this
/// works from within a user namespace.
pub(super) fn join_cgroups(tasks: &[(String, OwnedFd)], trace: &mut Trace) -> Result<(), SysError> {
    let names: Vec<_> = tasks.iter().map(|(controller, _)| controller.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    trace.run("write", names, "echo $$ > /sys/fs/cgroup/<controller>/<container>/tasks", || {
        for (controller, file) in tasks {
            nix::unistd::write(file, b"0").map_err(|errno| SysError::new("write", format!("{controller} tasks"), errno))?;
        }
        Ok(())
    })
}

/// The user as the container's own files say, from inside its root.
pub(super) fn resolve_user(wanted: &str, additional: &[u32]) -> Result<ResolvedUser, SetupError> {
    let fault = |detail: String| SetupError {
        stage: "user".into(),
        call: "getpwnam".into(),
        subject: wanted.to_owned(),
        errno: Errno::ENOENT as i32,
        errno_name: "ENOENT".into(),
        detail,
    };
    let root = super::init::open_directory("/").map_err(|error| SetupError::new("user", &error))?;
    let passwd = user::read_database(root.as_fd(), "/etc/passwd").map_err(|error| fault(error.to_string()))?;
    let group = user::read_database(root.as_fd(), "/etc/group").map_err(|error| fault(error.to_string()))?;
    let mut resolved = user::resolve(wanted, &passwd, &group).map_err(|error| fault(error.to_string()))?;
    for gid in additional {
        if !resolved.groups.contains(gid) {
            resolved.groups.push(*gid);
        }
    }
    Ok(resolved)
}

/// The kernel's own name for the working directory must lie inside the root: a descriptor of a directory outside would show as
/// `(unreachable)/…` (getcwd(2), CVE-2024-21626).
pub(super) fn check_cwd() -> Result<(), SysError> {
    match nix::unistd::getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        Ok(path) => Err(SysError::new("getcwd", path.display(), Errno::EPERM)),
        Err(errno) => Err(SysError::new("getcwd", "", errno)),
    }
}

/// From the gate to execve. Returns only a failure.
pub(super) fn become_program(program: &Program<'_>, trace: &mut Trace) -> Result<std::convert::Infallible, super::init::Failure> {
    use super::init::Failure;
    let at = |stage: &'static str| move |error: SysError| Failure(SetupError::new(stage, &error));
    let security = program.security;
    trace.stage("stdio");
    signal::reset_all().map_err(at("stdio"))?;
    for (target, fd) in (0..).zip(program.stdio) {
        process::dup_to(fd.as_fd(), target).map_err(at("stdio"))?;
    }
    process::close_on_exec_from(3).map_err(at("stdio"))?;

    trace.stage("rlimits");
    for limit in &security.rlimits {
        let shell = format!("ulimit {} {}:{}", limit.name, limit.soft, limit.hard);
        let arguments = [limit.name.to_owned(), limit.soft.to_string(), limit.hard.to_string()];
        let outcome = trace.run("prlimit64", arguments, shell, || process::set_rlimit(limit.resource, limit.soft, limit.hard));
        match outcome {
            // Without CAP_SYS_RESOURCE a limit cannot be raised: the default ones are a wish, the user's own are a condition of starting.
            Err(error) if error.source == Errno::EPERM && limit.best_effort => {}
            other => other.map_err(at("rlimits"))?,
        }
    }
    let environment = environment(program);
    // A filter needs CAP_SYS_ADMIN where no_new_privs is not wanted; then it must come before the capabilities go.
    if !security.no_new_privileges {
        load_filter(program, trace)?;
    }
    identity(program, trace).map_err(at("user"))?;
    trace.stage("capabilities");
    let set = security.capabilities;
    trace
        .run("capset", [format!("{set:#x}")], format!("capsh --drop=… --caps=… # {}", security.capability_names.join(",")), || {
            // Only what is permitted now can stay; another user than root has lost all of it.
            let keep = if program.user.uid == 0 { set } else { 0 };
            cap::clear_ambient()?;
            cap::set(keep)
        })
        .map_err(at("capabilities"))?;
    // After the change of ids, which would have cleared it: no shim, no container.
    process::set_parent_death_signal(Signal::SIGKILL).map_err(at("capabilities"))?;
    if security.no_new_privileges {
        trace.stage("seccomp");
        trace
            .run("prctl", ["PR_SET_NO_NEW_PRIVS".into(), "1".into()], "setpriv --no-new-privs", process::set_no_new_privs)
            .map_err(at("seccomp"))?;
    }
    let operations = std::mem::replace(trace, Trace::new("init")).into_operations();
    report(program.control, &FromInit::Executing { operations }).map_err(at("seccomp"))?;
    if program.below_init {
        // Before the filter, which knows no clone3; both sides then load it.
        match process::fork().map_err(at("init"))? {
            Cloned::Parent(child) => {
                // The program alone tells the shim how its execve went, and nothing of the shim may stay open in the container.
                process::close_from(3).map_err(at("init"))?;
                match load_filter(program, trace) {
                    Ok(()) => super::reaper::run(child.pid),
                    Err(_) => process::exit_now(125),
                }
            }
            // What the terminal sends goes to it once, and not to the init as well, which would pass it on.
            Cloned::Child => terminal::own_group(program.stdio[0].as_fd()).map_err(at("init"))?,
        }
    }
    if security.no_new_privileges {
        load_filter(program, trace)?;
    }
    trace.stage("exec");
    Err(Failure(execute(program, &environment)))
}

fn load_filter(program: &Program<'_>, trace: &mut Trace) -> Result<(), super::init::Failure> {
    trace.stage("seccomp");
    let Some(filter) = &program.security.filter else { return Ok(()) };
    trace
        .run("seccomp", ["SECCOMP_SET_MODE_FILTER".into(), format!("{} instructions", filter.len())], "", || seccomp::load(filter))
        .map_err(|error| super::init::Failure(SetupError::new("seccomp", &error)))
}

/// Bounding set while the right to do it is there, then groups, group, user: each needs what the next takes away.
fn identity(program: &Program<'_>, trace: &mut Trace) -> Result<(), SysError> {
    trace.stage("user");
    let user = program.user;
    trace.run("prctl", ["PR_CAPBSET_DROP".into()], "", || cap::limit_bounding(program.security.capabilities))?;
    let shell = format!("setpriv --reuid={} --regid={} --groups={:?}", user.uid, user.gid, user.groups);
    trace.run("setresuid", [user.uid.to_string(), user.gid.to_string(), format!("{:?}", user.groups)], shell, || {
        process::set_groups(&user.groups)?;
        process::set_gid(user.gid)?;
        process::set_uid(user.uid)
    })
}

/// HOME is the user's own when nobody said otherwise, as login(1) and Docker do.
fn environment(program: &Program<'_>) -> Vec<CString> {
    let mut env: Vec<String> = program.env.to_vec();
    if !env.iter().any(|line| line.starts_with("HOME=")) {
        env.push(format!("HOME={}", program.user.home.as_deref().unwrap_or("/")));
    }
    if !env.iter().any(|line| line.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    env.into_iter().filter_map(|line| CString::new(line).ok()).collect()
}

/// As execvpe(3): a name with a slash is a path, another is looked for in PATH; the first failure that says more than "not here" wins.
fn execute(program: &Program<'_>, env: &[CString]) -> SetupError {
    let Some(name) = program.argv.first() else {
        return SetupError::new("exec", &SysError::new("execve", "", Errno::EINVAL));
    };
    let argv: Vec<_> = program.argv.iter().filter_map(|part| CString::new(part.as_str()).ok()).collect();
    let try_one = |path: &str| match CString::new(path) {
        Ok(path) => process::execve(&path, &argv, env),
        Err(_) => SysError::new("execve", path, Errno::EINVAL),
    };
    let error = if name.contains('/') {
        try_one(name)
    } else {
        let path = env.iter().find_map(|line| line.to_str().ok()?.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let mut worst = SysError::new("execve", name, Errno::ENOENT);
        for dir in path.split(':') {
            let error = try_one(&format!("{}/{name}", if dir.is_empty() { "." } else { dir }));
            match error.source {
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES => worst = error,
                _ => {
                    worst = error;
                    break;
                }
            }
        }
        worst
    };
    let detail = match error.source {
        Errno::ENOENT if name.contains('/') => "no such file, or its interpreter or loader is missing".to_owned(),
        Errno::ENOENT => format!("{name:?} is not in the container's PATH"),
        Errno::EACCES => "not an executable file, or a folder on the way to it is closed to this user".to_owned(),
        Errno::ENOEXEC => "not a program: neither ELF of this machine's kind nor a script with #!".to_owned(),
        other => other.desc().to_owned(),
    };
    SetupError::explained("exec", &error, detail)
}

/// Standard input of a program that nobody types to, or output that nobody reads.
pub(super) fn dev_null() -> Result<OwnedFd, SysError> {
    std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map(OwnedFd::from)
        .map_err(|error| SysError::io("open", "/dev/null", &error))
}
