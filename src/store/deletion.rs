//! Deletions by query: what is asked, what the catalogue keeps of it, and the file that holds the
//! condition until it is carried out.
//!
//! The condition's text is personal data itself. It never gets into the catalogue's database, whose
//! free pages keep old bytes, nor into the log: it lies in a file of its own that is unlinked when
//! the last record is gone. What stays is its shape, without values.

use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::error::StoreError;
use crate::model::{Signal, TimeRange, Timestamp};

/// Deletions not yet carried out: each is asked of every record that is read meanwhile, and they
/// take seconds.
pub(crate) const DELETIONS_PENDING_MAX: usize = 64;

/// Deletions remembered; the oldest finished ones are forgotten. Some hundred bytes each.
pub(crate) const DELETIONS_KEPT_MAX: usize = 1000;

/// Longest condition in bytes: that of a query.
const CONDITION_BYTES_MAX: usize = 16 << 10;

/// How far a deletion is. The order is that of its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Gone from every answer, not yet from the disk.
    #[default]
    Hidden,
    /// Some of it is rewritten.
    Erasing,
    /// Gone from segments and log.
    Erased,
    /// Its condition cannot be read any more, so that nothing is hidden: it must be asked again.
    Failed,
}

impl Stage {
    const ALL: [Stage; 4] = [Stage::Hidden, Stage::Erasing, Stage::Erased, Stage::Failed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Stage::Hidden => "hidden",
            Stage::Erasing => "erasing",
            Stage::Erased => "erased",
            Stage::Failed => "failed",
        }
    }

    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Stage::Erased | Stage::Failed)
    }
}

/// What somebody asks to be deleted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// In the language that `Config::compile` reads.
    pub(crate) condition: String,
    /// The same without values; kept.
    pub(crate) shape: String,
    /// Who asks; kept.
    pub(crate) by: String,
    /// By the number of the signal.
    pub(crate) signals: [bool; Signal::RECORDS.len()],
    /// By place in lists.
    pub(crate) range: TimeRange,
}

/// A deletion, as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) number: u64,
    pub(crate) stage: Stage,
    pub(crate) signals: [bool; Signal::RECORDS.len()],
    pub(crate) range: TimeRange,
    /// It is about requests of the log with a lower sequence.
    pub(crate) before: u64,
    pub(crate) requested: Timestamp,
    /// 0: not over yet.
    pub(crate) done: Timestamp,
    /// Records erased so far, by the number of the signal.
    pub(crate) erased: [u64; Signal::RECORDS.len()],
    /// Files in quarantine when it was over: what they hold nobody can tell.
    pub(crate) left_files: u32,
    pub(crate) by: String,
    pub(crate) shape: String,
}

/// What one transaction adds to a deletion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) number: u64,
    pub(crate) stage: Stage,
    pub(crate) erased: [u64; Signal::RECORDS.len()],
    pub(crate) done: Timestamp,
    pub(crate) left_files: u32,
}

impl Progress {
    /// Records went.
    pub(super) fn erased(number: u64, signal: Signal, records: u64) -> Progress {
        let mut erased = [0; Signal::RECORDS.len()];
        erased[signal as usize] = records;
        Progress {
            number,
            stage: Stage::Erasing,
            erased,
            done: Timestamp(0),
            left_files: 0,
        }
    }

    /// Nothing of it is left to do.
    pub(super) fn over(number: u64, stage: Stage, now: Timestamp, left_files: u32) -> Progress {
        Progress {
            number,
            stage,
            erased: [0; Signal::RECORDS.len()],
            done: now,
            left_files,
        }
    }
}

/// Records erased per deletion of one pass over one segment or head.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<(u64, u64)>);

impl Tally {
    pub(super) fn add(&mut self, number: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == number) {
            Some((_, n)) => *n += 1,
            None => self.0.push((number, 1)),
        }
    }

    pub(super) fn progress(&self, signal: Signal) -> Vec<Progress> {
        let progress = |(number, n): &(u64, u64)| Progress::erased(*number, signal, *n);
        self.0.iter().map(progress).collect()
    }
}

impl Deletion {
    pub(super) fn advance(&mut self, progress: &Progress) {
        self.stage = self.stage.max(progress.stage);
        for (all, more) in self.erased.iter_mut().zip(progress.erased) {
            *all += more;
        }
        self.done = self.done.max(progress.done);
        self.left_files += progress.left_files;
    }
}

const ROW_VERSION: u8 = 1;
const ROW_FIXED_BYTES: usize = 69;

/// The row of a deletion (docs/formats/catalogue.md); its number is the key.
pub(super) fn encode_row(deletion: &Deletion) -> Vec<u8> {
    let mut out = vec![ROW_VERSION, deletion.stage as u8];
    let signals = deletion.signals.iter().enumerate();
    out.push(signals.fold(0, |mask, (i, on)| mask | u8::from(*on) << i));
    for number in [
        deletion.range.start().0,
        deletion.range.end().0,
        deletion.before,
        deletion.requested.0,
        deletion.done.0,
        deletion.erased[0],
        deletion.erased[1],
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&deletion.left_files.to_le_bytes());
    for text in [&deletion.by, &deletion.shape] {
        out.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
    }
    out.extend_from_slice(deletion.by.as_bytes());
    out.extend_from_slice(deletion.shape.as_bytes());
    out
}

pub(super) fn decode_row(number: u64, bytes: &[u8]) -> Option<Deletion> {
    let (fixed, texts) = bytes.split_at_checked(ROW_FIXED_BYTES)?;
    if fixed[0] != ROW_VERSION {
        return None;
    }
    let u64_at = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| fixed[at + i]));
    let u24_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], 0]);
    let (by, shape) = texts.split_at_checked(u24_at(63) as usize)?;
    if shape.len() != u24_at(66) as usize {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(Deletion {
        number,
        stage: *Stage::ALL.get(usize::from(fixed[1]))?,
        signals: [fixed[2] & 1 != 0, fixed[2] & 2 != 0],
        range: TimeRange::new(Timestamp(u64_at(3)), Timestamp(u64_at(11)))?,
        before: u64_at(19),
        requested: Timestamp(u64_at(27)),
        done: Timestamp(u64_at(35)),
        erased: [u64_at(43), u64_at(51)],
        left_files: u32::from_le_bytes([fixed[59], fixed[60], fixed[61], fixed[62]]),
        by: text(by)?,
        shape: text(shape)?,
    })
}

/// Where conditions lie, below the data directory.
pub(super) const DIR: &str = "deletions";
const FILE_MAGIC: [u8; 8] = *b"wpDEL\r\n\x01";
const FILE_SUFFIX: &str = ".del";

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(DIR).join(format!("{number:010}{FILE_SUFFIX}"))
}

/// Makes the condition durable, before the catalogue names the deletion.
pub(super) fn write(
    disk: &Disk,
    dir: &Path,
    number: u64,
    condition: &str,
) -> Result<(), StoreError> {
    let path = path(dir, number);
    if condition.len() > CONDITION_BYTES_MAX {
        return Err(StoreError::TooLarge {
            bytes: condition.len() as u64,
            max: CONDITION_BYTES_MAX as u64,
        });
    }
    let mut bytes = FILE_MAGIC.to_vec();
    bytes.extend_from_slice(&(condition.len() as u32).to_le_bytes());
    bytes.extend_from_slice(condition.as_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    disk.ensure_dir(&dir.join(DIR))
        .map_err(StoreError::io("make directory", &dir.join(DIR)))?;
    let written = disk::publish(disk, &path, |file| file.append(&bytes, &[]));
    written.map_err(|e| {
        // Best effort: what stays is removed at the next start.
        let _gone = disk.remove(&disk::tmp_path(&path));
        StoreError::io("write", &path)(e)
    })
}

/// Reads a condition back.
///
/// # Errors
/// It is gone or damaged.
pub(super) fn read(disk: &Disk, dir: &Path, number: u64) -> Result<String, StoreError> {
    let path = path(dir, number);
    let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
    let len = file.len().map_err(StoreError::io("measure", &path))?;
    let damaged = || StoreError::corrupt(&path, 0, "condition of a deletion");
    if len < 16 || len > 16 + CONDITION_BYTES_MAX as u64 {
        return Err(damaged());
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)
        .map_err(StoreError::io("read", &path))?;
    let (covered, crc) = bytes.split_at(bytes.len() - 4);
    let text = covered[12..].to_vec();
    let is_whole = crc == crc32fast::hash(covered).to_le_bytes()
        && covered[..8] == FILE_MAGIC
        && covered[8..12] == (text.len() as u32).to_le_bytes();
    let text = String::from_utf8(text).ok().filter(|_| is_whole);
    text.ok_or_else(damaged)
}

/// Unlinks a condition that is of no use any more; gone already is fine.
pub(super) fn forget(disk: &Disk, dir: &Path, number: u64) -> Result<(), StoreError> {
    let path = path(dir, number);
    match disk.remove(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", &path)(e))
        }
        _ => Ok(()),
    }
}

/// Unlinks conditions that no pending deletion names: left over by a crash.
pub(super) fn delete_strays(
    disk: &Disk,
    dir: &Path,
    is_pending: impl Fn(u64) -> bool,
) -> Result<(), StoreError> {
    let dir = dir.join(DIR);
    for entry in disk.list(&dir).map_err(StoreError::io("list", &dir))? {
        let name = entry.name.strip_suffix(disk::TMP_SUFFIX);
        let digits = name.unwrap_or(&entry.name).strip_suffix(FILE_SUFFIX);
        let Some(number) = digits.and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        if name.is_some() || !is_pending(number) {
            let path = dir.join(&entry.name);
            disk.remove(&path)
                .map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}
