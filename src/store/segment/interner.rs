//! Numbers for distinct byte strings, in order of first appearance.

use xxhash_rust::xxh3::xxh3_64;

/// A set of byte strings in one buffer.
#[derive(Debug)]
pub(crate) struct Interner {
    bytes: Vec<u8>,
    /// Hash and end of each string.
    entries: Vec<(u64, u32)>,
    /// Open addressing: number plus one.
    slots: Vec<u32>,
}

impl Default for Interner {
    fn default() -> Interner {
        Interner {
            bytes: Vec::new(),
            entries: Vec::new(),
            slots: vec![0; 64],
        }
    }
}

impl Interner {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all strings together.
    pub(crate) fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The string of a number given out by [`Interner::intern`].
    pub(crate) fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |n| self.entries[n].1);
        &self.bytes[start as usize..self.entries[number].1 as usize]
    }

    /// All strings by their numbers, for interners of texts.
    pub(crate) fn texts(&self) -> Vec<Box<str>> {
        let strings = (0..self.len() as u32).map(|number| self.get(number));
        strings
            .map(|text| String::from_utf8_lossy(text).into())
            .collect()
    }

    pub(crate) fn find(&self, bytes: &[u8]) -> Option<u32> {
        self.slot(bytes, xxh3_64(bytes)).ok()
    }

    pub(crate) fn intern(&mut self, bytes: &[u8]) -> u32 {
        let hash = xxh3_64(bytes);
        let slot = match self.slot(bytes, hash) {
            Ok(number) => return number,
            Err(slot) => slot,
        };
        let number = self.entries.len() as u32;
        self.slots[slot] = number + 1;
        self.bytes.extend_from_slice(bytes);
        let end =
            u32::try_from(self.bytes.len()).expect("a head is limited to far less than 4 GiB");
        self.entries.push((hash, end));
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
        number
    }

    /// The number of `bytes`, or the free slot where it belongs.
    fn slot(&self, bytes: &[u8], hash: u64) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(number) = self.slots[slot].checked_sub(1) {
            if self.entries[number as usize].0 == hash && self.get(number) == bytes {
                return Ok(number);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
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
