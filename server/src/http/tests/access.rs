//! Who may what: every operation of the document with every kind of caller, and what keeps other sites out.

use super::super::auth::access::{Access, methods};
use super::*;

/// Every operation × nobody, viewer, operator, admin: the declared role decides, and nothing else does.
#[tokio::test]
async fn every_route_is_closed_to_those_below_its_role() {
    let fixture = Fixture::new().await;
    let roles = [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)];
    let mut tokens = Vec::new();
    for role in roles {
        tokens.push(match role {
            Some(role) => Some(fixture.token(role.as_str(), role).await),
            None => None,
        });
    }
    let mut asked = 0;
    for (path, item) in &router::document().paths.paths {
        for (method, _) in methods(item) {
            let access = fixture.state.access.find(path, &method).unwrap().access;
            for (role, token) in roles.iter().zip(&tokens) {
                // Names that lead nowhere: who gets through gets as far as that.
                let target = path.replace("{name}", "nobody-here").replace("{reference}", "nobody-here");
                let mut call = fixture.tcp(method.as_str(), &target);
                if let Some(token) = token {
                    call = call.bearer(token);
                }
                let response = call.open().await;
                let status = response.status().as_u16();
                let (through, refusal) = match (access, role) {
                    (Access::Public, _) => (true, 0),
                    (Access::Needs(_), None) => (false, 401),
                    (Access::Needs(needed), Some(role)) => (*role >= needed, 403),
                };
                let told = if through { !matches!(status, 401 | 403) } else { status == refusal };
                assert!(told, "{method} {path} as {role:?}: {status}, and it needs {access:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "only {asked} were asked");
}

#[tokio::test]
async fn the_unix_socket_is_roots_and_ours() {
    let fixture = Fixture::new().await;
    fixture.root("GET", "/api/v1/containers").send().await.expect(200);
    // Any host name will do there: no browser can reach it.
    fixture.root("GET", "/api/v1/containers").header("host", "anything").send().await.expect(200);
    Call::new(&fixture, Peer::Unix { uid: fixture.state.own_uid }, "GET", "/api/v1/containers").send().await.expect(200);
    let stranger = Call::new(&fixture, Peer::Unix { uid: 4_000_000 }, "GET", "/healthz");
    stranger.send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn other_hosts_and_other_sites_are_kept_out() {
    let fixture = Fixture::new().await;
    let token = fixture.token("t", Role::Admin).await;
    let peer = Peer::Tcp(([127, 0, 0, 1], 1).into());
    Call::new(&fixture, peer, "GET", "/healthz").header("host", "evil.example").send().await.problem(421, "misdirected");
    Call::new(&fixture, peer, "GET", "/healthz").send().await.problem(421, "misdirected");
    let post = |origin: &str| fixture.tcp("POST", "/api/v1/volumes").bearer(&token).header("origin", origin).json(&json!({})).send();
    for origin in ["null", "https://evil.example", "http://127.0.0.1:1"] {
        post(origin).await.problem(403, "cross-site");
    }
    let made = post("http://127.0.0.1:7777").await.expect(201);
    assert_eq!(made.header("access-control-allow-origin"), None);
    let preflight = fixture.tcp("OPTIONS", "/api/v1/volumes").header("origin", "https://evil.example").send().await;
    assert_eq!(preflight.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn wrong_credentials_are_no_credentials_and_are_slowed_down() {
    let fixture = Fixture::new().await;
    for value in ["Bearer nope", "Basic dTpw", "Bearer", "berth_x"] {
        let answer = fixture.tcp("GET", "/api/v1/containers").header("authorization", value).send().await;
        assert!(answer.header("www-authenticate").is_some());
        answer.problem(401, "unauthenticated");
    }
    let mut limited = 0;
    for _ in 0..50 {
        let answer = fixture.tcp("GET", "/api/v1/containers").bearer(Secret::token().reveal()).send().await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            limited += 1;
        }
    }
    assert!(limited > 20, "{limited}");
    // Who has the right one is not kept waiting by it.
    let token = fixture.token("t", Role::Viewer).await;
    fixture.tcp("GET", "/api/v1/containers").bearer(&token).send().await.expect(200);
}

#[tokio::test]
async fn no_auth_on_loopback_keeps_the_other_checks() {
    let args = ServeArgs { no_auth_on_loopback: Some(true), ..ServeArgs::default() };
    let fixture = Fixture::with(args).await;
    fixture.tcp("POST", "/api/v1/volumes").json(&json!({})).send().await.expect(201);
    fixture
        .tcp("POST", "/api/v1/volumes")
        .header("origin", "https://evil.example")
        .json(&json!({}))
        .send()
        .await
        .problem(403, "cross-site");
    fixture.tcp("GET", "/api/v1/volumes").header("sec-fetch-site", "cross-site").send().await.problem(403, "cross-site");
    Call::new(&fixture, Peer::Tcp(([127, 0, 0, 1], 1).into()), "GET", "/api/v1/volumes")
        .header("host", "evil:7777")
        .send()
        .await
        .problem(421, "misdirected");
}

#[tokio::test]
async fn a_browser_logs_in_with_the_link_and_out_again() {
    let fixture = Fixture::new().await;
    let token = fixture.token("first", Role::Admin).await;
    let login = fixture.tcp("GET", &format!("/login?token={token}&next=/images")).send().await.expect(303);
    assert_eq!(login.header("location"), Some("/images"));
    let cookie = login.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    let ours = ("origin", "http://127.0.0.1:7777");
    fixture.tcp("GET", "/api/v1/tokens").header("cookie", session).send().await.expect(200);
    // The cookie comes along whoever made the browser send it: a change must show where it comes from.
    fixture.tcp("POST", "/api/v1/volumes").header("cookie", session).json(&json!({})).send().await.problem(403, "cross-site");
    fixture.tcp("POST", "/api/v1/volumes").header("cookie", session).header(ours.0, ours.1).json(&json!({})).send().await.expect(201);
    fixture.tcp("POST", "/logout").header("cookie", session).header(ours.0, ours.1).send().await.expect(303);
    fixture.tcp("GET", "/api/v1/tokens").header("cookie", session).send().await.problem(401, "unauthenticated");
    // What is not ours is refused, and a page elsewhere cannot log somebody in.
    let wrong = fixture.tcp("GET", "/login?token=berth_wrong").send().await.expect(401);
    assert!(wrong.header("set-cookie").is_none());
    let foreign =
        fixture.tcp("POST", "/login").header("origin", "https://evil.example").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(foreign.body(format!("token={token}")).send().await.status, 403);
}

#[tokio::test]
async fn a_deleted_token_ends_at_once() {
    let fixture = Fixture::new().await;
    let made = fixture
        .root("POST", "/api/v1/tokens")
        .json(&json!({"metadata": {"name": "laptop"}, "spec": {"role": "viewer"}}))
        .send()
        .await
        .expect(201)
        .json();
    let secret = made["secret"].as_str().unwrap();
    assert!(made["loginUrl"].as_str().unwrap().ends_with(secret));
    let mut stream = fixture.tcp("GET", "/api/v1/events").bearer(secret).header("accept", "text/event-stream").open().await.into_body();
    assert!(!fixture.root("GET", "/api/v1/tokens").send().await.text().contains(secret));
    fixture.root("DELETE", "/api/v1/tokens/laptop").send().await.expect(204);
    let ended = async { while http_body_util::BodyExt::frame(&mut stream).await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(1), ended).await.expect("the stream ends with its token");
    fixture.tcp("GET", "/api/v1/containers").bearer(secret).send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn nobody_hands_out_more_than_they_have_and_an_operator_stays_inside() {
    let fixture = Fixture::with_image().await;
    let operator = fixture.token("operator", Role::Operator).await;
    let post = |body: Value| fixture.tcp("POST", "/api/v1/containers").bearer(&operator).json(&body).send();
    post(json!({"metadata": {"name": "a"}, "spec": {"image": "busybox", "command": ["sleep"]}})).await.expect(201);
    let refused = post(json!({"spec": {"image": "busybox", "security": {"privileged": true}}})).await;
    assert_eq!(refused.json()["errors"][0]["path"], "/spec/security/privileged");
    refused.problem(403, "forbidden");
    fixture.root("POST", "/api/v1/containers/a/start").send().await.expect(204);
    let exec = fixture.tcp("POST", "/api/v1/containers/a/exec").bearer(&operator).json(&json!({"command": ["id"], "privileged": true}));
    exec.send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn pages_carry_the_headers_that_keep_scripts_out() {
    let fixture = Fixture::new().await;
    let page = fixture.root("GET", "/docs").send().await.expect(200);
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!((page.header("x-content-type-options"), page.header("cache-control")), (Some("nosniff"), Some("no-store")));
}
