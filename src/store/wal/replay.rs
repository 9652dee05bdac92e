//! Reading the log after a start: frame by frame, in the order they were written, within one
//! frame's memory. Damage is told, never passed over in silence; the torn end of a power cut is cut.

use std::path::{Path, PathBuf};

use super::super::disk::{Disk, File};
use super::super::error::StoreError;
use super::frame::{HEADER_BYTES, Header, MAGIC, NotAHeader};
use super::{FILE_HEADER_BYTES, WalFile, decode_file_header, file_number, file_path};

/// What is known of the log before reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    /// The lowest sequence that is not in a segment yet: all from here on must be in the log.
    pub(crate) low: u64,
    /// The newest sequence known from elsewhere to be durable (a clean stop writes it down).
    pub(crate) synced: u64,
}

/// A part of the log that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Frames lost by it, as far as sequences tell.
    pub(crate) frames: u64,
}

/// What a replay found.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Every file, oldest first.
    pub(crate) files: Vec<WalFile>,
    /// The newest sequence in the log; 0 when there is none.
    pub(crate) last: u64,
    pub(crate) frames: u64,
    /// Bytes cut off the end: written but not synced when the power went.
    pub(crate) torn_bytes: u64,
    pub(crate) damage: Vec<Damage>,
}

/// What is done with each frame: its header and its payload.
type Each<'a> = dyn FnMut(&Header, &[u8]) -> Result<(), StoreError> + 'a;

/// Reads every frame of every file in `dir`, gives it to `each`, and cuts a torn end off the last
/// file. All that remains is durable afterwards.
///
/// # Errors
/// The disk refuses, a file is of a later format, or `each` fails.
pub(crate) fn replay(
    disk: &Disk,
    dir: &Path,
    expect: Expect,
    each: &mut Each<'_>,
) -> Result<Replayed, StoreError> {
    let mut numbers: Vec<u64> = disk
        .list(dir)
        .map_err(StoreError::io("list", dir))?
        .iter()
        .filter_map(|entry| file_number(&entry.name))
        .collect();
    numbers.sort_unstable();
    remove_stub(disk, dir, &mut numbers)?;
    let newest = numbers.last().copied();
    let mut walk = Walk {
        next: None,
        expect,
        found: Replayed::default(),
    };
    for number in numbers {
        let path = file_path(dir, number);
        let is_newest = newest == Some(number);
        walk.file(disk, &path, number, is_newest, each)?;
    }
    Ok(walk.found)
}

/// Removes the newest file when it is no more than a broken header: the power went (or the disk was
/// full) while it was being made, and nothing was ever written behind it.
fn remove_stub(disk: &Disk, dir: &Path, numbers: &mut Vec<u64>) -> Result<(), StoreError> {
    let Some(&number) = numbers.last() else {
        return Ok(());
    };
    let path = file_path(dir, number);
    let mut window = Window::open(disk, &path)?;
    let whole = match window.array(0)? {
        Some(header) => decode_file_header(&path, header).is_ok(),
        None => false,
    };
    if !whole && window.len <= FILE_HEADER_BYTES {
        numbers.pop();
        disk.remove(&path)
            .map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

/// Checks every frame without changing anything: for `verify`.
pub(crate) fn verify(disk: &Disk, path: &Path) -> Result<u64, StoreError> {
    let mut window = Window::open(disk, path)?;
    decode_file_header(path, window.array(0)?.ok_or(too_short(path))?)?;
    let (mut at, mut frames) = (FILE_HEADER_BYTES, 0);
    while at < window.len {
        let Some(header) = window.frame(at)? else {
            return Err(StoreError::corrupt(path, at, "frame of the log"));
        };
        at += header.frame_bytes();
        frames += 1;
    }
    Ok(frames)
}

fn too_short(path: &Path) -> StoreError {
    StoreError::corrupt(path, 0, "header of a log file")
}

struct Walk {
    /// The sequence the next frame must have; `None` before the first file.
    next: Option<u64>,
    expect: Expect,
    found: Replayed,
}

impl Walk {
    fn file(
        &mut self,
        disk: &Disk,
        path: &Path,
        number: u64,
        is_newest: bool,
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        let mut window = Window::open(disk, path)?;
        let first = match window.array(0)? {
            Some(bytes) => decode_file_header(path, bytes),
            None => Err(too_short(path)),
        };
        let damage_before = self.found.damage.len();
        let mut at = FILE_HEADER_BYTES;
        match first {
            Ok(first) => self.expect_first(path, first),
            Err(StoreError::Corrupt { .. }) => {
                self.found.damage.push(Damage {
                    path: path.to_owned(),
                    offset: 0,
                    bytes: FILE_HEADER_BYTES,
                    frames: 0,
                });
            }
            Err(e) => return Err(e),
        }
        while at < window.len {
            if let Some(header) = window.frame(at)?
                && self.next.is_none_or(|next| header.sequence >= next)
            {
                self.skip_to(path, at, header.sequence);
                each(&header, window.payload(at, &header)?)?;
                self.found.frames += 1;
                self.found.last = header.sequence;
                self.next = Some(header.sequence + 1);
                at += header.frame_bytes();
                continue;
            }
            match self.resume(&mut window, at, is_newest)? {
                Some(to) => {
                    self.damage(path, at, to - at);
                    at = to;
                }
                None => {
                    self.cut(disk, path, at, window.len)?;
                    break;
                }
            }
        }
        if is_newest {
            sync(disk, path)?;
        }
        self.found.files.push(WalFile {
            number,
            bytes: at,
            last: self.next.map_or(0, |next| next - 1),
            damaged: self.found.damage.len() > damage_before,
        });
        Ok(())
    }

    /// Compares a file's first sequence with the end of the file before it.
    fn expect_first(&mut self, path: &Path, first: u64) {
        let needed = self.next.unwrap_or(1).max(self.expect.low);
        if first > needed {
            self.found.damage.push(Damage {
                path: path.to_owned(),
                offset: 0,
                bytes: 0,
                frames: first - needed,
            });
        }
        self.next = Some(self.next.unwrap_or(0).max(first));
    }

    fn damage(&mut self, path: &Path, offset: u64, bytes: u64) {
        self.found.damage.push(Damage {
            path: path.to_owned(),
            offset,
            bytes,
            frames: 0,
        });
    }

    /// Counts the frames lost between the last good one and this one.
    fn skip_to(&mut self, path: &Path, offset: u64, sequence: u64) {
        let lost = sequence - self.next.unwrap_or(sequence);
        if lost == 0 {
            return;
        }
        match self.found.damage.last_mut() {
            Some(damage) if damage.path == path => damage.frames += lost,
            _ => self.found.damage.push(Damage {
                path: path.to_owned(),
                offset,
                bytes: 0,
                frames: lost,
            }),
        }
    }

    /// Where to read on behind damage at `at`; `None`: what follows was never durable.
    ///
    /// Older files were synced as a whole before the next one began. In the newest one a later frame
    /// proves by its `synced` whether the damaged one had been.
    fn resume(
        &self,
        window: &mut Window,
        at: u64,
        is_newest: bool,
    ) -> Result<Option<u64>, StoreError> {
        let lost = self.next.unwrap_or(1);
        let mut durable = !is_newest || self.expect.synced >= lost;
        let mut from = at + 1;
        let mut first_good = None;
        while let Some((found, header)) = window.find(from)? {
            from = found + 1;
            if header.sequence < lost {
                continue;
            }
            first_good.get_or_insert(found);
            durable |= header.synced >= lost;
            if durable {
                return Ok(first_good);
            }
        }
        // Damage up to the end of a file that had been synced.
        Ok(durable.then_some(window.len))
    }

    fn cut(&mut self, disk: &Disk, path: &Path, at: u64, len: u64) -> Result<(), StoreError> {
        self.found.torn_bytes += len - at;
        disk.open_in_place(path)
            .and_then(|mut file| file.set_len(at))
            .map_err(StoreError::io("cut the torn end off", path))
    }
}

/// A killed process leaves written frames that no sync has covered yet.
fn sync(disk: &Disk, path: &Path) -> Result<(), StoreError> {
    disk.open_in_place(path)
        .and_then(|file| file.sync_data())
        .map_err(StoreError::io("sync", path))
}

/// A file read in large steps, forwards.
struct Window {
    file: File,
    len: u64,
    buffer: Vec<u8>,
    start: u64,
}

/// Bytes per read: one system call for many small frames, little beside a large one.
const READ_BYTES: u64 = 1 << 20;

impl Window {
    fn open(disk: &Disk, path: &Path) -> Result<Window, StoreError> {
        let file = disk.open(path).map_err(StoreError::io("open", path))?;
        let len = file.len().map_err(StoreError::io("measure", path))?;
        Ok(Window {
            file,
            len,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// `len` bytes from `at`; `None` past the end.
    fn bytes(&mut self, at: u64, len: u64) -> Result<Option<&[u8]>, StoreError> {
        if at.saturating_add(len) > self.len {
            return Ok(None);
        }
        let end = self.start + self.buffer.len() as u64;
        if at < self.start || at + len > end {
            let take = len.max(READ_BYTES).min(self.len - at);
            self.buffer.resize(take as usize, 0);
            self.file
                .read_exact_at(&mut self.buffer, at)
                .map_err(StoreError::io("read", self.file.path()))?;
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(Some(&self.buffer[from..from + len as usize]))
    }

    fn array<const N: usize>(&mut self, at: u64) -> Result<Option<&[u8; N]>, StoreError> {
        let bytes = self.bytes(at, N as u64)?;
        Ok(bytes.and_then(|bytes| bytes.first_chunk()))
    }

    /// The header of a whole, undamaged frame at `at`.
    fn frame(&mut self, at: u64) -> Result<Option<Header>, StoreError> {
        let Some(bytes) = self.array::<HEADER_BYTES>(at)? else {
            return Ok(None);
        };
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(NotAHeader::Damaged) => return Ok(None),
            Err(NotAHeader::Newer(found)) => {
                return Err(StoreError::Newer {
                    path: self.file.path().to_owned(),
                    found: u32::from(found),
                    known: 1,
                });
            }
        };
        let payload = self.bytes(at + HEADER_BYTES as u64, u64::from(header.payload_bytes))?;
        let whole = payload.is_some_and(|p| crc32fast::hash(p) == header.payload_crc);
        Ok(whole.then_some(header))
    }

    fn payload(&mut self, at: u64, header: &Header) -> Result<&[u8], StoreError> {
        let from = at + HEADER_BYTES as u64;
        let payload = self.bytes(from, u64::from(header.payload_bytes))?;
        Ok(payload.expect("frame() has read it"))
    }

    /// The first whole frame that begins at or after `from`.
    fn find(&mut self, from: u64) -> Result<Option<(u64, Header)>, StoreError> {
        let mut at = from;
        while at + HEADER_BYTES as u64 <= self.len {
            let take = READ_BYTES.min(self.len - at);
            let bytes = self.bytes(at, take)?.expect("within the file");
            let Some(hit) = memchr::memmem::find(bytes, &MAGIC) else {
                // The magic may begin in the last three bytes.
                at += (take - 3).max(1);
                continue;
            };
            at += hit as u64;
            if let Some(header) = self.frame(at)? {
                return Ok(Some((at, header)));
            }
            at += 1;
        }
        Ok(None)
    }
}
