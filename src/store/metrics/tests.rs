//! The store of metrics against a model: random requests through heads, seals, merges and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::intake::OUT_OF_ORDER_MS_MAX;
use super::payload::{self, Event, PayloadWriter};
use super::stream::Stream;
use super::*;
use crate::model::metric::{
    Batch, Exemplar, Histogram, Labels, MatchOp, Matcher, Metadata, MetricKind, Millis,
    STALE_NAN_BITS, Samples, Span, Value,
};
use crate::model::{ProjectId, Signal, Timestamp};
use crate::store::disk::sim::{Dice, World};
use crate::store::fixture::{SECOND, START, config, sim};
use crate::store::{Config, MetricsBatch, Opened, StoreError, open};

const ALL: Millis = Millis {
    first: i64::MIN,
    last: i64::MAX,
};

/// Ms of [`START`].
const START_MS: i64 = (START.0 / 1_000_000) as i64;

fn labels(series: u64) -> Labels {
    let (metric, instance) = (format!("metric_{}", series % 3), format!("i{series}"));
    Labels::of([
        ("__name__", &*metric),
        ("instance", &*instance),
        ("job", "test"),
    ])
}

fn request(batch: Batch, received: Timestamp) -> MetricsBatch {
    MetricsBatch {
        project: ProjectId::DEFAULT,
        received,
        batch,
        key: 0,
        raw_bytes: 100,
    }
}

fn histogram(n: u64) -> Value {
    Value::Histogram(Arc::new(Histogram {
        schema: 3,
        count: n as f64,
        sum: n as f64 * 0.1,
        positive_spans: vec![Span {
            offset: -2,
            length: 2,
        }],
        positive_counts: vec![n as f64 - 1.0, 1.0],
        ..Histogram::default()
    }))
}

fn float(dice: &mut Dice) -> f64 {
    match dice.below(6) {
        0 => f64::from_bits(STALE_NAN_BITS),
        1 => dice.below(1 << 40) as f64 / 1000.0,
        2 => -0.0,
        _ => dice.below(1000) as f64,
    }
}

/// Samples by series and time, the first of each time: what the store has to answer.
#[derive(Debug, Default)]
struct Model {
    samples: BTreeMap<(u64, i64), Value>,
    newest: BTreeMap<u64, i64>,
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Histogram(a), Value::Histogram(b)) => payload::is_same_histogram(a, b),
        _ => false,
    }
}

impl Model {
    /// Sends a sample, and checks what the store says of it.
    fn send(&mut self, opened: &mut Opened, dice: &mut Dice, now: Timestamp) {
        let series = dice.below(12);
        let reach = if dice.chance(5) { 500 } else { 8 };
        let steps = dice.below(reach);
        let at = (now.0 / 1_000_000) as i64 - steps as i64 * 15_000;
        // Half of the series have histograms only, so that kinds do not meet at one time.
        let is_float = series.is_multiple_of(2);
        let value = match is_float {
            true => Value::Float(float(dice)),
            false => histogram(1 + dice.below(50)),
        };
        let known = self.samples.get(&(series, at));
        let newest = self.newest.get(&series).copied();
        // What only a segment has is told when it is read.
        let is_told = (is_float && newest == Some(at)) || in_heads(opened, series, at);
        if known.is_some() && !is_told {
            return;
        }
        let value = match known {
            Some(known) if dice.chance(2) => known.clone(),
            _ => value,
        };
        let is_late = newest.is_some_and(|newest| at < newest - OUT_OF_ORDER_MS_MAX);
        // Kept, repeated, too late, another value at its time.
        let expect = match known {
            _ if is_late => [0, 0, 1, 0],
            Some(known) if same(known, &value) => [0, 1, 0, 0],
            Some(_) => [0, 0, 0, 1],
            None => [1, 0, 0, 0],
        };
        if expect[0] == 1 {
            self.samples.insert((series, at), value.clone());
            let newest = self.newest.entry(series).or_insert(at);
            *newest = at.max(*newest);
        }
        let mut batch = Batch::default();
        batch.series_of(&labels(series));
        batch.sample(at, value);
        let outcome = opened.writer.append_metrics(&request(batch, now));
        let outcome = outcome.expect("a good disk");
        let found = [
            outcome.samples + outcome.histograms - outcome.repeated,
            outcome.repeated,
            outcome.rejected.count(RejectReason::OutOfBounds),
            outcome.rejected.count(RejectReason::Duplicate),
        ];
        assert_eq!(found, expect, "series {series} at {at}");
    }

    fn check(&self, opened: &Opened, range: Millis) {
        let view = opened.store.metrics();
        let all = [Matcher::new("job", MatchOp::Equal, "test").expect("well-formed")];
        let mut found: BTreeMap<(u64, i64), Value> = BTreeMap::new();
        for (number, labels) in view.select(&all, range).expect("readable") {
            let series: u64 = labels.get("instance").expect("set")[1..]
                .parse()
                .expect("a number");
            let mut samples = Samples::default();
            view.read(number, labels.metric(), range, &mut samples)
                .expect("readable");
            for (at, value) in samples.times.iter().zip(&samples.floats) {
                found.insert((series, *at), Value::Float(*value));
            }
            for (at, value) in samples.histogram_times.iter().zip(&samples.histograms) {
                found.insert((series, *at), Value::Histogram(value.clone()));
            }
        }
        let in_range = |at: i64| at >= range.first && at <= range.last;
        let expect: Vec<_> = self
            .samples
            .iter()
            .filter(|((_, at), _)| in_range(*at))
            .collect();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expect.iter().map(|(key, _)| *key).collect::<Vec<_>>()
        );
        for (key, value) in expect {
            assert!(
                same(value, &found[key]),
                "{key:?}: {value:?}, not {:?}",
                found[key]
            );
        }
    }
}

/// Whether a sample is in no segment yet.
fn in_heads(opened: &Opened, series: u64, at: i64) -> bool {
    let name = format!("i{series}");
    let one = Matcher::new("instance", MatchOp::Equal, &name).expect("well-formed");
    let view = opened.store.metrics();
    let found = view.select(&[one], ALL).expect("readable");
    let mut samples = Samples::default();
    for (number, _) in found {
        let range = Millis {
            first: at,
            last: at,
        };
        view.heads
            .iter()
            .for_each(|head| head.read(number, range, &mut samples));
    }
    samples.len() > 0
}

fn step(opened: &mut Opened, model: &mut Model, dice: &mut Dice, now: &mut Timestamp) {
    match dice.below(20) {
        0..14 => model.send(opened, dice, *now),
        14..16 => {
            *now = now.saturating_add((1 + dice.below(40)) * 60 * SECOND);
            opened.writer.tick(*now).expect("a good disk");
        }
        16 => opened.writer.seal(Signal::Metrics).expect("a good disk"),
        17 => _ = opened.sealer.step().expect("a good disk"),
        18 => _ = opened.keeper.maintain(*now).expect("a good disk"),
        _ => {
            let first = START_MS - 3_600_000 + dice.below(7_200) as i64 * 1000;
            let last = first + dice.below(7_200) as i64 * 1000;
            model.check(opened, Millis { first, last });
        }
    }
}

#[test]
fn what_was_accepted_is_answered_whatever_became_of_it() {
    for seed in 1..60u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let world = World::new();
        let mut model = Model::default();
        let mut now = START;
        let mut opened = open(config(), sim(&world), now).expect("a good disk");
        for _ in 0..80 {
            step(&mut opened, &mut model, &mut dice, &mut now);
        }
        model.check(&opened, ALL);
        opened.writer.seal(Signal::Metrics).expect("a good disk");
        while opened.sealer.step().expect("a good disk") {}
        model.check(&opened, ALL);
        // A day later all of it is swept up and written anew.
        let later = now.saturating_add(26 * 3600 * SECOND);
        let round = opened.keeper.maintain(later).expect("a good disk");
        assert!(round.recoded + round.merged > 0, "seed {seed}");
        model.check(&opened, ALL);
        drop(opened);
        let opened = open(config(), sim(&world), now).expect("a good disk");
        model.check(&opened, ALL);
    }
}

#[test]
fn a_restart_in_the_middle_keeps_heads_and_numbers() {
    for seed in 1..30u64 {
        let mut dice = Dice(seed.wrapping_mul(0xd1b5_4a32_d192_ed03) | 1);
        let world = World::new();
        let mut model = Model::default();
        let mut now = START;
        for _ in 0..3 {
            let mut opened = open(config(), sim(&world), now).expect("a good disk");
            model.check(&opened, ALL);
            for _ in 0..25 {
                // In order from here on: what a restart forgets is which old samples segments have.
                now = now.saturating_add(3600 * SECOND);
                let mut batch = Batch::default();
                let series = dice.below(12);
                let at = (now.0 / 1_000_000) as i64;
                let value = Value::Float(float(&mut dice));
                batch.series_of(&labels(series));
                batch.sample(at, value.clone());
                let outcome = opened.writer.append_metrics(&request(batch, now));
                assert_eq!(outcome.expect("a good disk").samples, 1);
                model.samples.insert((series, at), value);
                if dice.chance(6) {
                    opened.writer.seal(Signal::Metrics).expect("a good disk");
                    opened.sealer.step().expect("a good disk");
                }
            }
        }
        let opened = open(config(), sim(&world), now).expect("a good disk");
        model.check(&opened, ALL);
    }
}

/// One request of one sample for each series.
fn send(
    opened: &mut Opened,
    series: &[Labels],
    at: i64,
    value: f64,
    now: Timestamp,
) -> MetricsOutcome {
    let mut batch = Batch::default();
    for labels in series {
        batch.series_of(labels);
        batch.sample(at, Value::Float(value));
    }
    opened
        .writer
        .append_metrics(&request(batch, now))
        .expect("a good disk")
}

fn opened(config: Config) -> (Arc<World>, Opened) {
    let world = World::new();
    let opened = open(config, sim(&world), START).expect("a good disk");
    (world, opened)
}

#[test]
fn series_past_the_caps_are_refused_by_reason_and_counted() {
    let limits = SeriesLimits { active: 40 };
    let (_world, mut opened) = opened(Config {
        series: limits,
        ..config()
    });
    let series = |metric: &str, job: &str, n: u64| -> Vec<Labels> {
        let one = |i: u64| {
            let i = i.to_string();
            Labels::of([("__name__", metric), ("job", job), ("i", &*i)])
        };
        (0..n).map(one).collect()
    };
    let outcome = send(&mut opened, &series("a", "x", 15), START_MS, 1.0, START);
    assert_eq!((outcome.samples, outcome.series_added), (10, 10));
    assert_eq!(outcome.rejected.count(RejectReason::MetricLimit), 5);
    send(&mut opened, &series("b", "x", 10), START_MS, 1.0, START);
    let outcome = send(&mut opened, &series("c", "x", 1), START_MS, 1.0, START);
    assert_eq!(outcome.rejected.count(RejectReason::TargetLimit), 1);
    send(&mut opened, &series("d", "y", 10), START_MS, 1.0, START);
    send(&mut opened, &series("e", "y", 9), START_MS, 1.0, START);
    send(&mut opened, &series("f", "z", 1), START_MS, 1.0, START);
    let outcome = send(&mut opened, &series("g", "z", 1), START_MS, 1.0, START);
    assert_eq!(outcome.rejected.count(RejectReason::SeriesLimit), 1);
    // What is there goes on.
    let outcome = send(&mut opened, &series("a", "x", 10), START_MS + 1, 1.0, START);
    assert_eq!((outcome.samples, outcome.rejected.total()), (10, 0));
    let stats = opened.store.series(2);
    assert_eq!((stats.active, stats.known), (40, 40));
    assert_eq!(stats.dropped.first(), Some(&("a".to_owned(), 5)));
    assert_eq!(stats.labels[0], ("i".to_owned(), 10));
    // Two hours later the others are not active any more.
    let later = START.saturating_add(2 * 3600 * SECOND);
    opened.writer.seal(Signal::Metrics).expect("a good disk");
    opened.writer.tick(later).expect("a good disk");
    opened.writer.seal(Signal::Metrics).expect("a good disk");
    let outcome = send(
        &mut opened,
        &series("g", "z", 1),
        START_MS + 7_200_000,
        1.0,
        later,
    );
    assert_eq!(outcome.samples, 1);
}

#[test]
fn times_out_of_bounds_are_refused_unless_retention_is_off() {
    let mut off = config();
    off.retention.metrics = None;
    let one = [labels(0)];
    let ahead = START_MS + 11 * 60_000;
    for (config, old, expect) in [(config(), 1, 0), (off, 1, 1)] {
        let (_world, mut opened) = opened(config);
        let mut kept = |at| send(&mut opened, &one, at, 1.0, START).samples;
        assert_eq!(kept(ahead), 0);
        assert_eq!(kept(START_MS), 1);
        assert_eq!(kept(START_MS - OUT_OF_ORDER_MS_MAX), 1);
        assert_eq!(kept(START_MS - OUT_OF_ORDER_MS_MAX - 1), expect);
        assert_eq!(kept(old), expect);
        assert_eq!(kept(-5000), expect);
    }
}

#[test]
fn samples_past_retention_are_not_shown_and_their_series_go() {
    let (world, mut first) = opened(config());
    send(&mut first, &[labels(0), labels(1)], START_MS, 1.0, START);
    first.writer.seal(Signal::Metrics).expect("a good disk");
    first.sealer.step().expect("a good disk");
    let later = START.saturating_add(9 * 86_400 * SECOND);
    let at = START_MS + 9 * 86_400_000;
    first.writer.tick(later).expect("a good disk");
    send(&mut first, &[labels(1)], at, 2.0, later);
    let shown = |opened: &Opened| {
        let view = opened.store.metrics();
        let found = view.select(&[], ALL).expect("readable");
        found
            .into_iter()
            .map(|(_, labels)| labels)
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&first), [labels(1)]);
    // The clock was not looked at for nine days: samples of today say that it is right.
    first.keeper.maintain(later).expect("a good disk");
    assert_eq!(first.store.stats().known_series, 1);
    drop(first);
    let mut again = open(config(), sim(&world), later).expect("a good disk");
    assert_eq!(
        (again.store.stats().known_series, shown(&again)),
        (1, vec![labels(1)])
    );
    let outcome = send(&mut again, &[labels(0)], at, 3.0, later);
    assert_eq!(outcome.series_added, 1);
    assert_eq!(shown(&again).len(), 2);
}

#[test]
fn a_view_shows_what_was_there_when_it_was_made() {
    let (_world, mut opened) = opened(config());
    let one = [labels(0)];
    send(&mut opened, &one, START_MS, 1.0, START);
    let view = opened.store.metrics();
    let read = |view: &MetricsView| {
        let mut samples = Samples::default();
        for (number, labels) in view.select(&[], ALL).expect("readable") {
            view.read(number, labels.metric(), ALL, &mut samples)
                .expect("readable");
        }
        samples.times.len()
    };
    for step in 1..40 {
        send(&mut opened, &one, START_MS + step * 1000, 1.0, START);
        match step {
            10 | 30 => opened.writer.seal(Signal::Metrics).expect("a good disk"),
            20 => _ = opened.sealer.step().expect("a good disk"),
            _ => {}
        }
        assert_eq!(read(&view), 1);
        assert_eq!(read(&opened.store.metrics()), 1 + step as usize);
    }
}

#[test]
fn exemplars_and_metadata_come_back() {
    let (world, mut first) = opened(config());
    let exemplar = |at| Exemplar {
        at,
        value: 0.5,
        labels: Labels::of([("trace_id", "abc")]),
    };
    let metadata = Metadata {
        metric: "metric_0".to_owned(),
        kind: MetricKind::Counter,
        unit: "s".to_owned(),
        help: "what it is".to_owned(),
    };
    let mut batch = Batch::default();
    batch.series_of(&labels(0));
    batch.sample(START_MS, Value::Float(1.0));
    for at in [START_MS, START_MS, START_MS + 5, START_MS + 1] {
        batch.exemplar(exemplar(at));
    }
    batch.metadata.push(metadata.clone());
    let outcome = first
        .writer
        .append_metrics(&request(batch, START))
        .expect("a good disk");
    assert_eq!((outcome.exemplars, outcome.repeated), (3, 1));
    assert_eq!(outcome.rejected.count(RejectReason::OutOfOrder), 1);
    let check = |opened: &Opened| {
        let view = opened.store.metrics();
        let expect = vec![(labels(0), vec![exemplar(START_MS), exemplar(START_MS + 5)])];
        assert_eq!(view.exemplars(&[], ALL).expect("readable"), expect);
        assert_eq!(
            view.metadata(Some("metric_0")),
            std::slice::from_ref(&metadata)
        );
    };
    check(&first);
    drop(first);
    let mut again = open(config(), sim(&world), START).expect("a good disk");
    check(&again);
    again.writer.seal(Signal::Metrics).expect("a good disk");
    again.sealer.step().expect("a good disk");
    check(&again);
    drop(again);
    check(&open(config(), sim(&world), START).expect("a good disk"));
}

#[test]
fn a_payload_reads_back_and_damage_is_no_panic() {
    for seed in 1..200u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut out = PayloadWriter::with_capacity(0);
        let mut expect = Vec::new();
        for _ in 0..dice.below(6) {
            let number = dice.below(u64::from(u32::MAX)) as u32;
            if dice.chance(2) {
                out.new_series(number, &labels(7));
                expect.push(Event::New(number, labels(7)));
            } else {
                out.known(number);
                expect.push(Event::Known(number));
            }
            for _ in 0..dice.below(4) {
                let at = dice.below(1 << 50) as i64 - (1 << 49);
                let value = match dice.chance(3) {
                    true => histogram(dice.below(99)),
                    false => Value::Float(dice.below(1 << 54) as f64 / 8.0),
                };
                out.sample(at, &value);
                expect.push(Event::Sample(at, value));
            }
        }
        let bytes = out.finish();
        let mut found = Vec::new();
        payload::read(&bytes, &mut |event| found.push(event)).expect("it was written so");
        assert_eq!(found, expect);
        for _ in 0..50 {
            let mut bad = bytes.clone();
            let at = dice.below(bad.len() as u64) as usize;
            bad[at] = dice.next() as u8;
            bad.truncate(bad.len() - dice.below(2) as usize);
            _ = payload::read(&bad, &mut |_| {});
        }
    }
}

#[test]
fn a_stream_gives_back_what_was_pushed() {
    for seed in 1..200u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut stream = Stream::default();
        let mut expect: BTreeMap<i64, Value> = BTreeMap::new();
        let mut at = -5000;
        for _ in 0..dice.below(60) {
            at += match dice.below(6) {
                0 => -(dice.below(100_000) as i64),
                1 => dice.below(1 << 45) as i64,
                _ => 15_000 + dice.below(3) as i64,
            };
            let value = match dice.below(8) {
                0 => histogram(dice.below(99)),
                1 => Value::Float(f64::from_bits(dice.next())),
                2 => Value::Float(1e300),
                _ => Value::Float(float(&mut dice)),
            };
            if expect.contains_key(&at) {
                continue;
            }
            stream.push(at, &value);
            expect.insert(at, value);
        }
        let mut samples = Samples::default();
        stream.read(stream.len(), ALL, &mut samples);
        let floats = samples.times.iter().zip(&samples.floats);
        let mut found: BTreeMap<i64, Value> =
            floats.map(|(at, v)| (*at, Value::Float(*v))).collect();
        assert!(samples.times.is_sorted() && samples.histogram_times.is_sorted());
        let histograms = samples.histogram_times.iter().zip(&samples.histograms);
        found.extend(histograms.map(|(at, v)| (*at, Value::Histogram(v.clone()))));
        assert_eq!(found.len(), expect.len());
        for (at, value) in &expect {
            assert!(same(value, &found[at]), "{value:?}, not {:?}", found[at]);
        }
    }
}

#[test]
fn a_refused_request_leaves_no_series_behind() {
    let mut config = config();
    config.memory.heads = 100_000;
    let (_world, mut opened) = opened(config);
    let mut batch = Batch::default();
    for series in 0..2000 {
        batch.series_of(&labels(series));
        batch.sample(START_MS, Value::Float(series as f64 * 1.37));
    }
    let outcome = opened.writer.append_metrics(&request(batch, START));
    assert!(
        matches!(outcome, Err(StoreError::TooLarge { .. })),
        "{outcome:?}"
    );
    let stats = opened.store.stats();
    assert_eq!((stats.active_series, stats.known_series), (0, 0));
    let outcome = send(&mut opened, &[labels(0)], START_MS, 7.0, START);
    assert_eq!((outcome.samples, outcome.series_added), (1, 1));
}

/// A head that reaches over several hours, where partitions are hours, leaves none of them out.
#[test]
fn every_hour_of_a_head_is_sealed() {
    let mut config = config();
    config.retention.max_bytes = Some(1);
    let (_world, mut opened) = opened(config);
    let now = START.saturating_add(2 * 3600 * SECOND);
    opened.writer.tick(now).expect("a good disk");
    // The first segment tells that a day is more than the budget holds.
    for (series, n) in [(0, 1), (1, 14)] {
        let mut batch = Batch::default();
        batch.series_of(&labels(series));
        for step in 0..n {
            batch.sample(START_MS + step * 600_000, Value::Float(step as f64));
        }
        let outcome = opened.writer.append_metrics(&request(batch, now));
        assert_eq!(outcome.expect("a good disk").samples, n as u64);
        opened.writer.seal(Signal::Metrics).expect("a good disk");
        opened.sealer.step().expect("a good disk");
    }
    let view = opened.store.metrics();
    let name = Matcher::new("instance", MatchOp::Equal, "i1").expect("well-formed");
    let (number, found) = &view.select(&[name], ALL).expect("readable")[0];
    assert!(!view.heads.iter().any(|head| head.overlaps(*number, ALL)));
    let mut samples = Samples::default();
    let read = view.read(*number, found.metric(), ALL, &mut samples);
    read.expect("readable");
    assert_eq!(samples.times.len(), 14);
}
