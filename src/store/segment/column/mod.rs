//! Columns: how many values of one kind become few bytes. Every column starts with an encoding tag,
//! so that a later version can add encodings without touching the rest of a file
//! (docs/formats/segment-logs.md has the byte layout).
//!
//! A column writes into three streams of its family. `codes` (tags, small numbers) and `text`
//! (strings) are compressed with zstd, each alone because their statistics differ; `bits` (random
//! ids, low bits of numbers) has nothing left to compress and is stored as it is.

mod bits;
mod index;
pub(crate) mod ints;
pub(crate) mod strings;
#[cfg(test)]
mod tests;
mod textual;

use super::cursor::{Cursor, Damage};
use super::{Grade, zstd};
use index::Index;
pub(crate) use textual::push_hex;

/// Values that one column may have. Blocks have at most 4096 rows; an attribute that a record
/// repeats, events and directories have more.
pub(crate) const VALUES_MAX: usize = 1 << 24;

/// Writes the columns of one family after another.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    grade: Grade,
    codes: Vec<u8>,
    text: Vec<u8>,
    bits: Vec<u8>,
    index: Index,
    /// Buffers of earlier columns: fresh pages cost more than the encoding.
    spare: Vec<Vec<u64>>,
}

/// Lengths of one family's streams in a file, in bytes; its checksum covers all three as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) codes_raw: u32,
    pub(crate) codes_len: u32,
    pub(crate) text_raw: u32,
    pub(crate) text_len: u32,
    pub(crate) bits_len: u32,
    pub(crate) crc: u32,
}

impl Family {
    /// Bytes of a written-out entry: six little-endian u32 in the order of the fields.
    pub(crate) const BYTES: usize = 24;

    fn to_bytes(self) -> [u8; Family::BYTES] {
        let mut bytes = [0; Family::BYTES];
        let fields = [
            self.codes_raw,
            self.codes_len,
            self.text_raw,
            self.text_len,
            self.bits_len,
            self.crc,
        ];
        for (out, field) in bytes.chunks_exact_mut(4).zip(fields) {
            out.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// What [`Encoder::finish_framed`] wrote in front. No checksum covers it alone.
    pub(crate) fn framed(bytes: &[u8]) -> Result<Family, Damage> {
        let mut cursor = Cursor::new(bytes);
        Ok(Family {
            codes_raw: cursor.u32()?,
            codes_len: cursor.u32()?,
            text_raw: cursor.u32()?,
            text_len: cursor.u32()?,
            bits_len: cursor.u32()?,
            crc: cursor.u32()?,
        })
    }

    /// Unpacks what [`Encoder::finish_framed`] wrote; `bytes` may go on behind it.
    pub(crate) fn unpack_framed(bytes: &[u8]) -> Result<Unpacked, Damage> {
        let mut cursor = Cursor::new(bytes);
        let family = Family::framed(cursor.take(Family::BYTES)?)?;
        let stored = usize::try_from(family.stored())
            .map_err(|_| Damage("a frame claims more bytes than memory"))?;
        family.unpack(cursor.take(stored)?)
    }

    /// Bytes in the file.
    pub(crate) fn stored(&self) -> u64 {
        u64::from(self.codes_len) + u64::from(self.text_len) + u64::from(self.bits_len)
    }

    /// Bytes once unpacked.
    pub(crate) fn raw(&self) -> u64 {
        u64::from(self.codes_raw) + u64::from(self.text_raw) + u64::from(self.bits_len)
    }

    /// Checks and unpacks the stored bytes of a family.
    pub(crate) fn unpack(&self, stored: &[u8]) -> Result<Unpacked, Damage> {
        if crc32fast::hash(stored) != self.crc {
            return Err(Damage("checksum of a column family"));
        }
        let mut rest = Cursor::new(stored);
        let codes = rest.take(self.codes_len as usize)?;
        let text = rest.take(self.text_len as usize)?;
        let bits = rest.take(self.bits_len as usize)?;
        Ok(Unpacked {
            codes: zstd::unpack(codes, self.codes_raw as usize)?,
            text: zstd::unpack(text, self.text_raw as usize)?,
            bits: bits.to_vec(),
        })
    }
}

impl Encoder {
    pub(crate) fn new(grade: Grade) -> Encoder {
        Encoder {
            grade,
            ..Encoder::default()
        }
    }

    /// Appends what was written since the last call to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Family {
        let start = out.len();
        let fits = "a block is cut at far less than 4 GiB";
        let u32_of = |n: usize| u32::try_from(n).expect(fits);
        let family = Family {
            codes_raw: u32_of(self.codes.len()),
            codes_len: u32_of(zstd::pack(&self.codes, self.grade, out)),
            text_raw: u32_of(self.text.len()),
            text_len: u32_of(zstd::pack(&self.text, self.grade, out)),
            bits_len: u32_of(self.bits.len()),
            crc: 0,
        };
        out.extend_from_slice(&self.bits);
        self.codes.clear();
        self.text.clear();
        self.bits.clear();
        Family {
            crc: crc32fast::hash(&out[start..]),
            ..family
        }
    }

    /// As [`Encoder::finish`], with the lengths and the checksum in front: for what has no
    /// directory entry of its own.
    pub(crate) fn finish_framed(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + Family::BYTES, 0);
        let family = self.finish(out);
        out[start..start + Family::BYTES].copy_from_slice(&family.to_bytes());
    }

    /// Appends bytes to `text` whose length readers know from a column.
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    fn buffer(&mut self) -> Vec<u64> {
        self.spare.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut buffer: Vec<u64>) {
        buffer.clear();
        self.spare.push(buffer);
    }
}

/// The streams of a family, unpacked.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    codes: Vec<u8>,
    text: Vec<u8>,
    bits: Vec<u8>,
}

impl Unpacked {
    /// The streams in the order `codes`, `text`, `bits`, for tests that damage them.
    #[cfg(test)]
    pub(crate) fn streams(&mut self) -> [&mut Vec<u8>; 3] {
        [&mut self.codes, &mut self.text, &mut self.bits]
    }

    /// Streams that no writer made, for fuzz targets.
    #[cfg(feature = "internals")]
    pub(crate) fn of(codes: &[u8], text: &[u8], bits: &[u8]) -> Unpacked {
        Unpacked {
            codes: codes.to_vec(),
            text: text.to_vec(),
            bits: bits.to_vec(),
        }
    }

    /// Stored again, with a checksum that holds.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn pack(self, out: &mut Vec<u8>) -> Family {
        let mut encoder = Encoder {
            codes: self.codes,
            text: self.text,
            bits: self.bits,
            ..Encoder::default()
        };
        encoder.finish(out)
    }

    /// As [`Unpacked::pack`], framed.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn pack_framed(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + Family::BYTES, 0);
        let family = self.pack(out);
        out[start..start + Family::BYTES].copy_from_slice(&family.to_bytes());
    }

    /// What [`Encoder::text`] appended, where no column of strings has.
    pub(crate) fn as_text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn reader(&self) -> Decoder<'_> {
        Decoder {
            codes: Cursor::new(&self.codes),
            text: Cursor::new(&self.text),
            bits: Cursor::new(&self.bits),
        }
    }
}

/// Reads the columns of a family in the order they were written.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    codes: Cursor<'a>,
    text: Cursor<'a>,
    bits: Cursor<'a>,
}

impl Decoder<'_> {
    /// Whether all columns have been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }
}

/// Refuses a count that no writer makes, before memory is taken for it.
fn check_count(n: usize) -> Result<(), Damage> {
    if n > VALUES_MAX {
        return Err(Damage("a column claims more values than a column may have"));
    }
    Ok(())
}
