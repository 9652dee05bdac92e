//! What a Pushgateway keeps: groups of metrics that batch jobs pushed, until they are replaced or
//! deleted (prometheus/pushgateway, README "API").
//!
//! Pure: paths and pages in, groups and batches out; `serve` has the handlers, the clock and the
//! database. As there, grouping labels win over those of the page, timestamps are refused, and two
//! gauges tell when a group was pushed last and when it last went wrong.

mod path;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) use path::group;

use super::exposition::{self, Format, Item};
use crate::model::metric::{
    Batch, Labels, LabelsBuilder, Metadata, MetricKind, NAME, STALE_NAN_BITS, Value,
};
use crate::model::wire::{Fields, WireError};
use crate::model::write;

/// Groups kept at a time: one per job and host of a small team, many times over.
const GROUPS_MAX: usize = 2_000;

/// Series of all groups: each is stored anew every 15 s.
const SERIES_MAX: usize = 50_000;

const PUSHED: &str = "push_time_seconds";
const FAILED: &str = "push_failure_time_seconds";

/// One family of a group.
#[derive(Clone, Debug, Default, PartialEq)]
struct Family {
    kind: MetricKind,
    help: String,
    series: Vec<(Labels, f64)>,
}

/// Metrics of one grouping key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    families: BTreeMap<String, Family>,
    /// ms since the epoch; 0: never.
    pushed: i64,
    failed: i64,
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: HashMap<Labels, Group>,
    /// Series that were there at the last round and are no more.
    gone: HashSet<Labels>,
}

/// How a push treats what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// PUT: the whole group.
    Replace,
    /// POST: families of the same name.
    Merge,
}

impl Groups {
    /// Puts back a group that was kept over a restart.
    pub(crate) fn restore(&mut self, key: Labels, group: Group) {
        self.groups.insert(key, group);
    }

    /// The group as it is after a push at `now` (ms); to be kept, then given to [`Groups::set`].
    ///
    /// # Errors
    /// The page is none, or there is no room; the text is for the sender.
    pub(crate) fn pushed(
        &self,
        key: &Labels,
        page: &[u8],
        format: Format,
        push: Push,
        now: i64,
    ) -> Result<Group, String> {
        let mut group = self.groups.get(key).cloned().unwrap_or_default();
        if push == Push::Replace {
            group.families.clear();
        }
        group.families.append(&mut read(page, format, key)?);
        group.pushed = now;
        let others = self.groups.iter().filter(|(other, _)| *other != key);
        let series: usize = others.map(|(_, group)| group.series()).sum();
        if series + group.series() > SERIES_MAX {
            return Err(format!(
                "all groups together would have more than {SERIES_MAX} series"
            ));
        }
        if !self.groups.contains_key(key) && self.groups.len() == GROUPS_MAX {
            return Err(format!(
                "there are {GROUPS_MAX} groups already: delete some"
            ));
        }
        Ok(group)
    }

    /// The group as it is after a push that failed at `now`; `None`: there is no such group and no
    /// room for one that is empty.
    pub(crate) fn failed(&self, key: &Labels, now: i64) -> Option<Group> {
        if !self.groups.contains_key(key) && self.groups.len() == GROUPS_MAX {
            return None;
        }
        let mut group = self.groups.get(key).cloned().unwrap_or_default();
        group.failed = now;
        Some(group)
    }

    /// Sets a group, or deletes it.
    pub(crate) fn set(&mut self, key: &Labels, group: Option<Group>) {
        let before = match group {
            Some(group) => self.groups.insert(key.clone(), group),
            None => self.groups.remove(key),
        };
        if let Some(before) = before {
            let series = before.all(key).map(|(labels, _)| labels);
            let room = SERIES_MAX - self.gone.len().min(SERIES_MAX);
            self.gone.extend(series.take(room));
        }
    }

    /// Everything at `now`, as a scrape would find it; series that are no more end here.
    pub(crate) fn round(&mut self, now: i64) -> Batch {
        let mut batch = Batch::default();
        let mut told = HashSet::new();
        for (key, group) in &self.groups {
            for (labels, value) in group.all(key) {
                self.gone.remove(&labels);
                batch.series_of(&labels);
                batch.sample(now, Value::Float(value));
            }
            for (name, family) in &group.families {
                if told.insert(name.as_str()) {
                    batch.metadata.push(Metadata {
                        metric: name.clone(),
                        kind: family.kind,
                        unit: String::new(),
                        help: family.help.clone(),
                    });
                }
            }
        }
        for labels in self.gone.drain() {
            batch.series_of(&labels);
            batch.sample(now, Value::Float(f64::from_bits(STALE_NAN_BITS)));
        }
        batch
    }
}

impl Group {
    fn series(&self) -> usize {
        self.families
            .values()
            .map(|family| family.series.len())
            .sum::<usize>()
            + 2
    }

    /// Every series with its value, those about the push included.
    fn all(&self, key: &Labels) -> impl Iterator<Item = (Labels, f64)> {
        let about = [(PUSHED, self.pushed), (FAILED, self.failed)].map(|(name, ms)| {
            let mut labels = LabelsBuilder::from(key);
            (labels.set(NAME, name).build(), ms as f64 / 1000.0)
        });
        let of_families = self
            .families
            .values()
            .flat_map(|family| family.series.iter().cloned());
        of_families.chain(about)
    }

    /// The group for a restart, as protocol buffers encode it (docs/formats/meta.md).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::varint_field(&mut out, 1, self.pushed as u64);
        write::varint_field(&mut out, 2, self.failed as u64);
        for (name, family) in &self.families {
            write::message(&mut out, 3, |out| {
                let kind = KINDS.iter().position(|kind| *kind == family.kind);
                write::bytes_field(out, 1, name.as_bytes());
                write::varint_field(out, 2, kind.unwrap_or_default() as u64);
                write::bytes_field(out, 3, family.help.as_bytes());
                for (labels, value) in &family.series {
                    write::message(out, 4, |out| {
                        write::bytes_field(out, 1, labels.packed());
                        write::fixed64_field(out, 2, value.to_bits());
                    });
                }
            });
        }
        out
    }

    /// The inverse of [`Group::encode`].
    ///
    /// # Errors
    /// These bytes are no group.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Group, WireError> {
        let mut group = Group::default();
        let mut fields = Fields::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => group.pushed = field.varint()? as i64,
                2 => group.failed = field.varint()? as i64,
                3 => {
                    let (name, family) = Family::decode(field.bytes()?)?;
                    group.families.insert(name, family);
                }
                _ => {}
            }
        }
        Ok(group)
    }
}

/// Types by their number in an encoded group.
const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

impl Family {
    fn decode(bytes: &[u8]) -> Result<(String, Family), WireError> {
        let (mut name, mut family) = (String::new(), Family::default());
        let mut fields = Fields::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => field.str()?.clone_into(&mut name),
                2 => {
                    let kind = KINDS.get(field.varint()? as usize);
                    family.kind = *kind.ok_or(WireError::BadTag)?;
                }
                3 => field.str()?.clone_into(&mut family.help),
                4 => {
                    let (mut labels, mut value) = (Labels::default(), 0);
                    let mut series = Fields::new(field.bytes()?);
                    while let Some((number, field)) = series.next()? {
                        match number {
                            1 => {
                                let found = Labels::unpack(field.bytes()?);
                                labels = found.ok_or(WireError::NotUtf8)?;
                            }
                            2 => value = field.fixed64()?,
                            _ => {}
                        }
                    }
                    family.series.push((labels, f64::from_bits(value)));
                }
                _ => {}
            }
        }
        Ok((name, family))
    }
}

/// The families of a page, their series with the labels of the group.
fn read(page: &[u8], format: Format, key: &Labels) -> Result<BTreeMap<String, Family>, String> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut seen = HashSet::new();
    let mut current = (String::new(), MetricKind::Unknown);
    let mut wrong = None;
    let parsed = exposition::parse(page, format, |item| {
        let outcome = match item {
            Item::Type { metric, kind } => {
                current = (metric.to_owned(), kind);
                family(&mut families, metric).kind = kind;
                Ok(())
            }
            Item::Help { metric, text } => {
                text.clone_into(&mut family(&mut families, metric).help);
                Ok(())
            }
            Item::Unit { .. } => Ok(()),
            Item::Sample(sample) => {
                let labels = grouped(&sample, key);
                let name = labels.metric().to_owned();
                match (sample.at, sample.value) {
                    (Some(_), _) => {
                        Err(format!("{labels}: pushed metrics must not have timestamps"))
                    }
                    (None, Value::Histogram(_)) => {
                        Err(format!("{labels}: native histograms cannot be pushed here"))
                    }
                    (None, Value::Float(_)) if matches!(&*name, PUSHED | FAILED) => {
                        Err(format!("{name} is told by the gateway itself"))
                    }
                    (None, Value::Float(_)) if !seen.insert(labels.clone()) => {
                        Err(format!("{labels} comes twice"))
                    }
                    (None, Value::Float(value)) => {
                        let name = family_of(&name, &current);
                        family(&mut families, name).series.push((labels, value));
                        Ok(())
                    }
                }
            }
        };
        if let Err(what) = outcome {
            wrong.get_or_insert(what);
        }
    });
    parsed.map_err(|error| error.to_string())?;
    match wrong {
        Some(what) => Err(what),
        None => Ok(families),
    }
}

fn family<'f>(families: &'f mut BTreeMap<String, Family>, name: &str) -> &'f mut Family {
    families.entry(name.to_owned()).or_default()
}

/// The labels of a sample with those of its group, which win.
fn grouped(sample: &exposition::Sample<'_>, key: &Labels) -> Labels {
    let mut labels = LabelsBuilder::default();
    for (name, value) in sample.labels {
        labels.set(name, value);
    }
    for (name, value) in key.iter() {
        labels.set(name, value);
    }
    labels.build()
}

/// The family of a sample: the one whose TYPE was read last, if the name is one of its series.
fn family_of<'n>(name: &'n str, current: &'n (String, MetricKind)) -> &'n str {
    let (family, kind) = current;
    let suffixes: &[&str] = match kind {
        MetricKind::Histogram => &["_bucket", "_sum", "_count"],
        MetricKind::Summary => &["_sum", "_count"],
        _ => &[],
    };
    let rest = name.strip_prefix(family.as_str()).unwrap_or("?");
    match rest.is_empty() || suffixes.contains(&rest) {
        true => family,
        false => name,
    }
}
