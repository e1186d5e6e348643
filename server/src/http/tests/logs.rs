//! Logs, from files as the shim writes them.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::BodyExt;

use super::*;

/// A container that runs, and the folder of its log.
async fn running(fixture: &Fixture) -> (String, PathBuf) {
    let uid = fixture.run("web").await["metadata"]["uid"].as_str().unwrap().to_owned();
    let folder = fixture.state.config.data_dir.join("pods").join(&uid).join("logs/web");
    std::fs::create_dir_all(&folder).unwrap();
    (uid, folder)
}

fn write(folder: &std::path::Path, file: &str, records: &[&str]) {
    let mut file = std::fs::File::options().create(true).append(true).open(folder.join(file)).unwrap();
    for (second, record) in records.iter().enumerate() {
        writeln!(file, "2026-11-23T20:51:{second:02}.000000000Z {record}").unwrap();
    }
}

#[tokio::test]
async fn a_log_is_read_as_it_was_written() {
    let fixture = Fixture::with_image().await;
    let (_, folder) = running(&fixture).await;
    write(&folder, "0.log.1", &["stdout F one", "stderr F two"]);
    write(&folder, "0.log", &["stdout P three, ", "stdout F and more"]);
    write(&folder, "1.log", &["stdout F four", "stdout P no end"]);
    let get = |query: &str| fixture.root("GET", &format!("/api/v1/containers/web/logs{query}")).send();
    let whole = get("").await.expect(200);
    assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(whole.text(), "one\ntwo\nthree, and more\nfour\nno end");
    assert_eq!(get("?stream=stderr").await.text(), "two\n");
    assert_eq!(get("?tailLines=3").await.text(), "three, and more\nfour\nno end");
    assert_eq!(get("?tailLines=0").await.text(), "");
    assert_eq!(get("?sinceTime=2026-11-23T20:51:01Z&stream=stdout").await.text(), "and more\nno end");
    assert_eq!(get("?tailLines=1&timestamps").await.text(), "2026-11-23T20:51:01.000000000Z no end");
    let lines = fixture.root("GET", "/api/v1/containers/web/logs").header("accept", "application/x-ndjson").send().await.text();
    assert_eq!(lines.lines().count(), 5, "{lines}");
    let events = fixture
        .root("GET", "/api/v1/containers/web/logs")
        .header("accept", "text/event-stream")
        .header("last-event-id", "2026-11-23T20:51:00.000000000Z");
    let events = events.send().await.expect(200);
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert!(!events.text().contains("\"one\"") && events.text().contains("\"two\""), "{}", events.text());
    for (query, name) in
        [("tailLines=-1", "tailLines"), ("sinceTime=yesterday", "sinceTime"), ("stream=stdin", "stream"), ("follow=perhaps", "follow")]
    {
        get(&format!("?{query}")).await.fault(&format!("/query/{name}"));
    }
    fixture.root("GET", "/api/v1/containers/nobody/logs").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_container_that_never_ran_has_an_empty_log() {
    let fixture = Fixture::with_image().await;
    fixture.create("web", json!({})).await;
    for query in ["", "?tailLines=5", "?follow=true"] {
        assert_eq!(fixture.root("GET", &format!("/api/v1/containers/web/logs{query}")).send().await.expect(200).text(), "");
    }
}

/// Reads from a body until what was read ends with `wanted`.
async fn until(body: &mut Body, wanted: &str) {
    let mut text = String::new();
    let read = async {
        while !text.ends_with(wanted) {
            let frame = body.frame().await.unwrap_or_else(|| panic!("it ended; {wanted:?} did not come")).unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap_or_else(|_| panic!("{wanted:?} did not come"));
}

#[tokio::test]
async fn following_misses_nothing_over_turned_over_files_and_ends_with_the_container() {
    let fixture = Fixture::with_image().await;
    let (uid, folder) = running(&fixture).await;
    write(&folder, "0.log", &["stdout F one"]);
    let mut body = fixture.root("GET", "/api/v1/containers/web/logs?follow=true").open().await.into_body();
    until(&mut body, "one\n").await;
    write(&folder, "0.log", &["stdout F two"]);
    until(&mut body, "two\n").await;
    // Written and turned over before anybody looks, twice.
    write(&folder, "0.log", &["stdout F three"]);
    std::fs::rename(folder.join("0.log"), folder.join("0.log.1")).unwrap();
    write(&folder, "0.log", &["stdout F four"]);
    std::fs::rename(folder.join("0.log.1"), folder.join("0.log.2")).unwrap();
    std::fs::rename(folder.join("0.log"), folder.join("0.log.1")).unwrap();
    write(&folder, "0.log", &["stdout F five"]);
    until(&mut body, "three\nfour\nfive\n").await;
    // The next start has a file of its own.
    write(&folder, "1.log", &["stdout F six"]);
    until(&mut body, "six\n").await;
    write(&folder, "1.log", &["stdout F last"]);
    fixture.node.exit(&uid.parse().unwrap(), 0);
    until(&mut body, "last\n").await;
    let rest = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.expect("it ends").unwrap().to_bytes();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn following_ends_when_the_server_does() {
    let fixture = Fixture::with_image().await;
    let (_, folder) = running(&fixture).await;
    write(&folder, "0.log", &["stdout F one"]);
    let mut body = fixture.root("GET", "/api/v1/containers/web/logs?follow=true").open().await.into_body();
    until(&mut body, "one\n").await;
    fixture.state.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), body.collect()).await.expect("it ends").unwrap();
    fixture.root("GET", "/api/v1/containers").send().await.problem(503, "draining");
}
