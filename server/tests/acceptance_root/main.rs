//! The acceptance tests: a really started `berth serve`, real containers on this machine's kernel, spoken to as a user would.
//!
//! ```text
//! main: picks the tests, starts the shared instance when the first needs it, counts what is left of it at the very end
//!   Shared   many tests on one instance, each with containers of its own
//!   Quiet    the same, but nothing else runs meanwhile: it measures
//!   Own      an instance of its own: it is going to be killed
//! ```
//!
//! Each test ends with the ledger: nothing of what it made may be left, whatever came of it. They need root, and say so when they have it not.
//! One binary for all, so that it links once: `cargo test --test acceptance_root -- namespaces` runs a part.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod archive;
mod archives;
mod browser;
mod crashes;
mod dashboard;
mod documents;
mod events;
mod exec;
mod execs;
mod hardening;
mod health;
mod images;
mod joins;
mod lifecycle;
mod limits;
mod logs;
mod mounts;
mod namespaces;
mod operation;
mod refusals;
mod saves;
mod services;
mod sessions;
mod storage;
mod takeover;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use common::{Berth, Scope, host, ledger};
use libtest_mimic::{Arguments, Failed, Trial};

pub(crate) struct Test {
    name: &'static str,
    kind: Kind,
    run: fn(&Scope<'_>),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Shared,
    Quiet,
    Own,
}

/// `tests![Kind: one, two]`: functions of the calling module, named as cargo would name them.
macro_rules! tests {
    ($kind:ident: $($function:ident),+ $(,)?) => {
        vec![$($crate::Test {
            name: concat!(module_path!(), "::", stringify!($function)),
            kind: $crate::Kind::$kind,
            run: $function,
        }),+]
    };
}
pub(crate) use tests;

/// The instance that the `Shared` and `Quiet` tests use.
enum SharedBerth {
    NotYet,
    /// It did not start: that is told once in full, then briefly.
    Failed,
    Up(Arc<Berth>),
}

static SHARED: Mutex<SharedBerth> = Mutex::new(SharedBerth::NotYet);
static QUIET: RwLock<()> = RwLock::new(());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = host::is_root();
    if !root {
        eprintln!("acceptance tests: not run, because they need root (namespaces, cgroups, mounts of this machine)");
    }
    let no_browser = browser::missing();
    if let Some(why) = &no_browser {
        eprintln!("browser tests: not run, because {why}");
    }
    let groups = [
        access::tests(),
        archive::tests(),
        archives::tests(),
        browser::tests(),
        crashes::tests(),
        dashboard::tests(),
        documents::tests(),
        events::tests(),
        exec::tests(),
        execs::tests(),
        hardening::tests(),
        health::tests(),
        images::tests(),
        joins::tests(),
        lifecycle::tests(),
        limits::tests(),
        logs::tests(),
        mounts::tests(),
        namespaces::tests(),
        operation::tests(),
        refusals::tests(),
        saves::tests(),
        services::tests(),
        sessions::tests(),
        storage::tests(),
        takeover::tests(),
    ];
    let trials = groups.into_iter().flatten().map(|test| {
        let name = test.name.trim_start_matches("acceptance_root::");
        let ignored = !root || (no_browser.is_some() && name.starts_with("browser::"));
        Trial::test(name, move || perform(&test)).with_ignored_flag(ignored)
    });
    // Elsewhere other programs make and remove things meanwhile.
    let machine = (root && !arguments.list && std::env::var_os("CI").is_some()).then(ledger::whole_machine);
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let shared = std::mem::replace(&mut *SHARED.lock().unwrap_or_else(PoisonError::into_inner), SharedBerth::Failed);
    let mut last = Vec::new();
    if let SharedBerth::Up(berth) = shared {
        last.push(Trial::test("nothing_is_left_of_the_instance_after_all_tests", move || count_after(&berth)));
    }
    // Whatever came of the tests: this also ends the instance.
    let mut good = after_all(&arguments, last) && !conclusion.has_failed();
    if let Some(before) = machine {
        // After the instance is gone.
        good &= after_all(&arguments, vec![Trial::test("the_machine_is_as_it_was_before_all_tests", move || compare(&before))]);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A run of its own, so that it comes after all the others and is counted like them.
fn after_all(arguments: &Arguments, trials: Vec<Trial>) -> bool {
    let all = Arguments { filter: None, skip: Vec::new(), ..arguments.clone() };
    trials.is_empty() || !libtest_mimic::run(&all, trials).has_failed()
}

fn compare(before: &ledger::Entries) -> Result<(), Failed> {
    let came = common::berth::settle(|| ledger::whole_machine().difference(before).cloned().collect());
    let came = ledger::difference(&ledger::Entries::new(), &came);
    if came.is_empty() { Ok(()) } else { Err(format!("left on the machine:\n{came}").into()) }
}

fn perform(test: &Test) -> Result<(), Failed> {
    match test.kind {
        Kind::Shared => {
            let _others_may_run = QUIET.read().unwrap_or_else(PoisonError::into_inner);
            on(test, &*shared()?, false)
        }
        Kind::Quiet => {
            let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
            on(test, &*shared()?, false)
        }
        Kind::Own => {
            let _others_may_run = QUIET.read().unwrap_or_else(PoisonError::into_inner);
            let berth = guarded(Berth::start)?;
            on(test, &berth, true)
        }
    }
}

fn on(test: &Test, berth: &Berth, last_of_it: bool) -> Result<(), Failed> {
    let said_before = berth.log().len();
    let scope = Scope::new(berth, test.name);
    let outcome = guarded(|| (test.run)(&scope));
    let mut left = guarded(|| scope.finish()).unwrap_or_else(|failed| format!("{failed:?}"));
    if last_of_it {
        left += &guarded(|| berth.stop_and_count()).unwrap_or_else(|failed| format!("{failed:?}"));
    }
    let failure = match (outcome, left.is_empty()) {
        (Ok(()), true) => return Ok(()),
        (Ok(()), false) => format!("left behind:\n{left}"),
        (Err(failed), true) => failed.message().unwrap_or_default().to_owned(),
        (Err(failed), false) => format!("{}\nand left behind:\n{left}", failed.message().unwrap_or_default()),
    };
    let log = berth.log();
    let said = log.get(said_before..).unwrap_or_default().lines().rev().take(30).collect::<Vec<_>>();
    let said: String = said.iter().rev().map(|line| format!("  | {line}\n")).collect();
    Err(format!("{failure}\nberth's log meanwhile:\n{said}").into())
}

fn shared() -> Result<Arc<Berth>, Failed> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*shared {
        SharedBerth::Up(berth) => Ok(Arc::clone(berth)),
        SharedBerth::Failed => Err("the shared instance did not start: see the first failure".into()),
        SharedBerth::NotYet => {
            *shared = SharedBerth::Failed;
            let berth = Arc::new(guarded(Berth::start)?);
            *shared = SharedBerth::Up(Arc::clone(&berth));
            Ok(berth)
        }
    }
}

fn count_after(berth: &Berth) -> Result<(), Failed> {
    let left = guarded(|| berth.stop_and_count())?;
    if left.is_empty() { Ok(()) } else { Err(format!("left behind:\n{left}").into()) }
}

/// A panic becomes a failure with its message: what follows still runs.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panicked".to_owned()).into()
    })
}
