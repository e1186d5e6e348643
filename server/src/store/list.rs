//! Lists: filtered, in the order of names, a page at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Store;
use super::container::ContainerRecord;
use super::error::{Lookup, StoreError};
use crate::model::selector::Selector;
use crate::model::{ListMeta, Phase};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    pub selector: Selector,
    pub phase: Option<Phase>,
    /// None is all of them.
    pub limit: Option<usize>,
    /// What the last page gave as `continue`.
    pub continue_token: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<Arc<T>>,
    pub meta: ListMeta,
}

/// The text given as `continue` is not one that a list gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a continue token of this list")]
pub struct BadToken(pub String);

/// A token is the last name shown: pages stay right when items come and go between them.
const TOKEN_PREFIX: &str = "after.";

pub(super) fn after(token: Option<&str>) -> Result<&str, BadToken> {
    match token {
        None | Some("") => Ok(""),
        Some(token) => token.strip_prefix(TOKEN_PREFIX).ok_or_else(|| BadToken(token.chars().take(80).collect())),
    }
}

/// By name, uid, or a unique beginning of the uid of 8 characters or more.
pub(super) fn find<T>(all: &BTreeMap<String, Arc<T>>, kind: &'static str, key: &str, uid: impl Fn(&T) -> &str) -> Result<Arc<T>, Lookup> {
    if let Some(record) = all.get(key) {
        return Ok(Arc::clone(record));
    }
    let mut found = all.values().filter(|record| key.len() >= 8 && uid(record).starts_with(key));
    match (found.next(), found.count()) {
        (Some(record), 0) => Ok(Arc::clone(record)),
        (Some(_), more) => Err(Lookup::Ambiguous { key: key.to_owned(), matches: more + 1 }),
        (None, _) => Err(Lookup::NotFound { kind, key: key.chars().take(80).collect() }),
    }
}

/// A map of labels or annotations, as it is kept.
pub(super) fn text(map: &BTreeMap<String, String>, kind: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(map).map_err(StoreError::encode(kind))
}

/// The page of what `wanted` yields in the order of names; each comes with its name.
pub(super) fn page<'a, T: 'a>(query: &ListQuery, revision: u64, wanted: impl Iterator<Item = (&'a String, &'a Arc<T>)>) -> Page<T> {
    let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    let mut last = None;
    let mut remaining = 0;
    for (name, item) in wanted {
        if items.len() < limit {
            items.push(Arc::clone(item));
            last = Some(name);
        } else {
            remaining += 1;
        }
    }
    let continue_token = if remaining > 0 { last.map(|name| format!("{TOKEN_PREFIX}{name}")).unwrap_or_default() } else { String::new() };
    Page { items, meta: ListMeta { continue_token, remaining_item_count: remaining, resource_version: revision.to_string() } }
}

impl Store {
    pub fn list_containers(&self, query: &ListQuery) -> Result<Page<ContainerRecord>, BadToken> {
        let after = after(query.continue_token.as_deref())?.to_owned();
        Ok(self.inner.writer.read(|tables| {
            let wanted = tables
                .container_names
                .range::<String, _>((std::ops::Bound::Excluded(&after), std::ops::Bound::Unbounded))
                .filter_map(|(name, uid)| tables.containers.get(uid).map(|record| (name, record)))
                .filter(|(_, record)| query.phase.is_none_or(|phase| record.status.phase == phase))
                .filter(|(_, record)| query.selector.is_empty() || query.selector.matches(&record.meta.labels));
            page(query, tables.revision, wanted)
        }))
    }

    /// How many there are, by phase.
    pub fn count_containers(&self) -> Vec<(Phase, usize)> {
        let phases = [Phase::Created, Phase::Running, Phase::Paused, Phase::Exited, Phase::Restarting, Phase::Dead];
        let mut counts = phases.map(|phase| (phase, 0));
        self.inner.writer.read(|tables| {
            for record in tables.containers.values() {
                counts[record.status.phase as usize].1 += 1;
            }
        });
        counts.to_vec()
    }
}
