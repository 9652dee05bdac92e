use std::collections::BTreeMap;

use super::*;
use crate::model::random::Random;
use crate::model::{ValueRef, write};
use crate::query::lang;
use crate::query::tests::fixture::{Fixture, control};
use crate::store::fixture::{SECOND, START};
use crate::store::template_of;

/// A record as it was sent.
#[derive(Clone, Debug)]
struct Sent {
    service: &'static str,
    severity: i32,
    at: Timestamp,
    body: String,
}

fn template(body: &str) -> String {
    let mut out = Vec::new();
    assert!(template_of(body, &mut out));
    printed_template(std::str::from_utf8(&out).expect("whole characters"))
}

fn sent(random: &mut Random, at: Timestamp) -> Sent {
    let n = random.below(1000);
    let body = match random.below(12) {
        0..4 => format!("took {n} ms"),
        4..6 => format!("user {n} logged in from 10.0.0.{}", n % 250),
        6..8 => format!("{{\"msg\":\"disk {n}\",\"free\":{n}}}"),
        8 => "connection refused".to_owned(),
        9 => format!("retry {n} of {n}"),
        // Hardly any text twice.
        _ => format!(
            "rare {}",
            ["one", "two", "three", "four", "five", "six", "seven"][n % 7].repeat(1 + n / 100)
        ),
    };
    Sent {
        service: ["api", "shop", "db"][random.below(3)],
        severity: [9, 13, 17][random.below(3)],
        at,
        body,
    }
}

/// One request for each service.
fn requests(records: &[Sent]) -> Vec<Vec<u8>> {
    let request = |service: &&str| {
        let mut out = Vec::new();
        write::message(&mut out, 1, |out| {
            write::message(out, 1, |out| {
                write::key_value(out, 1, "service.name", ValueRef::Str(service));
            });
            write::message(out, 2, |out| {
                for sent in records.iter().filter(|sent| sent.service == *service) {
                    write::message(out, 2, |out| {
                        write::fixed64_field(out, 1, sent.at.0);
                        write::varint_field(out, 2, sent.severity as u64);
                        write::message(out, 5, |out| {
                            write::any_value(out, ValueRef::Str(&sent.body));
                        });
                    });
                }
            });
        });
        out
    };
    ["api", "shop", "db"].iter().map(request).collect()
}

/// Texts of a template that a sealed head keeps as one, as the miner's rule says.
const TEXTS_MIN: usize = 4;

/// Each record with its pattern, as it is stored: of a sealed head only what repeats.
fn stored(records: Vec<Sent>, sealed: bool) -> Vec<(Sent, Option<String>)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for sent in &records {
        *counts.entry(template(&sent.body)).or_default() += 1;
    }
    let of = |sent: Sent| {
        let template = template(&sent.body);
        let repeats = !sealed || counts[&template] >= TEXTS_MIN;
        (sent, repeats.then_some(template))
    };
    records.into_iter().map(of).collect()
}

type Naive = BTreeMap<String, (u64, BTreeMap<u8, u64>, BTreeSet<String>)>;

/// Counts record by record.
fn naive<'r>(records: impl Iterator<Item = &'r (Sent, Option<String>)>) -> (Naive, u64, u64) {
    let (mut patterns, mut other, mut total) = (Naive::new(), 0, 0);
    for (sent, pattern) in records {
        total += 1;
        let Some(pattern) = pattern else {
            other += 1;
            continue;
        };
        let entry = patterns.entry(pattern.clone()).or_default();
        entry.0 += 1;
        let level = crate::model::Severity(sent.severity).level();
        *entry.1.entry(level as u8).or_default() += 1;
        entry.2.insert(sent.service.to_owned());
    }
    (patterns, other, total)
}

fn ask(fixture: &Fixture, query: &str, range: TimeRange, since: Option<Timestamp>) -> Patterns {
    let request = PatternRequest {
        query: lang::parse(query).expect("a query"),
        range,
        limit: PATTERNS_SHOWN_MAX,
        buckets: 24,
        new_since: since,
    };
    let found = fixture.engine.log_patterns(&request, &control());
    found.expect("an answer")
}

/// The engine's answer is that of counting every record.
#[track_caller]
fn check(
    fixture: &Fixture,
    records: &[(Sent, Option<String>)],
    range: TimeRange,
    query: &str,
    matches: &dyn Fn(&Sent) -> bool,
) {
    let inside = |r: &&(Sent, Option<String>)| range.contains(r.0.at) && matches(&r.0);
    let (expect, other, total) = naive(records.iter().filter(inside));
    let found = ask(fixture, query, range, None);
    let told = format!("{query:?} in {range:?}");
    assert_eq!((found.total, found.other), (total, other), "{told}");
    assert_eq!(found.stats.partial, None, "{told}");
    let names: Vec<&String> = expect.keys().collect();
    let mut shown: Vec<&String> = found.patterns.iter().map(|p| &p.text).collect();
    shown.sort();
    assert_eq!(shown, names, "{told}");
    for pattern in &found.patterns {
        let (count, levels, services) = &expect[&pattern.text];
        assert_eq!(pattern.count, *count, "{told}: {}", pattern.text);
        let own = (0u8..).zip(pattern.levels).filter(|(_, n)| *n > 0);
        assert_eq!(
            &own.collect::<BTreeMap<_, _>>(),
            levels,
            "{told}: {}",
            pattern.text
        );
        assert!(services.iter().eq(&pattern.services), "{told}: {pattern:?}");
        let of = |r: &&(Sent, Option<String>)| r.1.as_ref() == Some(&pattern.text);
        let at = records.iter().filter(of).map(|r| r.0.at);
        let seen = (at.clone().min(), at.max());
        let own = (Some(pattern.first_seen), Some(pattern.last_seen));
        assert_eq!(own, seen, "{told}: {}", pattern.text);
        assert_eq!(pattern.is_new, pattern.first_seen >= range.start());
        let mut buckets = vec![0; found.buckets.len()];
        for (sent, _) in records.iter().filter(|r| inside(r) && of(r)) {
            let bucket = found.buckets.partition_point(|start| *start <= sent.at) - 1;
            buckets[bucket] += 1;
        }
        assert_eq!(pattern.buckets, buckets, "{told}: {}", pattern.text);
    }
}

/// Asks every kind of query about one range.
fn check_queries(fixture: &Fixture, records: &[(Sent, Option<String>)], range: TimeRange) {
    check(fixture, records, range, "", &|_| true);
    check(fixture, records, range, "service:api", &|s| {
        s.service == "api"
    });
    check(fixture, records, range, "level:>=warn", &|s| {
        s.severity >= 13
    });
    check(fixture, records, range, "refused", &|s| {
        s.body.contains("refused")
    });
    check(fixture, records, range, "7 -rare", &|s| {
        s.body
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| word == "7")
            && !s.body.contains("rare")
    });
    check(fixture, records, range, "pattern:\"took <#> ms\"", &|s| {
        s.body.starts_with("took")
    });
    check(fixture, records, range, "pattern:/^(took|retry)/", &|s| {
        s.body.starts_with("took") || s.body.starts_with("retry")
    });
    for pattern in ask(fixture, "", range, None).patterns.iter().take(4) {
        let (id, text) = (pattern.id, pattern.text.clone());
        check(fixture, records, range, &format!("pattern:{id}"), &|s| {
            template(&s.body) == text
        });
        check(
            fixture,
            records,
            range,
            &format!("-pattern:{id} service:db"),
            &|s| template(&s.body) != text && s.service == "db",
        );
    }
}

#[test]
fn patterns_are_those_of_counting_every_record() {
    for seed in 0..6 {
        let (mut random, mut fixture) = (Random::new(seed), Fixture::new());
        let mut records = Vec::new();
        for round in 0..4u64 {
            let n = 60 + random.below(200);
            // Never more than ten minutes ahead of when they come in: later ones are put back.
            let base = START.saturating_add(round * 140 * SECOND);
            let new: Vec<Sent> = (0..n as u64)
                .map(|i| sent(&mut random, base.saturating_add(i * SECOND / 2)))
                .collect();
            requests(&new)
                .into_iter()
                .for_each(|request| fixture.logs(request));
            // The last ones stay in the head.
            let seals = round < 3;
            if seals {
                fixture.seal();
            }
            records.extend(stored(new, seals));
        }
        let part = |from: u64, to: u64| {
            let at = |s: u64| START.saturating_add(s * SECOND);
            TimeRange::new(at(from), at(to)).expect("in order")
        };
        let ranges = [
            TimeRange::ALL,
            part(0, 3600),
            part(17, 191),
            part(140, 141),
            part(150, 520),
        ];
        for range in ranges {
            check_queries(&fixture, &records, range);
        }
    }
}

#[test]
fn only_what_was_never_seen_before_is_new() {
    let mut fixture = Fixture::new();
    let line = |at: u64, body: &str| Sent {
        service: "api",
        severity: 9,
        at: START.saturating_add(at * SECOND),
        body: body.to_owned(),
    };
    let old: Vec<Sent> = (0..8).map(|i| line(i, &format!("old {i}"))).collect();
    requests(&old)
        .into_iter()
        .for_each(|request| fixture.logs(request));
    fixture.seal();
    let later = [
        line(100, "old 9"),
        line(101, "fresh 1"),
        line(102, "fresh 2"),
    ];
    requests(&later)
        .into_iter()
        .for_each(|request| fixture.logs(request));
    let since = START.saturating_add(50 * SECOND);
    let found = ask(&fixture, "", TimeRange::ALL, Some(since));
    let texts: Vec<_> = found
        .patterns
        .iter()
        .map(|p| (&*p.text, p.count, p.is_new))
        .collect();
    assert_eq!(texts, [("fresh <#>", 2, true)]);
    // The range starts after the old ones: they are not new for that.
    let range = TimeRange::new(since, Timestamp::MAX).expect("in order");
    let found = ask(&fixture, "", range, None);
    let mut texts: Vec<_> = found
        .patterns
        .iter()
        .map(|p| (&*p.text, p.is_new))
        .collect();
    texts.sort_unstable();
    assert_eq!(texts, [("fresh <#>", true), ("old <#>", false)]);
}

#[test]
fn counting_ends_where_its_memory_does() {
    let mut fixture = Fixture::new();
    for round in 0..3u64 {
        let line = |n: u64| Sent {
            service: "api",
            severity: 9,
            at: START.saturating_add(round * SECOND),
            body: format!("kind {} 1", "x".repeat(1 + (100 * round + n) as usize)),
        };
        let lines: Vec<Sent> = (0..100).flat_map(|n| [n; 4]).map(line).collect();
        requests(&lines)
            .into_iter()
            .for_each(|request| fixture.logs(request));
        fixture.seal();
    }
    let request = |buckets| PatternRequest {
        query: lang::parse("").expect("a query"),
        range: TimeRange::ALL,
        limit: PATTERNS_SHOWN_MAX,
        buckets,
        new_since: None,
    };
    // In one bucket segments are told by their facts, in more of them block by block.
    for buckets in [1, PATTERN_BUCKETS_MAX] {
        let ask = |memory: u64| {
            let control = control().with_memory(memory);
            let found = fixture.engine.log_patterns(&request(buckets), &control);
            found.expect("an answer")
        };
        let whole = ask(8 << 20);
        assert_eq!((whole.patterns.len(), whole.stats.partial), (300, None));
        let little = ask(20_000);
        assert_eq!(little.stats.partial, Some(Partial::Memory));
        assert!(little.total < whole.total, "{} counted", little.total);
        // Enough to count all of them, not for their texts.
        let most = (40..120).map(|n| ask(n * 4_000)).find(|found| {
            found.total == whole.total && found.stats.partial == Some(Partial::Memory)
        });
        let most = most.expect("between none and all");
        assert_eq!(most.patterns.len() as u64 + most.more, 300);
    }
}
