//! The two halves as services apart, as systemd runs them: `berth launch` as root, `berth serve` as a user without any rights.
//!
//! ```text
//! service manager ── berth launch (root) ── shims, in a cgroup of their own
//!                 └─ setpriv … berth serve (nobody's uid) ── finds <run>/launch.sock
//! ```

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{Scope, berth, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Own:
        two_services_run_containers_and_each_restarts_alone,
        the_end_of_a_service_is_not_that_of_its_containers,
        without_a_launcher_the_unprivileged_half_says_what_to_do,
    ]
}

const ID: &str = "61777";

/// A started half; ended when it is dropped.
struct Service {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Service {
    fn start(command: &mut Command) -> Service {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Service { child, stdout }
    }

    /// SIGTERM, as `systemctl stop` sends it.
    fn stop(mut self) -> std::process::ExitStatus {
        host::kill(&host::process(i32::try_from(self.child.id()).unwrap()).unwrap(), Signal::TERM);
        host::until("the service ends", || self.child.try_wait().unwrap())
    }

    fn until_it_says(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        while !said.contains(wanted) {
            assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "it ended without {wanted:?}: {said}");
        }
        said
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folders of the test's instance, which has been stopped.
struct Halves<'a> {
    scope: &'a Scope<'a>,
    /// Where the plain user can execute it.
    program: PathBuf,
}

impl<'a> Halves<'a> {
    fn of(scope: &'a Scope<'a>) -> Self {
        assert!(scope.berth.terminate().success());
        let program = scope.berth.home().join("berth");
        if fs::hard_link(berth::program(), &program).is_err() {
            fs::copy(berth::program(), &program).unwrap();
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Halves { scope, program }
    }

    fn folders(&self, command: &mut Command) {
        command.arg("--data-dir").arg(self.scope.berth.data_dir()).arg("--run-dir").arg(self.scope.berth.run_dir());
    }

    /// Starts the launcher, in `cgroups` where there are some, and waits until it has notified its service manager.
    fn launcher(&self, cgroups: &[PathBuf]) -> Service {
        let socket = self.scope.berth.home().join("notify");
        let _ = fs::remove_file(&socket);
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let join: String = cgroups.iter().map(|folder| format!("echo $$ > {}/cgroup.procs; ", folder.display())).collect();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{join}exec \"$0\" \"$@\"")]).arg(berth::program()).arg("launch");
        self.folders(&mut command);
        let service = Service::start(command.args(["--user", ID]).env("NOTIFY_SOCKET", &socket));
        let mut message = [0; 64];
        let length = notified.recv(&mut message).expect("READY=1 is to come");
        assert_eq!(&message[..length], b"READY=1");
        service
    }

    fn control_plane(&self) -> (Service, String) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", ID, "--regid", ID, "--clear-groups", "--inh-caps=-all", "--no-new-privs", "--"]).arg(&self.program);
        command.arg("serve");
        self.folders(&mut command);
        let mut service = Service::start(command.args(["--listen", "127.0.0.1:0"]));
        let said = service.until_it_says("berth ready");
        (service, said)
    }
}

fn two_services_run_containers_and_each_restarts_alone(scope: &Scope<'_>) {
    let halves = Halves::of(scope);
    // As at a first start: nothing is there yet.
    fs::remove_dir_all(scope.berth.data_dir().join("db")).unwrap();
    fs::remove_dir_all(scope.berth.run_dir()).unwrap();
    let launcher = halves.launcher(&[]);
    let (server, said) = halves.control_plane();
    assert!(said.contains("/login?token=berth_"), "the first token is shown to whoever started it: {said}");
    assert_eq!(host::status_field(i32::try_from(server.child.id()).unwrap(), "CapEff").unwrap(), "0000000000000000");
    let socket = fs::metadata(scope.berth.run_dir().join("berth.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let container = scope.shell("trap 'exit 5' USR1; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done");
    container.until_it_says("tick 2");
    let pid = container.pid();
    assert_eq!(container.exec_output(&["echo", "in"]), "in\n");

    // The control plane alone.
    assert!(server.stop().success());
    let (server, said) = halves.control_plane();
    assert!(!said.contains("token="), "a token is shown once: {said}");
    assert_eq!(container.pid(), pid);

    // The launcher alone, politely and by a crash; the control plane goes on, and finds the new one.
    assert!(launcher.stop().success());
    assert_eq!(container.status()["phase"], "Running");
    scope.api().get("/api/v1/containers").send().expect(200);
    let launcher = halves.launcher(&[]);
    container.kill("USR1");
    assert_eq!(container.wait()["exitCode"], 5);
    container.start();
    container.until_it_says("tick 0");
    drop(launcher);
    let launcher = halves.launcher(&[]);
    let another = scope.idle();
    assert_eq!(another.exec_output(&["echo", "out"]), "out\n");

    // And back to one service on the same folders.
    assert!(server.stop().success());
    assert!(launcher.stop().success());
    scope.berth.launch();
    assert_eq!(another.exec_output(&["echo", "home"]), "home\n");
}

/// Every tree that a service manager keeps services in: v2, and v1's `name=systemd`.
fn managed_trees() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let tree = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        (back.starts_with("cgroup2 ") || back.contains("name=systemd")).then(|| PathBuf::from(front.split(' ').nth(4).unwrap_or_default()))
    };
    table.lines().filter_map(tree).collect()
}

fn the_end_of_a_service_is_not_that_of_its_containers(scope: &Scope<'_>) {
    let halves = Halves::of(scope);
    let instance = fs::read_to_string(scope.berth.data_dir().join("instance")).unwrap();
    let folders: Vec<PathBuf> = managed_trees().iter().map(|tree| tree.join(format!("test-service-{}", instance.trim()))).collect();
    folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let launcher = halves.launcher(&folders);
    let (server, _) = halves.control_plane();
    let container = scope.idle();
    let pid = container.pid();
    let shim = host::process(host::process(pid).unwrap().parent).unwrap();
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ");
    for place in shim.cgroup.lines().filter(|line| (mounted && line.starts_with("0::")) || line.contains("name=systemd")) {
        assert!(place.ends_with(&format!("/berth-{}/_runtime", instance.trim())), "the shim is in the service's cgroup: {place}");
    }
    // What KillMode=control-group and a stop that takes too long do.
    for folder in &folders {
        for member in fs::read_to_string(folder.join("cgroup.procs")).unwrap().lines() {
            if let Some(process) = host::process(member.parse().unwrap()) {
                host::kill(&process, Signal::KILL);
            }
        }
    }
    drop(launcher);
    assert!(host::process(pid).is_some() && host::process(shim.pid).is_some(), "the container went with the service");
    let launcher = halves.launcher(&folders);
    assert_eq!(container.exec_output(&["echo", "still"]), "still\n");
    let second = scope.shell("exit 3");
    assert_eq!(second.wait()["exitCode"], 3);
    assert!(server.stop().success());
    assert!(launcher.stop().success());
    for folder in &folders {
        host::until("the service's cgroup is empty", || fs::remove_dir(folder).ok());
    }
    scope.berth.launch();
}

fn without_a_launcher_the_unprivileged_half_says_what_to_do(scope: &Scope<'_>) {
    let halves = Halves::of(scope);
    let run = |run_dir: &Path| {
        let output = Command::new("setpriv")
            .args(["--reuid", ID, "--regid", ID, "--clear-groups", "--"])
            .arg(&halves.program)
            .args(["serve", "--data-dir"])
            .arg(scope.berth.data_dir())
            .arg("--run-dir")
            .arg(run_dir)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&scope.berth.home().join("nowhere"));
    assert!(said.contains("no launcher listens at"), "{said}");
    // And `berth launch` is root's.
    let mut refused = Command::new("setpriv");
    refused.args(["--reuid", ID, "--regid", ID, "--clear-groups", "--"]).arg(&halves.program).arg("launch");
    let mut said = String::new();
    let mut child = refused.stderr(Stdio::piped()).spawn().unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success() && said.contains("is for root"), "{said}");
    scope.berth.launch();
}
