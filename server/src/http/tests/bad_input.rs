//! Bad input at every endpoint: a problem document that names the place, never a fault of the server's.

use super::super::auth::access::methods;
use super::*;

/// Every operation of the document with bodies, queries and media types that nobody meant.
#[tokio::test]
async fn no_route_is_confused_by_nonsense() {
    let fixture = Fixture::with_image().await;
    fixture.create("there", json!({})).await;
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("application/json", b"".to_vec()),
        ("application/json", b"{".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"{\"a\": 1, \"a\": 2}".to_vec()),
        ("application/json", b"{\"spec\": 7, \"metadata\": [], \"command\": {}, \"signal\": [], \"condition\": 1}".to_vec()),
        ("application/json", b"{\"nobody\": {\"knows\": \"this\"}}".to_vec()),
        ("application/json", [b"[".repeat(90_000), b"]".repeat(90_000)].concat()),
        ("application/json", b"\xff\xfe\x00".to_vec()),
        ("application/json; charset=utf-16", b"{}".to_vec()),
        ("text/plain", b"{}".to_vec()),
        ("application/x-www-form-urlencoded", b"a=b".to_vec()),
    ];
    let queries = [
        "",
        "?limit=-1",
        "?force=perhaps",
        "?nobody=knows",
        "?fieldValidation=Perhaps",
        "?limit=1&limit=2",
        "?%ff=%fe",
        "?tailLines=x",
        "?since=yesterday",
    ];
    let names = ["there", "%2e%2e%2fetc", "a%00b", "%ff", "%0d%0aX:%20y", "UPPER", "-rf"];
    for (path, item) in &router::document().paths.paths {
        for (method, operation) in methods(item) {
            let waits = path.ends_with("/wait");
            for name in names.iter().take(if path.contains('{') { names.len() } else { 1 }) {
                let target = path.replace("{name}", name).replace("{reference}", name);
                for (kind, body) in
                    bodies.iter().take(if operation.request_body.is_some() && *name == "there" && !waits { bodies.len() } else { 1 })
                {
                    for query in queries.iter().take(if *name == "there" { queries.len() } else { 1 }) {
                        if waits && *name == "there" {
                            continue;
                        }
                        let call =
                            fixture.root(method.as_str(), &format!("{target}{query}")).header("content-type", kind).body(body.clone());
                        let answer = call.send().await;
                        let status = answer.status.as_u16();
                        assert!(status < 500, "{}: {} {}", answer.what, status, answer.text());
                        assert_eq!(answer.header("x"), None);
                        if status >= 400 {
                            let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
                            answer.problem(status, &code);
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn faults_of_a_container_name_their_fields() {
    let fixture = Fixture::with_image().await;
    let post = |body: Value| fixture.root("POST", "/api/v1/containers").json(&body).send();
    for (spec, path) in [
        (json!({"image": 7}), "/spec/image"),
        (json!({"image": "none-such"}), "/spec/image"),
        (json!({"image": "busybox", "resources": {"memory": -1}}), "/spec/resources/memory"),
        (json!({"image": "busybox", "resources": {"memory": "1Ti"}}), "/spec/resources/memory"),
        (json!({"image": "busybox", "resources": {"cpu": 1000}}), "/spec/resources/cpu"),
        (json!({"image": "busybox", "resources": {"memroy": 1}}), "/spec/resources/memroy"),
        (json!({"image": "busybox", "env": [{"name": "A=B"}]}), "/spec/env/0/name"),
        (json!({"image": "busybox", "namespaces": {"pid": "container:nobody"}}), "/spec/namespaces/pid"),
        (json!({"image": "busybox", "restartPolicy": {"name": "sometimes"}}), "/spec/restartPolicy/name"),
        (
            json!({"image": "busybox", "mounts": [{"type": "bind", "source": fixture.state.config.data_dir.join("db"), "target": "/x"}]}),
            "/spec/mounts/0/source",
        ),
    ] {
        post(json!({"spec": spec})).await.fault(path);
    }
    // This host has neither: the fake one knows cpu, io, memory and pids.
    let refused = post(json!({"spec": {"image": "busybox", "resources": {"cpuset": "0"}}})).await;
    refused.clone().fault("/spec/resources/cpuset");
    refused.problem(422, "unsupported-by-host");
    post(json!({"metadata": {"name": "A"}, "spec": {"image": "busybox"}})).await.fault("/metadata/name");
    post(json!({"metadata": {"labels": {"a b": ""}}, "spec": {"image": "busybox"}})).await.expect(422);
    post(json!({"kind": "Pod", "spec": {"image": "busybox"}})).await.fault("/kind");
    post(json!({"metadata": {}})).await.fault("/spec");
    assert_eq!(fixture.get("/api/v1/containers").await["items"], json!([]), "something was half made");
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_ignored() {
    let fixture = Fixture::with_image().await;
    let body = json!({"metadata": {"colour": 1}, "spec": {"image": "busybox", "comand": ["x"]}, "extra": {}});
    let post = |query: &str| fixture.root("POST", &format!("/api/v1/containers{query}")).json(&body).send();
    let strict = post("").await;
    for path in ["/metadata/colour", "/spec/comand", "/extra"] {
        strict.clone().fault(path);
    }
    strict.problem(422, "unknown-field");
    let warned = post("?fieldValidation=Warn").await.expect(201);
    let warnings: Vec<_> = warned.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings.iter().all(|text| text.starts_with("299 - ")), "{warnings:?}");
    assert_eq!(post("?fieldValidation=Ignore").await.expect(201).header("warning"), None);
    post("?fieldValidation=Perhaps").await.fault("/query/fieldValidation");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let fixture = Fixture::with_image().await;
    let long = json!({"spec": {"image": "busybox", "env": [{"name": "A", "value": "x".repeat(2 << 20)}]}});
    fixture.root("POST", "/api/v1/containers").json(&long).send().await.problem(413, "too-large");
    // Sent in pieces, so that nothing announces it.
    let pieces = futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10])));
    let call = fixture.root("POST", "/api/v1/containers").header("content-type", "application/json").body(Body::from_stream(pieces));
    call.send().await.problem(413, "too-large");
    fixture.root("GET", &format!("/api/v1/containers/{}", "a".repeat(9000))).send().await.problem(414, "uri-too-long");
    fixture.root("GET", "/healthz").header("x-long", &"a".repeat(17 << 10)).send().await.problem(431, "headers-too-large");
    let many = (0..101).fold(fixture.root("GET", "/healthz"), |call, number| call.header(&format!("x-{number}"), "1"));
    many.send().await.problem(431, "headers-too-large");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let fixture = Fixture::new().await;
    for path in ["/api/v1/nothing", "/api/v2/containers", "/api", "/api/v1/containers/a/b/c"] {
        fixture.root("GET", path).send().await.problem(404, "no-such-route");
    }
    let answer = fixture.root("PUT", "/api/v1/containers").send().await;
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("POST") && allow.contains("GET")), "{:?}", answer.headers);
    answer.problem(405, "method-not-allowed");
    fixture.root("TRACE", "/api/v1/containers").send().await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_request_id_is_taken_when_it_is_harmless() {
    let fixture = Fixture::new().await;
    let id = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    let given = fixture.root("GET", "/nothing").header("x-request-id", "mine-1").send().await;
    assert_eq!(id(&given), "mine-1");
    assert_eq!(given.json()["instance"], "mine-1");
    let forged = fixture.root("GET", "/healthz").header("x-request-id", "a b\"<").send().await;
    assert_ne!(id(&forged), "a b\"<");
}
