//! A really started `berth serve` of its own: folders of its own, a port of its own, names of its own, killed and swept up when it is dropped.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::host::{self, Process};
use super::http::{Address, Client};
use super::image;
use super::ledger::{self, Entries, Marks};

/// One instance. What its containers leave is found by its marks, whatever has become of the instance.
pub(crate) struct Berth {
    home: TempDir,
    running: Mutex<Option<Running>>,
    marks: Mutex<Marks>,
    /// Whether it has the image that most containers use.
    busybox: Mutex<bool>,
}

struct Running {
    child: Child,
    /// The line that says where it listens.
    ready: String,
    /// Everything that it wrote to its standard output.
    said: Arc<Mutex<String>>,
}

impl Berth {
    /// Starts a fresh instance; panics, with its log, when it does not become ready.
    pub(crate) fn start() -> Berth {
        let home = tempfile::Builder::new().prefix("berth-test-").tempdir().unwrap();
        // The control plane drops to a plain user, who must be able to pass through here to its own folders.
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        let folders = vec![home.path().to_owned()];
        let marks = Marks { texts: [home.path().to_string_lossy().into_owned()].into(), folders, ..Marks::default() };
        let berth = Berth { home, running: Mutex::new(None), marks: Mutex::new(marks), busybox: Mutex::new(false) };
        berth.launch();
        berth
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.home.path().join("run")
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Root over the unix socket: needs no token.
    pub(crate) fn api(&self) -> Client {
        Client::new(Address::Unix(self.run_dir().join("berth.sock")))
    }

    /// A stranger over TCP.
    pub(crate) fn tcp(&self) -> Client {
        Client::new(Address::Tcp(self.address()))
    }

    /// Where it listens on loopback, from the line that it printed when it was ready.
    pub(crate) fn address(&self) -> SocketAddr {
        let ready = self.ready_line();
        let found = ready.split(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | '"' | '=')).find_map(|word| word.parse().ok());
        found.unwrap_or_else(|| panic!("the ready line names no address: {ready:?}"))
    }

    pub(crate) fn ready_line(&self) -> String {
        self.lock().as_ref().expect("it runs").ready.clone()
    }

    /// What it wrote to its standard output since it was started.
    pub(crate) fn said(&self) -> String {
        self.lock().as_ref().expect("it runs").said.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.lock().as_ref().expect("it runs").child.id()).unwrap()
    }

    pub(crate) fn process(&self) -> Process {
        host::process(self.pid()).expect("it runs")
    }

    /// SIGKILL to the control plane alone, as a crash would.
    pub(crate) fn kill9(&self) {
        let mut running = self.lock().take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&self) -> ExitStatus {
        let process = self.process();
        host::kill(&process, Signal::TERM);
        let mut running = self.lock().take().expect("it runs");
        let deadline = Instant::now() + host::ample(Duration::from_secs(15));
        while Instant::now() < deadline {
            if let Some(status) = running.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        panic!("berth did not end within 15 s of SIGTERM; its log:\n{}", self.log())
    }

    /// Starts it again on the same folders; answers how long it took to be ready.
    pub(crate) fn launch(&self) -> Duration {
        self.launch_with(&[])
    }

    /// As [`Self::launch`], with these variables in its environment.
    pub(crate) fn launch_with(&self, environment: &[(&str, &str)]) -> Duration {
        self.launch_program(&program(), environment)
    }

    /// Another berth than the one under test, with its runtime beside it.
    pub(crate) fn launch_program(&self, program: &Path, environment: &[(&str, &str)]) -> Duration {
        let began = Instant::now();
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--run-dir")
            .arg(self.run_dir())
            .args(["--listen", "127.0.0.1:0"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (lines, received) = mpsc::channel();
        // Read to the end, so that it never blocks on a full pipe.
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                *heard.lock().unwrap() += &format!("{line}\n");
                // Nobody waits for the later ones.
                let _ = lines.send(line);
            }
        });
        let deadline = began + host::ample(Duration::from_secs(20));
        let ready = loop {
            match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("berth ready") => break line,
                Ok(_) => {}
                Err(error) => {
                    let _ = child.kill();
                    let status = child.wait();
                    panic!("berth is not ready ({error}, {status:?}); it said {:?}; its log:\n{}", said.lock(), self.log());
                }
            }
        };
        let took = began.elapsed();
        *self.lock() = Some(Running { child, ready, said });
        self.api().get("/readyz").send().expect(200);
        // In every kernel name that it makes: the 8 hexadecimal digits of its id.
        let instance = fs::read_to_string(self.data_dir().join("instance")).expect("its id is in its data folder");
        self.mark(instance.trim());
        took
    }

    /// Imports `busybox:latest` unless that was done before.
    pub(crate) fn need_busybox(&self) {
        let mut imported = self.busybox.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !*imported {
            self.import("busybox:latest", image::busybox().to_vec());
            *imported = true;
        }
    }

    /// A root file system tar becomes an image.
    pub(crate) fn import(&self, reference: &str, tar: Vec<u8>) -> serde_json::Value {
        let path = format!("/api/v1/images/import?reference={reference}");
        self.api().post(&path).bytes("application/x-tar", tar).send().expect(201).json()
    }

    /// Whatever carries this text is ours too.
    pub(crate) fn mark(&self, text: &str) {
        self.marks().texts.insert(text.to_owned());
    }

    /// The namespaces of this process are ours.
    pub(crate) fn mark_process(&self, pid: i32) {
        self.marks().remember_namespaces_of(pid);
    }

    pub(crate) fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("berth.log")
    }

    /// What it wrote to its standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Stops it, and says what of it is left on the machine: empty when all is well. Its own folders do not count.
    pub(crate) fn stop_and_count(&self) -> String {
        if self.lock().is_some() {
            self.terminate();
        }
        let mut marks = self.marks().clone();
        marks.folders.clear();
        // The launcher may be a moment behind.
        let left = settle(|| ledger::ours(&marks));
        ledger::difference(&Entries::new(), &left)
    }

    /// Ends and removes whatever is there, so that a failed test leaves nothing either.
    fn sweep(&self) {
        let mut marks = self.marks().clone();
        marks.folders.clear();
        for _ in 0..50 {
            let mine = ledger::named_processes(&marks);
            if mine.is_empty() {
                break;
            }
            mine.iter().for_each(|process| host::kill(process, Signal::KILL));
            std::thread::sleep(Duration::from_millis(20));
        }
        // Innermost first: the longer path sorts later.
        for entry in ledger::ours(&marks).iter().rev() {
            if let Some(path) = entry.strip_prefix("cgroup ") {
                let _ = fs::remove_dir(path.trim());
            } else if let Some(target) = entry.strip_prefix("mount ").and_then(|line| line.split_whitespace().nth(4)) {
                let _ = Command::new("umount").args(["--lazy", target]).status();
            }
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        if let Some(mut running) = self.lock().take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        self.sweep();
    }
}

/// The berth under test: the one that cargo built, or another, for instance an installed one.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("BERTH_TEST_PROGRAM").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_berth")), PathBuf::from)
}

/// Looks until nothing is there any more, for at most two seconds; answers the last look.
pub(crate) fn settle(look: impl Fn() -> Entries) -> Entries {
    let deadline = Instant::now() + host::ample(Duration::from_secs(2));
    loop {
        let seen = look();
        if seen.is_empty() || Instant::now() > deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a statement on a database that nobody has open.
pub(crate) fn sql(database: &Path, statement: &str) {
    use sqlx::{Connection, Executor};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    });
}
