//! A container's life over the API.

use super::*;

#[tokio::test]
async fn create_start_stop_delete() {
    let fixture = Fixture::with_image().await;
    let body = json!({"metadata": {"name": "web", "labels": {"app": "site"}}, "spec": {"image": "busybox",   "command": ["sleep"], "stopTimeoutSeconds": 5}});
    let made = fixture.root("POST", "/api/v1/containers").json(&body).send().await.expect(201);
    assert_eq!(made.header("location"), Some("/api/v1/containers/web"));
    let container = made.json();
    assert_eq!(
        (&container["kind"], &container["spec"], &container["status"]["phase"]),
        (&json!("Container"), &body["spec"], &json!("Created"))
    );
    assert_eq!(made.header("etag"), Some(format!("\"{}\"", container["metadata"]["resourceVersion"].as_str().unwrap()).as_str()));

    let post = |verb: &str| fixture.root("POST", &format!("/api/v1/containers/web/{verb}")).send();
    post("start").await.expect(204);
    post("start").await.expect(204);
    let status = fixture.get("/api/v1/containers/web").await["status"].clone();
    assert_eq!(status["phase"], "Running");
    assert!(status["pid"].is_u64());
    fixture.root("DELETE", "/api/v1/containers/web").send().await.problem(409, "wrong-state");
    post("pause").await.expect(204);
    post("pause").await.problem(409, "wrong-state");
    post("unpause").await.expect(204);
    post("stop").await.expect(204);
    post("stop").await.expect(204);
    assert_eq!(fixture.get("/api/v1/containers/web").await["status"]["phase"], "Exited");
    post("kill").await.problem(409, "wrong-state");
    post("restart").await.expect(204);
    fixture.root("DELETE", "/api/v1/containers/web?force&gracePeriodSeconds=0").send().await.expect(204);
    fixture.root("GET", "/api/v1/containers/web").send().await.problem(404, "not-found");
    assert!(fixture.node.is_empty());
}

#[tokio::test]
async fn a_name_belongs_to_one_and_is_made_where_none_is_given() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    let again = json!({"metadata": {"name": "web"}, "spec": {"image": "busybox", "command": ["sleep"]}});
    fixture.root("POST", "/api/v1/containers").json(&again).send().await.problem(409, "already-exists");
    let unnamed = json!({"spec": {"image": "busybox", "command": ["sleep"]}});
    let made = fixture.root("POST", "/api/v1/containers").json(&unnamed).send().await.expect(201).json();
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("busybox-"), "{made}");
    let uid = made["metadata"]["uid"].as_str().unwrap();
    for key in [uid, &uid[..31]] {
        assert_eq!(fixture.get(&format!("/api/v1/containers/{key}")).await["metadata"]["uid"], uid);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_by_the_step_that_failed() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({"command": ["missing"]})).await;
    let problem = fixture.root("POST", "/api/v1/containers/web/start").send().await.problem(422, "start-failed");
    assert_eq!(problem["operation"], json!({"stage": "exec", "call": "execve", "subject": "missing", "errno": "ENOENT"}));
    let status = fixture.get("/api/v1/containers/web").await["status"].clone();
    assert_eq!((&status["reason"], &status["exitCode"]), (&json!("StartError"), &json!(127)));
}

#[tokio::test]
async fn waits_end_with_what_they_wait_for() {
    let fixture = Fixture::with_image().await;
    let uid = fixture.run("web").await["metadata"]["uid"].as_str().unwrap().to_owned();
    let wait = |condition: &str| fixture.root("POST", "/api/v1/containers/web/wait").json(&json!({"condition": condition})).send();
    wait("running").await.expect(200);
    let ended = tokio::spawn(wait("exited"));
    let removed = tokio::spawn(wait("removed"));
    fixture.node.exit(&uid.parse().unwrap(), 3);
    let answer = ended.await.unwrap().expect(200).json();
    assert_eq!(answer, json!({"exitCode": 3, "signal": null, "oomKilled": false, "reason": "Error"}));
    // Without a body it waits for the end.
    let plain = fixture.root("POST", "/api/v1/containers/web/wait").send().await.expect(200).json();
    assert_eq!(plain["exitCode"], 3);
    fixture.root("DELETE", "/api/v1/containers/web").send().await.expect(204);
    assert_eq!(removed.await.unwrap().expect(200).json()["exitCode"], 3);
    fixture.root("POST", "/api/v1/containers/web/wait").json(&json!({"condition": "bored"})).send().await.fault("/condition");
}

#[tokio::test]
async fn a_patch_changes_what_may_change() {
    let fixture = Fixture::with_image().await;
    let made = fixture.create("web", json!({"resources": {"memory": "64Mi", "pids": 50}})).await;
    let path = "/api/v1/containers/web";
    fixture.root("POST", &format!("{path}/start")).send().await.expect(204);
    let patch = |body: Value| fixture.root("PATCH", path).patch(&body).send();
    let patched = patch(json!({"metadata": {"labels": {"tier": "front"}}, "spec": {"resources": {"memory": "96Mi", "pids": null}}}))
        .await
        .expect(200);
    let now = patched.json();
    assert_eq!(now["spec"]["resources"], json!({"memory": "96Mi"}));
    assert_eq!(now["metadata"]["labels"], json!({"tier": "front"}));
    assert_eq!(patched.header("etag"), Some(format!("\"{}\"", now["metadata"]["resourceVersion"].as_str().unwrap()).as_str()));
    let uid = made["metadata"]["uid"].as_str().unwrap().parse().unwrap();
    assert_eq!(fixture.node.container_config(&uid).unwrap().resources.memory, Some(96 << 20), "the limit is not in force");

    patch(json!({"spec": {"image": "other"}})).await.fault("/spec/image");
    patch(json!({"metadata": {"name": "other"}})).await.fault("/metadata/name");
    // Never taken from a client, and no fault of one that sends back what it has read.
    assert_eq!(patch(json!({"status": {"phase": "Exited"}})).await.expect(200).json()["status"]["phase"], "Running");
    patch(json!({"spec": {"resources": {"memory": 1}}})).await.fault("/spec/resources/memory");
    patch(json!({"spec": {"resources": {"memroy": 1}}})).await.fault("/spec/resources/memroy");
    patch(json!({"spec": 1})).await.fault("/spec");
    patch(json!({"metadata": {"labels": {"a b": "x"}}})).await.expect(422);
    // What says what is so already is nothing to complain about.
    patch(json!({"kind": "Container", "metadata": {"name": "web"}})).await.expect(200);
    fixture
        .root("PATCH", path)
        .header("content-type", "application/json-patch+json")
        .body("[]")
        .send()
        .await
        .problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_overwritten() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    let read = fixture.root("GET", "/api/v1/containers/web").send().await.expect(200);
    let etag = read.header("etag").unwrap().to_owned();
    let unchanged = fixture.root("GET", "/api/v1/containers/web").header("if-none-match", &etag).send().await.expect(304);
    assert!(unchanged.body.is_empty() && unchanged.header("etag") == Some(&etag));
    let patch = |value: &str| {
        fixture
            .root("PATCH", "/api/v1/containers/web")
            .header("if-match", &etag)
            .patch(&json!({"metadata": {"labels": {"by": value}}}))
            .send()
    };
    patch("one").await.expect(200);
    patch("two").await.problem(412, "stale-version");
    fixture.root("DELETE", "/api/v1/containers/web").header("if-match", &etag).send().await.problem(412, "stale-version");
    fixture.root("DELETE", "/api/v1/containers/web").header("if-match", "nonsense").send().await.problem(400, "malformed-request");
    fixture.root("DELETE", "/api/v1/containers/web").header("if-match", "*").send().await.expect(204);
}

#[tokio::test]
async fn a_repeated_request_is_answered_once_more() {
    let fixture = Fixture::with_image().await;
    let body = json!({"spec": {"image": "busybox", "command": ["sleep"]}});
    let post = |key: &str, body: &Value| fixture.root("POST", "/api/v1/containers").header("idempotency-key", key).json(body).send();
    let first = post("k1", &body).await.expect(201);
    let again = post("k1", &body).await.expect(201);
    assert_eq!(
        (again.json(), again.header("location"), again.header("etag")),
        (first.json(), first.header("location"), first.header("etag"))
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(fixture.get("/api/v1/containers").await["items"].as_array().unwrap().len(), 1);
    post("k1", &json!({"spec": {"image": "busybox"}})).await.problem(422, "idempotency-mismatch");
    post("", &body).await.fault("/header/Idempotency-Key");
    post(&"k".repeat(300), &body).await.fault("/header/Idempotency-Key");
    // A refusal is an answer too.
    let missing = json!({"spec": {"image": "none"}});
    post("k2", &missing).await.expect(422);
    assert_eq!(post("k2", &missing).await.expect(422).header("idempotent-replayed"), Some("true"));
    // What has a secret in its answer is never kept.
    let token = |name: &str| {
        fixture
            .root("POST", "/api/v1/tokens")
            .header("idempotency-key", "k3")
            .json(&json!({"metadata": {"name": name}, "spec": {"role": "viewer"}}))
            .send()
    };
    let secret = token("a").await.expect(201).json()["secret"].clone();
    assert_ne!(token("b").await.expect(201).json()["secret"], secret);
}

#[tokio::test]
async fn exec_answers_with_output_and_code() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    let exec = |body: Value| fixture.root("POST", "/api/v1/containers/web/exec").json(&body).send();
    exec(json!({"command": ["true"]})).await.problem(409, "wrong-state");
    fixture.root("POST", "/api/v1/containers/web/start").send().await.expect(204);
    let answer = exec(json!({"command": ["echo", "x"]})).await.expect(200).json();
    assert!(answer["exitCode"].is_i64() && answer["stdout"].is_string() && answer["stderr"].is_string(), "{answer}");
    exec(json!({"command": []})).await.fault("/command");
    exec(json!({})).await.fault("/command");
    exec(json!({"command": ["a\u{0}"]})).await.fault("/command/0");
    exec(json!({"command": ["a"], "env": [{"name": ""}]})).await.fault("/env/0/name");
    exec(json!({"command": ["a"], "workingDir": "relative"})).await.fault("/workingDir");
    exec(json!({"command": ["a"], "user": "-1"})).await.fault("/user");
    exec(json!({"command": ["a"], "timeoutSeconds": 0})).await.fault("/timeoutSeconds");
    exec(json!({"command": ["a"], "colour": 1})).await.fault("/colour");
}

#[tokio::test]
async fn what_the_kernel_says_needs_a_container_that_runs() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    for view in ["stats", "processes", "namespaces", "cgroup"] {
        fixture.root("GET", &format!("/api/v1/containers/web/{view}")).send().await.problem(409, "wrong-state");
    }
    // What made it is asked of the files when there is no shim; before the first start there are none.
    assert_eq!(fixture.get("/api/v1/containers/web/explain").await["items"], json!([]));
}

#[tokio::test]
async fn the_runtime_being_away_is_told_as_such() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    let gone = || crate::node::NodeError::Launcher { socket: "/secret/path".into(), source: Arc::new(std::io::Error::other("x")) };
    fixture.node.fail_next("startShim", gone());
    let answer = fixture.root("POST", "/api/v1/containers/web/start").send().await;
    assert!(!answer.text().contains("/secret"), "{}", answer.text());
    fixture.node.fail_next("facts", gone());
    let unready = fixture.root("GET", "/readyz").send().await;
    assert!(unready.header("retry-after").is_some());
    unready.problem(503, "runtime-unavailable");
    fixture.root("GET", "/readyz").send().await.expect(200);
}
