//! Chunks of native histograms: the layout of buckets once per run of histograms that share it, then each
//! number of all histograms as a column of floats. Counts of neighbours in time differ little, so a
//! column per bucket packs to a few bits per histogram.

use std::sync::Arc;

use super::floats::{self, Scratch};
use crate::model::metric::{CounterReset, Histogram, Span};
use crate::store::segment::Grade;
use crate::store::segment::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};

/// Bucket counts of one chunk: the writer cuts chunks below it.
pub(crate) const COUNTS_MAX: usize = 1 << 16;

/// Bucket counts, spans and bounds that a reader takes of one chunk: one histogram alone may pass the
/// writer's bound.
const COUNTS_READ_MAX: usize = 1 << 20;

/// Bucket counts, spans and bounds of one histogram that can be kept.
pub(crate) const PARTS_MAX: usize = COUNTS_READ_MAX;

/// What of a histogram takes room beside its fixed fields.
pub(crate) fn parts(histogram: &Histogram) -> usize {
    histogram.positive_spans.len()
        + histogram.positive_counts.len()
        + histogram.negative_spans.len()
        + histogram.negative_counts.len()
        + histogram.custom_bounds.len()
}

fn is_alike(a: &Histogram, b: &Histogram) -> bool {
    let bits = |bounds: &[f64]| {
        bounds
            .iter()
            .map(|bound| bound.to_bits())
            .collect::<Vec<_>>()
    };
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_counts.len() == b.positive_counts.len()
        && a.negative_counts.len() == b.negative_counts.len()
        && bits(&a.custom_bounds) == bits(&b.custom_bounds)
}

/// Appends the histograms as a chunk; their number is known to the reader.
pub(crate) fn encode(
    histograms: &[Arc<Histogram>],
    grade: Grade,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let mut column = Vec::with_capacity(histograms.len());
    let mut put = |value: &dyn Fn(&Histogram) -> f64, of: &[Arc<Histogram>], out: &mut Vec<u8>| {
        column.clear();
        column.extend(of.iter().map(|histogram| value(histogram)));
        put_column(&column, grade, scratch, out);
    };
    put(&|h| reset_number(h.reset), histograms, out);
    put(&|h| h.count, histograms, out);
    put(&|h| h.zero_count, histograms, out);
    put(&|h| h.sum, histograms, out);
    let mut rest = histograms;
    while let Some(first) = rest.first() {
        let n = rest.iter().take_while(|next| is_alike(first, next)).count();
        let (run, after) = rest.split_at(n);
        rest = after;
        put_varint(out, n as u64);
        put_layout(first, out);
        for bucket in 0..first.positive_counts.len() {
            put(&|h| h.positive_counts[bucket], run, out);
        }
        for bucket in 0..first.negative_counts.len() {
            put(&|h| h.negative_counts[bucket], run, out);
        }
    }
}

fn put_column(values: &[f64], grade: Grade, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let start = out.len();
    floats::encode(values, grade, scratch, out);
    // The length stands in front: moved up by the few bytes it takes.
    let mut length = Vec::with_capacity(5);
    put_varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
}

fn put_layout(histogram: &Histogram, out: &mut Vec<u8>) {
    put_varint(out, zigzag(i64::from(histogram.schema)));
    out.extend_from_slice(&histogram.zero_threshold.to_bits().to_le_bytes());
    for (spans, counts) in [
        (&histogram.positive_spans, &histogram.positive_counts),
        (&histogram.negative_spans, &histogram.negative_counts),
    ] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, zigzag(i64::from(span.offset)));
            put_varint(out, u64::from(span.length));
        }
        put_varint(out, counts.len() as u64);
    }
    put_varint(out, histogram.custom_bounds.len() as u64);
    for bound in &histogram.custom_bounds {
        out.extend_from_slice(&bound.to_bits().to_le_bytes());
    }
}

fn reset_number(reset: CounterReset) -> f64 {
    match reset {
        CounterReset::Unknown => 0.0,
        CounterReset::Reset => 1.0,
        CounterReset::NotReset => 2.0,
        CounterReset::Gauge => 3.0,
    }
}

fn reset_of(number: f64) -> Result<CounterReset, Damage> {
    match number {
        0.0 => Ok(CounterReset::Unknown),
        1.0 => Ok(CounterReset::Reset),
        2.0 => Ok(CounterReset::NotReset),
        3.0 => Ok(CounterReset::Gauge),
        _ => Err(Damage("a histogram has an unknown hint of a reset")),
    }
}

/// Appends the `n` histograms that [`encode`] wrote.
pub(crate) fn decode(
    bytes: &[u8],
    n: usize,
    scratch: &mut Scratch,
    out: &mut Vec<Arc<Histogram>>,
) -> Result<(), Damage> {
    let mut cursor = Cursor::new(bytes);
    let (mut resets, mut counts, mut zeros, mut sums) = (vec![], vec![], vec![], vec![]);
    for column in [&mut resets, &mut counts, &mut zeros, &mut sums] {
        read_column(&mut cursor, n, scratch, column)?;
    }
    let (mut at, mut column, mut budget) = (0, Vec::new(), COUNTS_READ_MAX);
    while at < n {
        let run = cursor.number()? as usize;
        if run == 0 || run > n - at {
            return Err(Damage("a run of histograms has a wrong length"));
        }
        let layout = read_layout(&mut cursor)?;
        let n_buckets = layout.positive.1 + layout.negative.1;
        let n_parts =
            layout.positive.0.len() + layout.negative.0.len() + layout.custom_bounds.len();
        budget = (n_buckets + n_parts)
            .checked_mul(run)
            .and_then(|counts| budget.checked_sub(counts))
            .ok_or(Damage("a chunk of histograms has too many buckets"))?;
        let mut made: Vec<Histogram> = (at..at + run)
            .map(|i| Ok(layout.histogram(reset_of(resets[i])?, counts[i], zeros[i], sums[i])))
            .collect::<Result<_, Damage>>()?;
        for bucket in 0..n_buckets {
            column.clear();
            read_column(&mut cursor, run, scratch, &mut column)?;
            for (histogram, count) in made.iter_mut().zip(&column) {
                if bucket < layout.positive.1 {
                    histogram.positive_counts.push(*count);
                } else {
                    histogram.negative_counts.push(*count);
                }
            }
        }
        out.extend(made.into_iter().map(Arc::new));
        at += run;
    }
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(Damage("bytes behind a chunk of histograms"))
    }
}

fn read_column(
    cursor: &mut Cursor<'_>,
    n: usize,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Result<(), Damage> {
    floats::decode(cursor.bytes()?, n, scratch, out)
}

/// What the histograms of a run share; spans with the number of their buckets.
struct Layout {
    schema: i32,
    zero_threshold: f64,
    positive: (Vec<Span>, usize),
    negative: (Vec<Span>, usize),
    custom_bounds: Vec<f64>,
}

impl Layout {
    fn histogram(&self, reset: CounterReset, count: f64, zero_count: f64, sum: f64) -> Histogram {
        Histogram {
            reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans: self.positive.0.clone(),
            positive_counts: Vec::with_capacity(self.positive.1),
            negative_spans: self.negative.0.clone(),
            negative_counts: Vec::with_capacity(self.negative.1),
            custom_bounds: self.custom_bounds.clone(),
        }
    }
}

fn read_layout(cursor: &mut Cursor<'_>) -> Result<Layout, Damage> {
    let wide = |_| Damage("a number of a histogram is wider than 32 bits");
    let schema = i32::try_from(unzigzag(cursor.varint()?)).map_err(wide)?;
    let zero_threshold = f64::from_bits(cursor.u64()?);
    let mut sides = [(Vec::new(), 0), (Vec::new(), 0)];
    for (spans, n_counts) in &mut sides {
        // Every span takes two bytes at least, so a wrong number ends soon.
        for _ in 0..cursor.number()? {
            spans.push(Span {
                offset: i32::try_from(unzigzag(cursor.varint()?)).map_err(wide)?,
                length: cursor.number()?,
            });
        }
        *n_counts = cursor.number()? as usize;
        if *n_counts > COUNTS_READ_MAX {
            return Err(Damage("a histogram has too many buckets"));
        }
    }
    let [positive, negative] = sides;
    let n_bounds = cursor.number()?;
    let mut custom_bounds = Vec::new();
    for _ in 0..n_bounds {
        custom_bounds.push(f64::from_bits(cursor.u64()?));
    }
    Ok(Layout {
        schema,
        zero_threshold,
        positive,
        negative,
        custom_bounds,
    })
}
