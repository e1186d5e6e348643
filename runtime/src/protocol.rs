//! Bytes in, bytes out: the typed messages between the control plane, the launcher and the shims.
//!
//! A frame is a 4-byte big-endian length and that many bytes of JSON. One enum is the wall: nothing else crosses it.
//! A request carries a number that its answer repeats; a shim also sends `Event`s, which answer nothing.
//!
//! ```text
//! berth --(Request to launch.sock)--> launcher: one request a connection, one answer
//!       --(Request to shim.sock)----> shim: many requests a connection, answers by number, events in between
//! ```

use std::io::{self, Read, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::{ContainerConfig, ExecConfig, IdMap, PodConfig, Resources};
use crate::error::RuntimeError;
use crate::examination::Examination;
use crate::id::{ContainerName, ExecId, LayerId, PodId, StagingId, VolumeId};
use crate::status::{
    CgroupView, ContainerReport, ExecReport, Exit, HostFacts, NamespaceReport, PodReport, ProcessReport, RunDirEntry, Stats,
};
use crate::trace::Operation;

/// What this build speaks. A change that an older peer would misunderstand raises it; a new verb does not: who does not know it says so.
pub const PROTOCOL_VERSION: u32 = 1;

/// The oldest shim that this build can still drive: shims outlive an upgrade, the launcher does not.
pub const OLDEST_SHIM_PROTOCOL: u32 = 1;

/// The largest frame either side accepts.
pub const MAX_FRAME: usize = 1 << 20;

/// To the launcher. Each is checked again there; it keeps no memory between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "verb", deny_unknown_fields)]
pub enum LauncherRequest {
    /// What this host is.
    Facts,
    /// Makes the run dir and starts the shim of a sandbox; done when its socket accepts.
    StartShim {
        config: Box<PodConfig>,
    },
    /// Kills what is left of a sandbox whose shim is gone and removes its cgroups and run dir; with `data`, also its upper folder and logs.
    Clean {
        pod: PodId,
        data: bool,
    },
    /// Every run dir there is, with its last written state.
    List,
    /// What follows on the connection until its end is a tar (plain, gzip or zstd): one layer.
    ImportLayer {
        staging: StagingId,
        max_bytes: u64,
        max_entries: u64,
    },
    /// What follows on the connection until its end is an archive of images: an OCI layout or a docker archive (plain, gzip or zstd).
    /// The limits hold for the archive, and again for all that is unpacked.
    LoadArchive {
        staging: StagingId,
        max_bytes: u64,
        max_entries: u64,
        /// `linux/arm64`: of images for several platforms this one, and no other. This machine's when absent.
        #[serde(default)]
        platform: Option<String>,
    },
    RemoveLayer {
        layer: LayerId,
    },
    /// Unpacked layers as tars again. Answered with `LayersMeasured`; then come the tars, one after the other, as pieces like those of `CopyOut`,
    /// and `Done` or `Failed`.
    ExportLayers {
        layers: Vec<LayerId>,
    },
    /// A tar of `path` out of a container's files, running or not. Answered with `PathFound`; unless `stat_only`, pieces of the tar follow (each
    /// its length as 4 bytes, big endian, and that many bytes; 0 ends them), and then `Done` or `Failed`.
    CopyOut {
        pod: Box<PodConfig>,
        container: Box<ContainerConfig>,
        path: String,
        stat_only: bool,
    },
    /// What follows on the connection until its end is a tar (plain, gzip or zstd) for the folder `path` of a container's files.
    CopyIn {
        pod: Box<PodConfig>,
        container: Box<ContainerConfig>,
        path: String,
        /// Refuse to put a file where a folder is, and a folder where a file is.
        keep_kinds: bool,
    },
    /// What a container's files differ in from its image: at most `limit` items after the path `after`, which is as an item has it in `key`.
    Changes {
        pod: PodId,
        container: Box<ContainerConfig>,
        /// What the container's ids are shifted by on the host, where that is known: else owners are not compared.
        id_base: Option<u32>,
        after: Option<Bytes>,
        limit: u32,
    },
    CreateVolume {
        volume: VolumeId,
    },
    RemoveVolume {
        volume: VolumeId,
    },
    /// Bytes and inodes in use by each layer, volume and sandbox.
    DiskUsage,
    /// What this host can do, tried anew, and everything on it that bears Berth's name.
    Examine,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "answer")]
pub enum LauncherAnswer {
    Facts {
        facts: HostFacts,
    },
    ShimStarted {
        shim_pid: i32,
    },
    Done,
    List {
        entries: Vec<RunDirEntry>,
    },
    /// `notes` tell what was left out of the archive (device nodes, attributes), a line a kind.
    LayerImported {
        layer: LayerId,
        size: u64,
        entries: u64,
        compressed_digest: String,
        notes: Vec<String>,
    },
    /// `notes` as for a layer, of all layers together.
    ArchiveLoaded {
        images: Vec<LoadedImage>,
        notes: Vec<String>,
    },
    DiskUsage {
        items: Vec<DiskUsage>,
    },
    PathFound {
        stat: PathStat,
    },
    /// In the order of the request. Those with the same digest are sent once.
    LayersMeasured {
        layers: Vec<ExportedLayer>,
    },
    Copied {
        entries: u64,
        bytes: u64,
    },
    /// In the order of their paths; `remaining` follow after these.
    Changes {
        items: Vec<Change>,
        remaining: u64,
    },
    Examined {
        examination: Box<Examination>,
    },
    Failed {
        error: RuntimeError,
    },
}

/// What is at a path of a container, as lstat(2) sees it from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathStat {
    /// The last component; `/` for the root.
    pub name: String,
    pub size: u64,
    /// `st_mode`: kind and permissions.
    pub mode: u32,
    /// Seconds since 1970 and nanoseconds within that second.
    pub mtime: (i64, i64),
    pub uid: u32,
    pub gid: u32,
    /// Of a symbolic link.
    pub link_target: Option<String>,
}

/// The tar that a layer is exported as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedLayer {
    /// `sha256:…`
    pub digest: String,
    pub size: u64,
}

/// One difference from the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Absolute inside; what is no UTF-8 is replaced.
    pub path: String,
    /// The path's bytes without the first slash: where to go on after this item.
    pub key: Bytes,
    pub kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// An image of an archive, its layers unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedImage {
    /// As the archive has them, unchecked but for length and characters: full references, short ones (`busybox:1`), or only a tag.
    pub references: Vec<String>,
    /// `sha256:…`; None for a docker archive, which has no manifests.
    pub manifest_digest: Option<String>,
    /// `sha256:…` of `config`: the image's id.
    pub config_digest: String,
    /// The OCI image configuration, byte for byte. Hostile until checked: see `image::config`.
    pub config: String,
    /// Lowest first.
    pub layers: Vec<LoadedLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedLayer {
    pub layer: LayerId,
    /// Bytes of its files.
    pub size: u64,
    pub entries: u64,
    /// `sha256:…` of the layer as it was in the archive, compressed or not.
    pub compressed_digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUsage {
    /// `layer`, `volume`, `container` or `log`.
    pub kind: String,
    pub id: String,
    pub bytes: u64,
    pub inodes: u64,
}

/// To a shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "verb", deny_unknown_fields)]
pub enum ShimRequest {
    /// Everything known now; the connection gets events from here on.
    Watch,
    State,
    /// Sets a container up as far as its gate.
    Create {
        config: Box<ContainerConfig>,
    },
    /// Opens the gate; answered when execve succeeded or failed.
    Start {
        container: ContainerName,
    },
    /// To the container's first process, or with `all` to everything in its cgroup.
    Kill {
        container: ContainerName,
        signal: i32,
        all: bool,
    },
    Pause {
        container: ContainerName,
    },
    Resume {
        container: ContainerName,
    },
    Update {
        container: ContainerName,
        resources: Resources,
    },
    Stats {
        container: ContainerName,
    },
    Cgroup {
        container: ContainerName,
    },
    Processes {
        container: ContainerName,
    },
    Namespaces {
        container: ContainerName,
    },
    /// The kernel operations that made the container.
    Explain {
        container: ContainerName,
    },
    /// Runs a process in the container; its output comes as `ExecOutput` events with this request's number, then the answer. One that is
    /// detached is answered with `ExecStarted` when its program runs.
    Exec {
        container: ContainerName,
        config: Box<ExecConfig>,
    },
    /// Bytes for an exec's standard input; an empty text closes it. Answered when the program has taken them, but for a few.
    ExecInput {
        exec: u64,
        data: Bytes,
    },
    /// The size of an exec's terminal, in characters.
    ExecResize {
        exec: u64,
        rows: u16,
        columns: u16,
    },
    /// The container's execs that have a name: those that run, and the last few detached ones that have ended.
    Execs {
        container: ContainerName,
    },
    /// A signal to the process of any exec.
    SignalExec {
        container: ContainerName,
        exec: ExecId,
        signal: i32,
    },
    /// SIGTERM to an exec and all that it started, SIGKILL after `grace_ms`; answered when it has ended. One that has ended is forgotten.
    EndExec {
        container: ContainerName,
        exec: ExecId,
        grace_ms: u64,
    },
    /// A signal to an exec's process.
    ExecKill {
        exec: u64,
        signal: i32,
    },
    /// The container's output from here on comes to this connection as `Output` events, beside its log, and then its `Exited`.
    Attach {
        container: ContainerName,
    },
    /// Bytes for the standard input of a container that has one; an empty text closes it. Answered as `ExecInput` is.
    Input {
        container: ContainerName,
        data: Bytes,
    },
    /// The size of the container's terminal, in characters.
    Resize {
        container: ContainerName,
        rows: u16,
        columns: u16,
    },
    /// From another sandbox's shim: its namespaces of these kinds (`net`, `pid`, `ipc`, `uts`, `user`), as descriptors with the answer.
    Join {
        kinds: Vec<String>,
    },
    /// From a worker of the launcher: all that a container has mounted, as one detached copy, and its user namespace when that is not the
    /// host's; as descriptors with the answer.
    Tree {
        container: ContainerName,
    },
    /// Kills everything, undoes mounts and cgroups, removes the run dir, answers, and ends the shim.
    StopPod,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "answer")]
pub enum ShimAnswer {
    State {
        report: PodReport,
    },
    Created {
        report: ContainerReport,
    },
    Started {
        report: ContainerReport,
    },
    Done,
    /// What came before `at` is in the log, but for the beginnings of lines that are not ended yet: stdout's, stderr's.
    Attached {
        at: Timestamp,
        unfinished: [Bytes; 2],
    },
    Stats {
        stats: Box<Stats>,
    },
    Cgroup {
        view: CgroupView,
    },
    Processes {
        processes: Vec<ProcessReport>,
        /// How many more there are, that did not fit. None from a shim that began before an upgrade.
        #[serde(default)]
        remaining: u64,
    },
    Namespaces {
        namespaces: Vec<NamespaceReport>,
    },
    Explain {
        operations: Vec<Operation>,
    },
    /// One descriptor for each kind, in this order; `shm` comes with `ipc`.
    Joined {
        kinds: Vec<String>,
        id_map: Option<IdMap>,
    },
    ExecStarted {
        exec: Box<ExecReport>,
    },
    Execs {
        execs: Vec<ExecReport>,
    },
    /// The tree comes first; a user namespace second, where there is one.
    Tree,
    ExecExited {
        exit_code: i32,
        signal: Option<i32>,
        timed_out: bool,
    },
    Failed {
        error: RuntimeError,
    },
}

/// From a shim, unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "event")]
pub enum ShimEvent {
    /// A container's first process ended; already written down in the run dir and the data dir.
    Exited { container: ContainerName, attempt: u32, exit: Exit },
    /// The kernel's OOM killer was at work; `oom_kills` counts all of this container's so far.
    OomKill { container: ContainerName, oom_kills: u64 },
    /// Output of a container, to whoever attached. `skipped` bytes before it were not sent because the connection did not keep up.
    Output { container: ContainerName, stream: u8, data: Bytes, skipped: u64 },
    /// The program of this exec runs: its execve succeeded.
    ExecStarted { exec: u64 },
    /// Output of an exec: `stream` is 1 (stdout) or 2 (stderr).
    ExecOutput { exec: u64, stream: u8, data: Bytes },
}

/// A request with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered<T> {
    pub id: u64,
    pub body: T,
}

/// What a shim sends: an answer to a numbered request, or an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum ShimMessage {
    Answer { id: u64, body: ShimAnswer },
    Event { body: ShimEvent },
}

/// Raw bytes as base64 text in JSON (RFC 4648 section 4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(#[serde(with = "base64_text")] pub Vec<u8>);

mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// One frame of `message`.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("frame of {length} bytes is over {MAX_FRAME}")));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
    Ok(frame)
}

/// The length that a frame's first four bytes announce, refused when it is over [`MAX_FRAME`].
pub fn frame_length(header: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(header) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes is over {MAX_FRAME}")));
    }
    Ok(length)
}

pub fn write_frame<T: Serialize>(out: &mut impl Write, message: &T) -> io::Result<()> {
    out.write_all(&encode(message)?)
}

/// Reads one frame; `None` at a clean end of the stream.
pub fn read_frame<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    let mut filled = 0;
    while filled < 4 {
        match input.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut body = vec![0; frame_length(header)?];
    input.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_survive_json(data: Vec<u8>) {
            let text = serde_json::to_string(&Bytes(data.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap().0, data);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(data: Vec<u8>) {
            let _ = read_frame::<Numbered<ShimRequest>>(&mut data.as_slice());
            let _ = serde_json::from_slice::<LauncherRequest>(&data);
        }
    }

    #[test]
    fn a_frame_comes_back_as_it_went() {
        let request = Numbered { id: 7, body: ShimRequest::Start { container: "web".parse().unwrap() } };
        let frame = encode(&request).unwrap();
        assert_eq!(read_frame::<Numbered<ShimRequest>>(&mut frame.as_slice()).unwrap(), Some(request));
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_before_anything_is_read() {
        let mut frame = (MAX_FRAME as u32 + 1).to_be_bytes().to_vec();
        frame.extend_from_slice(b"{}");
        assert!(read_frame::<serde_json::Value>(&mut frame.as_slice()).is_err());
    }
}
