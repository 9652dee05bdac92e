//! The catalogue: which segments there are, up to where the log is in them, what is damaged. It is
//! the truth; a file it does not name is no segment. Layout: docs/formats/catalogue.md.
//!
//! Never on the per-record path: one transaction per published segment. After an I/O error redb
//! refuses more work until it is reopened, which is what the store promises anyway.

mod file;
mod keys;
mod row;
mod series;
mod templates;
mod wipe;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::WriteTransaction;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::deletion::{self, DELETIONS_KEPT_MAX, Deletion, Progress};
use super::disk::Disk;
use super::error::StoreError;
use super::partition::Partition;
use super::templates::{Mined, TemplateIndex};
use crate::model::{ProjectId, Signal, Timestamp};
use file::{create, open_database};
use keys::{decode_keys, encode_keys};
use row::{decode_row, encode_row};
pub(crate) use series::{SeriesContent, SeriesEdit};
use templates::{Figures, Known};

/// Segment id -> [`SegmentRow`] as bytes.
const SEGMENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("store.segments");
/// Name -> number; the names are the constants below.
const STATE: TableDefinition<&str, u64> = TableDefinition::new("store.state");
/// Dedup keys of sealed requests: id of the first segment sealed with them -> packed keys.
const KEYS: TableDefinition<u64, &[u8]> = TableDefinition::new("store.keys");
/// Path below the data directory -> why, signal ([`BOTH`]: any), first and last time it covered.
const QUARANTINE: TableDefinition<&str, (&str, u8, u64, u64)> =
    TableDefinition::new("store.quarantine");
/// Number of a deletion -> [`Deletion`] as bytes.
const DELETIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("store.deletions");
/// Retention class -> the service it is of.
const CLASSES: TableDefinition<u8, &str> = TableDefinition::new("store.classes");
/// In place of a signal's number: a log file holds both.
const BOTH: u8 = 255;

const FORMAT: &str = "format";
const NEXT_SEGMENT: &str = "next_segment";
const WAL_LOW: &str = "wal_low";
const WAL_SYNCED: &str = "wal_synced";
const CLOCK: &str = "clock";
const SEALED: [&str; Signal::ALL.len()] = ["sealed.traces", "sealed.logs", "sealed.metrics"];

/// The format of the whole data directory; segments and log frames have their own. 2 has deletions,
/// which a version that does not know them would show again; 3 has templates, which must go with
/// their segments; 4 has metrics.
pub(crate) const FORMAT_VERSION: u64 = 4;

/// One segment, as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub(crate) id: u64,
    pub(crate) signal: Signal,
    pub(crate) project: ProjectId,
    pub(crate) partition: Partition,
    /// 0: sealed from a head; each merge adds one.
    pub(crate) level: u8,
    pub(crate) rows: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// OTLP bytes that went in.
    pub(crate) raw_bytes: u64,
    pub(crate) crc: u32,
    /// Nothing of the deletions up to this number is in it: carried out, or it came later.
    pub(crate) cleared: u64,
}

impl SegmentRow {
    /// Its file below the data directory.
    pub(crate) fn path(&self) -> String {
        let dir = self.partition.dir(self.signal);
        format!("{dir}/{:010}{SEGMENT_SUFFIX}", self.id)
    }
}

pub(crate) const SEGMENT_SUFFIX: &str = ".seg";

/// Something that could not be read, and the time it covered: an answer about it is partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    /// Where it is kept, below the data directory.
    pub(crate) path: String,
    /// `None`: a part of the log, which holds every signal.
    pub(crate) signal: Option<Signal>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) why: String,
}

/// When a request with this key was received.
pub(crate) type Key = (u128, Timestamp);

/// How far the log is in segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watermarks {
    /// Per signal: every frame up to this sequence is in a segment.
    pub(crate) sealed: [u64; Signal::ALL.len()],
    /// Every frame of any signal below this sequence is in a segment.
    pub(crate) low: u64,
}

impl Watermarks {
    pub(crate) fn sealed(&self, signal: Signal) -> u64 {
        self.sealed[signal as usize]
    }
}

/// All of the catalogue, as read at a start.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) segments: Vec<SegmentRow>,
    pub(crate) next_segment: u64,
    pub(crate) watermarks: Watermarks,
    pub(crate) wal_synced: u64,
    pub(crate) clock: Timestamp,
    pub(crate) keys: Vec<Key>,
    pub(crate) quarantine: Vec<Damaged>,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) classes: BTreeMap<u8, String>,
    pub(crate) series: SeriesContent,
}

/// Everything one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Edit {
    pub(crate) insert: Vec<SegmentRow>,
    pub(crate) remove: Vec<u64>,
    pub(crate) watermarks: Option<Watermarks>,
    /// Keys to remember, and the segment id they are stored under.
    pub(crate) keys: Option<(u64, Vec<Key>)>,
    /// Keys received before this are forgotten.
    pub(crate) keys_since: Timestamp,
    pub(crate) quarantine: Vec<Damaged>,
    /// Paths of damaged things that are gone.
    pub(crate) forget: Vec<String>,
    pub(crate) clock: Option<Timestamp>,
    /// A new deletion.
    pub(crate) delete: Option<Deletion>,
    /// New names of retention classes.
    pub(crate) classes: Vec<(u8, String)>,
    /// What was done of deletions.
    pub(crate) progress: Vec<Progress>,
    /// The templates of segments that are there, or inserted by the same edit. Those of removed
    /// segments go by themselves.
    pub(crate) templates: Vec<(u64, Mined)>,
    /// What it says of series.
    pub(crate) series: SeriesEdit,
}

/// The open database; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    database: Arc<Database>,
    /// Held while a transaction changes templates, so that only threads of the store ask for it.
    known: Arc<Mutex<Known>>,
    /// For everybody else.
    figures: Arc<Figures>,
    /// For searches, which wait for nobody.
    index: Arc<TemplateIndex>,
}

impl Catalogue {
    /// Opens `catalog.redb`, or makes it when there is none.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a later version has written it; redb's when it is damaged.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Catalogue, StoreError> {
        let dir = path.parent().expect("it lies in the data directory");
        let there = disk.list(dir).map_err(StoreError::io("list", dir))?;
        if !there.iter().any(|entry| dir.join(&entry.name) == path) {
            create(disk, path)?;
        }
        let catalogue = Catalogue {
            database: Arc::new(open_database(disk, path)?),
            known: Arc::default(),
            figures: Arc::default(),
            index: Arc::default(),
        };
        let txn = catalogue.database.begin_read()?;
        let found = txn.open_table(STATE)?.get(FORMAT)?.map(|v| v.value());
        match found {
            Some(FORMAT_VERSION) => {}
            Some(found) if found < FORMAT_VERSION => catalogue.migrate()?,
            Some(found) => {
                return Err(StoreError::Newer {
                    path: path.to_owned(),
                    found: u32::try_from(found).unwrap_or(u32::MAX),
                    known: FORMAT_VERSION as u32,
                });
            }
            None => return Err(StoreError::corrupt(path, 0, "no format version")),
        }
        drop(txn);
        let txn = catalogue.database.begin_read()?;
        let known = Known::read(&txn)?;
        catalogue.figures.set_known(&known);
        *catalogue.known() = known;
        Ok(catalogue)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// From an earlier format to this one, all of it or nothing: makes the tables that are missing.
    /// Rows of segments have had room for what is new in them; templates of segments are looked up by
    /// the keeper, some at a time.
    fn migrate(&self) -> Result<(), StoreError> {
        let txn = self.database.begin_write()?;
        make_tables(&txn)?;
        txn.open_table(STATE)?.insert(FORMAT, FORMAT_VERSION)?;
        Ok(txn.commit()?)
    }

    /// Every deletion that is remembered, oldest first.
    pub(crate) fn deletions(&self) -> Result<Vec<Deletion>, StoreError> {
        let txn = self.database.begin_read()?;
        let mut deletions = Vec::new();
        for entry in txn.open_table(DELETIONS)?.iter()? {
            let (number, row) = entry?;
            let row = deletion::decode_row(number.value(), row.value());
            let damaged = || StoreError::corrupt(Path::new("catalog.redb"), 0, "row of a deletion");
            deletions.push(row.ok_or_else(damaged)?);
        }
        Ok(deletions)
    }

    pub(crate) fn database(&self) -> Arc<Database> {
        self.database.clone()
    }

    pub(crate) fn read(&self, path: &Path) -> Result<Content, StoreError> {
        let txn = self.database.begin_read()?;
        let state = txn.open_table(STATE)?;
        let number = |name: &str| -> Result<u64, StoreError> {
            Ok(state.get(name)?.map_or(0, |v| v.value()))
        };
        let mut content = Content {
            next_segment: number(NEXT_SEGMENT)?.max(1),
            watermarks: Watermarks {
                sealed: [number(SEALED[0])?, number(SEALED[1])?, number(SEALED[2])?],
                low: number(WAL_LOW)?.max(1),
            },
            wal_synced: number(WAL_SYNCED)?,
            clock: Timestamp(number(CLOCK)?),
            deletions: self.deletions()?,
            series: series::read(&txn, path)?,
            ..Content::default()
        };
        for entry in txn.open_table(SEGMENTS)?.iter()? {
            let (id, row) = entry?;
            let row = decode_row(id.value(), row.value())
                .ok_or_else(|| StoreError::corrupt(path, 0, "row of a segment"))?;
            content.segments.push(row);
        }
        for entry in txn.open_table(CLASSES)?.iter()? {
            let (class, service) = entry?;
            content
                .classes
                .insert(class.value(), service.value().to_owned());
        }
        for entry in txn.open_table(KEYS)?.iter()? {
            content.keys.extend(decode_keys(entry?.1.value()));
        }
        for entry in txn.open_table(QUARANTINE)?.iter()? {
            let (path, value) = entry?;
            let (why, signal, first, last) = value.value();
            content.quarantine.push(Damaged {
                path: path.value().to_owned(),
                signal: Signal::ALL.get(usize::from(signal)).copied(),
                first: Timestamp(first),
                last: Timestamp(last),
                why: why.to_owned(),
            });
        }
        Ok(content)
    }

    /// Applies an edit as one durable transaction: all of it or nothing.
    pub(crate) fn apply(&self, edit: &Edit) -> Result<(), StoreError> {
        let mut known = self.known();
        let txn = self.database.begin_write()?;
        write(&txn, edit)?;
        let change = known.write(&txn, edit)?;
        txn.commit()?;
        known.commit(change);
        self.figures.set_known(&known);
        Ok(())
    }

    /// Writes down at a clean stop that the log is durable up to `sequence`.
    pub(crate) fn close(&self, sequence: u64) -> Result<(), StoreError> {
        let txn = self.database.begin_write()?;
        txn.open_table(STATE)?.insert(WAL_SYNCED, sequence)?;
        Ok(txn.commit()?)
    }
}

fn make_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(SEGMENTS)?;
    txn.open_table(KEYS)?;
    txn.open_table(QUARANTINE)?;
    txn.open_table(DELETIONS)?;
    txn.open_table(CLASSES)?;
    txn.open_table(templates::TEXTS)?;
    txn.open_table(templates::FACTS)?;
    series::make_tables(txn)
}

/// Everything of an edit but what it says of templates.
fn write(txn: &WriteTransaction, edit: &Edit) -> Result<(), StoreError> {
    let mut segments = txn.open_table(SEGMENTS)?;
    let mut state = txn.open_table(STATE)?;
    for id in &edit.remove {
        segments.remove(id)?;
    }
    for row in &edit.insert {
        segments.insert(row.id, &encode_row(row)[..])?;
        // Merges and seals take ids at the same time and may commit in another order.
        let next = state.get(NEXT_SEGMENT)?.map_or(0, |v| v.value());
        state.insert(NEXT_SEGMENT, next.max(row.id + 1))?;
    }
    if let Some(watermarks) = edit.watermarks {
        for (name, sealed) in SEALED.iter().zip(watermarks.sealed) {
            state.insert(*name, sealed)?;
        }
        state.insert(WAL_LOW, watermarks.low)?;
    }
    if let Some(clock) = edit.clock {
        state.insert(CLOCK, clock.0)?;
    }
    let mut keys = txn.open_table(KEYS)?;
    if edit.keys_since.0 > 0 {
        // The last key of a row is its newest: heads keep them in order of arrival.
        keys.retain(|_, packed| {
            let newest = decode_keys(packed).last();
            newest.is_some_and(|(_, received)| received >= edit.keys_since)
        })?;
    }
    if let Some((id, new)) = edit.keys.as_ref().filter(|(_, new)| !new.is_empty()) {
        keys.insert(id, &encode_keys(new)[..])?;
        let next = state.get(NEXT_SEGMENT)?.map_or(0, |v| v.value());
        state.insert(NEXT_SEGMENT, next.max(id + 1))?;
    }
    let mut quarantine = txn.open_table(QUARANTINE)?;
    for damaged in &edit.quarantine {
        let signal = damaged.signal.map_or(BOTH, |signal| signal as u8);
        let row = (&*damaged.why, signal, damaged.first.0, damaged.last.0);
        quarantine.insert(&*damaged.path, row)?;
    }
    for path in &edit.forget {
        quarantine.remove(&**path)?;
    }
    if !edit.classes.is_empty() {
        let mut classes = txn.open_table(CLASSES)?;
        for (class, service) in &edit.classes {
            classes.insert(class, &**service)?;
        }
    }
    change_deletions(&mut txn.open_table(DELETIONS)?, edit)?;
    series::write(txn, &edit.series)
}

fn change_deletions(table: &mut redb::Table<u64, &[u8]>, edit: &Edit) -> Result<(), StoreError> {
    if let Some(new) = &edit.delete {
        table.insert(new.number, &deletion::encode_row(new)[..])?;
        let mut surplus = table.len()?.saturating_sub(DELETIONS_KEPT_MAX as u64);
        table.retain(|number, row| {
            let is_over = deletion::decode_row(number, row).is_none_or(|d| d.stage.is_over());
            let goes = surplus > 0 && is_over && number < new.number;
            surplus -= u64::from(goes);
            !goes
        })?;
    }
    for progress in &edit.progress {
        let row = table.get(progress.number)?;
        let known = row.and_then(|row| deletion::decode_row(progress.number, row.value()));
        if let Some(mut deletion) = known {
            deletion.advance(progress);
            table.insert(progress.number, &deletion::encode_row(&deletion)[..])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
