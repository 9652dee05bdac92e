//! Numbers for distinct byte strings that somebody else keeps, in order of first appearance: nothing
//! is copied. [`super::interner::Interner`] is for those that have to outlive their source.

use xxhash_rust::xxh3::xxh3_64;

/// A set of borrowed byte strings.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    entries: Vec<(u64, &'a [u8])>,
    /// Open addressing: number plus one.
    slots: Vec<u32>,
}

impl Default for Known<'_> {
    fn default() -> Self {
        Known {
            entries: Vec::new(),
            slots: vec![0; 1024],
        }
    }
}

impl<'a> Known<'a> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The string of a number that [`Known::number`] has given.
    pub(crate) fn get(&self, number: u32) -> &'a [u8] {
        self.entries[number as usize].1
    }

    /// The number of a string, and whether it is new.
    #[inline]
    pub(crate) fn number(&mut self, bytes: &'a [u8]) -> (u32, bool) {
        let hash = xxh3_64(bytes);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(number) = self.slots[slot].checked_sub(1) {
            let (other, known) = self.entries[number as usize];
            if other == hash && known == bytes {
                return (number, false);
            }
            slot = (slot + 1) & mask;
        }
        let number = self.entries.len() as u32;
        self.slots[slot] = number + 1;
        self.entries.push((hash, bytes));
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
        (number, true)
    }

    fn grow(&mut self) {
        let n_slots = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(n_slots, 0);
        for (number, (hash, _)) in self.entries.iter().enumerate() {
            let mut slot = *hash as usize & (n_slots - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (n_slots - 1);
            }
            self.slots[slot] = number as u32 + 1;
        }
    }
}
