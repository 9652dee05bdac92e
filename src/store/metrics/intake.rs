//! Judges a request sample by sample and writes down what is kept, for the log; fills the head from
//! what the log says, live and at replay alike. Nothing is changed by judging, so that a request whose
//! write failed leaves no trace.

use std::sync::Arc;

use super::head::{Filling, HeadData};
use super::ledger::{Ledger, NO_TAIL, SeriesLimits, Tail, checked};
use super::meta::MetadataTable;
use super::outcome::{MetricsOutcome, RejectReason};
use super::payload::{self, Event, PayloadWriter, TIME_MAX};
use crate::model::Timestamp;
use crate::model::metric::{
    Batch, Exemplar, Labels, Metadata, Millis, Sample, Samples, SeriesView, Value,
};

/// How much older than the newest sample of its series a sample may be.
pub(crate) const OUT_OF_ORDER_MS_MAX: i64 = 60 * 60 * 1000;

/// How far ahead of our clock a sample may be (Prometheus refuses more as well).
pub(crate) const AHEAD_MS_MAX: i64 = 10 * 60 * 1000;

/// Characters of the labels of an exemplar, names and values (OpenMetrics 1.0, "Exemplars").
const EXEMPLAR_CHARS_MAX: usize = 128;

/// Rows of a payload are estimated at so many bytes, to make room once.
const SAMPLE_BYTES: usize = 12;

/// What time samples may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) received: Timestamp,
    /// Ms; older ones are past `retention.metrics`. `None`: that is off, and no sample is too old, not
    /// even for its series.
    pub(crate) oldest: Option<i64>,
}

/// A judged request.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Empty when nothing new is to be kept.
    pub(crate) payload: Vec<u8>,
    pub(crate) samples: u64,
    pub(crate) outcome: MetricsOutcome,
    /// Series that are in the ledger already, and are to be taken back when the payload is not logged.
    pub(super) new: Vec<u32>,
}

/// What a payload has done to a head.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Memory of the head. Labels and their index stay when it is sealed: the caps on series bound them.
    pub(crate) bytes: usize,
    pub(crate) new: Vec<(u32, Labels)>,
    pub(super) metadata: Vec<Metadata>,
    /// Samples of series that nobody knows: a frame with their labels is lost.
    pub(crate) orphans: u64,
    /// Of its samples; `None`: there is none.
    pub(crate) range: Option<Millis>,
}

impl Applied {
    fn reach(&mut self, at: i64) {
        let range = self.range.get_or_insert(Millis {
            first: at,
            last: at,
        });
        range.first = range.first.min(at);
        range.last = range.last.max(at);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) ledger: Ledger,
}

impl Intake {
    pub(super) fn new(limits: SeriesLimits, next: u32) -> Intake {
        Intake {
            ledger: Ledger::new(limits, next),
        }
    }

    /// Judges a request. `heads` has what is not in segments yet.
    pub(super) fn plan(
        &mut self,
        batch: &Batch,
        terms: Terms,
        heads: &[Arc<HeadData>],
        metadata: &MetadataTable,
    ) -> Plan {
        self.ledger.next_request();
        let out = PayloadWriter::with_capacity(64 + batch.samples() * SAMPLE_BYTES);
        let mut judge = Judge {
            ledger: &mut self.ledger,
            terms,
            heads,
            out,
            outcome: MetricsOutcome::default(),
            new: Vec::new(),
            is_empty: true,
            order: Vec::new(),
        };
        for series in batch.iter() {
            judge.series(series);
        }
        for said in batch.metadata.iter().filter(|said| metadata.is_news(said)) {
            judge.out.metadata(said);
            judge.is_empty = false;
        }
        let Judge {
            out,
            outcome,
            new,
            is_empty,
            ..
        } = judge;
        let samples = out.samples;
        let payload = if is_empty { Vec::new() } else { out.finish() };
        Plan {
            payload,
            samples,
            outcome,
            new,
        }
    }

    /// Undoes what judging has entered: the payload was not logged.
    pub(super) fn abort(&mut self, plan: &Plan, now: Timestamp) {
        for number in plan.new.iter().rev() {
            self.ledger.take_back(*number);
        }
        self.ledger.recount(now);
    }

    /// Fills a head with what a payload says.
    ///
    /// # Errors
    /// It is damaged; what came before the damage is in the head.
    pub(super) fn apply(
        &mut self,
        bytes: &[u8],
        sequence: u64,
        received: Timestamp,
        head: &HeadData,
    ) -> Result<Applied, payload::Damaged> {
        let mut applied = Applied::default();
        let mut filling = head.fill();
        let mut open: Option<Open> = None;
        let outcome = payload::read(bytes, &mut |event| match event {
            Event::Known(number) => {
                open = self.open(number, sequence, received, &mut filling);
            }
            Event::New(number, labels) => {
                if self.ledger.get(number).is_none() {
                    self.ledger.insert(Some(number), labels.clone());
                }
                open = self.open(number, sequence, received, &mut filling);
                applied.new.push((number, labels));
            }
            Event::Sample(at, value) => match open {
                Some(Open { number, place }) => {
                    filling.sample(place, at, &value);
                    applied.reach(at);
                    let tail = Tail::of(at, &value);
                    self.ledger.advance(number, tail);
                }
                None => applied.orphans += 1,
            },
            Event::Exemplar(exemplar) => {
                if let Some(Open { number, .. }) = open {
                    filling.exemplar(number, exemplar);
                }
            }
            Event::Metadata(metadata) => applied.metadata.push(metadata),
        });
        applied.bytes += filling.bytes;
        outcome.map(|()| applied)
    }

    fn open(
        &mut self,
        number: u32,
        sequence: u64,
        received: Timestamp,
        filling: &mut Filling<'_>,
    ) -> Option<Open> {
        self.ledger.activate(number, sequence, received)?;
        let place = filling.series(number);
        Some(Open { number, place })
    }
}

#[derive(Clone, Copy)]
struct Open {
    number: u32,
    place: u32,
}

/// One request being judged.
struct Judge<'p> {
    ledger: &'p mut Ledger,
    terms: Terms,
    heads: &'p [Arc<HeadData>],
    out: PayloadWriter,
    outcome: MetricsOutcome,
    new: Vec<u32>,
    is_empty: bool,
    order: Vec<u32>,
}

/// What is to be done with a sample.
enum Verdict {
    Keep,
    Repeated,
    Reject(RejectReason),
}

impl Judge<'_> {
    fn series(&mut self, series: SeriesView<'_>) {
        let n = (series.samples.len() + series.exemplars.len()) as u64;
        if n == 0 {
            return;
        }
        let mut opener = match self.opener(series.packed) {
            Ok(opener) => opener,
            Err(reason) => {
                let name = || name_of(series.packed);
                self.outcome.rejected.add(reason, n, name);
                return;
            }
        };
        self.samples(&mut opener, series.samples);
        self.exemplars(&mut opener, series.exemplars);
        let number = opener.number;
        if opener.is_open {
            self.ledger.plan(number, opener.tail, self.terms.received);
        }
        if opener.is_new && opener.is_open {
            self.outcome.series_added += 1;
            self.new.push(number);
        } else if opener.is_new {
            self.ledger.take_back(number);
        }
    }

    /// Finds a series, or gives a new one its number.
    fn opener(&mut self, packed: &[u8]) -> Result<Opener, RejectReason> {
        if let Some(found) = self.ledger.find(packed, self.terms.received) {
            if found.is_silent {
                let known = self.ledger.get(found.number).expect("it was found");
                self.ledger.admit(&known.labels, false)?;
            }
            return Ok(Opener {
                number: found.number,
                is_new: false,
                is_open: false,
                tail: found.tail,
            });
        }
        let labels = checked(packed)?;
        self.ledger.admit(&labels, true)?;
        Ok(Opener {
            number: self.ledger.insert(None, labels),
            is_new: true,
            is_open: false,
            tail: NO_TAIL,
        })
    }

    fn samples(&mut self, opener: &mut Opener, samples: &[Sample]) {
        let mut late = None;
        if samples.is_sorted_by_key(|sample| sample.at) {
            for sample in samples {
                self.sample(opener, sample, &mut late);
            }
            return;
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..samples.len() as u32);
        order.sort_by_key(|i| samples[*i as usize].at);
        for i in &order {
            self.sample(opener, &samples[*i as usize], &mut late);
        }
        self.order = order;
    }

    fn sample(&mut self, opener: &mut Opener, sample: &Sample, late: &mut Option<Samples>) {
        let counted = match sample.value {
            Value::Float(_) => &mut self.outcome.samples,
            Value::Histogram(_) => &mut self.outcome.histograms,
        };
        *counted += 1;
        match self.verdict(opener, sample, late) {
            Verdict::Keep => {
                self.open(opener);
                self.out.sample(sample.at, &sample.value);
                if sample.at >= opener.tail.at {
                    opener.tail = Tail::of(sample.at, &sample.value);
                }
            }
            Verdict::Repeated => self.outcome.repeated += 1,
            Verdict::Reject(reason) => {
                let counted = match sample.value {
                    Value::Float(_) => &mut self.outcome.samples,
                    Value::Histogram(_) => &mut self.outcome.histograms,
                };
                *counted -= 1;
                self.reject(reason, opener.number, sample.at);
            }
        }
    }

    fn reject(&mut self, reason: RejectReason, number: u32, at: i64) {
        let labels = self.ledger.get(number).map(|known| known.labels.clone());
        let labels = labels.unwrap_or_default();
        let example = || format!("{labels} at {at}");
        self.outcome.rejected.add(reason, 1, example);
    }

    fn open(&mut self, opener: &mut Opener) {
        self.is_empty = false;
        if std::mem::replace(&mut opener.is_open, true) {
            return;
        }
        if opener.is_new {
            let known = self.ledger.get(opener.number).expect("it was entered");
            self.out.new_series(opener.number, &known.labels);
        } else {
            self.out.known(opener.number);
        }
    }

    /// Past retention, far ahead of the clock, or no time that is kept.
    fn is_out_of_bounds(&self, at: i64) -> bool {
        let ahead = (self.terms.received.0 / 1_000_000) as i64 + AHEAD_MS_MAX;
        let is_past = self.terms.oldest.is_some_and(|oldest| at < oldest);
        at > ahead || at.unsigned_abs() > TIME_MAX as u64 || is_past
    }

    fn verdict(&self, opener: &Opener, sample: &Sample, late: &mut Option<Samples>) -> Verdict {
        let at = sample.at;
        if self.is_out_of_bounds(at) {
            return Verdict::Reject(RejectReason::OutOfBounds);
        }
        if let Value::Histogram(histogram) = &sample.value
            && !payload::has_room_for(histogram)
        {
            return Verdict::Reject(RejectReason::Malformed);
        }
        let tail = opener.tail;
        if at > tail.at {
            return Verdict::Keep;
        }
        if at < tail.at - OUT_OF_ORDER_MS_MAX && self.terms.oldest.is_some() {
            return Verdict::Reject(RejectReason::OutOfBounds);
        }
        let is_same = match (&sample.value, tail) {
            (
                Value::Float(value),
                Tail {
                    bits: Some(bits),
                    at: newest,
                },
            ) if newest == at => Some(value.to_bits() == bits),
            _ => {
                let there = late.get_or_insert_with(|| self.in_heads(opener.number, tail.at));
                is_same(there, sample)
            }
        };
        match is_same {
            None => Verdict::Keep,
            Some(true) => Verdict::Repeated,
            Some(false) => Verdict::Reject(RejectReason::Duplicate),
        }
    }

    /// The samples of a series that an out-of-order one may meet.
    fn in_heads(&self, number: u32, newest: i64) -> Samples {
        let mut found = Samples::default();
        let range = Millis {
            first: i64::MIN,
            last: newest,
        };
        let mut one = Samples::default();
        for head in self.heads {
            one.clear();
            head.samples(number, range, &mut one);
            super::segment::union(&mut found, &one);
        }
        found
    }

    fn exemplars(&mut self, opener: &mut Opener, exemplars: &[Exemplar]) {
        if exemplars.is_empty() {
            return;
        }
        let heads = self.heads.iter().rev();
        let mut newest = heads
            .filter_map(|head| head.newest_exemplar(opener.number))
            .next();
        for exemplar in exemplars {
            let labels = exemplar.labels.iter();
            let chars: usize = labels
                .map(|(name, value)| name.chars().count() + value.chars().count())
                .sum();
            let reason = if chars > EXEMPLAR_CHARS_MAX {
                Some(RejectReason::LabelLimit)
            } else if self.is_out_of_bounds(exemplar.at) {
                Some(RejectReason::OutOfBounds)
            } else if newest.as_ref().is_some_and(|n| exemplar.at < n.at) {
                Some(RejectReason::OutOfOrder)
            } else {
                None
            };
            if let Some(reason) = reason {
                self.reject(reason, opener.number, exemplar.at);
                continue;
            }
            self.outcome.exemplars += 1;
            if newest.as_ref() == Some(exemplar) {
                self.outcome.repeated += 1;
                continue;
            }
            self.open(opener);
            self.out.exemplar(exemplar);
            newest = Some(exemplar.clone());
        }
    }
}

/// The series whose samples are judged, and whether it was written down.
struct Opener {
    number: u32,
    is_new: bool,
    is_open: bool,
    /// Its newest sample so far.
    tail: Tail,
}

/// Whether a sample is there already; `None`: there is none at its time.
fn is_same(there: &Samples, sample: &Sample) -> Option<bool> {
    if let Ok(at) = there.times.binary_search(&sample.at) {
        let bits = there.floats[at].to_bits();
        return Some(matches!(&sample.value, Value::Float(value) if value.to_bits() == bits));
    }
    let at = there.histogram_times.binary_search(&sample.at).ok()?;
    let Value::Histogram(histogram) = &sample.value else {
        return Some(false);
    };
    Some(payload::is_same_histogram(&there.histograms[at], histogram))
}

/// The series for a message, as far as it can be told.
fn name_of(packed: &[u8]) -> String {
    match Labels::unpack(packed) {
        Some(labels) => labels.to_string(),
        None => "a series whose labels cannot be read".to_owned(),
    }
}
