//! The event log, as a list and as a stream.

use std::time::Duration;

use http_body_util::BodyExt;

use super::*;

#[tokio::test]
async fn events_are_listed_filtered_and_paged() {
    let fixture = Fixture::with_image().await;
    fixture.run("web").await;
    // Answered when it is gone, and so when all that happened to it is written down.
    fixture.root("DELETE", "/api/v1/containers/web?force").send().await.expect(204);
    let list = |query: &str| fixture.root("GET", &format!("/api/v1/events{query}")).send();
    let all = list("?kind=container&name=web").await.expect(200).json();
    let reasons: Vec<&str> = all["items"].as_array().unwrap().iter().map(|event| event["reason"].as_str().unwrap()).collect();
    let place = |reason: &str| reasons.iter().position(|found| *found == reason).unwrap_or_else(|| panic!("no {reason}: {reasons:?}"));
    assert!(place("Created") < place("Started") && place("Started") < place("Exited"), "{reasons:?}");
    assert_eq!(list("?name=web&reason=Started").await.json()["items"].as_array().unwrap().len(), 1);
    let first = list("?name=web&limit=1").await.json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert!(!token.is_empty());
    let rest = list(&format!("?name=web&continue={token}")).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["metadata"]["continue"]), (reasons.len() - 1, &json!("")));
    let since = first["items"][0]["time"].as_str().unwrap();
    assert_eq!(list(&format!("?name=web&since={since}")).await.json()["items"].as_array().unwrap().len(), reasons.len());
    list("?since=yesterday").await.fault("/query/since");
    assert_eq!(list("?name=web&limit=0").await.json()["items"].as_array().unwrap().len(), reasons.len(), "0 is no limit");
    list("?limit=-1").await.fault("/query/limit");
    list("?continue=x").await.fault("/query/continue");
    list("?colour=red").await.fault("/query/colour");
}

/// The next server-sent event: its id, and its data as JSON.
async fn next(body: &mut Body, text: &mut String) -> (u64, Value) {
    let read = async {
        while !text.contains("\n\n") {
            let frame = body.frame().await.expect("the stream goes on").unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an event comes");
    let (event, rest) = text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned())).unwrap();
    *text = rest;
    let field = |name: &str| {
        event
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no {name}: {event}"))
            .trim()
            .to_owned()
    };
    (field("id").parse().unwrap(), serde_json::from_str(&field("data")).unwrap())
}

#[tokio::test]
async fn a_follower_resumes_where_it_was_left() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    let follow = |last: Option<u64>| {
        let call = fixture.root("GET", "/api/v1/events?name=web").header("accept", "text/event-stream");
        match last {
            Some(last) => call.header("last-event-id", &last.to_string()),
            None => call,
        }
        .open()
    };
    let response = follow(None).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut body, mut text) = (response.into_body(), String::new());
    fixture.root("POST", "/api/v1/containers/web/start").send().await.expect(204);
    let (started, event) = next(&mut body, &mut text).await;
    assert_eq!((&event["reason"], event["sequence"].as_u64()), (&json!("Started"), Some(started)));
    drop(body);
    fixture.root("POST", "/api/v1/containers/web/stop").send().await.expect(204);
    let (mut body, mut text) = (follow(Some(started)).await.into_body(), String::new());
    fixture.root("DELETE", "/api/v1/containers/web").send().await.expect(204);
    let (mut last, mut seen) = (started, Vec::new());
    while seen.last().is_none_or(|reason| reason != "Deleted") {
        let (id, event) = next(&mut body, &mut text).await;
        assert!(id > last, "{event} came twice");
        last = id;
        seen.push(event["reason"].as_str().unwrap().to_owned());
    }
    assert!(seen.contains(&"Exited".to_owned()), "{seen:?}");
    fixture
        .root("GET", "/api/v1/events")
        .header("accept", "text/event-stream")
        .header("last-event-id", "x")
        .send()
        .await
        .fault("/header/Last-Event-ID");
}

#[tokio::test]
async fn streams_have_a_bound() {
    let fixture = Fixture::new().await;
    let open = || fixture.root("GET", "/api/v1/events").header("accept", "text/event-stream").open();
    let mut held = Vec::new();
    for _ in 0..super::super::stream::MAX_STREAMS {
        held.push(open().await);
    }
    assert_eq!(open().await.status(), 503);
    held.pop();
    assert_eq!(open().await.status(), 200);
}
