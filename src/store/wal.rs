//! The write-ahead log: what makes an answered request survive. Frames are appended by one writer,
//! each with one write(2) before the answer; files go once every record in them is in a segment.
//!
//! Never compresses (33-40 % of the whole ingest cost when measured) and never retries a failed
//! sync. Cost: one write of the request's bytes, 0.2 s per 1M records. Layout: docs/formats/wal.md.

pub(crate) mod frame;
pub(crate) mod replay;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::disk::{Disk, File};
use super::error::StoreError;
use crate::model::{ProjectId, Signal, Timestamp};
use frame::{Encoding, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX};

/// Bytes of log between seals, all files together. Bounds replay (about 1 s) and disk use; design.md
/// section 3.
pub(crate) const WAL_BYTES_MAX: u64 = 256 << 20;

/// Unsynced bytes after which the writer syncs without waiting for the timer (design.md section 3).
pub(crate) const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

const FILE_MAGIC: [u8; 8] = *b"wpWAL\r\n\x01";
const FILE_VERSION: u32 = 1;
/// Magic, version, first sequence, checksum.
pub(crate) const FILE_HEADER_BYTES: u64 = 24;

/// One request to be logged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) signal: Signal,
    pub(crate) project: ProjectId,
    pub(crate) received: Timestamp,
    pub(crate) key: u128,
    pub(crate) encoding: Encoding,
    pub(crate) payload: &'a [u8],
    pub(crate) raw_bytes: u64,
}

/// A file of the log.
#[derive(Clone, Debug)]
pub(crate) struct WalFile {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// The last sequence in it; one less than the first when it is empty.
    pub(crate) last: u64,
    /// Kept in quarantine instead of being removed.
    pub(crate) damaged: bool,
}

/// The log, owned by the one writer.
#[derive(Debug)]
pub(crate) struct Wal {
    disk: Disk,
    dir: PathBuf,
    file: File,
    /// Oldest first; the last one is `file`.
    files: VecDeque<WalFile>,
    next: u64,
    synced: u64,
    syncs: u64,
    unsynced_bytes: u64,
}

impl Wal {
    /// Starts a new file after `older`; its first frame has the sequence `next`.
    pub(crate) fn start(
        disk: Disk,
        dir: PathBuf,
        older: Vec<WalFile>,
        next: u64,
    ) -> Result<Wal, StoreError> {
        let number = older.last().map_or(1, |file| file.number + 1);
        let file = create_file(&disk, &dir, number, next)?;
        let mut files = VecDeque::from(older);
        files.push_back(WalFile {
            number,
            bytes: FILE_HEADER_BYTES,
            last: next - 1,
            damaged: false,
        });
        Ok(Wal {
            disk,
            dir,
            file,
            files,
            next,
            synced: next - 1,
            syncs: 0,
            unsynced_bytes: 0,
        })
    }

    /// Appends one frame with one write(2) and gives its sequence.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] and [`StoreError::WalFull`] change nothing. When the volume is full
    /// ([`StoreError::is_out_of_space`]) the file is cut back and stays good; after any other error
    /// the log must not be used again.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Result<u64, StoreError> {
        let bytes = (record.payload.len() as u64).max(record.raw_bytes);
        if bytes > u64::from(PAYLOAD_BYTES_MAX) {
            let max = u64::from(PAYLOAD_BYTES_MAX);
            return Err(StoreError::TooLarge { bytes, max });
        }
        let total = self.bytes();
        if total + HEADER_BYTES as u64 + record.payload.len() as u64 > WAL_BYTES_MAX {
            let max = WAL_BYTES_MAX;
            return Err(StoreError::WalFull { bytes: total, max });
        }
        let header = Header {
            payload_bytes: record.payload.len() as u32,
            payload_crc: crc32fast::hash(record.payload),
            signal: record.signal,
            encoding: record.encoding,
            sequence: self.next,
            synced: self.synced,
            received: record.received,
            key: record.key,
            project: record.project,
            raw_bytes: record.raw_bytes as u32,
        };
        let start = self.file.end();
        if let Err(e) = self.file.append(&header.encode(), record.payload) {
            return Err(self.take_back(start, e));
        }
        let sequence = self.next;
        self.next += 1;
        self.unsynced_bytes += header.frame_bytes();
        let active = self.files.back_mut().expect("start() leaves one file");
        active.bytes += header.frame_bytes();
        active.last = sequence;
        Ok(sequence)
    }

    /// A write that found no room left nothing behind once the file is as long as before.
    fn take_back(&mut self, start: u64, e: std::io::Error) -> StoreError {
        let error = StoreError::io("append to", self.file.path())(e);
        match error.is_out_of_space().then(|| self.file.set_len(start)) {
            Some(Err(e)) => StoreError::io("cut back", self.file.path())(e),
            Some(Ok(())) | None => error,
        }
    }

    /// Makes every frame durable. After an error the log must not be used again.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        if self.unsynced_bytes == 0 {
            return Ok(());
        }
        self.file
            .sync_data()
            .map_err(StoreError::io("sync", self.file.path()))?;
        self.unsynced_bytes = 0;
        self.synced = self.next - 1;
        self.syncs += 1;
        Ok(())
    }

    /// Closes the file, durable, and starts the next one, so that the closed one can go as a whole.
    pub(crate) fn rotate(&mut self) -> Result<(), StoreError> {
        let active = self.files.back().expect("start() leaves one file");
        if active.bytes == FILE_HEADER_BYTES {
            return Ok(());
        }
        let number = active.number + 1;
        self.sync()?;
        self.file = create_file(&self.disk, &self.dir, number, self.next)?;
        self.files.push_back(WalFile {
            number,
            bytes: FILE_HEADER_BYTES,
            last: self.next - 1,
            damaged: false,
        });
        Ok(())
    }

    /// Removes files whose frames are all below `low`, oldest first; damaged ones move to
    /// `quarantine`. The one being written stays.
    pub(crate) fn remove_below(&mut self, low: u64, quarantine: &Path) -> Result<(), StoreError> {
        while self.files.len() > 1 && self.files[0].last < low {
            let file = &self.files[0];
            let path = file_path(&self.dir, file.number);
            if file.damaged {
                let name = format!("wal-{:010}.log", file.number);
                self.disk
                    .rename(&path, &quarantine.join(name))
                    .map_err(StoreError::io("move to quarantine", &path))?;
            } else {
                self.disk
                    .remove(&path)
                    .map_err(StoreError::io("remove", &path))?;
            }
            self.files.pop_front();
        }
        Ok(())
    }

    /// The last sequence in the oldest file.
    pub(crate) fn oldest_last(&self) -> u64 {
        self.files.front().expect("start() leaves one file").last
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes
    }

    /// The newest sequence.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Syncs that had something to do.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// The newest sequence that is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }
}

fn create_file(disk: &Disk, dir: &Path, number: u64, first: u64) -> Result<File, StoreError> {
    let path = file_path(dir, number);
    let write = || {
        let mut file = disk.create(&path)?;
        file.append(&encode_file_header(first), &[])?;
        file.sync_data()?;
        disk.sync_dir(dir)?;
        Ok(file)
    };
    write().map_err(StoreError::io("create", &path))
}

/// The path of a log file by its number.
pub(crate) fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}{FILE_SUFFIX}"))
}

const FILE_SUFFIX: &str = ".log";

/// Replays one file that is alone in `dir`; how many frames it held, `None` when anything was wrong.
#[cfg(feature = "internals")]
pub(crate) fn replay_alone(dir: &Path, bytes: &[u8]) -> Option<usize> {
    let path = file_path(dir, 1);
    std::fs::write(&path, bytes).expect("the fuzz directory takes a file");
    let mut frames = 0;
    let expect = replay::Expect { low: 1, synced: 0 };
    let found = replay::replay(&Disk::Real, dir, expect, &mut |header, payload| {
        frames += usize::from(frame::decompress(header, payload).is_some());
        Ok(())
    });
    let found = found.ok()?;
    (found.damage.is_empty() && found.torn_bytes == 0 && frames > 0).then_some(frames)
}

/// The file with every checksum it can be given: of its header, and of frame after frame.
#[cfg(feature = "internals")]
pub(crate) fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let seal = |part: &mut [u8]| {
        let at = part.len() - 4;
        let crc = crc32fast::hash(&part[..at]);
        part[at..].copy_from_slice(&crc.to_le_bytes());
    };
    let Some((header, mut rest)) = out.split_at_mut_checked(FILE_HEADER_BYTES as usize) else {
        return out;
    };
    seal(header);
    while let Some((header, after)) = rest.split_at_mut_checked(frame::HEADER_BYTES) {
        let length = u32::from_le_bytes(header[4..8].try_into().expect("four bytes"));
        let Some((payload, next)) = after.split_at_mut_checked(length as usize) else {
            break;
        };
        header[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        seal(header);
        rest = next;
    }
    out
}

/// The number of a log file by its name; `None` when the name is not one of ours.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(FILE_SUFFIX)?;
    let ours = digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit());
    ours.then(|| digits.parse().ok()).flatten()
}

fn encode_file_header(first: u64) -> [u8; FILE_HEADER_BYTES as usize] {
    let mut out = [0; FILE_HEADER_BYTES as usize];
    out[..8].copy_from_slice(&FILE_MAGIC);
    out[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&first.to_le_bytes());
    let crc = crc32fast::hash(&out[..20]);
    out[20..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The first sequence of a file.
fn decode_file_header(
    path: &Path,
    bytes: &[u8; FILE_HEADER_BYTES as usize],
) -> Result<u64, StoreError> {
    let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    if bytes[..8] != FILE_MAGIC || u32_at(20) != crc32fast::hash(&bytes[..20]) {
        return Err(StoreError::corrupt(path, 0, "header of a log file"));
    }
    if u32_at(8) > FILE_VERSION {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found: u32_at(8),
            known: FILE_VERSION,
        });
    }
    let first = u64::from(u32_at(12)) | u64::from(u32_at(16)) << 32;
    if frame::SEQUENCES.contains(&first) {
        Ok(first)
    } else {
        Err(StoreError::corrupt(
            path,
            12,
            "first sequence of a log file",
        ))
    }
}
