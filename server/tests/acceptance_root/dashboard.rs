//! The dashboard as a browser without JavaScript has it: pages that hold what there is, forms that do what they say.

use serde_json::json;

use crate::common::http::{Client, Response};
use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        a_stranger_is_sent_to_the_login,
        pages_hold_the_container,
        hostile_text_is_shown_as_text,
        answers_carry_the_headers_that_keep_scripts_out,
        forms_start_stop_and_delete,
        the_api_describes_itself,
        unknown_pages_are_404_as_pages,
    ]
}

/// An administrator's token.
pub(crate) fn token(scope: &Scope<'_>) -> String {
    let body = json!({"metadata": {"name": scope.name()}, "spec": {"role": "admin"}});
    let created = scope.api().post("/api/v1/tokens").json(&body).send().expect(201).text();
    let secret = &created[created.find("berth_").expect("a token")..];
    secret.split('"').next().unwrap().to_owned()
}

/// A browser that has logged in.
fn browser(scope: &Scope<'_>) -> Client {
    let secret = token(scope);
    let origin = format!("http://{}", scope.berth.address());
    let form = format!("token={secret}").into_bytes();
    let answer = scope.berth.tcp().post("/login").header("Origin", &origin).bytes("application/x-www-form-urlencoded", form).send();
    assert!(matches!(answer.status, 302 | 303), "{} {}", answer.status, answer.text());
    let cookie = answer.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
    scope.berth.tcp().with("Cookie", &cookie).with("Accept", "text/html").with("Origin", &origin)
}

fn page(browser: &Client, path: &str) -> Response {
    let page = browser.get(path).send().expect(200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{path}: {:?}", page.header("content-type"));
    page
}

fn a_stranger_is_sent_to_the_login(scope: &Scope<'_>) {
    let answer = scope.berth.tcp().get("/containers").header("Accept", "text/html").send();
    assert!(matches!(answer.status, 302 | 303 | 307 | 401), "{}", answer.status);
    if answer.status != 401 {
        assert!(answer.header("location").is_some_and(|place| place.starts_with("/login")), "{:?}", answer.header("location"));
    }
    scope.berth.tcp().get("/login").header("Accept", "text/html").send().expect(200);
}

fn pages_hold_the_container(scope: &Scope<'_>) {
    let container = scope.shell("echo a line of its log; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    container.until_it_says("a line");
    let browser = browser(scope);
    let list = page(&browser, "/containers").text();
    assert!(list.contains(&container.name) && list.contains("busybox"), "the list lacks {}", container.name);
    let detail = page(&browser, &format!("/containers/{}", container.name)).text();
    for wanted in [container.name.as_str(), "Running", &container.pid().to_string()] {
        assert!(detail.contains(wanted), "the page of {} lacks {wanted}", container.name);
    }
    let log = page(&browser, &format!("/containers/{}/logs", container.name)).text();
    assert!(log.contains("a line of its log"));
    for rest in ["/namespaces", "/processes", "/cgroup", "/explain", "/events", "/limits", "/terminal"] {
        page(&browser, &format!("/containers/{}{rest}", container.name));
    }
    let front = browser.get("/").send();
    assert!(front.status == 200 || front.header("location") == Some("/containers"), "{} {:?}", front.status, front.header("location"));
    for path in ["/images", "/images/busybox:latest", "/events", "/system", "/containers/new", "/docs"] {
        page(&browser, path);
    }
    let inode = host::namespace(container.pid(), "net").unwrap().to_string();
    assert!(page(&browser, &format!("/containers/{}/namespaces", container.name)).text().contains(&inode), "no inode");
}

fn hostile_text_is_shown_as_text(scope: &Scope<'_>) {
    const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    let mut body = scope.body(json!({"command": ["sh", "-c", format!("echo '{EVIL}'")], "env": [{"name": "EVIL", "value": EVIL}]}));
    body["metadata"]["annotations"] = json!({"note": EVIL});
    let container = scope.adopt(&scope.api().post("/api/v1/containers").json(&body).send().expect(201).json());
    container.start();
    container.wait();
    let browser = browser(scope);
    for path in [
        "/containers".to_owned(),
        format!("/containers/{}", container.name),
        format!("/containers/{}/logs", container.name),
        "/events".to_owned(),
    ] {
        let text = page(&browser, &path).text();
        assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{path} holds it as markup");
    }
}

fn answers_carry_the_headers_that_keep_scripts_out(scope: &Scope<'_>) {
    let answer = page(&browser(scope), "/containers");
    let policy = answer.header("content-security-policy").expect("a Content-Security-Policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe-inline") && !policy.contains("unsafe-eval"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("referrer-policy").is_some() && answer.header("cache-control").is_some_and(|text| text.contains("no-store")));
    // What the policy forbids, no page contains.
    let text = answer.text();
    assert!(!text.contains("<script>") && !text.contains(" onclick=") && !text.contains(" style="), "inline script or style");
}

fn forms_start_stop_and_delete(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    let browser = browser(scope);
    let press = |verb: &str| {
        let path = format!("/containers/{}/{verb}", container.name);
        let answer = browser.post(&path).bytes("application/x-www-form-urlencoded", Vec::new()).send();
        assert!(matches!(answer.status, 302 | 303), "{verb}: {} {}", answer.status, answer.text());
    };
    press("start");
    assert_eq!(container.status()["phase"], "Running");
    press("stop");
    assert_eq!(container.status()["phase"], "Exited");
    // A form on another site's page.
    let foreign = scope.berth.tcp().post(&format!("/containers/{}/delete", container.name)).header("Origin", "https://evil.example");
    assert_eq!(foreign.bytes("application/x-www-form-urlencoded", Vec::new()).send().status, 403);
    press("delete");
    scope.api().get(&container.path("")).send().problem(404);
}

fn the_api_describes_itself(scope: &Scope<'_>) {
    let document = scope.api().get("/openapi.json").send().expect(200).json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/api/v1/containers", "/api/v1/containers/{name}", "/api/v1/containers/{name}/exec", "/api/v1/images/import", "/api/v1/events"]
    {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    let ids: Vec<&str> = paths
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len(), "operationIds repeat");
    let docs = scope.api().get("/docs").send().expect(200).text();
    for outside in ["src=\"http", "href=\"http", "src=\"//"] {
        assert!(!docs.contains(outside), "/docs fetches something from elsewhere: {outside}");
    }
}

fn unknown_pages_are_404_as_pages(scope: &Scope<'_>) {
    let browser = browser(scope);
    let answer = browser.get("/containers/there-is-none").send().expect(404);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{:?}", answer.header("content-type"));
}
