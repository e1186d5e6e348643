//! What design and document promise of every resource, tried on each: names, versions, unknown fields and parameters.

use super::*;

#[tokio::test]
async fn a_parameter_that_nobody_reads_is_refused() {
    let fixture = Fixture::with_image().await;
    fixture.run("web").await;
    // Docker's place for these is the query; here they go into the body, and a SIGKILL in the place of a SIGHUP would be no answer.
    for (path, name) in [("kill?signal=HUP", "signal"), ("stop?t=60", "t"), ("wait?condition=removed", "condition"), ("start?x", "x")] {
        fixture.root("POST", &format!("/api/v1/containers/web/{path}")).send().await.fault(&format!("/query/{name}"));
    }
    for path in ["/api/v1/system?x=1", "/api/v1/containers/web?x=1", "/api/v1/containers/web/stats?x=1"] {
        fixture.root("GET", path).send().await.fault("/query/x");
    }
    fixture.root("DELETE", "/api/v1/volumes/none?force=true").send().await.fault("/query/force");
    assert_eq!(fixture.get("/api/v1/containers/web").await["status"]["phase"], "Running");
    // A probe of a load balancer may add what it likes.
    fixture.root("GET", "/healthz?t=1").send().await.expect(200);
}

#[tokio::test]
async fn a_patch_speaks_of_what_it_names_alone() {
    let fixture = Fixture::with_image().await;
    let later = json!({"metadata": {"name": "web"}, "spec": {"image": "busybox", "command": ["sleep"], "colour": "red"}});
    fixture.root("POST", "/api/v1/containers?fieldValidation=Warn").json(&later).send().await.expect(201);
    fixture.root("POST", "/api/v1/volumes").json(&json!({"metadata": {"name": "web"}})).send().await.expect(201);
    let patch = |kind: &str, query: &str, body: Value| fixture.root("PATCH", &format!("/api/v1/{kind}/web{query}")).patch(&body).send();
    // A field of a later version that was let pass then is not a fault of this request.
    patch("containers", "", json!({"spec": {"stopTimeoutSeconds": 3}})).await.expect(200);
    patch("containers", "", json!({"spec": {"taste": "sour"}})).await.fault("/spec/taste");
    for kind in ["containers", "volumes"] {
        let unknown = json!({"metadata": {"colour": 1}, "extra": {}});
        let strict = patch(kind, "", unknown.clone()).await;
        strict.clone().fault("/metadata/colour");
        strict.fault("/extra");
        let warned = patch(kind, "?fieldValidation=Warn", unknown.clone()).await.expect(200);
        assert_eq!(warned.headers.get_all("warning").iter().count(), 2, "{kind}");
        patch(kind, "?fieldValidation=Ignore", unknown).await.expect(200);
        patch(kind, "", json!({"metadata": {"uid": "other"}})).await.problem(422, "immutable-field");
        // What was read can be sent back, with a label more.
        let mut whole = fixture.get(&format!("/api/v1/{kind}/web")).await;
        whole["metadata"]["labels"] = json!({"tier": "front"});
        let sent = patch(kind, "", whole).await.expect(200).json();
        assert_eq!(sent["metadata"]["labels"], json!({"tier": "front"}));
    }
}

#[tokio::test]
async fn tokens_have_labels_uids_and_versions() {
    let fixture = Fixture::new().await;
    let body =
        json!({"metadata": {"name": "ci", "labels": {"team": "blue"}, "annotations": {"why": "builds"}}, "spec": {"role": "viewer"}});
    let made = fixture.root("POST", "/api/v1/tokens").json(&body).send().await.expect(201).json();
    assert_eq!((&made["metadata"]["labels"], &made["metadata"]["annotations"]), (&json!({"team": "blue"}), &json!({"why": "builds"})));
    let names = |list: Value| list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(fixture.get("/api/v1/tokens?labelSelector=team%3Dblue").await), ["ci"]);
    assert!(names(fixture.get("/api/v1/tokens?labelSelector=team%3Dred").await).is_empty());
    let uid = made["metadata"]["uid"].as_str().unwrap();
    for key in ["ci", uid, &uid[..8]] {
        assert_eq!(fixture.get(&format!("/api/v1/tokens/{key}")).await["metadata"]["uid"], uid, "{key}");
    }
    // Kept over a restart.
    let path = fixture.folder.path().join("db");
    fixture.state.store.close().await;
    let store = Store::open(&path, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(store.token("ci").unwrap().meta.labels["team"], "blue");
}

#[tokio::test]
async fn mistakes_with_tokens_are_told() {
    let fixture = Fixture::new().await;
    let post = |body: Value| fixture.root("POST", "/api/v1/tokens").json(&body).send();
    post(json!({"metadata": {"name": "ci"}, "spec": {"role": "viewer"}})).await.expect(201);
    post(json!({"metadata": {"name": "ci"}, "spec": {"role": "viewer"}})).await.problem(409, "already-exists");
    post(json!({"metadata": {"name": "Not One"}, "spec": {"role": "viewer"}})).await.fault("/metadata/name");
    post(json!({"metadata": {"name": "x"}, "spec": {"role": "king"}})).await.fault("/spec/role");
    for method in ["GET", "DELETE"] {
        fixture.root(method, "/api/v1/tokens/nobody").send().await.problem(404, "not-found");
    }
    fixture.root("GET", "/api/v1/tokens?limit=x").send().await.fault("/query/limit");
    fixture.root("GET", "/api/v1/tokens?labelSelector=a%20b").send().await.fault("/query/labelSelector");
}

#[tokio::test]
async fn a_stale_version_deletes_nothing() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    fixture.root("POST", "/api/v1/volumes").json(&json!({"metadata": {"name": "data"}})).send().await.expect(201);
    fixture.token("ci", Role::Viewer).await;
    for path in ["/api/v1/containers/web", "/api/v1/volumes/data", "/api/v1/tokens/ci", "/api/v1/images/busybox"] {
        let read = fixture.root("GET", path).send().await.expect(200);
        fixture.root("DELETE", path).header("if-match", "\"1000000\"").send().await.problem(412, "stale-version");
        fixture.root("DELETE", path).header("if-match", read.header("etag").unwrap()).send().await.expect(204);
        fixture.root("GET", path).send().await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn who_uses_it_is_told_whatever_the_caller_has() {
    let fixture = Fixture::with_image().await;
    fixture.root("POST", "/api/v1/volumes").json(&json!({"metadata": {"name": "data"}})).send().await.expect(201);
    for path in ["/api/v1/volumes/data", "/api/v1/images/busybox"] {
        let read = fixture.root("GET", path).send().await.expect(200);
        let name = if path.contains("volumes") { "with-volume" } else { "with-image" };
        fixture.create(name, json!({"mounts": [{"type": "volume", "source": "data", "target": "/data"}]})).await;
        let again = fixture.root("GET", path).header("if-none-match", read.header("etag").unwrap()).send().await.expect(200).json();
        assert!(again["status"]["usedBy"].as_array().unwrap().iter().any(|user| *user == name), "{again:#}");
    }
}

#[tokio::test]
async fn a_replayed_answer_warns_as_the_first_did() {
    let fixture = Fixture::with_image().await;
    let body = json!({"spec": {"image": "busybox", "command": ["sleep"], "colour": "red"}});
    let post = || fixture.root("POST", "/api/v1/containers?fieldValidation=Warn").header("idempotency-key", "k").json(&body).send();
    let first = post().await.expect(201);
    let again = post().await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert!(first.header("warning").is_some_and(|text| text.contains("/spec/colour")));
    assert_eq!(again.headers.get_all("warning").iter().collect::<Vec<_>>(), first.headers.get_all("warning").iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn without_its_store_it_is_not_ready() {
    let fixture = Fixture::new().await;
    fixture.state.store.close().await;
    fixture.root("GET", "/readyz").send().await.problem(503, "busy");
    fixture.root("GET", "/healthz").send().await.expect(200);
}

#[tokio::test]
async fn each_route_tells_its_own_mistakes() {
    let fixture = Fixture::with_image().await;
    fixture.run("web").await;
    let containers = "/api/v1/containers";
    fixture.root("POST", &format!("{containers}/web/unpause")).send().await.problem(409, "wrong-state");
    fixture.root("GET", &format!("{containers}/nobody/execs")).send().await.problem(404, "not-found");
    let put = fixture.root("PUT", &format!("{containers}/nobody/archive?path=/")).header("content-type", "application/x-tar").body("tar");
    put.send().await.problem(404, "not-found");
    for (query, parameter) in [("limit=x", "limit"), ("continue=x", "continue"), ("labelSelector=a%20b", "labelSelector"), ("x", "x")] {
        for path in ["/api/v1/images", "/api/v1/volumes", containers] {
            fixture.root("GET", &format!("{path}?{query}")).send().await.fault(&format!("/query/{parameter}"));
        }
    }
}

#[tokio::test]
async fn doctor_and_backup_answer() {
    let fixture = Fixture::with_image().await;
    let report = fixture.get("/api/v1/system/doctor").await;
    assert!(report["verdict"].is_string() && !report["checks"].as_array().unwrap().is_empty(), "{report:#}");
    let backup = fixture.root("GET", "/api/v1/system/backup").send().await.expect(200);
    assert_eq!(backup.header("content-type"), Some("application/vnd.sqlite3"));
    assert!(backup.body.starts_with(b"SQLite format 3\0"));
    let left = std::fs::read_dir(fixture.state.store.folder())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("backup-"));
    assert_eq!(left.count(), 0, "the copy is left behind");
}
