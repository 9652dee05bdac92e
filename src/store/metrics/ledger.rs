//! The writer's book of series: the number of each, its newest sample, and how many there may be.
//! Numbers are given here alone, rise, and are never given twice.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use super::outcome::RejectReason;
use crate::model::Timestamp;
use crate::model::metric::{Labels, Value};

/// A series counts as active for so long after its newest sample came.
const ACTIVE_MINUTES: u32 = 60;

/// Series that segments still have, for one that may be active: names and labels of all are in memory.
const KNOWN_PER_ACTIVE: u64 = 4;
/// Of the active series, one part in so many may be of one metric, and of one target.
const METRIC_PART: u64 = 4;
const TARGET_PART: u64 = 2;

/// Labels of a series, and their bytes: more is a mistake of the sender, and each is held in memory.
const LABELS_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 4096;

/// How many series there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesLimits {
    /// `limits.active_series`.
    pub(crate) active: u64,
}

impl SeriesLimits {
    pub(crate) const fn known(self) -> u64 {
        self.active * KNOWN_PER_ACTIVE
    }

    pub(crate) const fn of_metric(self) -> u64 {
        let part = self.active / METRIC_PART;
        if part > 0 { part } else { 1 }
    }

    pub(crate) const fn of_target(self) -> u64 {
        let part = self.active / TARGET_PART;
        if part > 0 { part } else { 1 }
    }
}

/// Numbers are dense and hashes are hashes already: spread over the table by a multiplication.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

pub(super) type NumberHasher = BuildHasherDefault<Spread>;

/// The newest sample of a series, as far as it is known since the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// `i64::MIN`: none yet.
    pub(super) at: i64,
    /// Of a float; `None`: a histogram.
    pub(super) bits: Option<u64>,
}

impl Tail {
    pub(super) fn of(at: i64, value: &Value) -> Tail {
        let bits = match value {
            Value::Float(value) => Some(value.to_bits()),
            Value::Histogram(_) => None,
        };
        Tail { at, bits }
    }
}

pub(super) const NO_TAIL: Tail = Tail {
    at: i64::MIN,
    bits: None,
};

/// A series as judging a request finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) number: u32,
    /// Nobody has sent samples of it lately.
    pub(super) is_silent: bool,
    /// As the request being judged would leave it.
    pub(super) tail: Tail,
}

/// What is known of a series.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) labels: Labels,
    pub(super) tail: Tail,
    /// The tail as the request being judged would leave it; of that request only.
    planned: Tail,
    planned_in: u32,
    /// The frame of the log that has its newest samples; the highest there is while one is being written.
    pub(super) sequence: u64,
    /// Minutes since the epoch when that came.
    seen: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: SeriesLimits,
    /// Number of a series by the hash of its labels.
    by_labels: HashMap<u64, u32, NumberHasher>,
    /// Series whose hash another one has as well; none, as a rule.
    twins: Vec<(u64, u32)>,
    series: HashMap<u32, Known, NumberHasher>,
    next: u32,
    /// Series with samples within the last hour or two, by metric and by target too.
    active: u64,
    of_metric: HashMap<u64, u64, NumberHasher>,
    of_target: HashMap<u64, u64, NumberHasher>,
    request: u32,
}

impl Ledger {
    pub(super) fn new(limits: SeriesLimits, next: u32) -> Ledger {
        Ledger {
            limits,
            by_labels: HashMap::default(),
            twins: Vec::new(),
            series: HashMap::default(),
            next,
            active: 0,
            of_metric: HashMap::default(),
            of_target: HashMap::default(),
            request: 0,
        }
    }

    pub(super) fn active(&self) -> u64 {
        self.active
    }

    pub(super) fn known(&self) -> u64 {
        self.series.len() as u64
    }

    /// Judging of another request begins.
    pub(super) fn next_request(&mut self) {
        self.request = self.request.wrapping_add(1);
    }

    /// A series by its labels.
    pub(super) fn find(&self, packed: &[u8], now: Timestamp) -> Option<Found> {
        let hash = xxh3_64(packed);
        let found = |number: u32| {
            let known = &self.series[&number];
            (known.labels.packed() == packed).then(|| Found {
                number,
                is_silent: minutes(now).saturating_sub(known.seen) > ACTIVE_MINUTES,
                tail: match known.planned_in == self.request {
                    true => known.planned,
                    false => known.tail,
                },
            })
        };
        let first = *self.by_labels.get(&hash)?;
        found(first).or_else(|| {
            let twins = self.twins.iter().filter(|(h, _)| *h == hash);
            twins.map(|(_, number)| *number).find_map(found)
        })
    }

    pub(super) fn get(&self, number: u32) -> Option<&Known> {
        self.series.get(&number)
    }

    /// Whether another series, or one that was silent for long, may have samples now.
    pub(super) fn admit(&self, labels: &Labels, is_new: bool) -> Result<(), RejectReason> {
        let limits = self.limits;
        if self.active >= limits.active || (is_new && self.known() >= limits.known()) {
            return Err(RejectReason::SeriesLimit);
        }
        let count = |counts: &HashMap<u64, u64, NumberHasher>, key| {
            counts.get(&key).copied().unwrap_or_default()
        };
        if count(&self.of_metric, metric_key(labels)) >= limits.of_metric() {
            return Err(RejectReason::MetricLimit);
        }
        if target_key(labels).is_some_and(|key| count(&self.of_target, key) >= limits.of_target()) {
            return Err(RejectReason::TargetLimit);
        }
        Ok(())
    }

    /// Enters a series under its number, or the next one.
    pub(super) fn insert(&mut self, number: Option<u32>, labels: Labels) -> u32 {
        let number = number.unwrap_or(self.next);
        self.next = self.next.max(number + 1);
        let hash = xxh3_64(labels.packed());
        match self.by_labels.get(&hash) {
            Some(other) if self.series[other].labels != labels => self.twins.push((hash, number)),
            // Of two numbers of one series the later one counts: the former has no samples left.
            _ => _ = self.by_labels.insert(hash, number),
        }
        self.series.insert(
            number,
            Known {
                labels,
                tail: NO_TAIL,
                planned: NO_TAIL,
                planned_in: 0,
                sequence: 0,
                seen: 0,
            },
        );
        number
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(known) = self.series.remove(&number) else {
            return;
        };
        let hash = xxh3_64(known.labels.packed());
        self.twins.retain(|(_, twin)| *twin != number);
        if self.by_labels.get(&hash) == Some(&number) {
            self.by_labels.remove(&hash);
            if let Some(at) = self.twins.iter().position(|(h, _)| *h == hash) {
                let (_, twin) = self.twins.swap_remove(at);
                self.by_labels.insert(hash, twin);
            }
        }
        // Those it counted among the active are counted anew with the next head.
    }

    /// Gives back a number that nothing was written under.
    pub(super) fn take_back(&mut self, number: u32) {
        self.remove(number);
        if number + 1 == self.next {
            self.next = number;
        }
    }

    /// The request being judged leaves a series so. It is active from now on, and not to be forgotten
    /// before the request is in a head.
    pub(super) fn plan(&mut self, number: u32, tail: Tail, received: Timestamp) {
        let request = self.request;
        if let Some(known) = self.activate(number, u64::MAX, received) {
            (known.planned, known.planned_in) = (tail, request);
        }
    }

    /// A series is active from now on, with samples in this frame; `None`: there is no such series.
    pub(super) fn activate(
        &mut self,
        number: u32,
        sequence: u64,
        received: Timestamp,
    ) -> Option<&mut Known> {
        let now = minutes(received);
        let known = self.series.get_mut(&number)?;
        if now.saturating_sub(known.seen) > ACTIVE_MINUTES {
            self.active += 1;
            count(&mut self.of_metric, &mut self.of_target, &known.labels);
        }
        known.seen = known.seen.max(now);
        known.sequence = sequence;
        Some(known)
    }

    /// A series has this sample.
    pub(super) fn advance(&mut self, number: u32, tail: Tail) {
        let known = self.series.get_mut(&number).expect("it was found before");
        if tail.at >= known.tail.at {
            known.tail = tail;
        }
    }

    /// Counts anew which series are active.
    pub(super) fn recount(&mut self, now: Timestamp) {
        let now = minutes(now);
        self.active = 0;
        self.of_metric.clear();
        self.of_target.clear();
        for known in self.series.values_mut() {
            if now.saturating_sub(known.seen) > ACTIVE_MINUTES {
                known.seen = 0;
                continue;
            }
            self.active += 1;
            count(&mut self.of_metric, &mut self.of_target, &known.labels);
        }
    }
}

fn minutes(at: Timestamp) -> u32 {
    u32::try_from(at.0 / 60_000_000_000).unwrap_or(u32::MAX)
}

type Counts = HashMap<u64, u64, NumberHasher>;

fn count(of_metric: &mut Counts, of_target: &mut Counts, labels: &Labels) {
    *of_metric.entry(metric_key(labels)).or_default() += 1;
    if let Some(key) = target_key(labels) {
        *of_target.entry(key).or_default() += 1;
    }
}

fn metric_key(labels: &Labels) -> u64 {
    xxh3_64(labels.metric().as_bytes())
}

/// What tells targets apart; `None` where there is nothing that does.
fn target_key(labels: &Labels) -> Option<u64> {
    let (job, instance) = (labels.get("job"), labels.get("instance"));
    if job.is_none() && instance.is_none() {
        return None;
    }
    let seed = xxh3_64(job.unwrap_or_default().as_bytes());
    let instance = instance.unwrap_or_default().as_bytes();
    Some(xxhash_rust::xxh3::xxh3_64_with_seed(instance, seed))
}

/// Labels as a sender packed them, if they may be those of a series.
pub(super) fn checked(packed: &[u8]) -> Result<Labels, RejectReason> {
    let labels = Labels::unpack(packed).ok_or(RejectReason::Malformed)?;
    if labels.metric().is_empty() {
        return Err(RejectReason::Malformed);
    }
    let fits = |(name, value): (&str, &str)| {
        name.len() <= NAME_BYTES_MAX && value.len() <= VALUE_BYTES_MAX
    };
    if labels.iter().count() > LABELS_MAX || !labels.iter().all(fits) {
        return Err(RejectReason::LabelLimit);
    }
    Ok(labels)
}
