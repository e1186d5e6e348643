//! Who may call: root over the unix socket, tokens over TCP, and no web page that a browser happens to have open.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::common::http::Client;
use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        health_needs_nobody_and_everything_else_somebody,
        a_token_lets_in_and_its_deletion_out,
        roles_may_what_they_may,
        another_host_name_is_not_ours,
        another_sites_pages_are_kept_out,
        the_socket_is_roots,
        it_listens_on_loopback_alone,
        no_header_invites_another_site,
    ];
    all.extend(tests![Own: the_first_start_prints_a_login_link_that_logs_in]);
    all
}

/// A new token of this role.
pub(crate) fn token(scope: &Scope<'_>, role: &str) -> (String, String) {
    let name = scope.name();
    let body = json!({"metadata": {"name": name}, "spec": {"role": role}});
    let created = scope.api().post("/api/v1/tokens").json(&body).send().expect(201).json();
    let text = created.to_string();
    let start = text.find("berth_").unwrap_or_else(|| panic!("no token in {created:#}"));
    (name, text[start..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next().unwrap().to_owned())
}

pub(crate) fn bearer(scope: &Scope<'_>, token: &str) -> Client {
    scope.berth.tcp().with("Authorization", &format!("Bearer {token}"))
}

fn health_needs_nobody_and_everything_else_somebody(scope: &Scope<'_>) {
    let stranger = scope.berth.tcp();
    for path in ["/healthz", "/readyz", "/version"] {
        stranger.get(path).send().expect(200);
    }
    for path in ["/api/v1/containers", "/api/v1/images", "/api/v1/system", "/api/v1/events", "/metrics"] {
        let answer = stranger.get(path).send();
        assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")), "{path}: no WWW-Authenticate");
        answer.problem(401);
    }
    stranger.post("/api/v1/containers").json(&json!({})).send().problem(401);
    stranger.get("/api/v1/containers").header("Authorization", "Bearer berth_wrong").send().problem(401);
}

fn a_token_lets_in_and_its_deletion_out(scope: &Scope<'_>) {
    let (name, secret) = token(scope, "admin");
    let client = bearer(scope, &secret);
    client.get("/api/v1/containers").send().expect(200);
    // It is shown once.
    let listed = scope.api().get("/api/v1/tokens").send().expect(200).text();
    assert!(listed.contains(&name) && !listed.contains(&secret), "the list shows the token");
    let stored = host::tree(&scope.berth.data_dir().join("db")).into_iter().filter_map(|file| fs::read(file).ok());
    assert!(
        stored.into_iter().all(|bytes| !bytes.windows(secret.len()).any(|part| part == secret.as_bytes())),
        "the database holds the token"
    );
    scope.api().delete(&format!("/api/v1/tokens/{name}")).send().expect(204);
    client.get("/api/v1/containers").send().problem(401);
}

fn roles_may_what_they_may(scope: &Scope<'_>) {
    let (_, viewer) = token(scope, "viewer");
    let (_, operator) = token(scope, "operator");
    let (viewer, operator) = (bearer(scope, &viewer), bearer(scope, &operator));
    let container = scope.idle();
    viewer.get(&container.path("")).send().expect(200);
    viewer.post(&container.path("/stop")).json(&json!({})).send().problem(403);
    viewer.post(&container.path("/exec")).json(&json!({"command": ["true"]})).send().problem(403);
    viewer.get("/api/v1/tokens").send().problem(403);
    operator.post(&container.path("/exec")).json(&json!({"command": ["true"]})).send().expect(200);
    operator.post("/api/v1/tokens").json(&json!({"metadata": {"name": scope.name()}, "spec": {"role": "admin"}})).send().problem(403);
    // Fields that make root out of an operator.
    for spec in [
        json!({"security": {"privileged": true}}),
        json!({"namespaces": {"user": "host"}}),
        json!({"mounts": [{"type": "bind", "source": "/", "target": "/host"}]}),
    ] {
        let mut body = scope.body(json!({"command": ["true"]}));
        body["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        operator.post("/api/v1/containers").json(&body).send().problem(403);
    }
}

fn another_host_name_is_not_ours(scope: &Scope<'_>) {
    let port = scope.berth.address().port();
    for host in
        ["evil.example".to_owned(), format!("evil.example:{port}"), "127.0.0.1".to_owned(), format!("127.0.0.1.evil.example:{port}")]
    {
        scope.berth.tcp().get("/healthz").header("Host", &host).send().problem(421);
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        scope.berth.tcp().get("/healthz").header("Host", &host).send().expect(200);
    }
}

fn another_sites_pages_are_kept_out(scope: &Scope<'_>) {
    let (_, secret) = token(scope, "admin");
    let create = |origin: &str| {
        bearer(scope, &secret).post("/api/v1/volumes").header("Origin", origin).json(&json!({"metadata": {"name": "UNUSABLE"}})).send()
    };
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        create(origin).problem(403);
    }
    // Ours gets as far as the body, which is wrong.
    create(&format!("http://{}", scope.berth.address())).problem(422);
    bearer(scope, &secret).post("/api/v1/volumes").header("Sec-Fetch-Site", "cross-site").json(&json!({})).send().problem(403);
}

fn the_socket_is_roots(scope: &Scope<'_>) {
    let metadata = fs::metadata(scope.berth.run_dir().join("berth.sock")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let open_to_others = |path: &std::path::PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    let exposed: Vec<_> = host::tree(&scope.berth.data_dir().join("db")).into_iter().filter(open_to_others).collect();
    assert!(exposed.is_empty(), "others can read {exposed:?}");
}

fn it_listens_on_loopback_alone(scope: &Scope<'_>) {
    let port = format!(":{:04X} ", scope.berth.address().port());
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        // proc_pid_net(5): local address, remote address, state; 0A is LISTEN.
        for line in text.lines().filter(|line| line.contains(&port) && line.split_whitespace().nth(3) == Some("0A")) {
            let local = line.split_whitespace().nth(1).unwrap();
            assert!(local.starts_with("0100007F:"), "{table}: {line}");
        }
    }
}

fn no_header_invites_another_site(scope: &Scope<'_>) {
    let (_, secret) = token(scope, "admin");
    let answer = bearer(scope, &secret).get("/api/v1/containers").header("Origin", "https://evil.example").send();
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let preflight = scope
        .berth
        .tcp()
        .request("OPTIONS", "/api/v1/containers")
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST");
    assert_eq!(preflight.send().header("access-control-allow-origin"), None);
}

fn the_first_start_prints_a_login_link_that_logs_in(scope: &Scope<'_>) {
    let berth = scope.berth;
    let said = format!("{}\n{}", berth.said(), berth.log());
    let link =
        said.split_whitespace().find(|word| word.contains("/login?token=")).unwrap_or_else(|| panic!("no link in {said}")).to_owned();
    let path = &link[link.find("/login").unwrap()..];
    let logged_in = berth.tcp().get(path).send();
    assert!(matches!(logged_in.status, 302 | 303), "{} {}", logged_in.status, logged_in.text());
    let cookie = logged_in.header("set-cookie").expect("a cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    let browser = berth.tcp().with("Cookie", session);
    let page = browser.get("/containers").header("Accept", "text/html").send().expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    // The cookie alone does not let a page of another site act.
    browser.post("/api/v1/volumes").json(&json!({})).send().problem(403);
    // A second start prints no second one.
    berth.terminate();
    let before = berth.log().len();
    berth.launch();
    assert!(!berth.said().contains("login?token") && !berth.log()[before..].contains("login?token"), "a link at each start");
}
