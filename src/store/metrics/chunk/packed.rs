//! Whole numbers as distances from the least of them, in as many bits as the widest needs; the few that
//! would widen all others are told apart.

use crate::store::segment::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};

/// Set in the width byte when numbers told apart follow.
const HAS_PATCHES: u8 = 0x80;

/// Bits per number from which a search for outliers is worth its time (1 ns per number): below, the
/// most it can save is less than the search's own bytes.
const PATCH_WIDTH_MIN: u32 = 4;

/// What telling one number apart costs beside its own width, in bits: its place, and whole bytes.
const PATCH_BITS: u32 = 12;

/// How numbers are packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    base: i64,
    width: u32,
    patches: usize,
    /// Of the whole, header included.
    pub(super) bits: u64,
}

/// Bits of the header: base, width and what goes before them.
const HEADER_BITS: u64 = 32;

impl Plan {
    /// The smallest way to pack these numbers.
    pub(super) fn of(numbers: &[i64]) -> Plan {
        let (min, max) = extent(numbers.iter().copied());
        let width = width_of(max.wrapping_sub(min) as u64);
        let plain = Plan {
            base: min,
            width,
            patches: 0,
            bits: HEADER_BITS + numbers.len() as u64 * u64::from(width),
        };
        if width < PATCH_WIDTH_MIN || numbers.len() < 8 {
            return plain;
        }
        match Plan::patched(numbers, width) {
            Some(patched) if patched.bits < plain.bits => patched,
            _ => plain,
        }
    }

    /// The best width for what lies around the middle number, the rest told apart.
    fn patched(numbers: &[i64], full: u32) -> Option<Plan> {
        let pivot = middle(numbers);
        let mut counts = [0u32; 65];
        for number in numbers {
            counts[width_of(zigzag(number.wrapping_sub(pivot))) as usize] += 1;
        }
        let (mut outliers, mut outlier_bits) = (0u64, 0u64);
        let mut best: Option<(u64, u32)> = None;
        for width in (0..=full.min(63)).rev() {
            let bits = numbers.len() as u64 * u64::from(width) + outlier_bits;
            if best.is_none_or(|(least, _)| bits < least) {
                best = Some((bits, width));
            }
            let n = u64::from(counts[width as usize]);
            outliers += n;
            outlier_bits += n * u64::from(width + PATCH_BITS);
            if outliers * 4 > numbers.len() as u64 {
                break;
            }
        }
        let (_, width) = best?;
        let near = |number: &i64| width_of(zigzag(number.wrapping_sub(pivot))) <= width;
        let (min, max) = extent(numbers.iter().copied().filter(near));
        let width = width_of(max.wrapping_sub(min) as u64);
        // What now fits beside the near ones needs no patch; far ones have at most 64 bits.
        let is_far = |number: &&i64| width_of(number.wrapping_sub(min) as u64) > width;
        let far = numbers.iter().filter(is_far);
        let (patches, patch_bits) = far.fold((0, 0), |(n, bits), number| {
            let own = width_of(zigzag(number.wrapping_sub(min)));
            (n + 1, bits + u64::from(own + PATCH_BITS))
        });
        Some(Plan {
            base: min,
            width,
            patches,
            bits: HEADER_BITS + 8 + numbers.len() as u64 * u64::from(width) + patch_bits,
        })
    }

    pub(super) fn put(&self, numbers: &[i64], out: &mut Vec<u8>) {
        put_varint(out, zigzag(self.base));
        if self.patches == 0 {
            out.push(self.width as u8);
        } else {
            out.push(self.width as u8 | HAS_PATCHES);
            put_varint(out, self.patches as u64);
            let mut next = 0;
            for (place, number) in numbers.iter().enumerate() {
                let distance = number.wrapping_sub(self.base);
                if width_of(distance as u64) > self.width {
                    put_varint(out, (place - next) as u64);
                    put_varint(out, zigzag(distance));
                    next = place + 1;
                }
            }
        }
        let distance = |number: &i64| {
            let distance = number.wrapping_sub(self.base) as u64;
            let fits = self.patches == 0 || width_of(distance) <= self.width;
            if fits { distance } else { 0 }
        };
        pack(numbers.iter().map(distance), self.width, out);
    }
}

/// The middle one of three: where one number stands out it is not that.
fn middle(numbers: &[i64]) -> i64 {
    let quarter = numbers.len() / 4;
    let mut three = [1, 2, 3].map(|i| numbers[i * quarter]);
    three.sort_unstable();
    three[1]
}

fn extent(numbers: impl Iterator<Item = i64>) -> (i64, i64) {
    numbers.fold((i64::MAX, i64::MIN), |(min, max), number| {
        (min.min(number), max.max(number))
    })
}

#[inline]
pub(super) const fn width_of(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// The low `width` bits of each number, least significant first; the last byte is filled with zeros.
fn pack(numbers: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut pending, mut n_pending) = (0u64, 0u32);
    for number in numbers {
        pending |= number << n_pending;
        n_pending += width;
        if n_pending >= 64 {
            out.extend_from_slice(&pending.to_le_bytes());
            n_pending -= 64;
            pending = if n_pending == 0 {
                0
            } else {
                number >> (width - n_pending)
            };
        }
    }
    let n = n_pending.div_ceil(8) as usize;
    out.extend_from_slice(&pending.to_le_bytes()[..n]);
}

/// Appends the `n` numbers that [`Plan::put`] wrote.
pub(super) fn decode(cursor: &mut Cursor<'_>, n: usize, out: &mut Vec<i64>) -> Result<(), Damage> {
    let base = unzigzag(cursor.varint()?);
    let width = cursor.u8()?;
    let (patched, width) = (width & HAS_PATCHES != 0, u32::from(width & !HAS_PATCHES));
    if width > 64 {
        return Err(Damage("a packed number has more than 64 bits"));
    }
    let patches = if patched {
        let n_patches = cursor.number()? as usize;
        let start = *cursor;
        for _ in 0..n_patches.min(n) {
            cursor.varint()?;
            cursor.varint()?;
        }
        Some((n_patches, start))
    } else {
        None
    };
    let bits = cursor.take((n * width as usize).div_ceil(8))?;
    let start = out.len();
    unpack(bits, width, n, base, out);
    let Some((n_patches, mut patches)) = patches else {
        return Ok(());
    };
    if n_patches > n {
        return Err(Damage("a column has more outliers than numbers"));
    }
    let mut place = start;
    for _ in 0..n_patches {
        let skipped = patches.number()? as usize;
        let distance = unzigzag(patches.varint()?);
        place = place.saturating_add(skipped);
        let number = out
            .get_mut(place)
            .ok_or(Damage("an outlier lies behind the last number"))?;
        *number = base.wrapping_add(distance);
        place += 1;
    }
    Ok(())
}

/// The inverse of [`pack`], `base` added; `bits` has what `n` numbers need.
fn unpack(bits: &[u8], width: u32, n: usize, base: i64, out: &mut Vec<i64>) {
    if width == 0 {
        out.resize(out.len() + n, base);
        return;
    }
    let mask = u64::MAX >> (64 - width);
    // Numbers that lie in the eight bytes from their first are read at once.
    let at_once = if width <= 57 && bits.len() >= 8 {
        n.min((bits.len() - 8) * 8 / width as usize + 1)
    } else {
        0
    };
    let width = width as usize;
    out.extend((0..at_once).map(|i| {
        let bit = i * width;
        let word = bits[bit / 8..].first_chunk::<8>();
        let word = word.map_or(0, |word| u64::from_le_bytes(*word));
        base.wrapping_add((word >> (bit % 8) & mask) as i64)
    }));
    out.extend((at_once..n).map(|i| {
        let (bit, mut word) = (i * width, [0; 16]);
        let tail = &bits[bit / 8..];
        let len = tail.len().min(16);
        word[..len].copy_from_slice(&tail[..len]);
        let word = (u128::from_le_bytes(word) >> (bit % 8)) as u64;
        base.wrapping_add((word & mask) as i64)
    }));
}
