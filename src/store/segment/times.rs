//! Columns of times that mostly follow from another time of the same row.

use super::column::{Decoder, Encoder, ints};
use super::cursor::{Damage, unzigzag, zigzag};

/// The time is that of the other column.
const SAME: u64 = 0;
/// The time is zero: not set.
const ZERO: u64 = 1;
/// The time is told by its distance.
const APART: u64 = 2;

/// A column of times beside a base column, while it is written.
#[derive(Debug, Default)]
pub(crate) struct TimeColumn {
    kinds: Vec<u64>,
    apart: Vec<u64>,
}

impl TimeColumn {
    pub(crate) fn push(&mut self, base: u64, time: u64) {
        self.kinds.push(if time == base {
            SAME
        } else if time == 0 {
            ZERO
        } else {
            self.apart.push(zigzag(time.wrapping_sub(base) as i64));
            APART
        });
    }

    pub(crate) fn put(&self, encoder: &mut Encoder) {
        ints::put(encoder, &self.kinds);
        ints::put(encoder, &self.apart);
    }

    pub(crate) fn clear(&mut self) {
        self.kinds.clear();
        self.apart.clear();
    }
}

/// Reads a column written beside `base`.
pub(crate) fn decode(decoder: &mut Decoder<'_>, base: &[u64]) -> Result<Vec<u64>, Damage> {
    let kinds = ints::decode(decoder, base.len())?;
    let n_apart = kinds.iter().filter(|kind| **kind == APART).count();
    let mut apart = ints::decode(decoder, n_apart)?.into_iter();
    let time = |(kind, base): (u64, &u64)| match kind {
        SAME => Ok(*base),
        ZERO => Ok(0),
        APART => {
            let apart = apart.next().unwrap_or_default();
            Ok(base.wrapping_add(unzigzag(apart) as u64))
        }
        _ => Err(Damage("a time is told in an unknown way")),
    };
    kinds.into_iter().zip(base).map(time).collect()
}
