//! Wipes what is no longer in use of the database's file: redb frees pages and keeps their bytes, and a
//! page in use may have the bytes of a row behind those that are left. Called before a deletion may be
//! told as erased, so that one cut off is done again after a restart.
//!
//! The tables with texts are written anew, onto pages that hold nothing else; commits let redb free what
//! earlier ones gave up; then free pages are taken and filled with zeros. A commit takes pages itself and
//! would double the file if there were none, so the last free ones are taken in a transaction of their
//! own, which leaves its commit a block that is zeros already. A read transaction from before that stays
//! open keeps its pages: it is found out by the sums, and the wipe is done again.

use std::path::Path;

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::Catalogue;
use super::templates::{FACTS, TEXTS};
use crate::store::StoreError;
use crate::store::disk::Disk;

const TEXTS_ANEW: TableDefinition<u64, &str> = TableDefinition::new("store.wipe.templates");
const FACTS_ANEW: TableDefinition<u64, &[u8]> = TableDefinition::new("store.wipe.facts");
/// Filled with zeros, one page a row.
const FILL: TableDefinition<u64, &[u8]> = TableDefinition::new("store.wipe.fill");
/// One row of [`RESERVE_PAGES`] zeros.
const RESERVE: TableDefinition<u64, &[u8]> = TableDefinition::new("store.wipe.reserve");

/// Commits after which no page is left that an earlier transaction gave up: redb frees pages with the
/// first commit that no reader is before, and those of its own tables one later.
const DRAIN_COMMITS: u64 = 4;

/// Pages of the block left to the last commit, which takes a handful. A power of two: redb takes such a
/// row from a block of just this size.
const RESERVE_PAGES: u64 = 64;

/// Free pages that the growing table leaves: it needs some on its way, and so do the commits after it.
const LEFT_PAGES: u64 = 16;

/// The last free pages are taken by tables with one row each: that takes one page and gives none back.
/// Fewer than [`RESERVE_PAGES`], so that only the reserve is a block of as many.
const LAST_PAGES: u64 = 48;

/// A row with its key and its place leaves this much of a page.
const ROW_OVERHEAD: usize = 96;

/// Pages filled at once: 4 GiB, a catalogue of more segments than a disk holds.
const FILLED_PAGES_MAX: u64 = 1 << 20;

/// Rounds that come closer to the last free pages: each ends with a sixty-fourth left of what it began
/// with.
const ROUNDS_MAX: usize = 16;

impl Catalogue {
    /// Leaves no byte in the file of rows that were removed from the tables with texts. False: some free
    /// pages were not reached, and it has to be done again.
    ///
    /// # Errors
    /// The disk refuses.
    pub(in crate::store) fn wipe(&self, disk: &Disk, path: &Path) -> Result<bool, StoreError> {
        let mut known = self.known();
        if !known.has_removed() {
            return Ok(true);
        }
        self.write_texts_anew()?;
        self.drain()?;
        self.fill(data_pages(disk, path)?)?;
        let txn = self.database.begin_write()?;
        txn.open_table(RESERVE)?.remove(0)?;
        txn.commit()?;
        self.drain()?;
        let is_full = self.fill_last(data_pages(disk, path)?)?;
        let txn = self.database.begin_write()?;
        delete_scratch(&txn)?;
        txn.commit()?;
        if is_full {
            known.wiped();
        }
        Ok(is_full)
    }

    /// Lets redb free what earlier transactions gave up.
    fn drain(&self) -> Result<(), StoreError> {
        for number in 0..DRAIN_COMMITS {
            let txn = self.database.begin_write()?;
            txn.open_table(FILL)?.insert(number, &[][..])?;
            txn.commit()?;
        }
        Ok(())
    }

    /// Takes nearly all free pages of `n_pages`, and writes zeros onto them.
    fn fill(&self, n_pages: u64) -> Result<(), StoreError> {
        let txn = self.database.begin_write()?;
        let zeros = vec![0; page_bytes(&txn)? - ROW_OVERHEAD];
        let mut next = DRAIN_COMMITS;
        for _ in 0..ROUNDS_MAX {
            let free = free_pages(&txn, n_pages)?;
            if free <= LEFT_PAGES + LEFT_PAGES / 2 || next > FILLED_PAGES_MAX {
                break;
            }
            // Less what the table needs for its branches.
            let rows = free - LEFT_PAGES;
            let mut fill = txn.open_table(FILL)?;
            for _ in 0..(rows - rows / 64).min(FILLED_PAGES_MAX) {
                fill.insert(next, &zeros[..])?;
                next += 1;
            }
        }
        Ok(txn.commit()?)
    }

    /// Takes the free pages that are left, but for the reserve; false when there are too many of them.
    fn fill_last(&self, n_pages: u64) -> Result<bool, StoreError> {
        let txn = self.database.begin_write()?;
        let free = free_pages(&txn, n_pages)?;
        if !(RESERVE_PAGES..=RESERVE_PAGES + LAST_PAGES).contains(&free) {
            txn.abort()?;
            return Ok(false);
        }
        let page_bytes = page_bytes(&txn)?;
        let zeros = vec![0; page_bytes * RESERVE_PAGES as usize - ROW_OVERHEAD];
        txn.open_table(RESERVE)?.insert(0, &zeros[..])?;
        for number in 0..free - RESERVE_PAGES {
            let name = last_table(number);
            let mut table = txn.open_table(TableDefinition::<u64, &[u8]>::new(&name))?;
            table.insert(0, &zeros[..page_bytes - ROW_OVERHEAD])?;
        }
        let is_full = free_pages(&txn, n_pages)? == 0;
        // Never written by this transaction, so what is on the disk of it are the zeros of before.
        txn.open_table(RESERVE)?.remove(0)?;
        txn.commit()?;
        Ok(is_full)
    }

    /// Also sets up the scratch tables; what a wipe that was cut off has left of them goes first.
    fn write_texts_anew(&self) -> Result<(), StoreError> {
        let txn = self.database.begin_write()?;
        delete_scratch(&txn)?;
        {
            let mut anew = txn.open_table(TEXTS_ANEW)?;
            for entry in txn.open_table(TEXTS)?.iter()? {
                let (id, text) = entry?;
                anew.insert(id.value(), text.value())?;
            }
            let mut anew = txn.open_table(FACTS_ANEW)?;
            for entry in txn.open_table(FACTS)?.iter()? {
                let (segment, row) = entry?;
                anew.insert(segment.value(), row.value())?;
            }
        }
        txn.delete_table(TEXTS)?;
        txn.delete_table(FACTS)?;
        txn.rename_table(TEXTS_ANEW, TEXTS)?;
        txn.rename_table(FACTS_ANEW, FACTS)?;
        let zeros = vec![0; page_bytes(&txn)? * RESERVE_PAGES as usize - ROW_OVERHEAD];
        txn.open_table(RESERVE)?.insert(0, &zeros[..])?;
        for number in 0..LAST_PAGES {
            // An entry made later would take pages of its own.
            let name = last_table(number);
            txn.open_table(TableDefinition::<u64, &[u8]>::new(&name))?;
        }
        Ok(txn.commit()?)
    }
}

fn page_bytes(txn: &WriteTransaction) -> Result<usize, StoreError> {
    Ok(txn.stats()?.page_size())
}

fn last_table(number: u64) -> String {
    format!("store.wipe.last.{number:02}")
}

fn delete_scratch(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.delete_table(TEXTS_ANEW)?;
    txn.delete_table(FACTS_ANEW)?;
    txn.delete_table(FILL)?;
    txn.delete_table(RESERVE)?;
    for number in 0..LAST_PAGES {
        let name = last_table(number);
        txn.delete_table(TableDefinition::<u64, &[u8]>::new(&name))?;
    }
    Ok(())
}

fn free_pages(txn: &WriteTransaction, n_pages: u64) -> Result<u64, StoreError> {
    Ok(n_pages.saturating_sub(txn.stats()?.allocated_pages()))
}

/// Pages of the file as of the last commit, free or not: from redb's header ("Header" of its design
/// document), since it tells those in use alone.
fn data_pages(disk: &Disk, path: &Path) -> Result<u64, StoreError> {
    let mut header = [0; 32];
    disk.open(path)
        .and_then(|file| file.read_exact_at(&mut header, 0))
        .map_err(StoreError::io("read", path))?;
    let number = |at: usize| {
        let bytes = [0, 1, 2, 3].map(|i| header[at + i]);
        u64::from(u32::from_le_bytes(bytes))
    };
    let (of_region, full_regions, trailing) = (number(20), number(24), number(28));
    Ok(of_region * full_regions + trailing)
}
