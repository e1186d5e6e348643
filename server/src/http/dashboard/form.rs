//! What a person typed, as the JSON that a client would have sent. What cannot be put into JSON is a fault with the place it would have had.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::error::FieldError;

/// A form's fields by name.
pub(super) type Fields = BTreeMap<String, String>;

/// A request to make a container, and what could not be read.
pub(super) fn container(fields: &Fields) -> (Value, Vec<FieldError>) {
    let mut reader = Reader { fields, faults: Vec::new() };
    let spec = reader.spec();
    let metadata = json!({"name": reader.text("name"), "labels": reader.pairs("labels", "/metadata/labels", "key=value")});
    (json!({"metadata": without_nulls(metadata), "spec": spec}), reader.faults)
}

/// A merge patch of a container's limits: what is empty is removed.
pub(super) fn resources(fields: &Fields) -> (Value, Vec<FieldError>) {
    let mut reader = Reader { fields, faults: Vec::new() };
    (reader.resources(), reader.faults)
}

struct Reader<'a> {
    fields: &'a Fields,
    faults: Vec<FieldError>,
}

impl Reader<'_> {
    fn given(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn text(&self, field: &str) -> Value {
        self.given(field).map_or(Value::Null, |text| json!(text))
    }

    fn flag(&self, field: &str) -> bool {
        self.given(field).is_some()
    }

    /// A number where it is one; else the text itself, for the API to refuse by its own rule.
    fn number(&mut self, field: &str, path: &str) -> Value {
        match self.given(field).map(str::parse::<u64>) {
            None => Value::Null,
            Some(Ok(number)) => json!(number),
            Some(Err(_)) => self.fault(path, "must be a whole number, zero or more"),
        }
    }

    fn fault(&mut self, path: &str, message: impl Into<String>) -> Value {
        self.faults.push(FieldError::new(path, message));
        Value::Null
    }

    fn lines(&self, field: &str) -> Vec<&str> {
        self.fields.get(field).map(String::as_str).unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    fn words(&mut self, field: &str, path: &str) -> Value {
        match self.given(field).map(words) {
            None => Value::Null,
            Some(Ok(words)) => json!(words),
            Some(Err(message)) => self.fault(path, message),
        }
    }

    fn pairs(&mut self, field: &str, path: &str, shape: &str) -> Value {
        let mut map = Map::new();
        for line in self.lines(field) {
            match line.split_once('=') {
                Some((key, value)) => drop(map.insert(key.trim().to_owned(), json!(value.trim()))),
                None => return self.fault(path, format!("{line:?} is not {shape}")),
            }
        }
        if map.is_empty() { Value::Null } else { Value::Object(map) }
    }

    fn env(&mut self) -> Value {
        let mut env = Vec::new();
        for line in self.lines("env") {
            match line.split_once('=') {
                Some((name, value)) => env.push(json!({"name": name, "value": value})),
                None => return self.fault("/spec/env", format!("{line:?} is not NAME=value")),
            }
        }
        list(env)
    }

    fn mounts(&mut self) -> Value {
        let mut mounts = Vec::new();
        for line in self.lines("mounts") {
            match mount(line) {
                Some(mount) => mounts.push(mount),
                None => return self.fault("/spec/mounts", format!("{line:?} is not bind:/from:/to, volume:name:/to or tmpfs:/to")),
            }
        }
        list(mounts)
    }

    fn names(&self, field: &str) -> Value {
        let names: Vec<_> = self.given(field).unwrap_or_default().split([',', ' ', '\t']).filter(|name| !name.is_empty()).collect();
        list(names.into_iter().map(|name| json!(name)).collect())
    }

    fn resources(&mut self) -> Value {
        json!({
            "memory": self.text("memory"), "memorySwap": self.text("memorySwap"), "cpu": self.text("cpu"),
            "cpuShares": self.number("cpuShares", "/spec/resources/cpuShares"), "cpuset": self.text("cpuset"),
            "pids": self.number("pids", "/spec/resources/pids"),
        })
    }

    fn spec(&mut self) -> Value {
        let resources = self.resources();
        let namespaces = json!({
            "network": self.text("network"), "pid": self.text("pid"), "ipc": self.text("ipc"), "uts": self.text("uts"),
            "cgroup": self.text("cgroup"), "user": self.text("userns"),
        });
        let capabilities = json!({"add": self.names("capAdd"), "drop": self.names("capDrop")});
        let security = json!({
            "privileged": self.flag("privileged"), "noNewPrivileges": self.flag("noNewPrivileges"),
            "readOnlyRootfs": self.flag("readOnlyRootfs"), "seccomp": {"type": self.text("seccomp")}, "capabilities": capabilities,
        });
        let restart = json!({
            "name": self.text("restartPolicy"),
            "maximumRetryCount": self.number("maximumRetryCount", "/spec/restartPolicy/maximumRetryCount"),
        });
        without_nulls(json!({
            // What is missing is said by the API's own rule.
            "image": self.given("image").unwrap_or_default(),
            "command": self.words("command", "/spec/command"), "args": self.words("args", "/spec/args"), "env": self.env(),
            "workingDir": self.text("workingDir"), "user": self.text("user"), "hostname": self.text("hostname"),
            "resources": resources, "namespaces": namespaces, "mounts": self.mounts(), "security": security, "restartPolicy": restart,
            "stopSignal": self.text("stopSignal"),
            "stopTimeoutSeconds": self.number("stopTimeoutSeconds", "/spec/stopTimeoutSeconds"),
            "init": self.flag("init").then_some(true), "autoRemove": self.flag("autoRemove").then_some(true),
        }))
    }
}

fn list(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::Array(items) }
}

/// What was not given is not there at all, so that the stored spec says only what its author said.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, without_nulls(value)))
                .filter(|(_, value)| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()))
                .collect(),
        ),
        other => other,
    }
}

/// `bind:/from:/to[:ro]`, `volume:name:/to[:ro]`, `tmpfs:/to`.
fn mount(line: &str) -> Option<Value> {
    let parts: Vec<_> = line.split(':').map(str::trim).collect();
    let value = match parts.as_slice() {
        ["tmpfs", target] => json!({"type": "tmpfs", "target": target}),
        [kind @ ("bind" | "volume"), source, target] => json!({"type": kind, "source": source, "target": target}),
        [kind @ ("bind" | "volume"), source, target, mode @ ("ro" | "rw")] => {
            json!({"type": kind, "source": source, "target": target, "readOnly": *mode == "ro"})
        }
        _ => return None,
    };
    Some(value)
}

/// Words as a shell splits them: blanks between, quotes and backslashes around. No expansion of anything. See POSIX.1, 2.2.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote ' is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote \" is not closed")? {
                        '"' => break,
                        '\\' => match chars.next().ok_or("a quote \" is not closed")? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("nothing follows the last \\")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, wanted) in [
            ("", &[][..]),
            ("  nginx   -g 'daemon off;' ", &["nginx", "-g", "daemon off;"]),
            (r#"sh -c "echo \"hi\" \\ \n $x""#, &["sh", "-c", r#"echo "hi" \ \n $x"#]),
            (r"a\ b c''d '' e", &["a b", "cd", "", "e"]),
        ] {
            assert_eq!(words(text).unwrap(), wanted, "{text}");
        }
        for bad in ["'", "a \"b", "x \\", "\"\\"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_was_said_is_in_the_spec() {
        let (value, faults) =
            container(&fields(&[("image", "busybox"), ("name", ""), ("noNewPrivileges", "on"), ("memory", " 64Mi "), ("pids", "100")]));
        assert!(faults.is_empty());
        assert_eq!(
            value,
            json!({"metadata": {}, "spec": {"image": "busybox", "resources": {"memory": "64Mi", "pids": 100},
                "security": {"privileged": false, "noNewPrivileges": true, "readOnlyRootfs": false}}})
        );
    }

    #[test]
    fn everything_has_its_place() {
        let (value, faults) = container(&fields(&[
            ("image", "x"),
            ("command", "sh -c 'sleep 1'"),
            ("env", "A=1\r\n\r\nB=x=y"),
            ("labels", "app = site"),
            ("mounts", "bind:/srv:/www:ro\nvolume:cache:/c\ntmpfs:/tmp"),
            ("capDrop", "ALL, NET_RAW"),
            ("userns", "host"),
            ("autoRemove", "on"),
        ]));
        assert!(faults.is_empty());
        let spec = &value["spec"];
        assert_eq!(spec["command"], json!(["sh", "-c", "sleep 1"]));
        assert_eq!(spec["env"], json!([{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}]));
        assert_eq!(spec["mounts"][0], json!({"type": "bind", "source": "/srv", "target": "/www", "readOnly": true}));
        assert_eq!(spec["mounts"].as_array().unwrap().len(), 3);
        assert_eq!(spec["security"]["capabilities"], json!({"drop": ["ALL", "NET_RAW"]}));
        assert_eq!((&spec["namespaces"]["user"], &spec["autoRemove"]), (&json!("host"), &json!(true)));
        assert_eq!(value["metadata"]["labels"], json!({"app": "site"}));
        serde_json::from_value::<crate::model::ContainerSpec>(spec.clone()).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_of_its_field() {
        let (_, faults) = container(&fields(&[
            ("image", "x"),
            ("command", "'"),
            ("env", "A"),
            ("labels", "b"),
            ("mounts", "/a:/b"),
            ("pids", "-1"),
            ("stopTimeoutSeconds", "soon"),
        ]));
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        for path in ["/spec/command", "/spec/env", "/metadata/labels", "/spec/mounts", "/spec/resources/pids", "/spec/stopTimeoutSeconds"] {
            assert!(paths.contains(&path), "{path} in {paths:?}");
            assert!(web::pages::CreateForm::field_of(path).is_some());
        }
        assert_eq!(paths.len(), 6);
    }
}
