//! What the directory says of a log block: enough to skip it, and to count its records by shape or by
//! time and level without reading it.

use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{Level, Timestamp};

use super::super::column::{Decoder, Encoder, VALUES_MAX, ints};
use super::super::cursor::Damage;
use super::super::directory::Block;

/// Widths of steps in minutes; a block takes the narrowest of which it spans at most [`STEPS_MAX`].
const STEP_MINUTES: [u64; 5] = [1, 5, 15, 60, 1440];

/// Steps of one block: 64 of a minute cover what a head of a busy service does. The last width has no
/// such bound: a block of years has a step per day.
const STEPS_MAX: u64 = 64;

/// What the directory says of a log block.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogBlockFacts {
    pub(super) service: u32,
    /// One bit per level, as in `LogPrune`.
    pub(super) levels: u32,
    /// The shapes of its rows, rising, and how many rows each has. Empty in files of format 1.
    pub(super) shapes: Box<[(u32, u32)]>,
    pub(super) steps: Steps,
}

/// Rows by time and level.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// 0 in files of format 1: unknown.
    width_minutes: u32,
    /// Number of the step since that of the block's first row, level, rows.
    rows: Box<[(u32, u8, u32)]>,
}

impl Steps {
    /// Of rows in order of time with the level that counts of each.
    pub(super) fn of(at: &[u64], levels: &[u8]) -> Steps {
        let (Some(first), Some(last)) = (at.first(), at.last()) else {
            return Steps::default();
        };
        let n_steps = |minutes: u64| {
            let width = minutes * NANOS_PER_MINUTE;
            last / width - first / width + 1
        };
        let fits = |minutes: &u64| n_steps(*minutes) <= STEPS_MAX;
        let minutes = STEP_MINUTES.into_iter().find(fits);
        let minutes = minutes.unwrap_or(STEP_MINUTES[STEP_MINUTES.len() - 1]);
        let width = minutes * NANOS_PER_MINUTE;
        let mut rows: Vec<(u32, u8, u32)> = Vec::new();
        let mut start = 0;
        while start < at.len() {
            let step = at[start] / width;
            let n = at[start..].partition_point(|at| at / width == step);
            let mut counts = [0u32; Level::ALL.len()];
            for level in &levels[start..start + n] {
                counts[usize::from(*level)] += 1;
            }
            let number = (step - first / width) as u32;
            let seen = counts.iter().zip(0..).filter(|(count, _)| **count > 0);
            rows.extend(seen.map(|(count, level)| (number, level, *count)));
            start += n;
        }
        Steps {
            width_minutes: minutes as u32,
            rows: rows.into(),
        }
    }

    /// The width of a step in nanoseconds; `None` when nothing is known.
    pub(super) fn width_ns(&self) -> Option<u64> {
        (self.width_minutes != 0).then(|| u64::from(self.width_minutes) * NANOS_PER_MINUTE)
    }

    /// Start, level and rows of each step of a block whose first row is at `first`.
    pub(super) fn iter(
        &self,
        first: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, Level, u64)> + '_ {
        let width = self.width_ns().unwrap_or(NANOS_PER_MINUTE);
        let base = first.0 / width;
        self.rows.iter().map(move |(step, level, rows)| {
            let start = (base + u64::from(*step)).saturating_mul(width);
            let level = Level::ALL[usize::from(*level)];
            (Timestamp(start), level, u64::from(*rows))
        })
    }
}

impl LogBlockFacts {
    /// Heap bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.shapes) + size_of_val(&*self.steps.rows)
    }
}

pub(super) fn put(blocks: &[Block<LogBlockFacts>], encoder: &mut Encoder) {
    let facts = || blocks.iter().map(|block| &block.facts);
    let mut column = Vec::new();
    let mut put = |values: &mut dyn Iterator<Item = u64>| {
        column.clear();
        column.extend(values);
        ints::put(encoder, &column);
    };
    put(&mut facts().map(|facts| u64::from(facts.service)));
    put(&mut facts().map(|facts| u64::from(facts.levels)));
    put(&mut facts().map(|facts| facts.shapes.len() as u64));
    let shapes = || facts().flat_map(|facts| facts.shapes.iter());
    put(&mut shapes().map(|(shape, _)| u64::from(*shape)));
    put(&mut shapes().map(|(_, rows)| u64::from(*rows)));
    put(&mut facts().map(|facts| u64::from(facts.steps.width_minutes)));
    put(&mut facts().map(|facts| facts.steps.rows.len() as u64));
    let steps = || facts().flat_map(|facts| facts.steps.rows.iter());
    put(&mut steps().map(|(step, _, _)| u64::from(*step)));
    put(&mut steps().map(|(_, level, _)| u64::from(*level)));
    put(&mut steps().map(|(_, _, rows)| u64::from(*rows)));
}

pub(super) fn read(
    decoder: &mut Decoder<'_>,
    n: usize,
    n_services: usize,
) -> Result<Vec<LogBlockFacts>, Damage> {
    let services = ints::decode(decoder, n)?;
    let levels = ints::decode(decoder, n)?;
    if services.iter().any(|service| *service >= n_services as u64) {
        return Err(Damage("a block names a service that is not there"));
    }
    let facts = services.iter().zip(levels);
    let mut facts: Vec<LogBlockFacts> = facts
        .map(|(service, levels)| LogBlockFacts {
            service: *service as u32,
            levels: levels as u32,
            ..LogBlockFacts::default()
        })
        .collect();
    // Format 1 ends here.
    if decoder.is_empty() {
        return Ok(facts);
    }
    let counts = ints::decode(decoder, n)?;
    let total = total(&counts)?;
    let mut shapes = ints::decode(decoder, total)?.into_iter();
    let mut rows = ints::decode(decoder, total)?.into_iter();
    for (facts, count) in facts.iter_mut().zip(counts) {
        let pairs = shapes.by_ref().zip(rows.by_ref()).take(count as usize);
        facts.shapes = pairs.map(|(shape, n)| (shape as u32, n as u32)).collect();
    }
    read_steps(decoder, &mut facts)?;
    Ok(facts)
}

fn read_steps(decoder: &mut Decoder<'_>, facts: &mut [LogBlockFacts]) -> Result<(), Damage> {
    let widths = ints::decode(decoder, facts.len())?;
    let counts = ints::decode(decoder, facts.len())?;
    let total = total(&counts)?;
    let numbers = ints::decode(decoder, total)?;
    let levels = ints::decode(decoder, total)?;
    let rows = ints::decode(decoder, total)?;
    if levels.iter().any(|level| *level >= Level::ALL.len() as u64) {
        return Err(Damage("a block counts rows of an unknown level"));
    }
    let mut all = numbers.into_iter().zip(levels).zip(rows);
    for ((facts, width), count) in facts.iter_mut().zip(widths).zip(counts) {
        let own = all.by_ref().take(count as usize);
        facts.steps = Steps {
            width_minutes: width as u32,
            rows: own
                .map(|((step, level), rows)| (step as u32, level as u8, rows as u32))
                .collect(),
        };
    }
    Ok(())
}

/// The sum of the lengths of lists, refused before memory is taken for more than a column may have.
fn total(counts: &[u64]) -> Result<usize, Damage> {
    let sum = counts.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
    usize::try_from(sum)
        .ok()
        .filter(|sum| *sum <= VALUES_MAX)
        .ok_or(Damage("a directory has impossible counts"))
}
