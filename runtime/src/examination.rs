//! What `berth doctor` is told: what this host can do, tried anew, and everything on it that bears Berth's name.
//!
//! Facts only. What is missing, what is too much and what that means is judged by whoever knows the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, PodId};
use crate::status::HostFacts;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Examination {
    pub facts: HostFacts,
    pub storage: FileSystem,
    /// Of the process that starts containers.
    pub descriptors: Descriptors,
    /// Whether the kernel's clock is kept in step with others; None where it cannot be asked.
    pub clock_synchronised: Option<bool>,
    /// Program to `available` or the reason why not: `nft`, `tc`, which networks need.
    pub tools: BTreeMap<String, String>,
    pub inventory: Inventory,
}

/// Where the data folder is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSystem {
    /// As in the mount table: `ext4`, `xfs`, …
    pub kind: String,
    pub total_bytes: u64,
    /// For those who are not root.
    pub free_bytes: u64,
    /// 0 where the file system makes them as they are needed.
    pub total_inodes: u64,
    pub free_inodes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptors {
    pub soft: u64,
    pub hard: u64,
    /// Open on the whole machine, and the most that may be.
    pub open: u64,
    pub most: u64,
}

/// Everything that bears this instance's name, and the names of the others'.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Inventory {
    pub run_dirs: Vec<RunDirFound>,
    pub cgroups: Vec<CgroupFound>,
    /// Folders of sandboxes in the data folder.
    pub pods: Vec<PodId>,
    pub layers: Vec<String>,
    pub volumes: Vec<String>,
    /// Half-made and half-removed things in the data folder.
    pub unfinished: Vec<Unfinished>,
    /// Mount points in the host's own table at or below the data and run folder's parts.
    pub mounts: Vec<String>,
    pub other_instances: Vec<OtherInstance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDirFound {
    pub pod: PodId,
    /// A shim holds its lock.
    pub alive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupFound {
    pub pod: PodId,
    pub processes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    pub path: String,
    /// A living worker has it locked.
    pub in_use: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherInstance {
    pub instance: InstanceId,
    pub processes: usize,
}
