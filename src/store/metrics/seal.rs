//! Makes a head segments: one for each partition it touches, series by series in the order that queries
//! read them.

use super::head::Head;
use super::index::Index;
use super::segment::{SeriesKey, Writer};
use crate::model::Timestamp;
use crate::model::metric::{Exemplar, Millis, Samples};
use crate::model::time::NANOS_PER_HOUR;
use crate::store::partition::Partition;
use crate::store::segment::{Grade, Sealed};

const NS_PER_MS: i64 = 1_000_000;

/// The moment of a sample, as far as partitions tell it: before the epoch is the epoch.
pub(crate) fn place(at: i64) -> Timestamp {
    let ns = at.max(0).saturating_mul(NS_PER_MS);
    Timestamp(ns.unsigned_abs())
}

/// One moment of every partition that the samples of a head lie in, and more in between: where they
/// reach over many.
pub(crate) fn times(head: &Head) -> Vec<Timestamp> {
    const HOUR_NS: u64 = NANOS_PER_HOUR;
    let numbers = head.data.numbers();
    let Some(range) = head.data.range() else {
        let exemplars = numbers.iter().flat_map(|n| head.data.exemplars(*n));
        return exemplars.map(|exemplar| place(exemplar.at)).collect();
    };
    let (first, last) = (place(range.first), place(range.last));
    if first.0 / HOUR_NS == last.0 / HOUR_NS {
        return vec![first];
    }
    // The smallest partitions are hours: each that has a sample must be named, or its samples had none.
    let mut hours = std::collections::BTreeSet::new();
    let mut samples = Samples::default();
    for number in numbers {
        samples.clear();
        head.data.samples(number, ALL, &mut samples);
        let times = samples.times.iter().chain(&samples.histogram_times);
        hours.extend(times.map(|at| place(*at).0 / HOUR_NS));
    }
    let hours = hours.into_iter();
    hours.map(|hour| Timestamp(hour * HOUR_NS)).collect()
}

const ALL: Millis = Millis {
    first: i64::MIN,
    last: i64::MAX,
};

/// Encodes a head: `partition` tells where a moment belongs, and `moments` touch all of them.
pub(crate) fn seal(
    head: &Head,
    index: &Index,
    moments: &[Timestamp],
    partition: &dyn Fn(Timestamp) -> Partition,
) -> Vec<Sealed> {
    let mut keys: Vec<SeriesKey> = Vec::new();
    for number in head.data.numbers() {
        // Known until no segment and no head has samples of it.
        let labels = index.labels(number).unwrap_or_default();
        keys.push(SeriesKey::of(labels.metric(), number));
    }
    keys.sort_unstable();
    let mut partitions: Vec<Partition> = moments.iter().map(|at| partition(*at)).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let is_one = partitions.len() == 1;
    let (mut all, mut own) = (Samples::default(), Samples::default());
    let mut sealed = Vec::new();
    let (mut held, mut written) = (0, 0);
    for home in partitions.iter().copied() {
        let mut bytes = Vec::new();
        let mut writer = Writer::start(&mut bytes, Grade::Fresh).expect(IN_MEMORY);
        let is_ours = |at: i64| is_one || partition(place(at)) == home;
        // An exemplar may lie where no sample does.
        let is_last = partitions.last() == Some(&home);
        let has_ours = |at: i64| {
            let own = partition(place(at));
            is_one || own == home || (is_last && partitions.binary_search(&own).is_err())
        };
        let mut n = 0;
        for key in &keys {
            all.clear();
            head.data.samples(key.number, ALL, &mut all);
            if partitions.first() == Some(&home) {
                held += all.len();
            }
            let exemplars = exemplars(head, key.number, &has_ours);
            let samples = if is_one {
                &all
            } else {
                keep(&all, &mut own, &is_ours);
                &own
            };
            written += samples.len();
            if samples.len() + exemplars.len() > 0 {
                writer.series(*key, samples, &exemplars).expect(IN_MEMORY);
                n += 1;
            }
        }
        let facts = writer.finish().expect(IN_MEMORY);
        if n > 0 {
            sealed.push(Sealed {
                partition: home,
                bytes,
                facts,
            });
        }
    }
    // The log goes once this is published: better no seal than one that leaves something out.
    assert_eq!(written, held, "every sample of a head has its partition");
    sealed
}

const IN_MEMORY: &str = "writing to memory does not fail";

fn exemplars(head: &Head, number: u32, is_ours: &dyn Fn(i64) -> bool) -> Vec<Exemplar> {
    let mut exemplars = head.data.exemplars(number);
    exemplars.retain(|exemplar| is_ours(exemplar.at));
    exemplars
}

fn keep(all: &Samples, own: &mut Samples, is_ours: &dyn Fn(i64) -> bool) {
    own.clear();
    for (at, value) in all.times.iter().zip(&all.floats) {
        if is_ours(*at) {
            own.times.push(*at);
            own.floats.push(*value);
        }
    }
    for (at, value) in all.histogram_times.iter().zip(&all.histograms) {
        if is_ours(*at) {
            own.histogram_times.push(*at);
            own.histograms.push(value.clone());
        }
    }
}
