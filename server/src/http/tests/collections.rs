//! Lists, images, volumes, the system.

use super::*;

#[tokio::test]
async fn containers_are_paged_and_selected() {
    let fixture = Fixture::with_image().await;
    for number in 0..5 {
        let body = json!({"metadata": {"name": format!("c{number}"), "labels": {"n": number.to_string()}}, "spec": {"image": "busybox", "command": ["sleep"]}});
        fixture.root("POST", "/api/v1/containers").json(&body).send().await.expect(201);
    }
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = fixture.get("/api/v1/containers?limit=2").await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["c0".to_owned(), "c1".to_owned()], &json!(3)));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = fixture.get(&format!("/api/v1/containers?limit=9&continue={token}")).await;
    assert_eq!((names(&rest).len(), &rest["metadata"]["continue"]), (3, &json!("")));
    assert_eq!(names(&fixture.get("/api/v1/containers?labelSelector=n+in+(1,3)").await), ["c1", "c3"]);
    assert_eq!(names(&fixture.get("/api/v1/containers?phase=Running").await), Vec::<String>::new());
    fixture.root("GET", "/api/v1/containers?labelSelector=%3D%3D").send().await.fault("/query/labelSelector");
    fixture.root("GET", "/api/v1/containers?continue=nonsense").send().await.fault("/query/continue");
    fixture.root("GET", "/api/v1/containers?phase=Sleeping").send().await.fault("/query/phase");
    let listed = fixture.root("GET", "/api/v1/containers").send().await.expect(200);
    let etag = listed.header("etag").unwrap();
    fixture.root("GET", "/api/v1/containers").header("if-none-match", etag).send().await.expect(304);
}

#[tokio::test]
async fn images_come_are_found_and_go() {
    let fixture = Fixture::new().await;
    let import = |query: &str, body: &'static str| {
        fixture.root("POST", &format!("/api/v1/images/import{query}")).header("content-type", "application/x-tar").body(body).send()
    };
    let made = import("?reference=quay.io/me/app:v1&command=%5B%22sh%22%5D&env=A=b&workingDir=/srv&label=a=b", "tar").await.expect(201);
    assert_eq!(made.header("location"), Some("/api/v1/images/quay.io%2Fme%2Fapp:v1"));
    let image = fixture.get("/api/v1/images/quay.io%2Fme%2Fapp:v1").await;
    assert_eq!(image["status"]["config"], json!({"Env": ["A=b"], "Cmd": ["sh"], "WorkingDir": "/srv", "Labels": {"a": "b"}}));
    let id = image["status"]["id"].as_str().unwrap();
    for key in [id, &id[7..], &id[7..15]] {
        assert_eq!(fixture.get(&format!("/api/v1/images/{key}")).await["status"]["id"], id);
    }
    assert_eq!(fixture.get("/api/v1/images?labelSelector=a%3Db").await["items"].as_array().unwrap().len(), 1);
    import("?reference=", "tar").await.fault("/query/reference");
    import("?reference=x&user=-1", "tar").await.fault("/query/user");
    import("?reference=x&command=%5B1%5D", "tar").await.fault("/query/command");
    import("?nobody=knows", "tar").await.fault("/query/nobody");
    let refused = import("?reference=bad", "bad tar").await.problem(422, "bad-archive");
    assert!(refused["detail"].as_str().unwrap().contains("../x"), "the entry is not named: {refused}");
    fixture
        .root("POST", "/api/v1/images/import")
        .header("content-type", "text/plain")
        .body("tar")
        .send()
        .await
        .problem(415, "unsupported-media-type");
    fixture.root("GET", "/api/v1/images/bad").send().await.problem(404, "not-found");

    let body = json!({"metadata": {"name": "web"}, "spec": {"image": "quay.io/me/app:v1"}});
    fixture.root("POST", "/api/v1/containers").json(&body).send().await.expect(201);
    let in_use = fixture.root("DELETE", "/api/v1/images/quay.io%2Fme%2Fapp:v1").send().await.problem(409, "in-use");
    assert!(in_use["detail"].as_str().unwrap().contains("web"));
    fixture.root("DELETE", "/api/v1/containers/web").send().await.expect(204);
    fixture.root("DELETE", "/api/v1/images/quay.io%2Fme%2Fapp:v1").send().await.expect(204);
    fixture.root("DELETE", "/api/v1/images/quay.io%2Fme%2Fapp:v1").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn volumes_are_made_kept_while_used_and_deleted() {
    let fixture = Fixture::with_image().await;
    let made =
        fixture.root("POST", "/api/v1/volumes").json(&json!({"metadata": {"name": "data", "labels": {"a": "b"}}})).send().await.expect(201);
    assert_eq!(made.header("location"), Some("/api/v1/volumes/data"));
    fixture.root("POST", "/api/v1/volumes").json(&json!({"metadata": {"name": "data"}})).send().await.problem(409, "already-exists");
    fixture.root("POST", "/api/v1/volumes").json(&json!({"spec": {"size": 1}})).send().await.fault("/spec/size");
    fixture.create("web", json!({"mounts": [{"type": "volume", "source": "data", "target": "/data"}]})).await;
    assert_eq!(fixture.get("/api/v1/volumes/data").await["status"]["usedBy"], json!(["web"]));
    fixture.root("DELETE", "/api/v1/volumes/data").send().await.problem(409, "in-use");
    fixture.root("DELETE", "/api/v1/containers/web").send().await.expect(204);
    fixture.root("DELETE", "/api/v1/volumes/data").send().await.expect(204);
    assert_eq!(fixture.get("/api/v1/volumes").await["items"], json!([]));
    fixture.root("GET", "/api/v1/volumes/data").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn the_system_and_its_figures() {
    let fixture = Fixture::with_image().await;
    fixture.run("web").await;
    let system = fixture.get("/api/v1/system").await;
    assert_eq!(
        (&system["cgroup"]["mode"], &system["counts"]["containers"]["Running"], &system["counts"]["images"]),
        (&json!("v2"), &json!(1), &json!(1))
    );
    let figures = fixture.root("GET", "/metrics").send().await.expect(200);
    assert!(figures.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = figures.text();
    for line in [
        "berth_containers{phase=\"Running\"} 1",
        "berth_images 1",
        "berth_reconcile_errors_total 0",
        "berth_reconcile_workers 1",
        "berth_http_request_duration_seconds_count{route=\"/api/v1/containers/{name}/start\",method=\"POST\",status=\"204\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
    let passes = text.lines().find_map(|line| line.strip_prefix("berth_reconcile_total ")).unwrap();
    assert!(passes.parse::<u64>().unwrap() > 0, "{passes}");
    for line in text.lines() {
        assert!(line.starts_with('#') || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(fixture.root("GET", path).send().await.expect(200).text(), "ok\n");
    }
    assert_eq!(fixture.get("/version").await["apiVersion"], "v1");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let fixture = Fixture::new().await;
    let json = fixture.get("/openapi.json").await;
    assert!(json["openapi"].as_str().unwrap().starts_with("3.1"));
    let yaml = fixture.root("GET", "/openapi.yaml").send().await.expect(200);
    assert_eq!(yaml.header("content-type"), Some("application/yaml"));
    assert!(yaml.text().contains("operationId: createContainer"));
    let docs = fixture.root("GET", "/docs").send().await.expect(200).text();
    assert!(docs.contains("createContainer") && !docs.contains("<script"));
}
