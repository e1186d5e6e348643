//! What the rows say there should be.

use std::collections::BTreeSet;

use crate::store::Store;

/// Ids as the runtime's folders and cgroups have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    pub pods: BTreeSet<String>,
    pub layers: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    /// Container's name and the first of its 65,536 host ids.
    pub id_ranges: Vec<(String, u32)>,
    /// Of this host's own users: see subuid(5).
    pub subordinate: Vec<SubordinateIds>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubordinateIds {
    pub user: String,
    pub first: u64,
    pub count: u64,
}

impl Owned {
    pub fn of(store: &Store) -> Self {
        let containers = store.all_containers();
        Owned {
            pods: containers.iter().map(|record| record.uid.to_string()).collect(),
            layers: store.layer_ids().into_iter().collect(),
            volumes: store.volume_ids().into_iter().collect(),
            id_ranges: containers.iter().filter_map(|record| Some((record.meta.name.clone(), record.uid_base()?))).collect(),
            subordinate: Vec::new(),
        }
    }

    /// With what the host gave its users.
    #[must_use]
    pub fn beside(mut self, subuid: &str, subgid: &str) -> Self {
        self.subordinate = subuid.lines().chain(subgid.lines()).filter_map(SubordinateIds::parse).collect();
        self
    }

    /// What either has: for two looks, before and after.
    #[must_use]
    pub fn or(mut self, other: Owned) -> Self {
        self.pods.extend(other.pods);
        self.layers.extend(other.layers);
        self.volumes.extend(other.volumes);
        self
    }
}

impl SubordinateIds {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (user, first, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(SubordinateIds { user: user.to_owned(), first, count })
    }
}
