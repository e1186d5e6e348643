//! Disk in use: measured by the launcher when it is asked for, and remembered with its time. A walk over everything there is takes its
//! time, so lists show what was measured last, and several who ask at once wait for one walk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::node::{Node, NodeError};

/// Bytes on disk and inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub bytes: u64,
    pub inodes: u64,
}

/// One walk's figures.
#[derive(Debug)]
pub struct Measured {
    pub at: Timestamp,
    /// By kind (`layer`, `volume`, `container`, `log`) and id.
    amounts: BTreeMap<(String, String), Amount>,
}

impl Measured {
    pub fn of(&self, kind: &str, id: &str) -> Option<Amount> {
        self.amounts.get(&(kind.to_owned(), id.to_owned())).copied()
    }

    /// Ids of one kind with their bytes.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.amounts.iter().filter(move |((of, _), _)| of == kind).map(|((_, id), amount)| (id.as_str(), amount.bytes))
    }
}

#[derive(Debug)]
pub struct Usage {
    node: Arc<dyn Node>,
    clock: Arc<dyn Clock>,
    last: StdMutex<Option<Arc<Measured>>>,
    /// Held during a walk.
    turn: Mutex<()>,
}

impl Usage {
    pub fn new(node: Arc<dyn Node>, clock: Arc<dyn Clock>) -> Self {
        Usage { node, clock, last: StdMutex::default(), turn: Mutex::default() }
    }

    /// What was measured last.
    pub fn last(&self) -> Option<Arc<Measured>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Measured since it was asked for.
    pub async fn measure(&self) -> Result<Arc<Measured>, NodeError> {
        let asked = self.clock.now();
        let _turn = self.turn.lock().await;
        // A walk that began after the question answers it.
        if let Some(last) = self.last().filter(|last| last.at > asked) {
            return Ok(last);
        }
        let at = self.clock.now();
        let items = self.node.disk_usage().await?;
        let amounts = items.into_iter().map(|item| ((item.kind, item.id), Amount { bytes: item.bytes, inodes: item.inodes })).collect();
        let measured = Arc::new(Measured { at, amounts });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&measured));
        Ok(measured)
    }
}
