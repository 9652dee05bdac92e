//! The frame of a segment file: header, tagged sections with a checksum each, table of sections,
//! tail. Sections that a reader does not know are skipped unless they are marked as required.

use std::io::{self, Write};
use std::path::Path;

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::disk::File;

use super::cursor::{Cursor, Damage, put_varint};

/// Version of the format as a whole; readers know the current and the one before. 2 brought templates
/// and counts to log segments.
pub(crate) const VERSION: u32 = 2;
const VERSION_BEFORE: u32 = 1;

/// Magic and version, padded to 16 bytes.
pub(crate) const HEADER_BYTES: u64 = 16;

/// Place and number of table entries, version, checksum of both and the table, magic.
const TAIL_BYTES: u64 = 28;

const ENTRY_BYTES: u64 = 28;

/// Sections of a file: six kinds are known; more than this is no table of ours.
const SECTIONS_MAX: u32 = 256;

/// Bytes that are read at once: summaries of 100 M traces.
const SECTION_BYTES_MAX: u64 = 1 << 31;

/// Kinds of sections. Numbers are on disk and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Facts = 1,
    Directory = 2,
    Tokens = 3,
    Summaries = 4,
    Red = 5,
    /// Of metrics: the numbers of series.
    Series = 6,
}

/// The kind that came last.
const TAG_NEWEST: Tag = Tag::Series;

/// Where a section lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    tag: u32,
    required: bool,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

/// What the catalogue keeps of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub(crate) rows: u64,
    /// Places in lists of the first and the last record.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Of the file.
    pub(crate) bytes: u64,
    /// Of the records as OTLP, resources and scopes included once per request.
    pub(crate) raw_bytes: u64,
    /// Checksum of the section table, which has the checksums of all sections; the directory among
    /// them has those of all columns.
    pub(crate) crc: u32,
}

impl SegmentFacts {
    /// Counts another segment in; `bytes` and `crc` stay with the file.
    pub(crate) fn absorb(&mut self, other: &SegmentFacts) {
        if self.rows == 0 {
            (self.first, self.last) = (other.first, other.last);
        } else if other.rows != 0 {
            self.first = self.first.min(other.first);
            self.last = self.last.max(other.last);
        }
        self.rows += other.rows;
        self.raw_bytes += other.raw_bytes;
    }

    fn section(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.rows, self.first.0, self.last.0, self.raw_bytes] {
            put_varint(&mut out, number);
        }
        out
    }

    fn read(section: &[u8]) -> Result<SegmentFacts, Damage> {
        let mut cursor = Cursor::new(section);
        Ok(SegmentFacts {
            rows: cursor.varint()?,
            first: Timestamp(cursor.varint()?),
            last: Timestamp(cursor.varint()?),
            raw_bytes: cursor.varint()?,
            ..SegmentFacts::default()
        })
    }
}

/// Writes a segment file front to back.
#[derive(Debug)]
pub(crate) struct Output<'w, W> {
    out: &'w mut W,
    offset: u64,
    sections: Vec<Section>,
    magic: [u8; 8],
}

impl<'w, W: Write> Output<'w, W> {
    pub(crate) fn start(out: &'w mut W, magic: [u8; 8]) -> io::Result<Output<'w, W>> {
        out.write_all(&magic)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&[0; 4])?;
        Ok(Output::resume(out, HEADER_BYTES, magic))
    }

    /// Goes on after `offset` bytes that are there already, header included.
    pub(crate) fn resume(out: &'w mut W, offset: u64, magic: [u8; 8]) -> Output<'w, W> {
        Output {
            out,
            offset,
            sections: Vec::new(),
            magic,
        }
    }

    /// Where the next byte goes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn section(&mut self, tag: Tag, required: bool, bytes: &[u8]) -> io::Result<()> {
        self.sections.push(Section {
            tag: tag as u32,
            required,
            offset: self.offset,
            len: bytes.len() as u64,
            crc: crc32fast::hash(bytes),
        });
        self.write(bytes)
    }

    /// A section of a kind that this version does not know.
    #[cfg(test)]
    pub(crate) fn unknown_section(&mut self, required: bool, bytes: &[u8]) -> io::Result<()> {
        self.section(Tag::Facts, required, bytes)?;
        if let Some(section) = self.sections.last_mut() {
            section.tag = 9000;
        }
        Ok(())
    }

    /// Writes facts, table and tail; returns the facts with the size and checksum of the file.
    pub(crate) fn finish(mut self, facts: SegmentFacts) -> io::Result<SegmentFacts> {
        self.section(Tag::Facts, true, &facts.section())?;
        let table_at = self.offset;
        let mut table = Vec::new();
        for section in &self.sections {
            table.extend_from_slice(&section.tag.to_le_bytes());
            table.extend_from_slice(&u32::from(section.required).to_le_bytes());
            table.extend_from_slice(&section.offset.to_le_bytes());
            table.extend_from_slice(&section.len.to_le_bytes());
            table.extend_from_slice(&section.crc.to_le_bytes());
        }
        table.extend_from_slice(&table_at.to_le_bytes());
        table.extend_from_slice(&(self.sections.len() as u32).to_le_bytes());
        table.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32fast::hash(&table);
        table.extend_from_slice(&crc.to_le_bytes());
        table.extend_from_slice(&self.magic);
        self.write(&table)?;
        Ok(SegmentFacts {
            bytes: self.offset,
            crc,
            ..facts
        })
    }
}

/// An opened segment file: its table of sections and its facts, checked.
#[derive(Debug)]
pub(crate) struct Frame {
    file: File,
    version: u32,
    sections: Vec<Section>,
    facts: SegmentFacts,
}

impl Frame {
    /// Reads header, tail, table and facts: two reads of a few hundred bytes.
    ///
    /// # Errors
    /// `Newer` for a later version or an unknown required section, `Corrupt` for anything that
    /// is not a finished segment of this kind, `Io`.
    pub(crate) fn open(file: File, magic: [u8; 8]) -> Result<Frame, StoreError> {
        let path = file.path().to_owned();
        let len = file.len().map_err(StoreError::io("read", &path))?;
        let corrupt = |offset, what| StoreError::corrupt(&path, offset, what);
        if len < HEADER_BYTES + TAIL_BYTES {
            return Err(corrupt(0, "too short for a segment"));
        }
        let header = read(&file, 0, HEADER_BYTES)?;
        if header[..8] != magic {
            return Err(corrupt(0, "not a segment of this signal"));
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let tail_at = len - TAIL_BYTES;
        let tail = read(&file, tail_at, TAIL_BYTES)?;
        // Written twice, so that one flipped bit does not pass for a later format.
        if tail[12..16] != header[8..12] {
            return Err(corrupt(8, "header and tail differ in their version"));
        }
        check_version(&path, version)?;
        let damaged = |d: Damage| corrupt(tail_at, d.0);
        let mut cursor = Cursor::new(&tail);
        let table_at = cursor.u64().map_err(damaged)?;
        let n_sections = cursor.u32().map_err(damaged)?;
        let table_bytes = u64::from(n_sections.min(SECTIONS_MAX)) * ENTRY_BYTES;
        if n_sections > SECTIONS_MAX || table_at.checked_add(table_bytes) != Some(tail_at) {
            return Err(corrupt(tail_at, "tail does not fit the section table"));
        }
        let table = read(&file, table_at, table_bytes + TAIL_BYTES)?;
        let (covered, rest) = table.split_at(table.len() - 12);
        let crc = crc32fast::hash(covered);
        if rest[..4] != crc.to_le_bytes() || rest[4..] != magic {
            return Err(corrupt(tail_at, "checksum of the section table"));
        }
        let sections = sections(&table, n_sections, table_at).map_err(damaged)?;
        if let Some(unknown) = sections.iter().find(|s| s.required && !is_known(s.tag)) {
            return Err(StoreError::Newer {
                path,
                found: unknown.tag,
                known: TAG_NEWEST as u32,
            });
        }
        let mut frame = Frame {
            file,
            version,
            sections,
            facts: SegmentFacts {
                bytes: len,
                ..SegmentFacts::default()
            },
        };
        let (at, section) = frame.section(Tag::Facts)?;
        let facts = SegmentFacts::read(&section).map_err(|d| corrupt(at, d.0))?;
        frame.facts = SegmentFacts {
            bytes: len,
            crc,
            ..facts
        };
        Ok(frame)
    }

    pub(crate) fn facts(&self) -> SegmentFacts {
        self.facts
    }

    /// Of its format.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// For bytes at `offset` that are not what was written.
    pub(crate) fn corrupt(&self, offset: u64) -> impl Fn(Damage) -> StoreError {
        move |damage| StoreError::corrupt(self.path(), offset, damage.0)
    }

    /// The place of a section, `None` when the file has none of this kind.
    pub(crate) fn find(&self, tag: Tag) -> Option<Section> {
        self.sections
            .iter()
            .copied()
            .find(|section| section.tag == tag as u32)
    }

    /// Where the blocks end and the sections begin.
    pub(crate) fn data_end(&self) -> u64 {
        let starts = self.sections.iter().map(|section| section.offset);
        starts.min().unwrap_or(HEADER_BYTES)
    }

    /// Offset and checked bytes of a section that every file has.
    pub(crate) fn section(&self, tag: Tag) -> Result<(u64, Vec<u8>), StoreError> {
        match self.find(tag) {
            Some(section) => Ok((section.offset, self.read_section(section)?)),
            None => Err(StoreError::corrupt(self.path(), 0, "a section is missing")),
        }
    }

    pub(crate) fn read_section(&self, section: Section) -> Result<Vec<u8>, StoreError> {
        let bytes = self.read(section.offset, section.len)?;
        if crc32fast::hash(&bytes) == section.crc {
            Ok(bytes)
        } else {
            Err(self.corrupt(section.offset)(Damage(
                "checksum of a section",
            )))
        }
    }

    /// The checksums of all sections, known or not.
    pub(crate) fn verify_sections(&self) -> Result<(), StoreError> {
        self.sections
            .iter()
            .try_for_each(|section| self.read_section(*section).map(drop))
    }

    /// Bytes of the file; a range that no file of ours has is `Corrupt`.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > self.facts.bytes) {
            return Err(self.corrupt(offset)(Damage(
                "a reference past the end of the file",
            )));
        }
        read(&self.file, offset, len)
    }
}

fn check_version(path: &Path, found: u32) -> Result<(), StoreError> {
    match found {
        VERSION_BEFORE | VERSION => Ok(()),
        newer if newer > VERSION => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
        _ => Err(StoreError::corrupt(path, 8, "format version 0")),
    }
}

fn is_known(tag: u32) -> bool {
    (Tag::Facts as u32..=TAG_NEWEST as u32).contains(&tag)
}

fn sections(table: &[u8], n: u32, table_at: u64) -> Result<Vec<Section>, Damage> {
    let mut cursor = Cursor::new(table);
    let mut sections = Vec::with_capacity(n as usize);
    for _ in 0..n {
        let section = Section {
            tag: cursor.u32()?,
            required: cursor.u32()? & 1 != 0,
            offset: cursor.u64()?,
            len: cursor.u64()?,
            crc: cursor.u32()?,
        };
        let end = section.offset.checked_add(section.len);
        if section.offset < HEADER_BYTES || end.is_none_or(|end| end > table_at) {
            return Err(Damage("a section lies outside of its file"));
        }
        sections.push(section);
    }
    Ok(sections)
}

fn read(file: &File, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
    let path = file.path();
    if len > SECTION_BYTES_MAX {
        return Err(StoreError::corrupt(path, offset, "a length is too large"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                StoreError::corrupt(path, offset, "the file ends too early")
            }
            _ => StoreError::io("read", path)(e),
        })?;
    Ok(bytes)
}
