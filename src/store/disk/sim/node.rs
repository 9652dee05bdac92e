//! The content of one simulated file: what is on the platter, what a reader sees, and the changes in
//! between.

use super::Dice;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) content: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

/// Bytes that a drive writes as one: a torn write ends at a multiple of it.
const SECTOR_BYTES: u64 = 512;
/// Bytes that the page cache writes back as one.
const PAGE_BYTES: u64 = 4096;

impl Node {
    pub(super) fn set_len(&mut self, len: u64) {
        self.apply(Change::SetLen(len));
    }

    pub(super) fn apply(&mut self, change: Change) {
        change.apply_to(&mut self.content);
        self.pending.push(change);
    }

    /// Synced bytes and a random part of the others: none, all, the first few changes, or single
    /// sectors or pages of each write, with the file as long as they reach or as it was.
    pub(super) fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.durable.clone();
        let whole = match dice.below(5) {
            0 => 0,
            1 => self.pending.len(),
            2 => dice.below(self.pending.len() as u64 + 1) as usize,
            _ => {
                self.keep_parts(&mut content, dice);
                if dice.chance(2) && content.len() < self.content.len() {
                    content.resize(self.content.len(), 0);
                }
                return content;
            }
        };
        for change in &self.pending[..whole] {
            change.apply_to(&mut content);
        }
        content
    }

    fn keep_parts(&self, content: &mut Vec<u8>, dice: &mut Dice) {
        let unit = if dice.chance(2) {
            SECTOR_BYTES
        } else {
            PAGE_BYTES
        };
        for change in &self.pending {
            match change {
                Change::SetLen(_) => {
                    if dice.chance(2) {
                        change.apply_to(content);
                    }
                }
                Change::Write { offset, bytes } => {
                    let mut at = *offset;
                    let end = offset + bytes.len() as u64;
                    while at < end {
                        let to = ((at / unit + 1) * unit).min(end);
                        if dice.chance(2) {
                            let part = &bytes[(at - offset) as usize..(to - offset) as usize];
                            write_at(content, part, at);
                        }
                        at = to;
                    }
                }
            }
        }
    }
}

impl Change {
    fn apply_to(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write_at(content, bytes, *offset),
            Change::SetLen(len) => content.resize(*len as usize, 0),
        }
    }
}

fn write_at(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}
