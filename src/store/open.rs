//! From a data directory to a running store: the catalogue is believed, files it does not name are
//! deleted, segments it names but cannot be read are quarantined, and the log is replayed above what
//! segments hold already. Safe to be cut off at any point and done again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::Database;

use super::catalogue::{Catalogue, Content, Damaged, Edit, Key, SEGMENT_SUFFIX, SegmentRow};
use super::classes::Classes;
use super::config::Config;
use super::disk::{Disk, Entry, Lock, TMP_SUFFIX};
use super::erase;
use super::error::StoreError;
use super::head::AllHeads;
use super::keeper::Keeper;
use super::metrics::{Book, MetricsChunk};
use super::sealer::Sealer;
use super::segments::{Segment, Segments};
use super::shared::{Live, Shared};
use super::wal::Wal;
use super::wal::frame::{self, Header};
use super::wal::replay::{self, Damage, Expect, Replayed};
use super::writer::{Batch, BatchChunk, Writer};
use super::{Store, meta};
use crate::model::chunk::Request;
use crate::model::{LogChunk, Signal, SpanChunk, Timestamp};

/// A store that is ready: one owner for each part that changes something.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) sealer: Sealer,
    pub(crate) keeper: Keeper,
    pub(crate) recovery: Recovery,
}

/// The catalogue's file in the data directory.
pub(super) const CATALOGUE: &str = "catalog.redb";

/// What a start has found.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Requests within the dedup window, oldest first.
    pub(crate) keys: Vec<Key>,
    /// Frames of the log that were not in a segment yet.
    pub(crate) replayed_frames: u64,
    pub(crate) replayed_records: u64,
    /// Bytes cut off the log: written but not synced when the power went.
    pub(crate) torn_bytes: u64,
    /// Parts of the log that cannot be read.
    pub(crate) log_damage: Vec<Damage>,
    /// Segments put into quarantine by this start.
    pub(crate) quarantined: Vec<Damaged>,
    /// Files that the catalogue did not name: left over by a crash.
    pub(crate) deleted_files: u64,
}

/// Opens the store in `config.dir`, making what is not there.
///
/// # Errors
/// [`StoreError::Locked`], [`StoreError::Newer`], or the disk refuses. A damaged catalogue is an
/// error; damaged segments and log files are not.
pub(crate) fn open(config: Config, disk: Disk, now: Timestamp) -> Result<Opened, StoreError> {
    let dir = config.dir.clone();
    let (wal_dir, quarantine_dir) = (dir.join("wal"), dir.join("quarantine"));
    for dir in [&dir, &wal_dir, &quarantine_dir] {
        disk.ensure_dir(dir)
            .map_err(StoreError::io("make directory", dir))?;
    }
    let lock = lock(&disk, &dir)?;
    let catalogue_path = dir.join(CATALOGUE);
    refuse_without_catalogue(&disk, &dir, &wal_dir)?;
    let catalogue = open_catalogue(&disk, &catalogue_path)?;
    let mut content = catalogue.read(&catalogue_path)?;
    let book = Book::new(config.series, std::mem::take(&mut content.series));

    let mut recovery = Recovery {
        deleted_files: delete_strays(&disk, &dir, &content)?,
        ..Recovery::default()
    };
    let rules = erase::reload(&disk, &config, &catalogue, &content.deletions, now)?;
    let classes = open_classes(&config, &catalogue, &content)?;
    let segments = open_segments(&disk, &dir, &catalogue, &content, &mut recovery)?;
    let live = Live {
        heads: AllHeads {
            next: content.watermarks.low,
            ..AllHeads::default()
        },
        segments: Arc::new(segments),
        watermarks: content.watermarks,
        rules: rules.into(),
        hurry: false,
    };
    let next_segment = content.next_segment;
    let shared = Arc::new(Shared::new(
        disk, config, catalogue, classes, book, lock, live,
    ));
    shared.next_segment.store(next_segment, Ordering::Relaxed);
    shared.set_now(now);
    let newest = content
        .deletions
        .last()
        .map_or(0, |deletion| deletion.number);
    shared.next_deletion.store(newest + 1, Ordering::Relaxed);
    shared.look_at_space()?;
    let mut sealer = Sealer::new(shared.clone());
    let replayed = replay_log(&shared, &wal_dir, &content, &mut sealer, &mut recovery)?;
    note_log_damage(&shared, &replayed, now)?;
    shared.seal_before_rules();
    let sealed = content.watermarks.sealed.into_iter().max().unwrap_or(0);
    let next = replayed.last.max(sealed).max(content.wal_synced) + 1;
    shared.live().heads.next = next;
    let wal = Wal::start(shared.disk.clone(), wal_dir, replayed.files, next)?;
    recovery.torn_bytes = replayed.torn_bytes;
    recovery.log_damage = replayed.damage;
    Ok(Opened {
        store: Store::new(shared.clone()),
        writer: Writer::new(shared.clone(), wal),
        keeper: Keeper::new(shared, content.clock),
        sealer,
        recovery,
    })
}

/// The retention classes of the configured services; new ones are written down.
fn open_classes(
    config: &Config,
    catalogue: &Catalogue,
    content: &Content,
) -> Result<Classes, StoreError> {
    let (known, rows) = (&content.classes, &content.segments);
    let (classes, new) = Classes::assign(&config.retention, known, rows);
    if !new.is_empty() {
        catalogue.apply(&Edit {
            classes: new,
            ..Edit::default()
        })?;
    }
    Ok(classes)
}

/// A directory with telemetry and without a catalogue is somebody's accident: opening it as an empty
/// one would delete every segment.
fn refuse_without_catalogue(disk: &Disk, dir: &Path, wal_dir: &Path) -> Result<(), StoreError> {
    if list(disk, dir)?.iter().any(|entry| entry.name == CATALOGUE) {
        return Ok(());
    }
    let mut dirs = vec![wal_dir.to_owned()];
    dirs.extend(Signal::ALL.map(|signal| dir.join(signal.name())));
    for dir in dirs {
        if !list(disk, &dir)?.is_empty() {
            let why = "missing, but there is telemetry: restore it, or set another data_dir";
            return Err(StoreError::corrupt(&dir.with_file_name(CATALOGUE), 0, why));
        }
    }
    Ok(())
}

/// The database of a store that no server works on, for the command line's changes to the small
/// state. The lock is to be held as long as the database is open.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_database(disk: &Disk, dir: &Path) -> Result<(Arc<Database>, Lock), StoreError> {
    disk.ensure_dir(dir)
        .map_err(StoreError::io("make directory", dir))?;
    let lock = lock(disk, dir)?;
    refuse_without_catalogue(disk, dir, &dir.join("wal"))?;
    let catalogue = open_catalogue(disk, &dir.join(CATALOGUE))?;
    Ok((catalogue.database(), lock))
}

fn lock(disk: &Disk, dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join("lock");
    disk.lock(&path)
        .map_err(StoreError::io("lock", &path))?
        .ok_or_else(|| StoreError::Locked {
            dir: dir.to_owned(),
        })
}

fn open_catalogue(disk: &Disk, path: &Path) -> Result<Catalogue, StoreError> {
    let catalogue = Catalogue::open(disk, path)?;
    match meta::create_tables(&catalogue.database()) {
        Err(meta::MetaError::Database(e)) => Err(e.into()),
        // Making tables fills none.
        Err(meta::MetaError::Full { .. }) | Ok(()) => Ok(catalogue),
    }
}

/// Segment files that the catalogue does not name, and unfinished ones. Only names that the store
/// gives itself count.
pub(super) fn strays(
    disk: &Disk,
    dir: &Path,
    content: &Content,
) -> Result<Vec<PathBuf>, StoreError> {
    let named: BTreeSet<String> = content.segments.iter().map(SegmentRow::path).collect();
    let mut strays = Vec::new();
    for path in segment_files(disk, dir)? {
        if !named.contains(&path) {
            strays.push(dir.join(path));
        }
    }
    Ok(strays)
}

/// Every segment file by its path below the data directory, finished or not.
pub(super) fn segment_files(disk: &Disk, dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut files = Vec::new();
    for signal in Signal::ALL {
        let signal_dir = dir.join(signal.name());
        for partition in list(disk, &signal_dir)?.iter().filter(|e| e.is_dir) {
            let entries = list(disk, &signal_dir.join(&partition.name))?;
            let ours = entries
                .iter()
                .filter(|e| !e.is_dir && is_segment_name(&e.name));
            let path = |file: &Entry| format!("{}/{}/{}", signal.name(), partition.name, file.name);
            files.extend(ours.map(path));
        }
    }
    Ok(files)
}

/// Deletes stray files, and the directories of partitions that are empty.
fn delete_strays(disk: &Disk, dir: &Path, content: &Content) -> Result<u64, StoreError> {
    let strays = strays(disk, dir, content)?;
    for path in &strays {
        disk.remove(path).map_err(StoreError::io("remove", path))?;
    }
    for signal in Signal::ALL {
        let signal_dir = dir.join(signal.name());
        for partition in list(disk, &signal_dir)?.iter().filter(|e| e.is_dir) {
            let path = signal_dir.join(&partition.name);
            if list(disk, &path)?.is_empty() {
                disk.remove_dir(&path)
                    .map_err(StoreError::io("remove", &path))?;
            }
        }
    }
    Ok(strays.len() as u64)
}

fn list(disk: &Disk, dir: &Path) -> Result<Vec<Entry>, StoreError> {
    disk.list(dir).map_err(StoreError::io("list", dir))
}

/// Ten digits and our suffix, finished or not.
fn is_segment_name(name: &str) -> bool {
    let name = name.strip_suffix(TMP_SUFFIX).unwrap_or(name);
    let digits = name.strip_suffix(SEGMENT_SUFFIX).unwrap_or("");
    digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit())
}

fn open_segments(
    disk: &Disk,
    dir: &Path,
    catalogue: &Catalogue,
    content: &Content,
    recovery: &mut Recovery,
) -> Result<Segments, StoreError> {
    let mut segments = Segments::default();
    segments
        .damaged
        .extend(content.quarantine.iter().cloned().map(Arc::new));
    let mut edit = Edit::default();
    for row in &content.segments {
        let path = dir.join(row.path());
        let error = match open_segment(disk, &path, row) {
            Ok(segment) => {
                segments.list.push(Arc::new(segment));
                continue;
            }
            Err(e @ (StoreError::Corrupt { .. } | StoreError::Io { .. })) => e,
            Err(e) => return Err(e),
        };
        let damaged = Damaged {
            path: format!("quarantine/{}-{:010}.seg", row.signal.name(), row.id),
            signal: Some(row.signal),
            first: row.first,
            last: row.last,
            why: error.to_string(),
        };
        edit.remove.push(row.id);
        edit.quarantine.push(damaged);
    }
    if edit.remove.is_empty() {
        return Ok(segments);
    }
    // The row goes first: a file that is moved but still named would look like a lost one.
    catalogue.apply(&edit)?;
    for (id, damaged) in edit.remove.iter().zip(&edit.quarantine) {
        let row = content.segments.iter().find(|row| row.id == *id);
        let from = dir.join(row.expect("it was taken from there").path());
        match disk.rename(&from, &dir.join(&damaged.path)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("move to quarantine", &from)(e));
            }
            _ => {}
        }
        segments.damaged.push(Arc::new(damaged.clone()));
    }
    recovery.quarantined = edit.quarantine;
    Ok(segments)
}

fn open_segment(disk: &Disk, path: &Path, row: &SegmentRow) -> Result<Segment, StoreError> {
    let file = disk.open(path).map_err(StoreError::io("open", path))?;
    Segment::open(file, row.clone())
}

/// Fills the heads from the log, sealing them on the way as a running store does, so that a replay
/// needs no more memory than that.
fn replay_log(
    shared: &Shared,
    dir: &Path,
    content: &Content,
    sealer: &mut Sealer,
    recovery: &mut Recovery,
) -> Result<Replayed, StoreError> {
    let since = shared.keys_since();
    let recent = |key: &Key| key.1 >= since;
    recovery.keys = content.keys.iter().copied().filter(recent).collect();
    let expect = Expect {
        low: content.watermarks.low,
        synced: content.wal_synced,
    };
    let mut undecodable = Vec::new();
    let mut replayed = replay::replay(&shared.disk, dir, expect, &mut |header, payload| {
        if header.sequence <= content.watermarks.sealed(header.signal) {
            return Ok(());
        }
        let Some(batch) = decode(header, payload) else {
            undecodable.push(header.sequence);
            return Ok(());
        };
        recovery.replayed_frames += 1;
        recovery.replayed_records += batch.rows();
        // A scrape has no key: none like it will come.
        let has_key = header.signal != Signal::Metrics || header.key != 0;
        if header.received >= since && has_key {
            recovery.keys.push((header.key, header.received));
        }
        let signal = batch.signal();
        let apart = shared.is_apart(signal, header.sequence);
        if apart || shared.overfills(signal, batch.bytes()) {
            shared.seal(signal);
            sealer.step()?;
        }
        if let Some(signal) = shared.push(batch, header.sequence, header.received) {
            shared.seal(signal);
            sealer.step()?;
        }
        Ok(())
    })?;
    // The checksum is right and the request is not one: written wrongly, or a damaged page cache.
    if !undecodable.is_empty() {
        replayed.damage.push(Damage {
            path: dir.to_owned(),
            offset: 0,
            bytes: 0,
            frames: undecodable.len() as u64,
        });
    }
    recovery
        .keys
        .sort_unstable_by_key(|(_, received)| *received);
    Ok(replayed)
}

fn decode(header: &Header, payload: &[u8]) -> Option<Batch> {
    let request = Request {
        bytes: frame::decompress(header, payload)?,
        project: header.project,
        received: header.received,
    };
    let chunk = match header.signal {
        Signal::Logs => BatchChunk::Logs(LogChunk::parse(request).ok()?),
        Signal::Traces => BatchChunk::Traces(SpanChunk::parse(request).ok()?),
        Signal::Metrics => BatchChunk::Metrics(MetricsChunk::parse(
            request.bytes,
            request.project,
            request.received,
        )?),
    };
    Some(Batch {
        chunk,
        key: header.key,
        wire: None,
    })
}

/// Names damaged log files in the catalogue; they go to quarantine when the rest of them is sealed.
fn note_log_damage(shared: &Shared, replayed: &Replayed, now: Timestamp) -> Result<(), StoreError> {
    let damaged: Vec<Damaged> = replayed
        .damage
        .iter()
        .map(|damage| {
            let name = damage.path.file_name().unwrap_or_default();
            Damaged {
                path: format!("quarantine/wal-{}", name.to_string_lossy()),
                signal: None,
                first: now,
                last: now,
                why: format!(
                    "{} bytes from byte {} of the log cannot be read, {} requests lost",
                    damage.bytes, damage.offset, damage.frames
                ),
            }
        })
        .collect();
    if damaged.is_empty() {
        return Ok(());
    }
    shared.catalogue.apply(&Edit {
        quarantine: damaged.clone(),
        ..Edit::default()
    })?;
    for damaged in damaged {
        shared.publish(|live| {
            let segments = Arc::make_mut(&mut live.segments);
            segments.damaged.push(Arc::new(damaged));
        });
    }
    Ok(())
}
