//! Retention classes: services with a retention of their own (`retention.services`) get partitions
//! of their own, so that their bytes go with them. A class is a service, by a number that the
//! catalogue remembers; what is kept for how long is always the configuration's word.
//!
//! A record that came in before its service was configured lies in a partition of class 0 and goes
//! with it; answers hide it by its service all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalogue::SegmentRow;
use super::config::Retention;
use super::hide::{Condition, LogCondition, Rule, SpanCondition};
use super::partition::RetentionClass;
use super::prune::{LogColumns, LogPrune, SpanColumns, SpanPrune};
use crate::model::{Signal, TimeRange, Timestamp};

/// The classes in force.
#[derive(Debug, Default)]
pub(super) struct Classes {
    by_service: BTreeMap<String, RetentionClass>,
    /// Of each of those services in turn, and of all others.
    conditions: Vec<(Option<String>, Arc<Condition>)>,
    spared: Arc<[RetentionClass]>,
}

impl Classes {
    /// Numbers for the configured services: those of before, and free ones for new services, which
    /// are given as well, to be written down.
    pub(super) fn assign(
        retention: &Retention,
        known: &BTreeMap<u8, String>,
        rows: &[SegmentRow],
    ) -> (Classes, Vec<(u8, String)>) {
        let services = || retention.services.iter().map(|(service, _)| service);
        let number_of = |service: &str| {
            let entry = known.iter().find(|(_, name)| *name == service);
            entry.map(|(number, _)| *number)
        };
        let mut taken: Vec<u8> = rows.iter().map(|row| row.partition.class().0).collect();
        taken.extend(services().filter_map(|service| number_of(service)));
        let mut free = (1..=u8::MAX).filter(|number| !taken.contains(number));
        let (mut by_service, mut new) = (BTreeMap::new(), Vec::new());
        for service in services() {
            let number = number_of(service).or_else(|| {
                let number = free.next()?;
                new.push((number, service.clone()));
                Some(number)
            });
            // More than 255 in use at once cannot be: 32 are configured, the others age out.
            let class = RetentionClass(number.unwrap_or_default());
            by_service.insert(service.clone(), class);
        }
        let mut conditions: Vec<_> = services()
            .map(|service| (Some(service.clone()), Arc::new(is_of(service))))
            .collect();
        if !conditions.is_empty() {
            let configured: Vec<String> = services().cloned().collect();
            conditions.push((None, Arc::new(is_of_none(configured))));
        }
        let classes = Classes {
            spared: by_service.values().copied().collect(),
            by_service,
            conditions,
        };
        (classes, new)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_service.is_empty()
    }

    pub(super) fn of(&self, service: &str) -> RetentionClass {
        self.by_service.get(service).copied().unwrap_or_default()
    }

    /// What a partition's records must not be older than to be kept.
    pub(super) fn cutoff(
        &self,
        class: RetentionClass,
        retention: &Retention,
        signal: Signal,
        now: Timestamp,
    ) -> Timestamp {
        let mut of_class = self.by_service.iter().filter(|(_, c)| **c == class);
        match of_class.next().filter(|_| class.0 != 0) {
            Some((service, _)) => retention.cutoff_of(service, signal, now),
            None => retention.cutoff(signal, now),
        }
    }

    /// Rules that hide what is past the retention of its service, where that is less than the
    /// longest: what is older than that is left out of answers anyway.
    pub(super) fn rules(&self, retention: &Retention, now: Timestamp) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (service, condition) in &self.conditions {
            for signal in Signal::RECORDS {
                let cutoff = match service {
                    Some(service) => retention.cutoff_of(service, signal, now),
                    None => retention.cutoff(signal, now),
                };
                let range = TimeRange::new(Timestamp(0), cutoff);
                let shown_from = retention.oldest(signal, now);
                if let Some(range) = range.filter(|_| cutoff > shown_from) {
                    rules.push(Rule {
                        number: u64::MAX,
                        before: u64::MAX,
                        range,
                        condition: condition.clone(),
                        signal: Some(signal),
                        // Partitions of configured services hold nothing of the others.
                        spared: match service {
                            Some(_) => Arc::default(),
                            None => self.spared.clone(),
                        },
                    });
                }
            }
        }
        rules
    }
}

fn is_of(service: &str) -> Condition {
    let services = vec![service.to_owned()];
    let (of_logs, of_spans) = (service.to_owned(), service.to_owned());
    Condition {
        logs: Some(LogCondition {
            prune: LogPrune {
                services: services.clone(),
                ..LogPrune::default()
            },
            columns: LogColumns::NONE,
            matches: Box::new(move |log| log.resource.service() == of_logs),
        }),
        traces: Some(SpanCondition {
            prune: SpanPrune {
                services,
                ..SpanPrune::default()
            },
            columns: SpanColumns::NONE,
            matches: Box::new(move |span| span.resource.service() == of_spans),
        }),
    }
}

fn is_of_none(services: Vec<String>) -> Condition {
    let of_spans = services.clone();
    let other = |services: &[String], service: &str| !services.iter().any(|s| s == service);
    Condition {
        logs: Some(LogCondition {
            prune: LogPrune::default(),
            columns: LogColumns::NONE,
            matches: Box::new(move |log| other(&services, log.resource.service())),
        }),
        traces: Some(SpanCondition {
            prune: SpanPrune::default(),
            columns: SpanColumns::NONE,
            matches: Box::new(move |span| other(&of_spans, span.resource.service())),
        }),
    }
}
