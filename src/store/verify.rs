//! The offline check of a data directory: every checksum of every file, and that catalogue, segments
//! and log agree. Changes nothing but what opening the catalogue's database does; repairs nothing.

use std::path::Path;

use super::catalogue::{Catalogue, SegmentRow};
use super::deletion;
use super::disk::Disk;
use super::error::StoreError;
use super::metrics::MetricSegment;
use super::open::{self, CATALOGUE};
use super::segment::{LogSegment, SpanSegment};
use super::segments::Segment;
use super::templates;
use super::wal::{file_number, replay};
use crate::model::Signal;

/// What a check has read and found.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) segments: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) log_files: u64,
    pub(crate) log_frames: u64,
    /// Files that the catalogue does not name: left over by a kill, gone at the next start.
    pub(crate) strays: u64,
    /// One line per problem, naming the file and the place in it.
    pub(crate) problems: Vec<String>,
}

/// Checks the data directory `dir`, which no server may be using.
///
/// # Errors
/// It cannot be looked at: locked, missing, of a later format, or its catalogue is damaged. Damage
/// of anything else is in [`Verified::problems`].
pub(crate) fn verify(disk: &Disk, dir: &Path) -> Result<Verified, StoreError> {
    let catalogue_path = dir.join(CATALOGUE);
    disk.open(&catalogue_path)
        .map_err(StoreError::io("open", &catalogue_path))?;
    let lock_path = dir.join("lock");
    let _lock = disk
        .lock(&lock_path)
        .map_err(StoreError::io("lock", &lock_path))?
        .ok_or_else(|| StoreError::Locked {
            dir: dir.to_owned(),
        })?;
    let catalogue = Catalogue::open(disk, &catalogue_path)?;
    let content = catalogue.read(&catalogue_path)?;
    let mut found = Verified {
        strays: open::strays(disk, dir, &content)?.len() as u64,
        ..Verified::default()
    };
    let mut whole = Vec::new();
    for row in &content.segments {
        match verify_segment(disk, dir, row) {
            Ok(segment) => {
                whole.push(segment);
                found.segments += 1;
                found.records += row.rows;
                found.bytes += row.bytes;
            }
            Err(e) => found.problems.push(e.to_string()),
        }
    }
    if whole.len() == content.segments.len() {
        let segments = whole.iter();
        found
            .problems
            .extend(templates::problems(&catalogue, segments)?);
    }
    for damaged in &content.quarantine {
        let line = format!("{} is in quarantine: {}", damaged.path, damaged.why);
        found.problems.push(line);
    }
    for pending in content.deletions.iter().filter(|d| !d.stage.is_over()) {
        if let Err(e) = deletion::read(disk, dir, pending.number) {
            let number = pending.number;
            found
                .problems
                .push(format!("deletion {number} is lost, ask again: {e}"));
        }
    }
    let wal_dir = dir.join("wal");
    let files = disk.list(&wal_dir);
    for entry in files.map_err(StoreError::io("list", &wal_dir))? {
        if file_number(&entry.name).is_none() {
            continue;
        }
        found.log_files += 1;
        match replay::verify(disk, &wal_dir.join(&entry.name)) {
            Ok(frames) => found.log_frames += frames,
            Err(e) => found.problems.push(e.to_string()),
        }
    }
    Ok(found)
}

fn verify_segment(disk: &Disk, dir: &Path, row: &SegmentRow) -> Result<Segment, StoreError> {
    let path = dir.join(row.path());
    let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
    let segment = Segment::open(file, row.clone())?;
    segment.verify()?;
    Ok(segment)
}

/// What of a data directory is whole without its catalogue: segments know themselves what they are.
/// For a person who has to decide what to do about a damaged one.
///
/// # Errors
/// The directory cannot be listed.
pub(crate) fn survey(disk: &Disk, dir: &Path) -> Result<Verified, StoreError> {
    let mut found = Verified::default();
    for name in open::segment_files(disk, dir)? {
        let path = dir.join(&name);
        let opened = disk.open(&path).map_err(StoreError::io("open", &path));
        let whole = opened.and_then(|file| {
            if name.starts_with(Signal::Logs.name()) {
                let segment = LogSegment::open(file)?;
                segment.verify().map(|()| segment.facts())
            } else if name.starts_with(Signal::Metrics.name()) {
                let segment = MetricSegment::open(file)?;
                segment.verify().map(|()| segment.facts())
            } else {
                let segment = SpanSegment::open(file)?;
                segment.verify().map(|()| segment.facts())
            }
        });
        match whole {
            Ok(facts) => {
                found.segments += 1;
                found.records += facts.rows;
                found.bytes += facts.bytes;
            }
            Err(e) => found.problems.push(e.to_string()),
        }
    }
    Ok(found)
}
