//! The dashboard as a browser meets it: the whole router, a fake runtime below it.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use tower::ServiceExt;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::fake_node::FakeNode;
use crate::http::accept::Peer;
use crate::http::auth::registry::Registry;
use crate::http::auth::secret::Secret;
use crate::http::router;
use crate::http::state::{App, AppState};
use crate::image::ImportRequest;
use crate::model::Role;
use crate::store::Store;

const HOST: &str = "127.0.0.1:7777";

struct House {
    _folder: tempfile::TempDir,
    state: AppState,
    router: Router,
}

/// What came back.
struct Answer {
    status: StatusCode,
    location: String,
    cookie: String,
    headers: axum::http::HeaderMap,
    text: String,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("db"), Arc::new(SystemClock)).await.unwrap();
        let config = Config {
            data_dir: folder.path().join("data"),
            run_dir: folder.path().join("run"),
            listen: HOST.parse().unwrap(),
            socket: folder.path().join("run/berth.sock"),
            no_auth_on_loopback: false,
            user: None,
        };
        let node = Arc::new(FakeNode::new(Arc::new(SystemClock)));
        let registry = Registry::load(store.clone()).await.unwrap();
        let state = App::new(config, store, node, registry, Instant::now());
        let request = ImportRequest { reference: Some("busybox".parse().unwrap()), ..ImportRequest::default() };
        state.images.import(request, Box::new(&b"a tar"[..])).await.unwrap();
        House { _folder: folder, router: router::app(Arc::clone(&state)), state }
    }

    /// A browser that is logged in with this role: its cookie.
    async fn login(&self, role: Role) -> String {
        let token = Secret::token();
        self.state.store.create_token(&format!("a-{}", role.as_str()), role, token.hash().to_hex()).await.unwrap();
        let answer = self.ask(Method::GET, &format!("/login?token={}", token.reveal()), "", &[], "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        answer.cookie.split(';').next().unwrap().to_owned()
    }

    async fn ask(&self, method: Method, path: &str, cookie: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST).header(header::ACCEPT, "text/html");
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Peer::Tcp("127.0.0.1:50000".parse().unwrap()));
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Method::GET, path, cookie, &[], "").await
    }

    /// A form sent from one of our own pages.
    async fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let origin = format!("http://{HOST}");
        let headers = [("origin", origin.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        self.ask(Method::POST, path, cookie, &headers, form).await
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let header =
            |name| parts.headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned()).unwrap_or_default();
        Answer {
            status: parts.status,
            location: header(header::LOCATION),
            cookie: header(header::SET_COOKIE),
            text: String::from_utf8(axum::body::to_bytes(body, 1 << 24).await.unwrap().to_vec()).unwrap(),
            headers: parts.headers,
        }
    }
}

#[tokio::test]
async fn every_page_and_action_that_pages_lead_to_is_there() {
    let house = House::new().await;
    let cookie = house.login(Role::Admin).await;
    let made = house.post("/containers/new", &cookie, "image=busybox&name=web&command=sleep+9&memory=64Mi&start=on").await;
    assert_eq!((made.status, made.location.as_str()), (StatusCode::SEE_OTHER, "/containers/web?done=started&of=web"), "{}", made.text);
    for path in web::routes::PAGES {
        if path.starts_with("/assets/") {
            continue;
        }
        let answer = house.get(&path.replace("{name}", "web").replace("{reference}", "busybox"), &cookie).await;
        let expected = if *path == "/" { StatusCode::SEE_OTHER } else { StatusCode::OK };
        assert_eq!(answer.status, expected, "{path}: {}", answer.text);
        if answer.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
            let policy = answer.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        }
    }
    let last = ["/logout"];
    for path in web::routes::ACTIONS.iter().filter(|path| !last.contains(path)).chain(&last) {
        // Each verb on a container that is there: what it says is its own affair, but it is a page or a way on.
        // A volume's name is another than a container's.
        let name = if path.starts_with("/volumes") { "cache" } else { "web" };
        let answer = house.post(&path.replace("{name}", name).replace("{reference}", "busybox"), &cookie, "name=cache").await;
        assert!(!matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED), "{path}: {}", answer.text);
        assert!(answer.status.is_redirection() || answer.text.starts_with("<!doctype html>"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn outside_there_is_the_door_and_nothing_else() {
    let house = House::new().await;
    for path in ["/", "/containers", "/containers/web/logs", "/system", "/containers/new"] {
        let answer = house.get(path, "").await;
        assert_eq!((answer.status, answer.location.starts_with("/login?next=%2F")), (StatusCode::SEE_OTHER, true), "{path}");
    }
    let door = house.get("/login", "").await;
    assert!(door.status.is_success() && door.text.contains("<form method=\"post\" action=\"/login\""));
    for asset in web::assets::all() {
        let answer = house.get(&format!("/assets/{}", asset.file), "").await;
        assert_eq!((answer.status, answer.headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, asset.content_type));
        assert!(answer.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
    assert_eq!(house.get("/assets/style.css", "").await.status, StatusCode::NOT_FOUND);
    let wrong = house.post("/login", "", "token=berth_wrong").await;
    assert!(wrong.status == StatusCode::UNAUTHORIZED && wrong.text.contains("token-fault") && wrong.cookie.is_empty());
}

#[tokio::test]
async fn a_fault_stands_beside_its_field_and_nothing_is_made() {
    let house = House::new().await;
    let cookie = house.login(Role::Admin).await;
    let form = "image=busybox&name=Bad_Name&command=sh+-c+%27a+b%27&pids=x&capAdd=NO_SUCH&env=A";
    let answer = house.post("/containers/new", &cookie, form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    for part in ["id=\"fault-pids-1\"", "id=\"fault-env-1\"", "value=\"Bad_Name\"", "sh -c &#39;a b&#39;"] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    let answer = house.post("/containers/new", &cookie, "image=busybox&name=Bad_Name&command=x&capAdd=NO_SUCH").await;
    for part in ["id=\"fault-name-1\"", "id=\"fault-capAdd-1\""] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(house.state.store.all_containers().is_empty());
    house.post("/containers/new", &cookie, "image=busybox&name=one&command=x").await;
    let twice = house.post("/containers/new", &cookie, "image=busybox&name=one&command=x").await;
    assert!(twice.status == StatusCode::CONFLICT && twice.text.contains("id=\"fault-name-1\""), "{}", twice.text);
    assert_eq!(
        &*house.state.store.container("one").unwrap().spec_json,
        r#"{"command":["x"],"image":"busybox","security":{"noNewPrivileges":false,"privileged":false,"readOnlyRootfs":false}}"#
    );
}

#[tokio::test]
async fn a_request_is_shown_before_it_is_sent() {
    let house = House::new().await;
    let cookie = house.login(Role::Operator).await;
    let form = "image=busybox&name=web&command=sh+-c+%27echo+hi%27&tty=on&preview=on";
    let shown = house.post("/containers/new", &cookie, form).await;
    assert_eq!(shown.status, StatusCode::OK);
    for part in ["&quot;tty&quot;: true", "curl -s --unix-socket", "value=\"web\""] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    let unread = house.post("/containers/new", &cookie, "image=busybox&rlimits=much&preview=on").await;
    assert!(unread.status == StatusCode::UNPROCESSABLE_ENTITY && unread.text.contains("id=\"fault-rlimits-1\""), "{}", unread.text);
    assert!(house.state.store.all_containers().is_empty());
    // What a link brings along, and nothing that is no field.
    let filled = house.get("/containers/new?image=busybox:latest&evil=1", &cookie).await;
    assert!(filled.text.contains("value=\"busybox:latest\"") && !filled.text.contains("name=\"evil\""), "{}", filled.text);
}

#[tokio::test]
async fn faults_of_the_name_and_of_the_spec_come_together() {
    let house = House::new().await;
    let cookie = house.login(Role::Operator).await;
    let answer = house.post("/containers/new", &cookie, "image=busybox&name=Bad_Name&memory=64+apples").await;
    assert!(answer.text.contains("id=\"fault-name-1\"") && answer.text.contains("id=\"fault-memory-1\""), "{}", answer.text);
}

#[tokio::test]
async fn an_upload_needs_an_administrator_and_a_file() {
    let house = House::new().await;
    let origin = format!("http://{HOST}");
    let headers = [("origin", origin.as_str()), ("content-type", "multipart/form-data; boundary=x")];
    let part = |name: &str, file: &str, body: &str| {
        let file = if file.is_empty() { String::new() } else { format!("; filename=\"{file}\"") };
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{body}\r\n")
    };
    let form = part("reference", "", "site:1") + &part("file", "root.tar", "a tar of its own") + "--x--\r\n";
    let operator = house.login(Role::Operator).await;
    assert_eq!(house.ask(Method::POST, "/images", &operator, &headers, &form).await.status, StatusCode::FORBIDDEN);
    let admin = house.login(Role::Admin).await;
    for (form, fault) in [
        (part("reference", "", "site:1") + "--x--\r\n", "fault-file-1"),
        (part("reference", "", "../x") + &part("file", "root.tar", "a tar") + "--x--\r\n", "fault-reference-1"),
    ] {
        let answer = house.ask(Method::POST, "/images", &admin, &headers, &form).await;
        assert!(answer.status.is_client_error() && answer.text.contains(fault), "{fault}: {}", answer.text);
    }
    let made = house.ask(Method::POST, "/images", &admin, &headers, &form).await;
    assert!(made.location.starts_with("/images/") && made.location.contains("done=image-made"), "{} {}", made.status, made.text);
    let page = house.get(made.location.split('?').next().unwrap(), &admin).await;
    assert!(page.text.contains("site:1"), "{}", page.text);
    let id = house.state.store.image("site:1").unwrap().id.clone();
    assert_eq!(house.post(&format!("/images/{id}/delete"), &operator, "").await.status, StatusCode::FORBIDDEN);
    let gone = house.post(&format!("/images/{id}/delete"), &admin, "").await;
    assert!(gone.location.contains("done=image-deleted") && house.state.store.image("site:1").is_err(), "{}", gone.text);
}

#[tokio::test]
async fn buttons_do_what_the_api_does_and_lead_back() {
    let house = House::new().await;
    let cookie = house.login(Role::Operator).await;
    house.post("/containers/new", &cookie, "image=busybox&name=web&command=sleep+9&noNewPrivileges=on").await;
    for (verb, form, location) in [
        ("start", "return=/containers?phase=Created", "/containers?phase=Created&done=started&of=web"),
        ("pause", "", "/containers/web?done=paused&of=web"),
        ("unpause", "return=//evil.example", "/containers/web?done=unpaused&of=web"),
        ("kill", "signal=SIGHUP", "/containers/web?done=killed&of=web"),
        ("delete", "force=true", "/containers?done=deleted&of=web"),
    ] {
        let answer = house.post(&format!("/containers/web/{verb}"), &cookie, form).await;
        assert_eq!((answer.status, answer.location.as_str()), (StatusCode::SEE_OTHER, location), "{verb}: {}", answer.text);
    }
    let gone = house.get("/containers/web", &cookie).await;
    assert!(gone.status == StatusCode::NOT_FOUND && gone.text.contains("class=\"card problem\""), "{}", gone.text);
    let bad = house.post("/containers/web/kill", &cookie, "signal=SIGNOTHING").await;
    assert_eq!(bad.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn limits_are_changed_by_the_apis_own_patch() {
    let house = House::new().await;
    let cookie = house.login(Role::Operator).await;
    house.post("/containers/new", &cookie, "image=busybox&name=web&command=sleep+9&memory=64Mi&pids=32&start=on").await;
    let page = house.get("/containers/web/limits", &cookie).await;
    assert!(
        page.text.contains("name=\"memory\" value=\"64Mi\"") && page.text.contains("<dt class=\"mono\">pids.max</dt>"),
        "{}",
        page.text
    );
    let bad = house.post("/containers/web/limits", &cookie, "memory=64+apples&pids=-3").await;
    assert!(bad.status == StatusCode::UNPROCESSABLE_ENTITY && bad.text.contains("id=\"fault-pids-1\"") && bad.text.contains("64 apples"));
    let bad = house.post("/containers/web/limits", &cookie, "memory=64+apples").await;
    assert!(bad.status == StatusCode::UNPROCESSABLE_ENTITY && bad.text.contains("id=\"fault-memory-1\""), "{}", bad.text);
    let good = house.post("/containers/web/limits", &cookie, "memory=128Mi&cpu=500m&pids=").await;
    assert_eq!(good.location, "/containers/web/limits?done=limits&of=web", "{}", good.text);
    let spec = &house.state.store.container("web").unwrap().spec_json;
    assert!(spec.contains(r#""resources":{"cpu":"500m","memory":"128Mi"}"#), "{spec}");
}

#[tokio::test]
async fn volumes_are_made_and_deleted() {
    let house = House::new().await;
    let cookie = house.login(Role::Admin).await;
    assert_eq!(house.post("/volumes", &cookie, "name=cache").await.location, "/volumes?done=volume-created&of=cache");
    assert!(house.get("/volumes", &cookie).await.text.contains("id=\"volume-cache\""));
    let bad = house.post("/volumes", &cookie, "name=My+Cache").await;
    assert!(bad.status == StatusCode::UNPROCESSABLE_ENTITY && bad.text.contains("id=\"fault-name-1\"") && bad.text.contains("My Cache"));
    assert_eq!(house.post("/volumes/cache/delete", &cookie, "").await.location, "/volumes?done=volume-deleted&of=cache");
    assert!(!house.get("/volumes", &cookie).await.text.contains("volume-cache"));
}

#[tokio::test]
async fn what_other_sites_and_viewers_send_is_refused() {
    let house = House::new().await;
    let admin = house.login(Role::Admin).await;
    house.post("/containers/new", &admin, "image=busybox&name=web&command=sleep+9").await;
    for headers in [&[("origin", "http://evil.example")][..], &[("origin", "null")], &[("sec-fetch-site", "cross-site")], &[]] {
        for path in ["/containers/web/delete", "/containers/new", "/preferences", "/logout"] {
            let mut headers = headers.to_vec();
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            let answer = house.ask(Method::POST, path, &admin, &headers, "theme=dark").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    let viewer = house.login(Role::Viewer).await;
    let page = house.get("/containers/web", &viewer).await;
    assert!(page.status.is_success() && !page.text.contains("/containers/web/start"), "{}", page.text);
    let answer = house.post("/containers/web/start", &viewer, "").await;
    assert!(answer.status == StatusCode::FORBIDDEN && answer.text.starts_with("<!doctype html>"), "{}", answer.text);
    assert_eq!(house.post("/preferences", &viewer, "theme=dark&return=/system").await.location, "/system");
}

#[tokio::test]
async fn language_and_colours_are_the_readers_own() {
    let house = House::new().await;
    let cookie = house.login(Role::Viewer).await;
    let chinese = house.ask(Method::GET, "/containers", &cookie, &[("accept-language", "zh-CN,zh;q=0.9")], "").await;
    assert!(chinese.text.contains("<html lang=\"zh-Hans\" data-theme=\"auto\">"));
    let chosen = house
        .ask(Method::GET, "/containers", &format!("{cookie}; berth-lang=en; berth-theme=dark"), &[("accept-language", "zh")], "")
        .await;
    assert!(chosen.text.contains("<html lang=\"en\" data-theme=\"dark\">"));
    let forged = house.get("/containers", &format!("{cookie}; berth-theme=\"><script>; berth-lang=../x")).await;
    assert!(forged.text.contains("<html lang=\"en\" data-theme=\"auto\">"));
}

#[tokio::test]
async fn who_wants_a_problem_document_gets_one() {
    let house = House::new().await;
    let cookie = house.login(Role::Viewer).await;
    let json = house.ask(Method::GET, "/api/v1/containers/nobody", &cookie, &[], "").await;
    assert_eq!(json.headers[header::CONTENT_TYPE], "application/problem+json");
    let page = house.get("/nowhere/%3Cb%3E", &cookie).await;
    assert!(page.status == StatusCode::NOT_FOUND && page.text.contains("class=\"card problem\"") && !page.text.contains("<b>\""));
}
