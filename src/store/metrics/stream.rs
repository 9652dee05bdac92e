//! The samples of one series in a head: a byte stream in the order of arrival, 1-3 bytes for a sample
//! of a counter or a repeated value, 10 for one of noise. Append-only; never sorts, never forgets.

use std::sync::Arc;

use crate::model::metric::{Histogram, Millis, Samples, Value};

/// A sample is a control byte, then the difference of its time step to the one before, then what is
/// new in its value. Low half of the control byte: bytes of the former (0, 1, 2, 4, 8 as 0..=4); high
/// half: what the latter is, by the constants below.
const SAME: u8 = 0;
/// The value before plus an integer of 1, 2 or 4 bytes.
const STEP_1: u8 = 1;
const STEP_2: u8 = 2;
const STEP_4: u8 = 3;
/// The next histogram of the list; the float before stays what the next float is told by.
const HISTOGRAM: u8 = 4;
/// Exclusive or with the value before: `n` of its highest bytes follow as `XOR + n`, the rest is 0.
const XOR: u8 = 7;

/// The longest sample.
const SAMPLE_BYTES_MAX: usize = 1 + 8 + 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Stream {
    bytes: Vec<u8>,
    last: i64,
    step: i64,
    bits: u64,
    /// Of its samples in any order.
    pub(super) range: Millis,
    is_ordered: bool,
    pub(super) samples: u32,
    histograms: Vec<Arc<Histogram>>,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            bytes: Vec::new(),
            last: 0,
            step: 0,
            bits: 0,
            range: Millis {
                first: i64::MAX,
                last: i64::MIN,
            },
            is_ordered: true,
            samples: 0,
            histograms: Vec::new(),
        }
    }
}

impl Stream {
    /// Adds a sample; what memory it took.
    pub(super) fn push(&mut self, at: i64, value: &Value) -> usize {
        let room = self.bytes.capacity();
        let step = at.wrapping_sub(self.last);
        let mut sample = [0; SAMPLE_BYTES_MAX];
        let (time, mut n) = put_int(&mut sample[1..], step.wrapping_sub(self.step));
        n += 1;
        let mut more = 0;
        let kind = match value {
            Value::Float(value) => {
                let bits = value.to_bits();
                let (kind, bytes) = put_value(&mut sample[n..], self.bits, bits);
                n += bytes;
                self.bits = bits;
                kind
            }
            Value::Histogram(histogram) => {
                more = histogram_bytes(histogram);
                self.histograms.push(histogram.clone());
                HISTOGRAM
            }
        };
        sample[0] = time | kind << 4;
        self.bytes.extend_from_slice(&sample[..n]);
        self.is_ordered &= self.samples == 0 || at > self.last;
        (self.last, self.step) = (at, step);
        self.samples += 1;
        self.range.first = self.range.first.min(at);
        self.range.last = self.range.last.max(at);
        self.bytes.capacity() - room + more
    }

    /// Bytes of it so far: what [`Stream::read`] needs to leave out what came later.
    pub(super) fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Appends the samples in the range among the first `len` bytes, by time; of several at one time
    /// the first.
    pub(super) fn read(&self, len: u32, range: Millis, into: &mut Samples) {
        if self.range.last < range.first || self.range.first > range.last {
            return;
        }
        let (floats, histograms) = (into.times.len(), into.histogram_times.len());
        self.each(len, |at, value| {
            if at < range.first || at > range.last {
                return;
            }
            match value {
                Told::Float(value) => {
                    into.times.push(at);
                    into.floats.push(value);
                }
                Told::Histogram(histogram) => {
                    into.histogram_times.push(at);
                    into.histograms.push(histogram.clone());
                }
            }
        });
        if !self.is_ordered {
            sort(&mut into.times, &mut into.floats, floats);
            sort(&mut into.histogram_times, &mut into.histograms, histograms);
            drop_floats_at(into, floats, histograms);
        }
    }

    fn each(&self, len: u32, mut give: impl FnMut(i64, Told<'_>)) {
        const OURS: &str = "`push` wrote it";
        let mut rest = &self.bytes[..len as usize];
        let mut histograms = self.histograms.iter();
        let (mut at, mut step, mut bits) = (0i64, 0i64, 0u64);
        while let Some((&control, after)) = rest.split_first() {
            let time_bytes = INT_BYTES[usize::from(control & 15)];
            let (time, after) = after.split_at(time_bytes);
            step = step.wrapping_add(int(time));
            at = at.wrapping_add(step);
            let kind = control >> 4;
            let n = match kind {
                SAME | HISTOGRAM => 0,
                STEP_1 => 1,
                STEP_2 => 2,
                STEP_4 => 4,
                xor => usize::from(xor - XOR),
            };
            let (value, after) = after.split_at(n);
            rest = after;
            match kind {
                SAME => {}
                HISTOGRAM => {
                    give(at, Told::Histogram(histograms.next().expect(OURS)));
                    continue;
                }
                STEP_1 | STEP_2 | STEP_4 => {
                    bits = (f64::from_bits(bits) + int(value) as f64).to_bits();
                }
                _ => {
                    let mut high = [0; 8];
                    high[8 - n..].copy_from_slice(value);
                    bits ^= u64::from_le_bytes(high);
                }
            }
            give(at, Told::Float(f64::from_bits(bits)));
        }
    }
}

enum Told<'s> {
    Float(f64),
    Histogram(&'s Arc<Histogram>),
}

const INT_BYTES: [usize; 16] = [0, 1, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Writes the low bytes that tell an integer; its class and how many they are.
fn put_int(out: &mut [u8], value: i64) -> (u8, usize) {
    let class = match value {
        0 => 0,
        _ if value == i64::from(value as i8) => 1,
        _ if value == i64::from(value as i16) => 2,
        _ if value == i64::from(value as i32) => 3,
        _ => 4,
    };
    let n = INT_BYTES[usize::from(class)];
    out[..n].copy_from_slice(&value.to_le_bytes()[..n]);
    (class, n)
}

fn int(bytes: &[u8]) -> i64 {
    match *bytes {
        [] => 0,
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(bytes.try_into().expect("eight bytes")),
    }
}

/// Writes what tells `bits` after `before`; its kind and how many bytes.
fn put_value(out: &mut [u8], before: u64, bits: u64) -> (u8, usize) {
    if bits == before {
        return (SAME, 0);
    }
    let (old, new) = (f64::from_bits(before), f64::from_bits(bits));
    let step = new - old;
    let whole = step as i32;
    // Only where adding gives the very same bits again.
    if f64::from(whole) == step && (old + step).to_bits() == bits {
        let (class, n) = put_int(out, i64::from(whole));
        // A step of 0 changes bits only from -0 to 0 and back, which adding does not tell.
        if class != 0 {
            return (class, n);
        }
    }
    let xor = before ^ bits;
    let n = 8 - xor.trailing_zeros() as usize / 8;
    out[..n].copy_from_slice(&xor.to_le_bytes()[8 - n..]);
    (XOR + n as u8, n)
}

fn sort<T: Clone>(times: &mut Vec<i64>, values: &mut Vec<T>, from: usize) {
    if times[from..].is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<usize> = (from..times.len()).collect();
    order.sort_by_key(|i| times[*i]);
    order.dedup_by_key(|i| times[*i]);
    let sorted: Vec<(i64, T)> = order
        .iter()
        .map(|i| (times[*i], values[*i].clone()))
        .collect();
    times.truncate(from);
    values.truncate(from);
    for (at, value) in sorted {
        times.push(at);
        values.push(value);
    }
}

/// No time twice over both kinds: the histogram stays, as a head refuses a second value anyway.
fn drop_floats_at(into: &mut Samples, floats: usize, histograms: usize) {
    if into.histogram_times.len() == histograms {
        return;
    }
    let taken = into.histogram_times[histograms..].to_vec();
    let mut kept = floats;
    for i in floats..into.times.len() {
        if taken.binary_search(&into.times[i]).is_err() {
            into.times.swap(kept, i);
            into.floats.swap(kept, i);
            kept += 1;
        }
    }
    into.times.truncate(kept);
    into.floats.truncate(kept);
}

/// Heap of a histogram that nobody shares.
pub(super) fn histogram_bytes(histogram: &Histogram) -> usize {
    let counts = histogram.positive_counts.len()
        + histogram.negative_counts.len()
        + histogram.custom_bounds.len()
        + histogram.positive_spans.len()
        + histogram.negative_spans.len();
    size_of::<Histogram>() + 2 * size_of::<usize>() + 8 * counts
}
