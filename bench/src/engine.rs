//! An engine with an HTTP API, Berth or another: the same verbs for all, each in the engine's own words.

use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::Fault;
use crate::client::Client;
use crate::daemon::Daemon;

/// Whose words.
#[derive(Debug, Clone)]
pub(crate) enum Face {
    Berth,
    /// With the limits to ask for: the default ones are above what a host may raise them to.
    Podman {
        limits: Value,
    },
    /// With the cgroup above its containers.
    Docker {
        cgroup_parent: String,
    },
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) daemon: Daemon,
    pub(crate) face: Face,
}

impl Engine {
    pub(crate) async fn session(&self) -> Result<Session, Fault> {
        Ok(Session { face: self.face.clone(), client: Client::connect(self.daemon.socket()).await? })
    }

    /// Removes all of its containers, and ends it.
    pub(crate) async fn end(&mut self) -> Result<(), Fault> {
        if self.daemon.pid().is_ok() {
            let mut session = self.session().await?;
            for name in session.names().await? {
                session.remove(&name).await?;
            }
        }
        self.daemon.stop().await
    }
}

/// One connection to an engine.
#[derive(Debug)]
pub(crate) struct Session {
    face: Face,
    pub(crate) client: Client,
}

/// Podman's own API; its imitation of Docker's does more work for the same.
const LIBPOD: &str = "/v4.0.0/libpod";
const BERTH: &str = "/api/v1/containers";

impl Session {
    /// Makes the image `busybox:latest` of a root file system.
    pub(crate) async fn import(&mut self, tar: Vec<u8>) -> Result<(), Fault> {
        let path = match &self.face {
            Face::Berth => "/api/v1/images/import?reference=busybox:latest".to_owned(),
            Face::Podman { .. } => format!("{LIBPOD}/images/import?reference=localhost/busybox:latest"),
            Face::Docker { .. } => "/images/create?fromSrc=-&repo=busybox&tag=latest".to_owned(),
        };
        self.client.upload(&path, tar).await.map(drop)
    }

    /// A container as it is compared with the bare floor: no network, the engine's default security, logs.
    pub(crate) async fn create(&mut self, name: &str, command: &[&str]) -> Result<(), Fault> {
        let (path, body) = match &self.face {
            Face::Berth => {
                let spec = json!({"image": "busybox:latest", "command": command, "namespaces": {"network": "none"}});
                (BERTH.to_owned(), json!({"metadata": {"name": name}, "spec": spec}))
            }
            Face::Podman { limits } => (
                format!("{LIBPOD}/containers/create"),
                json!({
                    "name": name, "image": "localhost/busybox:latest", "command": command, "netns": {"nsmode": "none"}, "r_limits": limits,
                    "cgroup_parent": format!("/{}", crate::leftovers::cgroup_parent()),
                }),
            ),
            Face::Docker { cgroup_parent } => (
                format!("/containers/create?name={name}"),
                json!({"Image": "busybox:latest", "Cmd": command, "HostConfig": {"NetworkMode": "none", "CgroupParent": cgroup_parent}}),
            ),
        };
        self.client.post(&path, &body).await.map(drop)
    }

    fn path(&self, name: &str) -> String {
        match &self.face {
            Face::Berth => format!("{BERTH}/{name}"),
            Face::Podman { .. } => format!("{LIBPOD}/containers/{name}"),
            Face::Docker { .. } => format!("/containers/{name}"),
        }
    }

    pub(crate) async fn start(&mut self, name: &str) -> Result<(), Fault> {
        self.client.post(&format!("{}/start", self.path(name)), &json!({})).await.map(drop)
    }

    /// Until it has ended.
    pub(crate) async fn wait(&mut self, name: &str) -> Result<(), Fault> {
        let path = self.path(name);
        let (query, body) = match &self.face {
            Face::Berth => ("", json!({"condition": "exited"})),
            // It polls, every 250 ms unless it is told otherwise.
            Face::Podman { .. } => ("?condition=exited&interval=1ms", json!({})),
            Face::Docker { .. } => ("", json!({})),
        };
        self.client.post(&format!("{path}/wait{query}"), &body).await.map(drop)
    }

    pub(crate) async fn delete(&mut self, name: &str) -> Result<(), Fault> {
        self.client.delete(&self.path(name)).await.map(drop)
    }

    /// Whether it runs or not.
    pub(crate) async fn remove(&mut self, name: &str) -> Result<(), Fault> {
        let query = match &self.face {
            Face::Berth => "force=true&gracePeriodSeconds=0",
            Face::Podman { .. } => "force=true&timeout=0",
            Face::Docker { .. } => "force=true",
        };
        self.client.delete(&format!("{}?{query}", self.path(name))).await.map(drop)
    }

    /// Runs `true` in it, until the exit code is known.
    pub(crate) async fn exec(&mut self, name: &str) -> Result<(), Fault> {
        let path = format!("{}/exec", self.path(name));
        let prefix = match &self.face {
            Face::Berth => return self.client.post(&path, &json!({"command": ["true"]})).await.map(drop),
            Face::Podman { .. } => LIBPOD,
            Face::Docker { .. } => "",
        };
        let made = parse(&self.client.post(&path, &json!({"Cmd": ["true"], "AttachStdout": true})).await?)?;
        let id = made["Id"].as_str().or_else(|| made["ID"].as_str()).ok_or("the exec has no id")?;
        // The answer ends with the output, and the code is known then.
        self.client.post(&format!("{prefix}/exec/{id}/start"), &json!({})).await?;
        let exec = parse(&self.client.get(&format!("{prefix}/exec/{id}/json")).await?)?;
        if exec["ExitCode"] == 0 { Ok(()) } else { Err(format!("the exec ended so: {exec}").into()) }
    }

    /// Creates and starts one that does nothing; answers its pid.
    pub(crate) async fn run_idle(&mut self, name: &str) -> Result<i32, Fault> {
        self.create(name, &["sleep", "1000000"]).await?;
        self.start(name).await?;
        let path = match &self.face {
            Face::Berth => self.path(name),
            _ => format!("{}/json", self.path(name)),
        };
        let found = parse(&self.client.get(&path).await?)?;
        let pid = found["status"]["pid"].as_i64().or_else(|| found["State"]["Pid"].as_i64());
        Ok(i32::try_from(pid.ok_or("no pid")?)?)
    }

    /// Those that run.
    pub(crate) async fn list(&mut self) -> Result<Bytes, Fault> {
        let path = match &self.face {
            Face::Berth => BERTH.to_owned(),
            Face::Podman { .. } => format!("{LIBPOD}/containers/json"),
            Face::Docker { .. } => "/containers/json".to_owned(),
        };
        self.client.get(&path).await
    }

    /// Of all, running or not.
    pub(crate) async fn names(&mut self) -> Result<Vec<String>, Fault> {
        let (path, items, name) = match &self.face {
            Face::Berth => (BERTH.to_owned(), "/items", "/metadata/name"),
            Face::Podman { .. } => (format!("{LIBPOD}/containers/json?all=true"), "", "/Names/0"),
            Face::Docker { .. } => ("/containers/json?all=true".to_owned(), "", "/Names/0"),
        };
        let found = parse(&self.client.get(&path).await?)?;
        let items = found.pointer(items).and_then(Value::as_array).ok_or("no list")?;
        let names = items.iter().filter_map(|item| item.pointer(name)?.as_str());
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }
}

fn parse(body: &[u8]) -> Result<Value, Fault> {
    Ok(serde_json::from_slice(body)?)
}
