//! Whole numbers packed with as many bits as they need, least significant bit first.

use super::super::cursor::{Cursor, Damage};

/// Appends bits to a byte string; the last byte is filled with zeros by [`BitWriter::finish`].
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    n_pending: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter {
            out,
            pending: 0,
            n_pending: 0,
        }
    }

    /// The low `width` (0 to 64) bits of `value`; the others must be zero.
    #[inline]
    pub(super) fn push(&mut self, value: u64, width: u32) {
        if width > 32 {
            self.push_short(value & 0xffff_ffff, 32);
            self.push_short(value >> 32, width - 32);
        } else {
            self.push_short(value, width);
        }
    }

    #[inline]
    fn push_short(&mut self, value: u64, width: u32) {
        self.pending |= value << self.n_pending;
        self.n_pending += width;
        if self.n_pending >= 32 {
            self.out
                .extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.n_pending -= 32;
        }
    }

    pub(super) fn finish(self) {
        let n = self.n_pending.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..n]);
    }
}

/// The inverse of [`BitWriter`].
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    pending: u64,
    n_pending: u32,
}

impl<'a> BitReader<'a> {
    /// Reads the `n_bits` bits that one writer wrote.
    pub(super) fn new(input: &mut Cursor<'a>, n_bits: u64) -> Result<BitReader<'a>, Damage> {
        let n = usize::try_from(n_bits.div_ceil(8))
            .map_err(|_| Damage("a column claims more bits than memory"))?;
        Ok(BitReader {
            bytes: input.take(n)?,
            pending: 0,
            n_pending: 0,
        })
    }

    /// The next `width` (0 to 64) bits; zeros past the end, which [`BitReader::new`] has ruled out.
    #[inline]
    pub(super) fn pull(&mut self, width: u32) -> u64 {
        if width > 32 {
            let low = self.pull_short(32);
            low | self.pull_short(width - 32) << 32
        } else {
            self.pull_short(width)
        }
    }

    #[inline]
    fn pull_short(&mut self, width: u32) -> u64 {
        if self.n_pending < width {
            self.refill();
        }
        let value = self.pending & ((1u64 << width) - 1);
        self.pending >>= width;
        self.n_pending = self.n_pending.saturating_sub(width);
        value
    }

    #[inline]
    fn refill(&mut self) {
        if let Some((head, rest)) = self.bytes.split_first_chunk::<4>() {
            self.pending |= u64::from(u32::from_le_bytes(*head)) << self.n_pending;
            self.n_pending += 32;
            self.bytes = rest;
            return;
        }
        for &byte in self.bytes {
            self.pending |= u64::from(byte) << self.n_pending;
            self.n_pending += 8;
        }
        self.bytes = &[];
    }
}
