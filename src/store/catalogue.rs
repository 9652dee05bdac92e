//! The catalogue: which segments there are, up to where the log is in them, what is damaged. It is
//! the truth; a file it does not name is no segment. Layout: docs/formats/catalogue.md.
//!
//! Never on the per-record path: one transaction per published segment. After an I/O error redb
//! refuses more work until it is reopened, which is what the store promises anyway.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::deletion::{self, DELETIONS_KEPT_MAX, Deletion, Progress};
use super::disk::{Backend, Disk, tmp_path};
use super::error::StoreError;
use super::partition::{Partition, RetentionClass, Span};
use crate::model::{ProjectId, Signal, Timestamp};

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
const SEALED: [&str; Signal::ALL.len()] = ["sealed.traces", "sealed.logs"];

/// The format of the whole data directory; segments and log frames have their own. 2 has deletions,
/// which a version that does not know them would show again.
pub(crate) const FORMAT_VERSION: u64 = 2;

/// redb's page cache. The catalogue is a few hundred bytes per segment; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 4 << 20;

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
}

/// The open database; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    database: Arc<Database>,
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
        };
        let txn = catalogue.database.begin_read()?;
        let found = txn.open_table(STATE)?.get(FORMAT)?.map(|v| v.value());
        match found {
            Some(FORMAT_VERSION) => Ok(catalogue),
            Some(found) if found < FORMAT_VERSION => {
                catalogue.migrate()?;
                Ok(catalogue)
            }
            Some(found) => Err(StoreError::Newer {
                path: path.to_owned(),
                found: u32::try_from(found).unwrap_or(u32::MAX),
                known: FORMAT_VERSION as u32,
            }),
            None => Err(StoreError::corrupt(path, 0, "no format version")),
        }
    }

    /// From an earlier format to this one, all of it or nothing: makes the tables that are missing.
    /// Rows of segments have had room for what is new in them.
    fn migrate(&self) -> Result<(), StoreError> {
        let txn = self.database.begin_write()?;
        txn.open_table(DELETIONS)?;
        txn.open_table(CLASSES)?;
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
                sealed: [number(SEALED[0])?, number(SEALED[1])?],
                low: number(WAL_LOW)?.max(1),
            },
            wal_synced: number(WAL_SYNCED)?,
            clock: Timestamp(number(CLOCK)?),
            deletions: self.deletions()?,
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
        let txn = self.database.begin_write()?;
        {
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
        }
        Ok(txn.commit()?)
    }

    /// Writes down at a clean stop that the log is durable up to `sequence`.
    pub(crate) fn close(&self, sequence: u64) -> Result<(), StoreError> {
        let txn = self.database.begin_write()?;
        txn.open_table(STATE)?.insert(WAL_SYNCED, sequence)?;
        Ok(txn.commit()?)
    }
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

fn open_database(disk: &Disk, path: &Path) -> Result<Database, StoreError> {
    let file = disk
        .open_in_place(path)
        .map_err(StoreError::io("open", path))?;
    // A plain open trusts the file and may panic later; the check reads all of it, a few hundred KB.
    Ok(redb::Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(Backend::new(file))?)
}

/// Makes the database under another name first: redb cannot open one whose making was cut off.
fn create(disk: &Disk, path: &Path) -> Result<(), StoreError> {
    let tmp = tmp_path(path);
    // What an earlier attempt has left is emptied.
    disk.create(&tmp).map_err(StoreError::io("create", &tmp))?;
    let database = open_database(disk, &tmp)?;
    let txn = database.begin_write()?;
    txn.open_table(STATE)?.insert(FORMAT, FORMAT_VERSION)?;
    txn.open_table(SEGMENTS)?;
    txn.open_table(KEYS)?;
    txn.open_table(QUARANTINE)?;
    txn.open_table(DELETIONS)?;
    txn.open_table(CLASSES)?;
    txn.commit()?;
    database.close()?;
    let dir = path.parent().expect("it lies in the data directory");
    disk.open_in_place(&tmp)
        .and_then(|file| file.sync_data())
        .and_then(|()| disk.rename(&tmp, path))
        .and_then(|()| disk.sync_dir(dir))
        .map_err(StoreError::io("create", path))
}

const ROW_VERSION: u8 = 1;
const ROW_BYTES: usize = 69;

fn encode_row(row: &SegmentRow) -> [u8; ROW_BYTES] {
    let mut out = [0; ROW_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let span = match row.partition.span() {
        Span::Day => 0,
        Span::Hour => 1,
    };
    let class = row.partition.class().0;
    put(&[ROW_VERSION, row.signal as u8, row.level, span, class]);
    put(&row.project.0.to_le_bytes());
    put(&row.partition.start().0.to_le_bytes());
    put(&row.rows.to_le_bytes());
    put(&row.first.0.to_le_bytes());
    put(&row.last.0.to_le_bytes());
    put(&row.bytes.to_le_bytes());
    put(&row.raw_bytes.to_le_bytes());
    put(&row.crc.to_le_bytes());
    put(&row.cleared.to_le_bytes());
    out
}

fn decode_row(id: u64, bytes: &[u8]) -> Option<SegmentRow> {
    let bytes: &[u8; ROW_BYTES] = bytes.try_into().ok()?;
    let u64_at = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
    let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    if bytes[0] != ROW_VERSION {
        return None;
    }
    let span = match bytes[3] {
        0 => Span::Day,
        1 => Span::Hour,
        _ => return None,
    };
    Some(SegmentRow {
        id,
        signal: *Signal::ALL.get(usize::from(bytes[1]))?,
        level: bytes[2],
        project: ProjectId(u32_at(5)),
        partition: Partition::of(Timestamp(u64_at(9)), span, RetentionClass(bytes[4])),
        rows: u64_at(17),
        first: Timestamp(u64_at(25)),
        last: Timestamp(u64_at(33)),
        bytes: u64_at(41),
        raw_bytes: u64_at(49),
        crc: u32_at(57),
        cleared: u64_at(61),
    })
}

const KEY_BYTES: usize = 24;

fn encode_keys(keys: &[Key]) -> Vec<u8> {
    let mut out = Vec::with_capacity(keys.len() * KEY_BYTES);
    for (key, received) in keys {
        out.extend_from_slice(&key.to_le_bytes());
        out.extend_from_slice(&received.0.to_le_bytes());
    }
    out
}

fn decode_keys(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Key> {
    bytes.chunks_exact(KEY_BYTES).map(|entry| {
        let (key, received) = entry.split_at(16);
        let key = u128::from_le_bytes(key.try_into().expect("16 bytes"));
        let received = u64::from_le_bytes(received.try_into().expect("8 bytes"));
        (key, Timestamp(received))
    })
}

#[cfg(test)]
mod tests {
    use super::super::disk::sim::World;
    use super::*;

    fn row(id: u64) -> SegmentRow {
        let at = Timestamp(1_795_222_800_000_000_000);
        SegmentRow {
            id,
            signal: Signal::Logs,
            project: ProjectId(3),
            partition: Partition::of(at, Span::Hour, RetentionClass(1)),
            level: 2,
            rows: 10,
            first: at,
            last: at.saturating_add(5),
            bytes: 1000,
            raw_bytes: 9000,
            crc: 77,
            cleared: 4,
        }
    }

    #[test]
    fn what_was_applied_is_read_again() {
        let disk = Disk::Sim(World::new());
        let path = Path::new("/catalog.redb");
        let catalogue = Catalogue::open(&disk, path).expect("an empty disk");
        let keys = vec![(5, Timestamp(100)), (6, Timestamp(200))];
        let watermarks = Watermarks {
            sealed: [4, 9],
            low: 7,
        };
        let edit = Edit {
            insert: vec![row(1), row(2)],
            watermarks: Some(watermarks),
            keys: Some((1, keys.clone())),
            ..Edit::default()
        };
        catalogue.apply(&edit).expect("a good disk");
        drop(catalogue);

        let catalogue = Catalogue::open(&disk, path).expect("a good disk");
        let content = catalogue.read(path).expect("a good disk");
        assert_eq!(content.segments, [row(1), row(2)]);
        assert_eq!((content.next_segment, content.keys), (3, keys));
        assert_eq!(content.watermarks, watermarks);

        let edit = Edit {
            remove: vec![1],
            keys_since: Timestamp(201),
            ..Edit::default()
        };
        catalogue.apply(&edit).expect("a good disk");
        let content = catalogue.read(path).expect("a good disk");
        assert_eq!((content.segments, content.keys), (vec![row(2)], vec![]));
    }

    #[test]
    fn catalogue_of_format_1_is_taken_over_and_keeps_what_it_has() {
        let disk = Disk::Sim(World::new());
        let path = Path::new("/catalog.redb");
        let catalogue = Catalogue::open(&disk, path).expect("an empty disk");
        let old = SegmentRow {
            cleared: 0,
            ..row(1)
        };
        let edit = Edit {
            insert: vec![old.clone()],
            ..Edit::default()
        };
        catalogue.apply(&edit).expect("a good disk");
        let txn = catalogue.database.begin_write().expect("a good disk");
        txn.delete_table(DELETIONS).expect("a good disk");
        txn.delete_table(CLASSES).expect("a good disk");
        let mut state = txn.open_table(STATE).expect("a good disk");
        state.insert(FORMAT, 1).expect("a good disk");
        drop(state);
        txn.commit().expect("a good disk");
        drop(catalogue);
        for _ in 0..2 {
            let catalogue = Catalogue::open(&disk, path).expect("migrated");
            let content = catalogue.read(path).expect("a good disk");
            assert_eq!(content.segments, std::slice::from_ref(&old));
            assert_eq!(content.deletions, []);
        }
    }

    #[test]
    fn oldest_finished_deletions_are_forgotten() {
        use super::super::deletion::Stage;
        let disk = Disk::Sim(World::new());
        let catalogue = Catalogue::open(&disk, Path::new("/catalog.redb")).expect("an empty disk");
        let kept = DELETIONS_KEPT_MAX as u64;
        for number in 1..=kept + 3 {
            let edit = Edit {
                delete: Some(Deletion {
                    number,
                    stage: if number == 1 {
                        Stage::Hidden
                    } else {
                        Stage::Erased
                    },
                    signals: [true, false],
                    range: crate::model::TimeRange::ALL,
                    before: number,
                    requested: Timestamp(number),
                    done: Timestamp(0),
                    erased: [number, 0],
                    left_files: 2,
                    by: "somebody".to_owned(),
                    shape: "n:?".to_owned(),
                }),
                ..Edit::default()
            };
            catalogue.apply(&edit).expect("a good disk");
        }
        let left = catalogue.deletions().expect("a good disk");
        assert_eq!(left.len(), DELETIONS_KEPT_MAX);
        assert_eq!(
            (left[0].number, left[1].number),
            (1, 5),
            "the pending one stays"
        );
        assert_eq!((left[1].left_files, &*left[1].by), (2, "somebody"));
    }

    #[test]
    fn downgrade_is_refused() {
        let disk = Disk::Sim(World::new());
        let path = Path::new("/catalog.redb");
        let catalogue = Catalogue::open(&disk, path).expect("an empty disk");
        let txn = catalogue.database.begin_write().expect("a good disk");
        let mut state = txn.open_table(STATE).expect("a good disk");
        state
            .insert(FORMAT, FORMAT_VERSION + 1)
            .expect("a good disk");
        drop(state);
        txn.commit().expect("a good disk");
        drop(catalogue);
        let refused = Catalogue::open(&disk, path).expect_err("refused");
        assert!(
            refused.to_string().contains("downgrade refused"),
            "{refused}"
        );
    }
}
