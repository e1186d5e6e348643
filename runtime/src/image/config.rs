//! An image's configuration: how its author would have it run. Hostile input until each value has been checked by whoever uses it.
//!
//! See the OCI image specification, "Image Configuration" (config.md); `Healthcheck`, `Shell` and `OnBuild` are Docker's additions to it.
//! Unknown fields are left alone, as the specification asks, and nothing here is ever a name, a path or a label of Berth's own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::id::LayerId;

/// The most bytes of a configuration, of a manifest or of an index.
pub const MOST_JSON: u64 = 4 << 20;

/// The most layers of one image: what overlayfs takes with some to spare, and Docker's limit.
pub const MOST_LAYERS: usize = 127;

/// An image configuration, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// As in GOARCH: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub config: ImageConfig,
    pub rootfs: Rootfs,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// What a container of the image gets where the user says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `NAME=value`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// `80/tcp`; a set, written as an object of empty objects.
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    /// Paths; the same form.
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// Docker's HEALTHCHECK. Times in nanoseconds; 0 is Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, argument…]` or `["CMD-SHELL", line]`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub start_interval: u64,
    pub retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `sha256:` and the digest of each layer's uncompressed tar, lowest first.
    pub diff_ids: Vec<String>,
}

/// How a layer came to be, for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Builders write null where they mean nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(keys.iter().map(|key| (key, BTreeMap::<(), ()>::new())))
}

impl Image {
    /// Parses a configuration and checks what no use of it could do with: the message says what and where.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        if raw.len() as u64 > MOST_JSON {
            return Err(format!("{} bytes are over the limit of {MOST_JSON}", raw.len()));
        }
        let image: Image = serde_json::from_slice(raw).map_err(|error| format!("not an image configuration: {error}"))?;
        image.check()?;
        Ok(image)
    }

    fn check(&self) -> Result<(), String> {
        if self.rootfs.kind != "layers" {
            return Err(format!("rootfs.type is {:?}, not \"layers\"", short(&self.rootfs.kind)));
        }
        if !matches!(self.os.as_str(), "linux" | "") {
            return Err(format!("os is {:?}: its programs are not for Linux", short(&self.os)));
        }
        self.layers()?;
        let config = &self.config;
        let lists = [("Entrypoint", &config.entrypoint), ("Cmd", &config.cmd), ("Env", &config.env), ("Shell", &config.shell)];
        for (name, list) in lists {
            if list.iter().any(|value| value.contains('\0')) {
                return Err(format!("config.{name} contains a NUL byte"));
            }
        }
        for (name, value) in [("User", &config.user), ("WorkingDir", &config.working_dir), ("StopSignal", &config.stop_signal)] {
            // A newline in one of them could become a line of a file (CRI-O, CVE-2026-15809).
            if value.chars().any(char::is_control) {
                return Err(format!("config.{name} contains a control character"));
            }
        }
        if let Some(bad) = config.env.iter().find(|line| line.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
            return Err(format!("config.Env has {:?}, which is not NAME=value", short(bad)));
        }
        Ok(())
    }

    /// The ids of its layers, lowest first.
    pub fn layers(&self) -> Result<Vec<LayerId>, String> {
        let ids = &self.rootfs.diff_ids;
        if ids.len() > MOST_LAYERS {
            return Err(format!("{} layers are over the limit of {MOST_LAYERS}", ids.len()));
        }
        ids.iter().map(|id| sha256_digits(id)?.parse().map_err(|_| format!("rootfs.diff_ids has {:?}", short(id)))).collect()
    }
}

/// The digits of a `sha256:` digest.
pub(super) fn sha256_digits(digest: &str) -> Result<&str, String> {
    match digest.strip_prefix("sha256:") {
        Some(digits) if digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => Ok(digits),
        _ => Err(format!("{:?} is no sha256 digest, and others are not supported", short(digest))),
    }
}

/// A text from an image in a message: at most 80 characters.
pub(super) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NGINX: &str = r#"{"architecture":"amd64","os":"linux","created":"2024-05-03T19:49:21Z","unknown":{"kept":"away"},
        "config":{"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/usr/sbin:/bin","EMPTY="],"Entrypoint":["/docker-entrypoint.sh"],
        "Cmd":["nginx","-g","daemon off;"],"WorkingDir":"","Labels":{"maintainer":"somebody"},"StopSignal":"SIGQUIT","Volumes":null,
        "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3},"OnBuild":null},
        "rootfs":{"type":"layers","diff_ids":["sha256:5d4427064ecc46e3c2add169e9b5eafc7ed2be7861081ec925938ab628ac0e25"]},
        "history":[{"created_by":"/bin/sh -c #(nop)","empty_layer":true}]}"#;

    #[test]
    fn a_real_configuration_is_read() {
        let image = Image::parse(NGINX.as_bytes()).unwrap();
        assert_eq!(image.config.exposed_ports, ["80/tcp"]);
        assert_eq!(image.config.cmd, ["nginx", "-g", "daemon off;"]);
        assert_eq!(image.config.healthcheck.as_ref().map(|check| (check.interval, check.retries)), Some((30_000_000_000, 3)));
        assert!(image.config.volumes.is_empty() && image.history[0].empty_layer);
        assert_eq!(image.layers().unwrap()[0].as_str(), "5d4427064ecc46e3c2add169e9b5eafc7ed2be7861081ec925938ab628ac0e25");
        let again = serde_json::to_vec(&image).unwrap();
        assert_eq!(Image::parse(&again).unwrap(), image);
        assert!(String::from_utf8(again).unwrap().contains(r#""ExposedPorts":{"80/tcp":{}}"#));
    }

    #[test]
    fn hostile_configurations_are_refused() {
        let change = |from: &str, to: &str| {
            assert!(NGINX.contains(from), "{from}");
            Image::parse(NGINX.replace(from, to).as_bytes()).unwrap_err()
        };
        for (from, to, says) in [
            (r#""os":"linux""#, r#""os":"windows""#, "Linux"),
            (r#""type":"layers""#, r#""type":"../../etc""#, "rootfs.type"),
            ("sha256:5d", "sha256:5D", "digest"),
            ("sha256:5d", "sha512:5d", "digest"),
            ("sha256:5d", "../../../5d", "digest"),
            ("SIGQUIT", r"SIG\nQUIT", "StopSignal"),
            (r#""WorkingDir":"""#, r#""WorkingDir":"/a\u0000b""#, "WorkingDir"),
            ("EMPTY=", "=x", "NAME=value"),
            ("EMPTY=", r"A=\u0000", "NUL"),
            (r#""nginx","#, r#"7,"#, "not an image configuration"),
            (r#""80/tcp":{}"#, r#""80/tcp":"#, "not an image configuration"),
        ] {
            let message = change(from, to);
            assert!(message.contains(says), "{message}");
        }
        let many = format!("[{}]", vec![format!("\"sha256:{}\"", "a".repeat(64)); 128].join(","));
        assert!(Image::parse(format!(r#"{{"rootfs":{{"type":"layers","diff_ids":{many}}}}}"#).as_bytes()).unwrap_err().contains("127"));
        assert!(Image::parse(&vec![b' '; 5 << 20]).unwrap_err().contains("limit"));
        assert!(Image::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(raw: Vec<u8>) {
            let _ = Image::parse(&raw);
        }
    }
}
