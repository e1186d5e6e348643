//! The durable event log: what happened to a container in order, filtered, followed and resumed.

use std::time::Instant;

use serde_json::{Value, json};

use crate::common::http::Stream;
use crate::common::{Container, Scope};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        a_life_is_told_in_order,
        the_stream_follows_and_resumes_where_it_was_left,
        filters_filter,
        bad_queries_name_the_field,
    ]
}

fn of(scope: &Scope<'_>, container: &Container<'_>) -> Vec<Value> {
    let list = scope.api().get(&format!("/api/v1/events?kind=Container&name={}&limit=500", container.name)).send().expect(200).json();
    list["items"].as_array().unwrap().clone()
}

fn a_life_is_told_in_order(scope: &Scope<'_>) {
    let container = scope.shell("exit 3");
    container.wait();
    container.delete();
    let events = of(scope, &container);
    let reasons: Vec<&str> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    let place = |reason: &str| reasons.iter().position(|found| *found == reason).unwrap_or_else(|| panic!("no {reason}: {reasons:?}"));
    assert!(place("Created") < place("Started") && place("Started") < place("Exited") && place("Exited") < place("Deleted"), "{reasons:?}");
    assert_eq!(events[place("Exited")]["attributes"]["exitCode"], "3");
    let sequences: Vec<u64> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
    assert!(events.iter().all(|event| event["involvedObject"]["uid"] == container.uid.as_str()), "{events:#?}");
}

/// One server-sent event: its id and its data.
fn next(stream: &mut Stream) -> (u64, Value) {
    let mut id = None;
    let mut data = String::new();
    loop {
        let line = stream.line().expect("the stream goes on");
        match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
            Some(("id", value)) => id = Some(value.parse().unwrap()),
            Some(("data", value)) => data += value,
            Some(_) => {}
            None if line.is_empty() && !data.is_empty() => return (id.expect("an id"), serde_json::from_str(&data).unwrap()),
            None => {}
        }
    }
}

fn follow(scope: &Scope<'_>, name: &str, last: Option<u64>) -> Stream {
    let mut request = scope.api().get(&format!("/api/v1/events?kind=Container&name={name}")).header("Accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", &last.to_string());
    }
    let stream = request.open().unwrap();
    assert_eq!(stream.status, 200);
    assert!(stream.header("content-type").unwrap().starts_with("text/event-stream"));
    stream
}

fn until_reason(stream: &mut Stream, reason: &str) -> u64 {
    let began = Instant::now();
    loop {
        let (id, event) = next(stream);
        assert_eq!(event["sequence"], id);
        if event["reason"] == reason {
            return id;
        }
        assert!(began.elapsed().as_secs() < 15, "{reason} did not come");
    }
}

fn the_stream_follows_and_resumes_where_it_was_left(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    let created = of(scope, &container)[0]["sequence"].as_u64().unwrap();
    let mut stream = follow(scope, &container.name, Some(created));
    container.start();
    let started = until_reason(&mut stream, "Started");
    drop(stream);
    // What happens while nobody listens is not lost, and nothing comes twice.
    container.stop();
    let mut again = follow(scope, &container.name, Some(started));
    let (id, event) = next(&mut again);
    assert!(id > started, "{event:#} came again");
    if event["reason"] != "Exited" {
        until_reason(&mut again, "Exited");
    }
}

fn filters_filter(scope: &Scope<'_>) {
    let (one, other) = (scope.shell("exit 0"), scope.shell("exit 0"));
    one.wait();
    other.wait();
    assert!(of(scope, &one).iter().all(|event| event["involvedObject"]["name"] == one.name.as_str()));
    let exits = scope.api().get(&format!("/api/v1/events?name={}&reason=Exited", one.name)).send().expect(200).json();
    assert_eq!(exits["items"].as_array().unwrap().len(), 1, "{exits:#}");
    let last = exits["items"][0]["sequence"].as_u64().unwrap();
    let later = scope.api().get(&format!("/api/v1/events?name={}&since={last}", one.name)).send().expect(200).json();
    assert!(later["items"].as_array().unwrap().iter().all(|event| event["sequence"].as_u64() > Some(last)), "{later:#}");
}

fn bad_queries_name_the_field(scope: &Scope<'_>) {
    for query in ["since=yesterday", "limit=-1", "limit=some", "kind=", "colour=red"] {
        let answer = scope.api().get(&format!("/api/v1/events?{query}")).send();
        // An empty or unknown filter may be nothing to complain about; what is wrong is never a fault of the server's.
        assert!(matches!(answer.status, 200 | 400 | 422), "{query}: {} {}", answer.status, answer.text());
        if query.starts_with("since") || query.starts_with("limit") {
            answer.problem(422);
        }
    }
}
