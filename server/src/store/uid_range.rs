//! Ranges of 65,536 user ids, one a sandbox, persisted, never overlapping, never given again while their row lives.
//!
//! Slot `n` is the ids `n * 65,536` to `n * 65,536 + 65,535`. Slots below 16 belong to the host's own users and to the first of its
//! subordinate ids (subuid(5)); those from 32,768 on would pass 2^31, which not every program takes for an id. Where the search begins is
//! derived from the instance's id, so that instances beside one another seldom meet, and it goes on from the last one given, so that a
//! range rests as long as possible before it is somebody else's.

use super::error::StoreError;
use super::memory::Tables;
use super::statement::Piece;

const FIRST: u16 = 16;
/// One past the last.
const END: u16 = 32_768;
const TOTAL: u16 = END - FIRST;

pub(super) fn base(slot: u16) -> u32 {
    u32::from(slot) << 16
}

/// Where an instance begins.
pub(super) fn start_of(instance: &str) -> u16 {
    let number = u32::from_str_radix(instance, 16).unwrap_or(0);
    FIRST + (number % u32::from(TOTAL)) as u16
}

pub(super) fn allocate(tables: &Tables) -> Result<u16, StoreError> {
    let start = if (FIRST..END).contains(&tables.next_slot) { tables.next_slot } else { FIRST };
    (start..END).chain(FIRST..start).find(|slot| !tables.slots.contains_key(slot)).ok_or(StoreError::NoUidRange { total: u32::from(TOTAL) })
}

pub(super) fn remember(slot: u16) -> Piece {
    Piece::new(
        "INSERT INTO settings (name, value) VALUES ('next_slot', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [u32::from(slot + 1).to_string().into()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_go_round_and_end_with_an_error() {
        let owner: runtime::id::PodId = "0".repeat(32).parse().unwrap();
        let mut tables = Tables { next_slot: END - 1, ..Tables::default() };
        let mut given = std::collections::BTreeSet::new();
        for _ in 0..TOTAL {
            let slot = allocate(&tables).unwrap();
            assert!((FIRST..END).contains(&slot) && given.insert(slot), "{slot}");
            tables.slots.insert(slot, owner.clone());
            tables.next_slot = slot + 1;
        }
        assert!(matches!(allocate(&tables), Err(StoreError::NoUidRange { .. })));
        tables.slots.remove(&20);
        assert_eq!(allocate(&tables).unwrap(), 20);
    }

    #[test]
    fn the_last_range_ends_below_two_to_the_31() {
        assert_eq!(u64::from(base(END - 1)) + 65_535, (1 << 31) - 1);
        assert!(base(FIRST) >= 1_000_000);
    }

    proptest! {
        #[test]
        fn every_instance_begins_inside(id in "[0-9a-f]{8}") {
            prop_assert!((FIRST..END).contains(&start_of(&id)));
        }
    }
}
