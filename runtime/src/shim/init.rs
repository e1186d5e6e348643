//! From the fork to execve: what becomes the container's first process, stage by stage.
//!
//! It runs in a copy of the shim's memory, in its new namespaces, and ends as the user's program. Each stage names itself before it acts,
//! so that a failure says where; the records of all of them are what `explain` shows.
//!
//! ```text
//! cgroup      first, so that nothing of a container ever runs outside its limits
//! namespaces  ids of the new user namespace, then what only its root may do: cgroup namespace, host name, loopback
//! mounts      everything attached below the new root, while the old root still gives access to nothing but descriptors
//! masks       after the mounts that they cover, before anything of the image can run
//! pivot-root  from here on no path of the host exists
//! process     working directory and user, read from the image's own files: after pivot-root, so that no link leads out
//! ---- gate: the shim answers `create`, and waits for `start` ----
//! rlimits, user, capabilities: in this order, because each needs what the next takes away
//! seccomp     last, so that it need not allow what set-up does
//! exec
//! ```

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags as Namespace;
use nix::sys::stat::Mode;

use super::report::{FromInit, report, report_with};
use crate::config::{ContainerConfig, NamespaceMode, PodConfig};
use crate::error::{SetupError, SysError};
use crate::rootfs::{Attachment, What};
use crate::security::SecurityPlan;
use crate::sys::mount::{self, FsContext, Reach, attr};
use crate::sys::{descriptors, namespace, net, process, socket, terminal};
use crate::trace::Trace;

/// What the init needs; borrowed from the shim's memory, of which it has its own copy.
#[derive(Debug)]
pub(super) struct Init<'a> {
    pub(super) pod: &'a PodConfig,
    pub(super) container: &'a ContainerConfig,
    pub(super) plan: &'a [Attachment],
    pub(super) security: &'a SecurityPlan,
    /// `tasks` of each v1 hierarchy, opened by the shim.
    pub(super) cgroup_tasks: &'a [(String, OwnedFd)],
    pub(super) control: OwnedFd,
    pub(super) stdio: [OwnedFd; 3],
}

/// A failure of a stage, with its name.
pub(super) struct Failure(pub(super) SetupError);

impl Failure {
    fn at(stage: &str) -> impl Fn(SysError) -> Failure + '_ {
        move |error| Failure(SetupError::new(stage, &error))
    }
}

/// Becomes the container's program; never returns.
pub(super) fn run(init: Init<'_>) -> ! {
    let mut trace = Trace::new("init");
    let failure = match init.stages(&mut trace) {
        Ok(never) => match never {},
        Err(Failure(error)) => error,
    };
    let code = failure.exit_code();
    // When even this fails the shim sees the end of the stream and the exit code.
    let _ = report(&init.control, &FromInit::Failed { error: failure, operations: trace.into_operations() });
    process::exit_now(code)
}

impl Init<'_> {
    fn stages(&self, trace: &mut Trace) -> Result<std::convert::Infallible, Failure> {
        self.close_the_shims().map_err(Failure::at("namespaces"))?;
        let _ = process::set_name(c"init");
        process::set_title("init");
        self.join_cgroup(trace).map_err(Failure::at("cgroup"))?;
        self.await_id_maps().map_err(Failure::at("namespaces"))?;
        self.namespaces(trace).map_err(Failure::at("namespaces"))?;
        let own = self.own_mounts(trace).map_err(Failure::at("mounts"))?;
        let handed = self.receive_mounts().map_err(Failure::at("mounts"))?;
        let root = self.mounts(own, handed, trace)?;
        self.masks(&root, trace).map_err(Failure::at("masks"))?;
        self.pivot(&root, trace).map_err(Failure::at("pivot-root"))?;
        drop(root);
        let user = super::process::resolve_user(&self.container.process.user, &self.container.process.additional_gids).map_err(Failure)?;
        self.working_directory(trace).map_err(Failure::at("process"))?;
        nix::unistd::setsid().map_err(|errno| Failure::at("process")(SysError::new("setsid", "", errno)))?;
        let peer = if self.container.process.tty { Some(self.terminal(trace).map_err(Failure::at("terminal"))?) } else { None };
        self.wait_at_gate(trace)?;
        super::process::become_program(
            &super::process::Program {
                argv: &self.container.process.argv,
                env: &self.container.process.env,
                user: &user,
                security: self.security,
                stdio: peer.as_ref().map_or_else(|| self.stdio.each_ref(), |peer| [peer; 3]),
                control: &self.control,
                below_init: self.container.init,
            },
            trace,
        )
    }

    /// A copy of the gate's other end would keep this process waiting for a shim that died; one of a connection, its client.
    fn close_the_shims(&self) -> Result<(), SysError> {
        let mut keep = vec![self.control.as_fd()];
        keep.extend(self.stdio.iter().map(AsFd::as_fd));
        keep.extend(self.cgroup_tasks.iter().map(|(_, file)| file.as_fd()));
        descriptors::close_all_but(&keep)
    }

    fn own_user_namespace(&self) -> bool {
        self.pod.namespaces.user != NamespaceMode::Host
    }

    fn join_cgroup(&self, trace: &mut Trace) -> Result<(), SysError> {
        trace.stage("cgroup");
        super::process::join_cgroups(self.cgroup_tasks, trace)
    }

    fn await_id_maps(&self) -> Result<(), SysError> {
        let (length, _) = socket::receive(&self.control, &mut [0u8; 1])?;
        if length == 0 {
            // The shim gave up (it has its own reason) or died.
            process::exit_now(125);
        }
        Ok(())
    }

    /// Waits until the shim has made its mounts.
    fn receive_mounts(&self) -> Result<Vec<OwnedFd>, SysError> {
        let mut mounts = Vec::with_capacity(32);
        loop {
            let mut more = [0u8; 1];
            let (length, mut descriptors) = socket::receive(&self.control, &mut more)?;
            if length == 0 {
                process::exit_now(125);
            }
            mounts.append(&mut descriptors);
            if more[0] == 0 {
                return Ok(mounts);
            }
        }
    }

    fn namespaces(&self, trace: &mut Trace) -> Result<(), SysError> {
        trace.stage("namespaces");
        if self.own_user_namespace() {
            // Until now the ids are unmapped; root of the namespace is what may do the rest.
            trace.run("setresuid", ["0".into()], "", || {
                process::set_groups(&[])?;
                process::set_gid(0)?;
                process::set_uid(0)
            })?;
        }
        process::set_not_dumpable()?;
        trace.run("keyctl", ["KEYCTL_JOIN_SESSION_KEYRING".into()], "keyctl session - …", || match process::new_session_keyring() {
            // A kernel without keys has none to leak.
            Err(error) if error.source == Errno::ENOSYS => Ok(()),
            // The range's quota of keys is used up (keyrings(7)); the shim's own session keyring is empty as well.
            Err(error) if error.source == Errno::EDQUOT => Ok(()),
            other => other,
        })?;
        if self.pod.namespaces.cgroup == NamespaceMode::Private {
            // After the cgroup was joined: where a process is when it makes the namespace is what the namespace shows as `/`.
            trace.run("unshare", ["CLONE_NEWCGROUP".into()], "unshare --cgroup", || namespace::leave(Namespace::CLONE_NEWCGROUP))?;
        }
        if self.pod.namespaces.uts == NamespaceMode::Private {
            let name = &self.pod.hostname;
            trace.run("sethostname", [name.clone()], format!("hostname {name}"), || namespace::set_hostname(name))?;
            if let Some(domain) = &self.pod.domainname {
                trace.run("setdomainname", [domain.clone()], format!("domainname {domain}"), || namespace::set_domainname(domain))?;
            }
        }
        if self.pod.namespaces.network == NamespaceMode::Private {
            trace.run("ioctl", ["SIOCSIFFLAGS".into(), "lo".into(), "IFF_UP".into()], "ip link set lo up", net::loopback_up)?;
        }
        Ok(())
    }

    /// The mounts that must be made inside the namespaces, detached, in the plan's order. The proc of a user namespace needs another one
    /// that is fully visible (user_namespaces(7)): here the host's still is.
    fn own_mounts(&self, trace: &mut Trace) -> Result<Vec<OwnedFd>, SysError> {
        trace.stage("mounts");
        let mut made = Vec::with_capacity(8);
        for attachment in self.plan {
            let target = &attachment.target;
            made.push(match &attachment.what {
                What::Handed(_) => continue,
                What::Proc => self.make(trace, "proc", "/proc", &[], COMMON)?,
                What::Sysfs => self.make(trace, "sysfs", target, &[], attr::RDONLY | COMMON)?,
                What::Devpts => self.devpts(trace, target)?,
                What::Mqueue => self.make(trace, "mqueue", target, &[], COMMON)?,
                What::Tmpfs { size, mode, attributes } => {
                    let mut options = vec![("mode", format!("{mode:o}"))];
                    options.extend(size.map(|bytes| ("size", bytes.to_string())));
                    self.make(trace, "tmpfs", target, &options, attr::NOSUID | attr::NODEV | attributes)?
                }
            });
        }
        Ok(made)
    }

    /// Attaches the whole tree below the new root; answers the root's mount.
    fn mounts(&self, own: Vec<OwnedFd>, handed: Vec<OwnedFd>, trace: &mut Trace) -> Result<OwnedFd, Failure> {
        trace.stage("mounts");
        let fail = Failure::at("mounts");
        let host_root = open_directory("/").map_err(&fail)?;
        trace
            .run("mount_setattr", ["/".into(), "MS_PRIVATE".into()], "mount --make-rprivate /", || {
                mount::set_propagation(host_root.as_fd(), nix::mount::MsFlags::MS_PRIVATE, Reach::Recursive)
            })
            .map_err(&fail)?;
        let (mut own, mut handed) = (own.into_iter(), handed.into_iter());
        let root = handed.next().ok_or_else(|| fail(SysError::new("recvmsg", "root file system", Errno::EBADF)))?;
        trace
            .run("move_mount", ["/".into()], "mount --move rootfs /", || mount::attach(root.as_fd(), host_root.as_fd(), "/"))
            .map_err(&fail)?;
        for attachment in self.plan {
            let target = &attachment.target;
            let source = if matches!(attachment.what, What::Handed(_)) { handed.next() } else { own.next() };
            let source = source.ok_or_else(|| fail(SysError::new("recvmsg", target, Errno::EBADF)))?;
            let place = super::place::find_or_make(root.as_fd(), target, attachment.directory).map_err(|error| {
                let detail = format!("{target} in the image cannot be mounted on: {}", error.source.desc());
                Failure(SetupError::explained("mounts", &error, detail))
            })?;
            trace.run("move_mount", [target.clone()], "", || mount::attach(source.as_fd(), place.as_fd(), target)).map_err(&fail)?;
        }
        self.sysctls(&root, trace).map_err(Failure::at("sysctls"))?;
        Ok(root)
    }

    fn make(
        &self,
        trace: &mut Trace,
        kind: &'static str,
        target: &str,
        options: &[(&str, String)],
        attributes: u64,
    ) -> Result<OwnedFd, SysError> {
        let text: Vec<_> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let shell = format!("mount -t {kind} {kind} {target}{}{}", if text.is_empty() { "" } else { " -o " }, text.join(","));
        trace.run("fsmount", [kind.to_owned(), target.to_owned(), text.join(",")], shell, || {
            let context = FsContext::open(kind)?;
            context.set("source", kind)?;
            for (key, value) in options {
                context.set(key, value)?;
            }
            context.mount(attributes)
        })
    }

    fn devpts(&self, trace: &mut Trace, target: &str) -> Result<OwnedFd, SysError> {
        let options = [("ptmxmode", "0666".to_owned()), ("mode", "0620".to_owned()), ("gid", "5".to_owned())];
        self.make(trace, "devpts", target, &options, attr::NOSUID | attr::NOEXEC)
    }

    /// Written through the container's own proc, below it only, so that no mount of an image can redirect it.
    fn sysctls(&self, root: &OwnedFd, trace: &mut Trace) -> Result<(), SysError> {
        if self.pod.sysctls.is_empty() {
            return Ok(());
        }
        trace.stage("sysctls");
        let proc = mount::open_in_root(root.as_fd(), "/proc", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        for (key, value) in &self.pod.sysctls {
            let path = format!("sys/{}", key.replace('.', "/"));
            trace.run("write", [key.clone(), value.clone()], format!("sysctl -w {key}={value}"), || {
                let file = mount::open_beneath(proc.as_fd(), &path, OFlag::O_WRONLY)?;
                nix::unistd::write(file, value.as_bytes()).map(drop).map_err(|errno| SysError::new("write", key, errno))
            })?;
        }
        Ok(())
    }

    fn masks(&self, root: &OwnedFd, trace: &mut Trace) -> Result<(), SysError> {
        trace.stage("masks");
        super::place::mask(root.as_fd(), &self.security.masked_paths, trace)?;
        super::place::make_read_only(root.as_fd(), &self.security.read_only_paths, trace)?;
        if self.container.rootfs.read_only {
            trace.run("mount_setattr", ["/".into(), "MOUNT_ATTR_RDONLY".into()], "mount -o remount,bind,ro /", || {
                mount::set_attributes(root.as_fd(), attr::RDONLY, Reach::One)
            })?;
        }
        Ok(())
    }

    fn pivot(&self, root: &OwnedFd, trace: &mut Trace) -> Result<(), SysError> {
        trace.stage("pivot-root");
        trace.run("pivot_root", [".".into(), ".".into()], "pivot_root . . && umount -l .", || {
            nix::unistd::fchdir(root).map_err(|errno| SysError::new("fchdir", "rootfs", errno))?;
            mount::pivot_here()
        })
    }

    /// Made when the image lacks it, as Docker does; then checked to lie inside the root.
    fn working_directory(&self, trace: &mut Trace) -> Result<(), SysError> {
        trace.stage("process");
        nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
        let cwd = &self.container.process.cwd;
        trace.run("chdir", [cwd.clone()], format!("cd {cwd}"), || {
            let root = open_directory("/")?;
            let place = super::place::find_or_make(root.as_fd(), cwd, true)?;
            nix::unistd::fchdir(&place).map_err(|errno| SysError::new("chdir", cwd, errno))?;
            super::process::check_cwd()
        })
    }

    /// Opened inside, so that it is one of the container's own devpts; the shim keeps the master. Also shown as /dev/console, as Docker does.
    fn terminal(&self, trace: &mut Trace) -> Result<OwnedFd, SysError> {
        trace.stage("terminal");
        let (master, peer) = trace.run("open", ["/dev/ptmx".into()], "", terminal::open_pair)?;
        trace.run("move_mount", ["/dev/console".into()], "mount --bind /dev/pts/0 /dev/console", || {
            let console = super::place::find_or_make(open_directory("/")?.as_fd(), "/dev/console", false)?;
            mount::attach(mount::clone_tree(peer.as_fd(), "", Reach::One)?.as_fd(), console.as_fd(), "/dev/console")
        })?;
        terminal::control(peer.as_fd())?;
        report_with(&self.control, &FromInit::Terminal, Some(&master))?;
        Ok(peer)
    }

    fn wait_at_gate(&self, trace: &mut Trace) -> Result<(), Failure> {
        let fail = Failure::at("gate");
        let operations = std::mem::replace(trace, Trace::new("init")).into_operations();
        report(&self.control, &FromInit::Ready { operations }).map_err(&fail)?;
        let mut byte = [0u8; 1];
        let (length, _) = socket::receive(&self.control, &mut byte).map_err(&fail)?;
        if length == 0 {
            process::exit_now(125);
        }
        Ok(())
    }
}

const COMMON: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

pub(super) fn open_directory(path: &str) -> Result<OwnedFd, SysError> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new("open", path, errno))
}
