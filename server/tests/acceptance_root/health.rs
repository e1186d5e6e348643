//! Health checks: a program run inside again and again, and what it makes of `status.health`.

use serde_json::{Value, json};

use crate::common::{Container, Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        it_starts_becomes_unhealthy_and_recovers,
        a_check_that_hangs_is_ended_with_all_it_started,
        nothing_is_checked_while_it_is_paused,
        the_images_check_is_run_unless_the_spec_says_none,
        bad_checks_name_the_field,
    ];
    all.extend(tests![Own: checks_go_on_after_a_restart_of_berth]);
    all
}

fn checked<'a>(scope: &'a Scope<'_>, check: Value) -> Container<'a> {
    scope.idle_with(json!({"healthcheck": check}))
}

#[track_caller]
fn until_health(container: &Container<'_>, health: &str) -> Value {
    container.until_status(health, |status| status["health"] == health)
}

fn it_starts_becomes_unhealthy_and_recovers(scope: &Scope<'_>) {
    let script = "echo looking as $(id -u); test -e /tmp/well || { echo not well >&2; exit 3; }";
    let container = checked(scope, json!({"test": ["CMD-SHELL", script], "intervalSeconds": 1, "retries": 2}));
    assert_eq!(container.status()["health"], "starting");
    let ill = until_health(&container, "unhealthy");
    assert!(ill["failingStreak"].as_u64().unwrap() >= 2, "{ill:#}");
    let last = ill["healthLog"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["exitCode"], &last["output"]), (&json!(3), &json!("looking as 0\nnot well\n")), "{ill:#}");
    container.exec_output(&["touch", "/tmp/well"]);
    let well = until_health(&container, "healthy");
    assert_eq!(well["failingStreak"].as_u64().unwrap_or(0), 0, "{well:#}");
    assert!(well["healthLog"].as_array().unwrap().len() <= 5);
    // The status is shown at once, the event once it is durable.
    let told = host::until("both changes are told", || {
        let events = scope.api().get(&format!("/api/v1/events?name={}&reason=HealthStatus", container.name)).send().expect(200).json();
        let told: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["attributes"]["health"].clone()).collect();
        Some(told).filter(|told| told.len() > 1)
    });
    assert_eq!(told, [json!("unhealthy"), json!("healthy")]);
    assert!(container.logs("").is_empty(), "a check's output is in the container's log");
    container.stop();
    assert_eq!(container.status()["health"], "none");
    container.start();
    assert!(matches!(container.status()["health"].as_str().unwrap(), "starting" | "healthy"));
    // A container without a check has none.
    assert_eq!(scope.idle().status()["health"], "none");
}

fn a_check_that_hangs_is_ended_with_all_it_started(scope: &Scope<'_>) {
    let marker = "sleep 987654";
    let script = format!("{marker} & {marker}");
    let container = checked(
        scope,
        json!({"test": ["CMD-SHELL", script], "intervalSeconds": 600, "startIntervalSeconds": 1, "startPeriodSeconds": 2,
            "timeoutSeconds": 1, "retries": 1}),
    );
    let status = container.until_status("a check has ended", |status| status["healthLog"].as_array().is_some_and(|log| !log.is_empty()));
    let result = &status["healthLog"][0];
    assert_eq!(result["exitCode"], -1, "{status:#}");
    assert!(result["output"].as_str().unwrap().contains("longer than 1 s"), "{status:#}");
    let left =
        || host::processes().into_iter().filter(|process| process.cgroup.contains(&container.uid) && process.command == marker).count();
    // The next one, if any, begins a second later and is ended by the same rule.
    host::until("all that it started is gone", || Some(()).filter(|()| left() == 0));
}

fn nothing_is_checked_while_it_is_paused(scope: &Scope<'_>) {
    let container = checked(scope, json!({"test": ["CMD", "true"], "intervalSeconds": 1}));
    until_health(&container, "healthy");
    container.post("/pause", &json!({})).expect(204);
    let paused = container.status();
    assert_eq!(paused["health"], "healthy");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(container.status()["healthLog"], paused["healthLog"], "it was checked while it was paused");
    container.post("/unpause", &json!({})).expect(204);
    container.until_status("checked again", |status| status["healthLog"] != paused["healthLog"]);
    assert_eq!(container.status()["health"], "healthy");
}

fn the_images_check_is_run_unless_the_spec_says_none(scope: &Scope<'_>) {
    let check = "%7B%22Test%22%3A%5B%22CMD%22%2C%22true%22%5D%2C%22Interval%22%3A1000000000%7D";
    let import = scope.api().post(&format!("/api/v1/images/import?reference=checked:test&healthcheck={check}"));
    import.bytes("application/x-tar", image::busybox().to_vec()).send().expect(201);
    let of_image = scope.idle_with(json!({"image": "checked:test"}));
    until_health(&of_image, "healthy");
    let none = scope.idle_with(json!({"image": "checked:test", "healthcheck": {"test": ["NONE"]}}));
    assert_eq!(none.status()["health"], "none");
    let own = scope.idle_with(json!({"image": "checked:test", "healthcheck": {"test": ["CMD", "there-is-none"], "retries": 1}}));
    let ill = until_health(&own, "unhealthy");
    assert!(ill["healthLog"][0]["output"].as_str().unwrap().contains("there-is-none"), "{ill:#}");
}

fn bad_checks_name_the_field(scope: &Scope<'_>) {
    for (check, field) in [
        (json!({"test": ["true"]}), "/spec/healthcheck/test"),
        (json!({"test": ["CMD"]}), "/spec/healthcheck/test"),
        (json!({"test": ["CMD-SHELL", "a", "b"]}), "/spec/healthcheck/test"),
        (json!({"test": ["NONE", "x"]}), "/spec/healthcheck/test"),
        (json!({"test": ["CMD", "a\u{0}b"]}), "/spec/healthcheck/test/1"),
        (json!({"test": ["CMD", "true"], "intervalSeconds": 0}), "/spec/healthcheck/intervalSeconds"),
        (json!({"test": ["CMD", "true"], "timeoutSeconds": 100_000}), "/spec/healthcheck/timeoutSeconds"),
        (json!({"test": ["CMD", "true"], "retries": 0}), "/spec/healthcheck/retries"),
        (json!({"test": ["CMD", "true"], "retries": -1}), "/spec/healthcheck/retries"),
        (json!({"test": ["CMD", "true"], "interval": 1}), "/spec/healthcheck/interval"),
    ] {
        let body = scope.body(json!({"command": ["true"], "healthcheck": check}));
        scope.api().post("/api/v1/containers").json(&body).send().field_fault(field);
    }
    // Kubernetes' form is not taken yet, and is refused by name.
    let probe = scope.body(json!({"command": ["true"], "livenessProbe": {"exec": {"command": ["true"]}}}));
    scope.api().post("/api/v1/containers").json(&probe).send().field_fault("/spec/livenessProbe");
}

fn checks_go_on_after_a_restart_of_berth(scope: &Scope<'_>) {
    let container = checked(scope, json!({"test": ["CMD-SHELL", "test ! -e /tmp/ill"], "intervalSeconds": 1, "retries": 2}));
    until_health(&container, "healthy");
    // A fact is shown before it is on disk; this list is not answered before what happened is.
    scope.api().get("/api/v1/events").send().expect(200);
    scope.berth.kill9();
    container_is_ill_meanwhile(&container);
    scope.berth.launch();
    assert_eq!(container.status()["health"], "healthy", "what was known is lost");
    container.exec_output(&["touch", "/tmp/ill"]);
    until_health(&container, "unhealthy");
}

/// Nobody looks while Berth is away; that is no failure.
fn container_is_ill_meanwhile(container: &Container<'_>) {
    assert!(host::processes().iter().any(|process| process.cgroup.contains(&container.uid)));
}
