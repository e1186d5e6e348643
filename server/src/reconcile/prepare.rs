//! What a start would be asked with: the sandbox and the container in the runtime's words.

use std::collections::BTreeMap;

use runtime::config::{ContainerConfig, PodConfig};
use runtime::id::VolumeId;

use super::error::StartError;
use super::shared::Shared;
use crate::model::Phase;
use crate::model::container::MountType;
use crate::model::validate::joined_container;
use crate::node::convert::{self, Joined, Start};
use crate::store::ContainerRecord;

impl Shared {
    pub(super) async fn prepare(&self, record: &ContainerRecord, attempt: u32) -> Result<(PodConfig, ContainerConfig), StartError> {
        let joined = self.join_target(record)?;
        self.prepare_with(record, joined.as_ref(), attempt).await
    }

    /// For a look at a container's files. One that runs has what it joined, whatever became of that since: nothing of it is joined again.
    pub(super) async fn prepare_for_files(&self, record: &ContainerRecord) -> Result<(PodConfig, ContainerConfig), StartError> {
        let joined = match self.join_target(record) {
            Err(StartError::Target { .. }) if matches!(record.status.phase, Phase::Running | Phase::Paused) => {
                Some(Joined { pod: record.uid.clone(), host_users: false })
            }
            other => other?,
        };
        self.prepare_with(record, joined.as_ref(), record.progress.attempts).await
    }

    async fn prepare_with(
        &self,
        record: &ContainerRecord,
        joined: Option<&Joined>,
        attempt: u32,
    ) -> Result<(PodConfig, ContainerConfig), StartError> {
        let no_image = || StartError::NoImage { image: record.spec.image.clone() };
        let image = self.store.image_by_id(&record.image).ok_or_else(no_image)?;
        let volumes = self.volumes(record).await?;
        let counts_swap = convert::counts_swap(&*self.facts().await?);
        let start = Start { record, image: &image, joined, volumes: &volumes, counts_swap, attempt };
        Ok((convert::pod(start)?, convert::container(start)?))
    }

    /// Who is joined is looked up now: the name may mean another container than at the last start.
    fn join_target(&self, record: &ContainerRecord) -> Result<Option<Joined>, StartError> {
        let Some(target) = joined_container(&record.spec.namespaces) else { return Ok(None) };
        let unfit = |why| StartError::Target { target: target.to_owned(), why };
        let other = self.store.container(target).map_err(|_| unfit("does not exist"))?;
        if other.uid == record.uid {
            return Err(unfit("is itself"));
        }
        if other.status.phase != Phase::Running {
            return Err(unfit("is not running"));
        }
        // As Docker's `--ipc`: memory is given to others only by who says so. The other kinds may be joined as they are.
        if record.spec.namespaces.ipc.starts_with("container:") && other.spec.namespaces.ipc == "private" {
            return Err(unfit("keeps its IPC to itself: give that container `ipc: shareable`"));
        }
        // What it shares with the host comes along with it, and is the host's all the same: it must be said here, where who may is checked.
        let (ours, theirs) = (&record.spec.namespaces, &other.spec.namespaces);
        let shared = [
            (&ours.network, &theirs.network, "the host's network: say `network: host`"),
            (&ours.pid, &theirs.pid, "the host's processes: say `pid: host`"),
            (&ours.ipc, &theirs.ipc, "the host's IPC: say `ipc: host`"),
            (&ours.uts, &theirs.uts, "the host's name: say `uts: host`"),
        ];
        if let Some((.., what)) = shared.into_iter().find(|(mine, its, _)| mine.starts_with("container:") && *its == "host") {
            return Err(StartError::Target { target: target.to_owned(), why: what });
        }
        let host_users = theirs.user == "host";
        if host_users && ours.user != "host" {
            return Err(unfit("the host's users: say `user: host`"));
        }
        Ok(Some(Joined { pod: other.uid.clone(), host_users }))
    }

    /// Their folders, made where they are not there yet.
    async fn volumes(&self, record: &ContainerRecord) -> Result<BTreeMap<String, VolumeId>, StartError> {
        let mut volumes = BTreeMap::new();
        for name in record.spec.mounts.iter().filter(|mount| mount.kind == MountType::Volume).filter_map(|mount| mount.source.as_deref()) {
            // One that is gone is told of by name, by the conversion.
            let Ok(volume) = self.store.volume(name) else { continue };
            self.node().create_volume(volume.id.clone()).await?;
            volumes.insert(name.to_owned(), volume.id.clone());
        }
        for (target, name) in &record.status.volumes {
            let Ok(volume) = self.store.volume(name) else { continue };
            self.node().create_volume(volume.id.clone()).await?;
            volumes.insert(target.clone(), volume.id.clone());
        }
        Ok(volumes)
    }
}
