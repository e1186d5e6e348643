//! Room for connections: how many there are, whose, and which has been idle longest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Limits, Peer};

/// All connections of the server.
#[derive(Debug)]
pub struct Slots {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    address: Option<IpAddr>,
    /// None while a request is being handled.
    idle_since: Option<Instant>,
    evicted: CancellationToken,
}

/// Room for one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    /// Cancelled when another connection needs the room.
    pub(super) evicted: CancellationToken,
    /// When the connection is to be closed, unless something happens before.
    pub(super) deadline: watch::Sender<Option<Instant>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    active: usize,
    head_begun: bool,
    multiplexed: bool,
}

impl Slots {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Slots { limits, inner: Mutex::default() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more; the longest idle one of the same address, or of all, makes way. None when nobody is idle.
    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Option<Slot> {
        let address = match peer {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix { .. } => None,
        };
        let mut inner = self.lock();
        if address.is_some() && inner.open.values().filter(|open| open.address == address).count() >= self.limits.per_address {
            inner.evict(|open| open.address == address)?;
        }
        if inner.open.len() >= self.limits.connections {
            inner.evict(|_| true)?;
        }
        let number = inner.next;
        inner.next += 1;
        let now = Instant::now();
        let evicted = CancellationToken::new();
        inner.open.insert(number, Open { address, idle_since: Some(now), evicted: evicted.clone() });
        drop(inner);
        let (deadline, _) = watch::channel(Some(now + self.limits.head));
        let state = Mutex::new(State { active: 0, head_begun: true, multiplexed: false });
        Some(Slot { slots: Arc::clone(self), number, evicted, deadline, state })
    }
}

impl Inner {
    fn evict(&mut self, which: impl Fn(&Open) -> bool) -> Option<()> {
        let oldest = self.open.iter().filter(|(_, open)| which(open) && open.idle_since.is_some()).min_by_key(|(_, open)| open.idle_since);
        let number = *oldest?.0;
        // Out of the count at once; its task ends a moment later.
        self.open.remove(&number)?.evicted.cancel();
        Some(())
    }
}

impl Slot {
    pub(super) fn limits(&self) -> &Limits {
        &self.slots.limits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_idle_since(&self, when: Option<Instant>) {
        if let Some(open) = self.slots.lock().open.get_mut(&self.number) {
            open.idle_since = when;
        }
    }

    /// Bytes came in. Between requests they begin a head, which has to come to its end soon.
    pub(super) fn received(&self) {
        let mut state = self.state();
        // HTTP/2 has frames between requests; its library keeps the time there.
        if state.active == 0 && !state.head_begun && !state.multiplexed {
            state.head_begun = true;
            self.deadline.send_replace(Some(Instant::now() + self.limits().head));
        }
    }

    /// A request's head is complete.
    pub(super) fn begin(&self, multiplexed: bool) {
        let mut state = self.state();
        state.active += 1;
        state.head_begun = false;
        state.multiplexed = multiplexed;
        self.deadline.send_replace(None);
        self.set_idle_since(None);
    }

    /// A response has been sent, or given up.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.active = state.active.saturating_sub(1);
        if state.active == 0 {
            let now = Instant::now();
            self.deadline.send_replace(Some(now + self.limits().idle));
            self.set_idle_since(Some(now));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(last: u8) -> Peer {
        Peer::Tcp(([127, 0, 0, last], 1).into())
    }

    fn slots(connections: usize, per_address: usize) -> Arc<Slots> {
        Slots::new(Limits { connections, per_address, ..Limits::default() })
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room() {
        let slots = slots(2, 2);
        let first = slots.take(tcp(1)).unwrap();
        let second = slots.take(tcp(2)).unwrap();
        let third = slots.take(tcp(3)).unwrap();
        assert!(first.evicted.is_cancelled());
        assert!(!second.evicted.is_cancelled());
        assert_eq!(slots.open(), 2);
        drop((first, second, third));
        assert_eq!(slots.open(), 0);
    }

    #[tokio::test]
    async fn who_is_at_work_is_not_evicted() {
        let slots = slots(1, 1);
        let busy = slots.take(tcp(1)).unwrap();
        busy.begin(false);
        assert!(slots.take(tcp(2)).is_none());
        assert!(busy.deadline.borrow().is_none());
        busy.end();
        assert!(slots.take(tcp(2)).is_some());
        assert!(busy.evicted.is_cancelled());
    }

    #[tokio::test]
    async fn one_address_cannot_take_it_all() {
        let slots = slots(10, 1);
        let one = slots.take(tcp(1)).unwrap();
        let _other = slots.take(tcp(2)).unwrap();
        let _again = slots.take(tcp(1)).unwrap();
        assert!(one.evicted.is_cancelled());
        assert!(slots.take(Peer::Unix { uid: 0 }).is_some());
    }
}
