//! `berth doctor`: what the host can do, and what Berth has on it.

use axum::body::Body;
use axum::http::Method;
use serde_json::Value;

use super::client::{ClientArgs, ClientError, block_on};

pub fn run(client: &ClientArgs) -> Result<(), ClientError> {
    let system = block_on(client.call(Method::GET, "/api/v1/system", None, Body::empty()))?;
    let mut lines = Vec::new();
    flatten("", &system, &mut lines);
    for (path, value) in lines {
        println!("{path:<40} {value}");
    }
    Ok(())
}

/// One line a value: `host.kernel  6.18`.
fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, field, lines);
            }
        }
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned)).collect();
            lines.push((path.to_owned(), if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }));
        }
        Value::String(text) => lines.push((path.to_owned(), text.clone())),
        other => lines.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_gets_a_line() {
        let mut lines = Vec::new();
        flatten("", &serde_json::json!({"host": {"kernel": "6.18", "cpus": 2, "list": ["a", "b"], "none": []}}), &mut lines);
        let mut text: Vec<String> = lines.into_iter().map(|(path, value)| format!("{path}={value}")).collect();
        // Whether an object keeps its order is serde_json's build's affair.
        text.sort();
        assert_eq!(text, ["host.cpus=2", "host.kernel=6.18", "host.list=a, b", "host.none=none"]);
    }
}
