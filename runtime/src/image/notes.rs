//! What was left out of an image, counted by kind: as long as there are kinds, however many entries there were.

use std::collections::BTreeMap;

use super::error::display;

#[derive(Debug, Default)]
pub(super) struct Notes {
    /// How many, and the first one's name.
    kinds: BTreeMap<&'static str, (u64, String)>,
}

impl Notes {
    pub(super) fn add(&mut self, kind: &'static str, entry: &[u8]) {
        self.kinds.entry(kind).or_insert_with(|| (0, display(entry))).0 += 1;
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.kinds.iter().map(|(kind, (count, first))| format!("{kind}: {count}, the first is {first:?}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_line_with_its_first_name() {
        let mut notes = Notes::default();
        notes.add("device node left out", b"dev/null");
        notes.add("device node left out", b"dev/zero");
        assert_eq!(notes.lines(), ["device node left out: 2, the first is \"dev/null\""]);
    }
}
