//! Bad input at each endpoint: a problem document that names the field, quickly, and nothing half-made.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::Scope;
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        every_wrong_field_of_a_container_is_named,
        all_faults_are_told_at_once,
        names_that_are_paths_are_refused,
        unknown_fields_are_refused_warned_of_or_ignored,
        status_is_never_taken_from_the_client,
        whatever_is_not_json_is_refused,
        bodies_that_are_too_large_are_refused,
        deep_and_doubled_json_is_refused,
        unknown_things_are_404_on_every_route,
        unknown_paths_and_methods_are_problems,
        wrong_bodies_on_every_verb_are_refused,
        a_refused_create_leaves_nothing,
    ]
}

fn create(scope: &Scope<'_>, spec: Value) -> crate::common::http::Response {
    let mut body = scope.body(json!({"command": ["true"]}));
    body["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let answer = scope.api().post("/api/v1/containers").json(&body).send();
    if answer.status == 201 {
        // Deleted with the test's other things; the assertion that follows fails.
        scope.adopt(&answer.json());
    }
    answer
}

fn every_wrong_field_of_a_container_is_named(scope: &Scope<'_>) {
    let wrong: Vec<(Value, &str)> = vec![
        (json!({"image": 7}), "/spec/image"),
        (json!({"command": "true"}), "/spec/command"),
        (json!({"command": ["a\0b"]}), "/spec/command/0"),
        (json!({"command": [""]}), "/spec/command/0"),
        (json!({"env": [{"name": "", "value": "x"}]}), "/spec/env/0/name"),
        (json!({"env": [{"name": "A=B", "value": "x"}]}), "/spec/env/0/name"),
        (json!({"env": [{"name": "A", "value": "x\0y"}]}), "/spec/env/0/value"),
        (json!({"env": {"A": "x"}}), "/spec/env"),
        (json!({"workingDir": "relative"}), "/spec/workingDir"),
        (json!({"user": "4294967296"}), "/spec/user"),
        (json!({"user": "-1"}), "/spec/user"),
        (json!({"hostname": "not_a_label!"}), "/spec/hostname"),
        (json!({"restartPolicy": {"name": "sometimes"}}), "/spec/restartPolicy/name"),
        (json!({"restartPolicy": {"name": "on-failure", "maximumRetryCount": -1}}), "/spec/restartPolicy/maximumRetryCount"),
        (json!({"stopSignal": "SIGNOTHING"}), "/spec/stopSignal"),
        (json!({"stopTimeoutSeconds": -5}), "/spec/stopTimeoutSeconds"),
        (json!({"namespaces": {"pid": "sideways"}}), "/spec/namespaces/pid"),
        (json!({"namespaces": {"network": "no-such-network"}}), "/spec/namespaces/network"),
        (json!({"resources": {"memory": -1}}), "/spec/resources/memory"),
        (json!({"resources": {"memory": 1}}), "/spec/resources/memory"),
        (json!({"resources": {"memory": "9E"}}), "/spec/resources/memory"),
        (json!({"resources": {"memory": "0x10"}}), "/spec/resources/memory"),
        (json!({"resources": {"memory": 1e30}}), "/spec/resources/memory"),
        (json!({"resources": {"memory": "64Mi", "memorySwap": "32Mi"}}), "/spec/resources/memorySwap"),
        (json!({"resources": {"cpu": 0}}), "/spec/resources/cpu"),
        (json!({"resources": {"cpu": -0.5}}), "/spec/resources/cpu"),
        (json!({"resources": {"cpu": 1_000_000_000}}), "/spec/resources/cpu"),
        (json!({"resources": {"cpuShares": 1}}), "/spec/resources/cpuShares"),
        (json!({"resources": {"cpuset": "0-4096"}}), "/spec/resources/cpuset"),
        (json!({"resources": {"cpuset": "a"}}), "/spec/resources/cpuset"),
        (json!({"resources": {"pids": 0}}), "/spec/resources/pids"),
        (json!({"resources": {"io": [{"device": "not-a-device", "readBps": 1}]}}), "/spec/resources/io/0/device"),
        (json!({"security": {"capabilities": {"drop": ["FLY"]}}}), "/spec/security/capabilities/drop/0"),
        (json!({"security": {"seccomp": {"type": "custom"}}}), "/spec/security/seccomp/profile"),
        (json!({"security": {"seccomp": {"type": "strict"}}}), "/spec/security/seccomp/type"),
        (json!({"security": {"privileged": "yes"}}), "/spec/security/privileged"),
        (json!({"rlimits": [{"type": "patience", "soft": 1, "hard": 1}]}), "/spec/rlimits/0/type"),
        (json!({"rlimits": [{"type": "nofile", "soft": 9, "hard": 1}]}), "/spec/rlimits/0/soft"),
        (json!({"sysctls": {"kernel.core_pattern": "x"}}), "/spec/sysctls/kernel.core_pattern"),
        (json!({"oomScoreAdj": 2000}), "/spec/oomScoreAdj"),
        (json!({"logging": {"maxFiles": 0}}), "/spec/logging/maxFiles"),
        (json!({"tty": 1}), "/spec/tty"),
        (json!({"ports": [{"containerPort": 65536}]}), "/spec/ports/0/containerPort"),
    ];
    let mut faults = Vec::new();
    for (spec, pointer) in wrong {
        let answer = create(scope, spec.clone());
        let named = answer.status == 422 && answer.json()["errors"].as_array().into_iter().flatten().any(|fault| fault["path"] == pointer);
        if !named {
            faults.push(format!("{pointer}: {spec} -> {} {}", answer.status, answer.text()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn all_faults_are_told_at_once(scope: &Scope<'_>) {
    let problem = create(scope, json!({"hostname": "!", "resources": {"memory": -1, "cpu": 0}, "stopSignal": "X"})).problem(422);
    let paths: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|fault| fault["path"].as_str().unwrap()).collect();
    // What cannot be read as its type ends the reading: those may come first and alone.
    assert!(paths.len() >= 3 || paths == ["/spec/resources/memory"], "{paths:?}");
    let readable = create(scope, json!({"hostname": "!", "stopSignal": "X", "workingDir": "relative"})).problem(422);
    assert_eq!(readable["errors"].as_array().unwrap().len(), 3, "{readable:#}");
}

fn names_that_are_paths_are_refused(scope: &Scope<'_>) {
    for name in ["..", ".", "-rf", "a/b", "../../etc/passwd", "a\0b", "UPPER", "ünïcode", "a_b", "a b", &"a".repeat(64), "con\n"] {
        let mut body = scope.body(json!({}));
        body["metadata"]["name"] = json!(name);
        scope.api().post("/api/v1/containers").json(&body).send().field_fault("/metadata/name");
        scope.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": name}})).send().field_fault("/metadata/name");
    }
    for path in ["..%2F..%2Fetc", "%2e%2e", "a%00b", "%ff", "%0d%0aX:%20y"] {
        let answer = scope.api().get(&format!("/api/v1/containers/{path}")).send();
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        answer.clone().problem(answer.status);
        assert_eq!(answer.header("x"), None, "a header came out of a path");
    }
}

fn unknown_fields_are_refused_warned_of_or_ignored(scope: &Scope<'_>) {
    let body = || {
        let mut body = scope.body(json!({"command": ["true"], "comand": ["x"], "resources": {"memroy": 1}}));
        body["metadata"]["colour"] = json!(1);
        body
    };
    let send = |query: &str| scope.api().post(&format!("/api/v1/containers{query}")).json(&body()).send();
    for query in ["", "?fieldValidation=Strict"] {
        let answer = send(query);
        for pointer in ["/metadata/colour", "/spec/comand", "/spec/resources/memroy"] {
            answer.clone().field_fault(pointer);
        }
    }
    let warned = send("?fieldValidation=Warn").expect(201);
    assert!(
        warned.header("warning").is_some_and(|text| text.contains("comand") || text.contains("colour")),
        "{:?}",
        warned.header("warning")
    );
    scope.adopt(&warned.json());
    let ignored = send("?fieldValidation=Ignore").expect(201);
    assert_eq!(ignored.header("warning"), None);
    scope.adopt(&ignored.json());
    send("?fieldValidation=Perhaps").problem(422);
}

fn status_is_never_taken_from_the_client(scope: &Scope<'_>) {
    let mut body = scope.body(json!({"command": ["true"]}));
    body["kind"] = json!("Container");
    body["status"] = json!({"phase": "Running", "pid": 1});
    let answer = scope.api().post("/api/v1/containers").json(&body).send();
    if answer.status == 201 {
        let created = answer.json();
        scope.adopt(&created);
        assert_eq!((&created["status"]["phase"], &created["status"]["pid"]), (&json!("Created"), &Value::Null));
    } else {
        answer.field_fault("/status");
    }
}

fn whatever_is_not_json_is_refused(scope: &Scope<'_>) {
    let send = |content_type: &str, body: &[u8]| scope.api().post("/api/v1/containers").bytes(content_type, body.to_vec()).send();
    for body in [&b""[..], b"{", b"nul", b"{\"spec\": }", b"\xff\xfe", b"{} trailing", b"{\"a\": 1e999}", b"\x00"] {
        let answer = send("application/json", body);
        assert!(matches!(answer.status, 400 | 422), "{:?}: {} {}", String::from_utf8_lossy(body), answer.status, answer.text());
        answer.clone().problem(answer.status);
    }
    for wrong in ["text/plain", "", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
        send(wrong, b"{\"spec\": {\"image\": \"busybox\"}}").problem(415);
    }
    for body in [json!([]), json!("text"), json!(null), json!({"spec": []}), json!({"metadata": 7})] {
        let answer = scope.api().post("/api/v1/containers").json(&body).send();
        assert!(matches!(answer.status, 400 | 422), "{body}: {}", answer.status);
        answer.clone().problem(answer.status);
    }
}

fn bodies_that_are_too_large_are_refused(scope: &Scope<'_>) {
    let body = scope.body(json!({"env": [{"name": "A", "value": "x".repeat(3 << 20)}]}));
    scope.api().post("/api/v1/containers").json(&body).send().problem(413);
    // Announced and never sent.
    let announced =
        scope.api().post("/api/v1/containers").header("Content-Length", "999999999999").header("Content-Type", "application/json");
    announced.send().problem(413);
    let long = format!("/api/v1/containers/{}", "a".repeat(20_000));
    let answer = scope.api().get(&long).send();
    assert!(matches!(answer.status, 404 | 414 | 431), "{}", answer.status);
}

fn deep_and_doubled_json_is_refused(scope: &Scope<'_>) {
    let deep = format!("{{\"spec\": {}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let doubled = r#"{"metadata": {"name": "one", "name": "two"}, "spec": {"image": "busybox:latest"}}"#;
    for body in [deep.as_str(), doubled] {
        let answer = scope.api().post("/api/v1/containers").bytes("application/json", body.as_bytes().to_vec()).send();
        assert!(matches!(answer.status, 400 | 422), "{} {}", answer.status, answer.text());
        answer.clone().problem(answer.status);
    }
}

fn unknown_things_are_404_on_every_route(scope: &Scope<'_>) {
    let routes = [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/restart"),
        ("POST", "/kill"),
        ("POST", "/pause"),
        ("POST", "/unpause"),
        ("POST", "/wait"),
        ("GET", "/logs"),
        ("POST", "/exec"),
        ("GET", "/stats"),
        ("GET", "/processes"),
        ("GET", "/namespaces"),
        ("GET", "/cgroup"),
        ("GET", "/explain"),
    ];
    for (method, rest) in routes {
        let body = match rest {
            "/exec" => json!({"command": ["true"]}),
            "/kill" => json!({"signal": "TERM"}),
            _ => json!({}),
        };
        let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut request = scope.api().request(method, &format!("/api/v1/containers/there-is-none{rest}")).patience(Duration::from_secs(5));
        if matches!(method, "POST" | "PATCH") {
            request = request.bytes(content_type, body.to_string().into_bytes());
        }
        let problem = request.send().problem(404);
        assert!(problem["detail"].as_str().unwrap().contains("there-is-none"), "{method} {rest}: {problem:#}");
    }
    for path in ["/api/v1/images/there-is-none:latest", "/api/v1/volumes/there-is-none"] {
        scope.api().get(path).send().problem(404);
        scope.api().delete(path).send().problem(404);
    }
}

fn unknown_paths_and_methods_are_problems(scope: &Scope<'_>) {
    for path in ["/api/v1/nothing", "/api/v2/containers", "/api", "/api/v1/containers/a/b/c/d"] {
        scope.api().get(path).send().problem(404);
    }
    let answer = scope.api().request("PUT", "/api/v1/containers").send();
    assert!(answer.header("allow").is_some_and(|methods| methods.contains("POST")), "{:?}", answer.header("allow"));
    answer.problem(405);
    let traced = scope.api().request("TRACE", "/api/v1/containers").send();
    assert!(matches!(traced.status, 400 | 405 | 501), "{}", traced.status);
}

fn wrong_bodies_on_every_verb_are_refused(scope: &Scope<'_>) {
    let container = scope.idle();
    container.post("/kill", &json!({"signal": "SIGNOTHING"})).field_fault("/signal");
    container.post("/kill", &json!({"signal": 99})).problem(422);
    container.post("/wait", &json!({"condition": "bored"})).field_fault("/condition");
    for verb in ["/stop", "/restart"] {
        let answer = container.post(verb, &json!({"colour": "red"}));
        assert_eq!(answer.status, 422, "{verb}: {}", answer.text());
    }
    let deleted = |query: &str| scope.api().delete(&container.path(query)).send();
    deleted("?gracePeriodSeconds=-1").problem(422);
    deleted("?force=perhaps").problem(422);
    let patched =
        |content_type: &str, body: &[u8]| scope.api().request("PATCH", &container.path("")).bytes(content_type, body.to_vec()).send();
    patched("application/json-patch+json", b"[]").problem(415);
    patched("application/merge-patch+json", b"[]").problem(422);
    patched("application/merge-patch+json", br#"{"metadata": {"name": "other"}}"#).field_fault("/metadata/name");
    patched("application/merge-patch+json", br#"{"metadata": {"labels": {"bad key!": "x"}}}"#).problem(422);
    assert_eq!(container.status()["phase"], "Running");
}

fn a_refused_create_leaves_nothing(scope: &Scope<'_>) {
    let count = || {
        scope.api().get("/api/v1/containers?limit=500&labelSelector=refused%3Dyes").send().expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    let mut good = scope.body(json!({"command": ["true"]}));
    good["metadata"]["labels"] = json!({"refused": "yes"});
    let mut bad = good.clone();
    bad["spec"]["resources"] = json!({"memory": -1});
    scope.api().post("/api/v1/containers").json(&bad).send().field_fault("/spec/resources/memory");
    assert_eq!(count(), 0);
    // The name is still free.
    scope.adopt(&scope.api().post("/api/v1/containers").json(&good).send().expect(201).json());
    scope.api().post("/api/v1/containers").json(&good).send().problem(409);
    assert_eq!(count(), 1);
}
