//! Groups of exemplars: few beside samples, read only when asked for, so in groups of their own.

use super::SeriesKey;
use super::group::Extent;
use crate::model::metric::{Exemplar, Labels, Millis};
use crate::store::segment::column::strings::{self, Piece};
use crate::store::segment::column::{Encoder, Family, Unpacked, ints};
use crate::store::segment::cursor::{Damage, unzigzag, zigzag};

/// Exemplars, and bytes of their labels, from which a group is full.
const FULL_EXEMPLARS: usize = 2048;
const FULL_BYTES: usize = 128 << 10;

/// Collects exemplars until they are a group. Filled in order of keys.
#[derive(Debug, Default)]
pub(super) struct Builder {
    extent: Option<Extent>,
    families: Vec<u64>,
    numbers: Vec<u64>,
    times: Vec<u64>,
    values: Vec<u64>,
    labels: Vec<u64>,
    arena: Vec<u8>,
}

impl Builder {
    pub(super) fn add(&mut self, key: SeriesKey, exemplar: &Exemplar) {
        let range = Millis {
            first: exemplar.at,
            last: exemplar.at,
        };
        let new = Extent {
            first: key,
            last: key,
            range,
        };
        self.extent.get_or_insert(new).extend(key, range);
        self.families.push(u64::from(key.family));
        self.numbers.push(u64::from(key.number));
        self.times.push(zigzag(exemplar.at));
        self.values.push(exemplar.value.to_bits());
        let start = self.arena.len();
        self.arena.extend_from_slice(exemplar.labels.packed());
        self.labels.push(Piece::since(&self.arena, start).0);
    }

    pub(super) fn is_full(&self) -> bool {
        self.times.len() >= FULL_EXEMPLARS || self.arena.len() >= FULL_BYTES
    }

    /// Appends the group to `out` and starts another; `None` when there is nothing in it.
    pub(super) fn finish(
        &mut self,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) -> Option<(Extent, Family)> {
        let extent = self.extent.take()?;
        ints::put(encoder, &[self.times.len() as u64]);
        for column in [
            &mut self.families,
            &mut self.numbers,
            &mut self.times,
            &mut self.values,
        ] {
            ints::put(encoder, column);
            column.clear();
        }
        strings::put(encoder, &self.arena, &self.labels, |_| {});
        self.labels.clear();
        self.arena.clear();
        Some((extent, encoder.finish(out)))
    }
}

/// Exemplars of a group with their series, in order of keys.
pub(super) fn read(unpacked: &Unpacked) -> Result<Vec<(SeriesKey, Exemplar)>, Damage> {
    let mut decoder = unpacked.reader();
    let n = ints::decode(&mut decoder, 1)?[0] as usize;
    if n > FULL_EXEMPLARS {
        return Err(Damage("a group has more exemplars than a full one"));
    }
    let families = ints::decode(&mut decoder, n)?;
    let numbers = ints::decode(&mut decoder, n)?;
    let times = ints::decode(&mut decoder, n)?;
    let values = ints::decode(&mut decoder, n)?;
    let labels = strings::decode(&mut decoder, n)?;
    let exemplar = |i: usize| {
        let wide = |_| Damage("a series has a number of more than 32 bits");
        let key = SeriesKey {
            family: u32::try_from(families[i]).map_err(wide)?,
            number: u32::try_from(numbers[i]).map_err(wide)?,
        };
        let labels = Labels::unpack(labels.get(i));
        let exemplar = Exemplar {
            at: unzigzag(times[i]),
            value: f64::from_bits(values[i]),
            labels: labels.ok_or(Damage("the labels of an exemplar are none"))?,
        };
        Ok((key, exemplar))
    };
    (0..n).map(exemplar).collect()
}
