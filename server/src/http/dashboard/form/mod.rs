//! What a person typed, as the JSON that a client would have sent. What cannot be put into JSON is a fault with the place it would have had.

mod lines;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::error::FieldError;

pub(super) use lines::words;

/// A form's fields by name.
pub(super) type Fields = BTreeMap<String, String>;

/// A request to make a container, and what could not be read.
pub(super) fn container(fields: &Fields) -> (Value, Vec<FieldError>) {
    let mut reader = Reader { fields, faults: Vec::new() };
    let spec = reader.spec();
    let metadata = json!({
        "name": reader.text("name"),
        "labels": reader.pairs("labels", "/metadata/labels", "key=value"),
        "annotations": reader.pairs("annotations", "/metadata/annotations", "key=value"),
    });
    (json!({"metadata": without_nulls(metadata), "spec": spec}), reader.faults)
}

/// A request to make a volume, and what could not be read.
pub(super) fn volume(fields: &Fields) -> (Value, Vec<FieldError>) {
    let mut reader = Reader { fields, faults: Vec::new() };
    let metadata = json!({"name": reader.text("name"), "labels": reader.pairs("labels", "/metadata/labels", "key=value")});
    (json!({"metadata": without_nulls(metadata)}), reader.faults)
}

/// A merge patch of a container's limits: what is empty is removed.
pub(super) fn resources(fields: &Fields) -> (Value, Vec<FieldError>) {
    let mut reader = Reader { fields, faults: Vec::new() };
    let mut resources = reader.resources();
    // That form has no field for it: what is not asked stays.
    if let Value::Object(map) = &mut resources {
        map.remove("io");
    }
    (resources, reader.faults)
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

    /// One item a line, each read by `read`.
    fn items(&mut self, field: &str, path: &str, shape: &str, read: fn(&str) -> Option<Value>) -> Value {
        let mut items = Vec::new();
        for line in self.lines(field) {
            match read(line) {
                Some(item) => items.push(item),
                None => return self.fault(path, format!("{line:?} is not {shape}")),
            }
        }
        list(items)
    }

    /// A whole number that may be below zero.
    fn signed(&mut self, field: &str, path: &str) -> Value {
        match self.given(field).map(str::parse::<i64>) {
            None => Value::Null,
            Some(Ok(number)) => json!(number),
            Some(Err(_)) => self.fault(path, "must be a whole number"),
        }
    }

    /// The profile goes along with every type: that it is for `custom` only is the API's rule to state.
    fn seccomp(&mut self) -> Value {
        let profile = match self.given("seccompProfile").map(serde_json::from_str::<Value>) {
            None => Value::Null,
            Some(Ok(profile)) => profile,
            Some(Err(error)) => self.fault("/spec/security/seccomp/profile", format!("is not JSON: {error}")),
        };
        json!({"type": self.text("seccomp"), "profile": profile})
    }

    /// A line for a shell, as most checks are written; `NONE` is none.
    fn health_test(&self) -> Value {
        match self.given("healthTest") {
            None => Value::Null,
            Some("NONE") => json!(["NONE"]),
            Some(line) => json!(["CMD-SHELL", line]),
        }
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
            "io": self.items("io", "/spec/resources/io", "/dev/name with readBps, writeBps, readIops or writeIops", lines::io),
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
            "readOnlyRootfs": self.flag("readOnlyRootfs"), "seccomp": self.seccomp(), "capabilities": capabilities,
        });
        let healthcheck = json!({
            "test": self.health_test(),
            "intervalSeconds": self.number("healthInterval", "/spec/healthcheck/intervalSeconds"),
            "timeoutSeconds": self.number("healthTimeout", "/spec/healthcheck/timeoutSeconds"),
            "retries": self.number("healthRetries", "/spec/healthcheck/retries"),
            "startPeriodSeconds": self.number("healthStartPeriod", "/spec/healthcheck/startPeriodSeconds"),
            "startIntervalSeconds": self.number("healthStartInterval", "/spec/healthcheck/startIntervalSeconds"),
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
            "domainname": self.text("domainname"),
            "tty": self.flag("tty").then_some(true), "stdin": self.flag("stdin").then_some(true),
            "resources": resources, "namespaces": namespaces,
            "mounts": self.items("mounts", "/spec/mounts", "bind:/from:/to, volume:name:/to or tmpfs:/to", lines::mount), "security": security, "restartPolicy": restart,
            "stopSignal": self.text("stopSignal"),
            "stopTimeoutSeconds": self.number("stopTimeoutSeconds", "/spec/stopTimeoutSeconds"),
            "rlimits": self.items("rlimits", "/spec/rlimits", "type=soft:hard", lines::rlimit),
            "sysctls": self.pairs("sysctls", "/spec/sysctls", "name=value"),
            "shmSize": self.text("shmSize"), "oomScoreAdj": self.signed("oomScoreAdj", "/spec/oomScoreAdj"),
            "logging": {"maxSize": self.text("logMaxSize"), "maxFiles": self.number("logMaxFiles", "/spec/logging/maxFiles")},
            "healthcheck": healthcheck,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
            ("tty", "on"),
            ("io", "/dev/vda readBps=1Mi writeIops=5"),
            ("rlimits", "nofile=10:20\ncore=0"),
            ("sysctls", "net.ipv4.ip_forward=0"),
            ("oomScoreAdj", "-5"),
            ("shmSize", "1Mi"),
            ("seccomp", "custom"),
            ("seccompProfile", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#),
            ("logMaxFiles", "3"),
            ("annotations", "owner=me"),
            ("healthTest", "test -e /ready"),
            ("healthRetries", "5"),
        ]));
        assert!(faults.is_empty(), "{faults:?}");
        let spec = &value["spec"];
        assert_eq!(spec["resources"]["io"], json!([{"device": "/dev/vda", "readBps": "1Mi", "writeIops": 5}]));
        assert_eq!(spec["rlimits"], json!([{"type": "nofile", "soft": 10, "hard": 20}, {"type": "core", "soft": 0, "hard": 0}]));
        assert_eq!(spec["security"]["seccomp"]["profile"], json!({"defaultAction": "SCMP_ACT_ALLOW"}));
        assert_eq!((&spec["tty"], &spec["oomScoreAdj"], &spec["logging"]["maxFiles"]), (&json!(true), &json!(-5), &json!(3)));
        assert_eq!(value["metadata"]["annotations"], json!({"owner": "me"}));
        assert_eq!(spec["command"], json!(["sh", "-c", "sleep 1"]));
        assert_eq!(spec["healthcheck"], json!({"test": ["CMD-SHELL", "test -e /ready"], "retries": 5}));
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
            ("io", "/dev/vda fast"),
            ("rlimits", "nofile"),
            ("oomScoreAdj", "much"),
            ("seccompProfile", "{"),
        ]));
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let wanted = [
            "/spec/command",
            "/spec/env",
            "/metadata/labels",
            "/spec/mounts",
            "/spec/resources/pids",
            "/spec/stopTimeoutSeconds",
            "/spec/resources/io",
            "/spec/rlimits",
            "/spec/oomScoreAdj",
            "/spec/security/seccomp/profile",
        ];
        for path in wanted {
            assert!(paths.contains(&path), "{path} in {paths:?}");
            assert!(web::pages::CreateForm::field_of(path).is_some());
        }
        assert_eq!(paths.len(), wanted.len());
    }
}
