//! Floats as the bits in which each differs from the one before (Gorilla, Pelkonen et al. 2015,
//! section 4.1.2): for numbers that have no short decimal form.

use crate::store::segment::cursor::{Cursor, Damage};

/// Zeros in front that the five bits of a window can tell.
const LEADING_MAX: u32 = 31;

#[derive(Debug)]
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    n_pending: u32,
}

impl Writer<'_> {
    /// The low `width` (0 to 64) bits of `value`; the others must be zero.
    #[inline]
    fn push(&mut self, value: u64, width: u32) {
        self.pending |= value << self.n_pending;
        let n = self.n_pending + width;
        if n < 64 {
            self.n_pending = n;
            return;
        }
        self.out.extend_from_slice(&self.pending.to_le_bytes());
        let taken = 64 - self.n_pending;
        self.pending = if taken == 64 { 0 } else { value >> taken };
        self.n_pending = n - 64;
    }

    fn finish(self) {
        let n = self.n_pending.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..n]);
    }
}

/// Appends the values; their number is known to the reader. `false`, with only a part written, once
/// more than `bytes_max` are needed.
pub(super) fn encode(values: &[f64], bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let Some((first, rest)) = values.split_first() else {
        return true;
    };
    let end = out.len() + bytes_max;
    let mut before = first.to_bits();
    out.extend_from_slice(&before.to_le_bytes());
    let mut writer = Writer {
        out,
        pending: 0,
        n_pending: 0,
    };
    // No window yet: no difference fits one that has no room.
    let (mut leading, mut trailing) = (64, 0);
    for value in rest {
        let bits = value.to_bits();
        let differs = bits ^ before;
        before = bits;
        if differs == 0 {
            writer.push(0, 1);
            continue;
        }
        if writer.out.len() > end {
            return false;
        }
        let (front, back) = (
            differs.leading_zeros().min(LEADING_MAX),
            differs.trailing_zeros(),
        );
        // A window much wider than needed costs more than telling a new one.
        let fits = front >= leading && back >= trailing;
        let waste = (front + back).wrapping_sub(leading + trailing);
        if fits && waste < 12 {
            writer.push(0b01, 2);
        } else {
            (leading, trailing) = (front, back);
            let width = 64 - leading - trailing;
            writer.push(
                0b11 | u64::from(leading) << 2 | u64::from(width - 1) << 7,
                13,
            );
        }
        writer.push(differs >> trailing, 64 - leading - trailing);
    }
    writer.finish();
    out.len() <= end
}

#[derive(Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl Reader<'_> {
    /// The next 57 bits at least, zeros past the end.
    #[inline]
    fn peek(&self) -> u64 {
        let tail = self.bytes.get(self.bit / 8..).unwrap_or_default();
        let word = match tail.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [0; 8];
                word[..tail.len()].copy_from_slice(tail);
                u64::from_le_bytes(word)
            }
        };
        word >> (self.bit % 8)
    }

    #[inline]
    fn pull(&mut self, width: u32) -> u64 {
        let mut value = self.peek();
        if width > 57 {
            self.bit += 32;
            value = value & 0xffff_ffff | self.peek() << 32;
            self.bit += width as usize - 32;
        } else {
            self.bit += width as usize;
        }
        value & u64::MAX >> (64 - width)
    }
}

/// Appends the `n` values that [`encode`] wrote.
pub(super) fn decode(cursor: &mut Cursor<'_>, n: usize, out: &mut Vec<f64>) -> Result<(), Damage> {
    if n == 0 {
        return Ok(());
    }
    let mut before = cursor.u64()?;
    let bytes = cursor.take(cursor.remaining())?;
    let mut reader = Reader { bytes, bit: 0 };
    let (mut width, mut trailing) = (0, 0);
    out.reserve(n);
    out.push(f64::from_bits(before));
    for _ in 1..n {
        let head = reader.peek();
        if head & 1 == 0 {
            reader.bit += 1;
        } else {
            if head & 2 == 0 {
                reader.bit += 2;
            } else {
                reader.bit += 13;
                let leading = (head >> 2 & 31) as u32;
                width = (head >> 7 & 63) as u32 + 1;
                trailing = 64u32
                    .checked_sub(leading + width)
                    .ok_or(Damage("a window of bits is wider than a float"))?;
            }
            if width == 0 {
                return Err(Damage("differing bits before their window is told"));
            }
            before ^= reader.pull(width) << trailing;
        }
        out.push(f64::from_bits(before));
    }
    if reader.bit.div_ceil(8) != bytes.len() {
        return Err(Damage("a chunk of differing bits has another length"));
    }
    Ok(())
}
