//! Whether a running container is well: its health check, run inside it again and again.
//!
//! ```text
//!  start --> starting --passes--> healthy <--passes-- unhealthy
//!                \----- fails `retries` times in a row -----^   (within the start period none counts, until one has passed)
//! ```
//!
//! Docker's rules. One check at a time, each an exec that is killed with all it started when its time is up; between two nothing runs but a timer.
//! A container without a check costs nothing. What is known lives in the status, so that it outlives the control plane.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runtime::config::ExecConfig;
use runtime::error::RuntimeError;
use runtime::id::{ContainerName, PodId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::shared::Shared;
use crate::model::container::{HealthCheckResult, Healthcheck};
use crate::model::event::{NewEvent, ObjectReference};
use crate::model::image::{self, ImageConfig};
use crate::model::{ContainerSpec, ContainerStatus};
use crate::node::{NodeError, Output};

/// Docker's.
const MOST_OUTPUT: usize = 4096;
const MOST_RESULTS: usize = 5;
/// How long the exec may take beyond the check's own time, which its supervisor keeps.
const GRACE: Duration = Duration::from_secs(10);

pub(super) const NONE: &str = "none";
const STARTING: &str = "starting";
const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";

/// A check, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    argv: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Probe {
    /// The spec's, else the image's. None when there is none, or when it says `NONE`.
    pub(super) fn of(spec: &ContainerSpec, image: &ImageConfig) -> Option<Probe> {
        match (&spec.healthcheck, &image.healthcheck) {
            // As with Docker, what the spec leaves out is the image's.
            (Some(own), of_image) => Probe::merged(own, of_image.as_ref()),
            (None, Some(of_image)) => Probe::merged(&Healthcheck::default(), Some(of_image)),
            (None, None) => None,
        }
    }

    fn merged(own: &Healthcheck, image: Option<&image::Healthcheck>) -> Option<Probe> {
        let test = if own.test.is_empty() { image.map(|image| &image.test)? } else { &own.test };
        let argv = match test.split_first()? {
            (kind, argv) if kind == "CMD" && !argv.is_empty() => argv.to_vec(),
            (kind, [line]) if kind == "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            // `NONE`; and what an image has that is none of the three.
            _ => return None,
        };
        let time = |own: Option<u64>, of_image: fn(&image::Healthcheck) -> u64, default: u64| {
            let of_image = image.map(of_image).filter(|nanos| *nanos > 0).map(Duration::from_nanos);
            own.map(Duration::from_secs).or(of_image).unwrap_or(Duration::from_secs(default)).max(Duration::from_millis(1))
        };
        Some(Probe {
            argv,
            interval: time(own.interval_seconds, |image| image.interval, 30),
            timeout: time(own.timeout_seconds, |image| image.timeout, 30),
            start_period: time(own.start_period_seconds, |image| image.start_period, 0),
            start_interval: time(own.start_interval_seconds, |image| image.start_interval, 5),
            retries: own.retries.or(image.map(|image| image.retries)).filter(|retries| *retries > 0).unwrap_or(3),
        })
    }

    fn in_start_period(&self, status: &ContainerStatus, now: Timestamp) -> bool {
        let Some(started) = status.started_at else { return false };
        status.health == STARTING && now < later(started, self.start_period)
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

/// One run of a check.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// Which run of the container it was of.
    pub(super) of: Timestamp,
    pub(super) result: HealthCheckResult,
}

/// The status of a container that has just begun to run, or that does not run any more.
pub(super) fn begin(status: &mut ContainerStatus, runs: bool, before: Option<Timestamp>) {
    if !runs {
        status.health = NONE.to_owned();
    } else if status.health == NONE || before != status.started_at {
        status.health = STARTING.to_owned();
        status.failing_streak = 0;
        status.health_log = Vec::new();
    }
}

/// What a result makes of the status, and the event when that is news.
pub(super) fn judge(probe: &Probe, status: &mut ContainerStatus, result: HealthCheckResult, about: ObjectReference) -> Option<NewEvent> {
    let at = result.finished_at;
    let passed = result.exit_code == 0;
    let counts = passed || !probe.in_start_period(status, at);
    if counts {
        status.failing_streak = if passed { 0 } else { status.failing_streak.saturating_add(1) };
    }
    let health = match (passed, status.failing_streak >= probe.retries) {
        (true, _) => HEALTHY,
        (false, true) => UNHEALTHY,
        (false, false) => return log(status, result),
    };
    let news = status.health != health;
    let message = if passed { "healthy".to_owned() } else { format!("unhealthy: {}", summary(&result)) };
    log(status, result);
    if !news {
        return None;
    }
    status.health = health.to_owned();
    let event = NewEvent::new(at, about, "HealthStatus", message).with("health", health);
    Some(if passed { event } else { event.warning() })
}

fn log(status: &mut ContainerStatus, result: HealthCheckResult) -> Option<NewEvent> {
    status.health_log.push(result);
    let over = status.health_log.len().saturating_sub(MOST_RESULTS);
    status.health_log.drain(..over);
    None
}

fn summary(result: &HealthCheckResult) -> String {
    let line = result.output.lines().next().unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    if line.is_empty() { format!("exit code {}", result.exit_code) } else { format!("exit code {}: {line}", result.exit_code) }
}

/// The task that runs the checks of one run of a container. Dropping it ends the check that is under way.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) of: Timestamp,
    pub(super) probe: Probe,
    results: mpsc::Receiver<Checked>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub(super) fn start(shared: &Arc<Shared>, pod: &PodId, container: ContainerName, of: Timestamp, probe: Probe) -> Self {
        let (tell, results) = mpsc::channel(1);
        let (shared, pod, asked) = (Arc::clone(shared), pod.clone(), probe.clone());
        let task = tokio::spawn(async move {
            loop {
                let starting = shared.store.container_by_uid(&pod).is_some_and(|record| {
                    record.status.started_at == Some(of) && asked.in_start_period(&record.status, shared.clock().now())
                });
                let wait = if starting { asked.start_interval } else { asked.interval };
                shared.clock().sleep_until(later(shared.clock().now(), wait)).await;
                // None: it is ending, and with it this task.
                let Some(result) = check(&shared, &pod, &container, &asked).await else { continue };
                if tell.send(Checked { of, result }).await.is_err() {
                    return;
                }
            }
        });
        Watch { of, probe, results, task }
    }
}

/// The next result; never one when nothing is checked.
pub(super) async fn next(watch: &mut Option<Watch>) -> Option<Checked> {
    match watch {
        Some(watch) => watch.results.recv().await,
        None => std::future::pending().await,
    }
}

async fn check(shared: &Shared, pod: &PodId, container: &ContainerName, probe: &Probe) -> Option<HealthCheckResult> {
    let started_at = shared.clock().now();
    let config = ExecConfig {
        id: None,
        detach: false,
        own_cgroup: true,
        argv: probe.argv.clone(),
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: false,
        stdin: false,
        privileged: false,
        timeout_ms: Some(u64::try_from(probe.timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    let too_long = || (-1, format!("the check took longer than {} s", probe.timeout.as_secs_f64()));
    let limit = shared.clock().sleep_until(later(started_at, probe.timeout + GRACE));
    let (exit_code, output) = tokio::select! {
        outcome = run(shared, pod, container, config) => match outcome {
            Ok((_, _, true)) => too_long(),
            Ok((exit_code, output, false)) => (exit_code, output),
            Err(NodeError::NoShim { .. } | NodeError::ShimGone { .. } | NodeError::Refused(RuntimeError::Conflict { .. } | RuntimeError::Busy { .. })) => {
                return None;
            }
            Err(error) => (-1, error.to_string()),
        },
        () = limit => too_long(),
    };
    Some(HealthCheckResult { started_at, finished_at: shared.clock().now(), exit_code, output })
}

/// Exit code, output as far as it is kept, and whether its time was up.
async fn run(shared: &Shared, pod: &PodId, container: &ContainerName, config: ExecConfig) -> Result<(i32, String, bool), NodeError> {
    let mut session = shared.node().exec(pod, container, config).await?;
    let mut output = Vec::new();
    while let Some(item) = session.next().await {
        match item? {
            Output::Stdout(bytes) | Output::Stderr(bytes) => {
                let room = MOST_OUTPUT - output.len();
                output.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            // Of an exec nothing is.
            Output::Skipped(_) => {}
            Output::Exited { exit_code, timed_out, .. } => {
                return Ok((exit_code, String::from_utf8_lossy(&output).into_owned(), timed_out));
            }
        }
    }
    Err(NodeError::ShimGone { pod: pod.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Timestamp {
        format!("2026-01-01T00:00:{text}Z").parse().unwrap()
    }

    fn result(at: &str, exit_code: i32) -> HealthCheckResult {
        HealthCheckResult { started_at: seconds(at), finished_at: seconds(at), exit_code, output: "why\n".to_owned() }
    }

    fn probe(own: Healthcheck) -> Option<Probe> {
        let image = ImageConfig {
            healthcheck: Some(image::Healthcheck {
                test: vec!["CMD".into(), "of-image".into()],
                interval: 7_000_000_000,
                ..Default::default()
            }),
            ..Default::default()
        };
        Probe::of(&ContainerSpec { healthcheck: Some(own), ..Default::default() }, &image)
    }

    fn about() -> ObjectReference {
        ObjectReference { kind: "Container".into(), name: "web".into(), uid: "0".repeat(32) }
    }

    #[test]
    fn what_the_spec_leaves_out_is_the_images_and_then_dockers() {
        let of_image = probe(Healthcheck::default()).unwrap();
        assert_eq!((of_image.argv, of_image.interval, of_image.retries), (vec!["of-image".to_owned()], Duration::from_secs(7), 3));
        let own =
            probe(Healthcheck { test: vec!["CMD-SHELL".into(), "a b".into()], interval_seconds: Some(2), ..Default::default() }).unwrap();
        assert_eq!(
            (own.argv, own.interval, own.timeout),
            (vec!["/bin/sh".into(), "-c".into(), "a b".into()], Duration::from_secs(2), Duration::from_secs(30))
        );
        assert_eq!(probe(Healthcheck { test: vec!["NONE".into()], ..Default::default() }), None);
        assert_eq!(Probe::of(&ContainerSpec::default(), &ImageConfig::default()), None);
    }

    #[test]
    fn failures_count_after_the_start_period_and_one_pass_forgives_all() {
        let probe = probe(Healthcheck { start_period_seconds: Some(10), retries: Some(2), ..Default::default() }).unwrap();
        let mut status = ContainerStatus { started_at: Some(seconds("00")), health: NONE.into(), ..Default::default() };
        begin(&mut status, true, None);
        let mut seen = Vec::new();
        for (at, code) in [("05", 1), ("11", 1), ("12", 1), ("13", 1), ("14", 0), ("15", 1), ("16", 0), ("17", 1), ("18", -1)] {
            let event = judge(&probe, &mut status, result(at, code), about());
            seen.push((status.health.clone(), status.failing_streak, event.is_some()));
        }
        let expected = [
            (STARTING, 0, false),
            (STARTING, 1, false),
            (UNHEALTHY, 2, true),
            (UNHEALTHY, 3, false),
            (HEALTHY, 0, true),
            (HEALTHY, 1, false),
            (HEALTHY, 0, false),
            (HEALTHY, 1, false),
            (UNHEALTHY, 2, true),
        ];
        assert_eq!(seen, expected.map(|(health, streak, event)| (health.to_owned(), streak, event)));
        assert_eq!(status.health_log.len(), MOST_RESULTS);
        assert_eq!(status.health_log.last().unwrap().exit_code, -1);
        begin(&mut status, false, None);
        assert_eq!(status.health, NONE);
    }
}
