//! Log records counted by their patterns: the constant text that lines of one kind share. Whole
//! segments are counted by the catalogue's facts, blocks by their directory or the places of their
//! rows; a text is only read where the query looks at it.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::QueryError;
use super::control::{Control, Partial, Stats};
use super::histogram::Grid;
use super::lang::Expr;
use super::matcher::LogMatcher;
use super::scan::{Progress, filtered};
use crate::model::{Level, Signal, TimeRange, Timestamp};
use crate::store::{LogUnit, SeenPattern, Sightings, Snapshot, TemplateId, Told, printed_template};

/// Patterns told in one answer.
pub(crate) const PATTERNS_SHOWN_MAX: usize = 1_000;

/// Patterns counted apart; records of more are counted as other. Each has a row of buckets.
const PATTERNS_MAX: usize = 20_000;

/// Buckets of a pattern's counts over time: a sparkline has 24.
pub(crate) const PATTERN_BUCKETS_MAX: usize = 120;

/// Services named per pattern.
const SERVICES_MAX: usize = 32;

/// Memory of a counted pattern beside its text, its row and the names of its services, of a name beside
/// its bytes, and of when a pattern was seen: entries of tables that are half full, and allocations.
const PATTERN_BYTES: usize = 2 * size_of::<(TemplateId, Counts)>() + 32;
const NAME_BYTES: usize = 48;
const SIGHTING_BYTES: usize = 2 * size_of::<(TemplateId, (Timestamp, Timestamp))>();

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct PatternRequest {
    pub(crate) query: Expr,
    pub(crate) range: TimeRange,
    /// 1 to [`PATTERNS_SHOWN_MAX`].
    pub(crate) limit: usize,
    /// 1 to [`PATTERN_BUCKETS_MAX`].
    pub(crate) buckets: usize,
    /// Only patterns of which no earlier record is kept.
    pub(crate) new_since: Option<Timestamp>,
}

/// The patterns of the matching records, the most frequent first.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    pub(crate) patterns: Vec<Pattern>,
    /// Patterns beyond the limit.
    pub(crate) more: u64,
    /// Matching records.
    pub(crate) total: u64,
    /// Those of them that have no pattern: rare texts, and bodies that are no text.
    pub(crate) other: u64,
    /// Starts of the buckets, and their width.
    pub(crate) buckets: Vec<Timestamp>,
    pub(crate) bucket_ns: u64,
    pub(crate) stats: Stats,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// As `pattern:` of the query language takes it.
    pub(crate) id: TemplateId,
    /// `<#>` for a token with digits, `<*>` for the value of a JSON string.
    pub(crate) text: String,
    pub(crate) count: u64,
    /// Records of each level, by its number.
    pub(crate) levels: [u64; Level::ALL.len()],
    /// In order of their names, [`SERVICES_MAX`] at most.
    pub(crate) services: Vec<String>,
    /// Records in each bucket.
    pub(crate) buckets: Vec<u64>,
    /// Of all records that are kept, whether they match or not.
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    /// No record is kept from before the time asked for, or from before the range.
    pub(crate) is_new: bool,
}

/// Counts patterns.
pub(super) fn of_logs(
    snapshot: &Snapshot,
    request: &PatternRequest,
    control: &Control,
) -> Result<Patterns, QueryError> {
    if !(1..=PATTERNS_SHOWN_MAX).contains(&request.limit)
        || !(1..=PATTERN_BUCKETS_MAX).contains(&request.buckets)
    {
        return Err(QueryError::Invalid(format!(
            "limit goes from 1 to {PATTERNS_SHOWN_MAX}, buckets to {PATTERN_BUCKETS_MAX}"
        )));
    }
    let matcher = LogMatcher::new(&request.query)?.over(snapshot);
    let visible = snapshot.visible(Signal::Logs, request.range);
    let grid = Grid::new(snapshot.log_extent(visible), request.buckets);
    let bucket = |at: Timestamp| grid.bucket(at) as u64;
    let told = |first, last| matcher.is_all() && bucket(first) == bucket(last);
    let mut progress = Progress::new(control, 0);
    progress.note_damage(snapshot, Signal::Logs, visible);
    let mut counter = Counter::new(grid.len());
    let mut count = |segment: &Told| {
        counter.segment(segment, bucket(segment.first));
        progress.holds(counter.bytes);
        match progress.may_go_on() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    let units = match matcher.nothing {
        true => Vec::new(),
        false => snapshot.pattern_units(visible, &matcher.prune, &told, &mut count),
    };
    progress.expects(units.iter().map(LogUnit::bytes).sum());
    filtered(&matcher, visible, |filter| {
        for unit in &units {
            if !progress.may_go_on() {
                break;
            }
            let looked = unit.patterns(filter, &bucket, &mut |seen| counter.add(seen));
            progress.looked(unit, looked);
            progress.holds(counter.bytes);
        }
    });
    if counter.full {
        progress.cut(Partial::Rows);
    }
    let sightings = sightings(snapshot, &counter, &mut progress);
    let mut answer = counter.finish(snapshot, request, &sightings, &mut progress);
    answer.buckets = (0..grid.len()).map(|number| grid.start(number)).collect();
    answer.bucket_ns = grid.width_ns();
    answer.stats = progress.stats();
    Ok(answer)
}

/// When each counted pattern was first and last seen.
fn sightings(snapshot: &Snapshot, counter: &Counter, progress: &mut Progress<'_>) -> Sightings {
    let mut sightings = Sightings::default();
    // Without room for all of them none is looked for: what was counted is told.
    if !progress.take(counter.patterns.len() * SIGHTING_BYTES) {
        return sightings;
    }
    let wants = |id| counter.patterns.contains_key(&id);
    let looked = snapshot.sightings(&wants, &mut || progress.may_go_on(), &mut sightings);
    if looked.is_err() {
        progress.cut(Partial::Damaged);
    }
    sightings
}

/// Counts per pattern.
#[derive(Debug)]
struct Counter {
    n_buckets: usize,
    patterns: HashMap<TemplateId, Counts>,
    other: u64,
    total: u64,
    /// Some patterns were not counted apart.
    full: bool,
    /// Memory of `patterns`, about.
    bytes: usize,
}

#[derive(Debug)]
struct Counts {
    /// Empty: the catalogue has it.
    text: String,
    levels: [u64; Level::ALL.len()],
    services: BTreeSet<String>,
    buckets: Vec<u64>,
}

impl Counts {
    /// Gives the memory that it takes.
    fn service(&mut self, name: &str) -> usize {
        if self.services.len() >= SERVICES_MAX || self.services.contains(name) {
            return 0;
        }
        self.services.insert(name.to_owned());
        name.len() + NAME_BYTES
    }

    fn count(&self) -> u64 {
        self.levels.iter().sum()
    }
}

impl Counter {
    fn new(n_buckets: usize) -> Counter {
        Counter {
            n_buckets,
            patterns: HashMap::new(),
            other: 0,
            total: 0,
            full: false,
            bytes: 0,
        }
    }

    /// The counts of a pattern; `None` where its records are counted as other.
    fn of(&mut self, id: TemplateId, rows: u64) -> Option<&mut Counts> {
        self.total += rows;
        let is_new = !self.patterns.contains_key(&id);
        self.full |= is_new && id != TemplateId::PLAIN && self.patterns.len() >= PATTERNS_MAX;
        if id == TemplateId::PLAIN || (is_new && self.patterns.len() >= PATTERNS_MAX) {
            self.other += rows;
            return None;
        }
        let n_buckets = self.n_buckets;
        if is_new {
            self.bytes += PATTERN_BYTES + n_buckets * size_of::<u64>();
        }
        Some(self.patterns.entry(id).or_insert_with(|| Counts {
            text: String::new(),
            levels: Default::default(),
            services: BTreeSet::new(),
            buckets: vec![0; n_buckets],
        }))
    }

    fn add(&mut self, seen: &SeenPattern<'_>) {
        if let Some(counts) = self.of(seen.id, seen.rows) {
            let mut bytes = counts.service(seen.service);
            if counts.text.is_empty() {
                counts.text = seen.text.to_owned();
                bytes += seen.text.len();
            }
            counts.levels[seen.level as usize] += seen.rows;
            counts.buckets[seen.bucket as usize] += seen.rows;
            self.bytes += bytes;
        }
    }

    fn segment(&mut self, told: &Told, bucket: u64) {
        for facts in &told.templates.facts {
            let rows = facts.levels.iter().sum();
            let Some(counts) = self.of(facts.id, rows) else {
                continue;
            };
            let names = facts.services.iter();
            let names = names.map(|number| &told.templates.services[*number as usize]);
            let bytes: usize = names.map(|name| counts.service(name)).sum();
            let levels = counts.levels.iter_mut().zip(facts.levels);
            levels.for_each(|(sum, rows)| *sum += rows);
            counts.buckets[bucket as usize] += rows;
            self.bytes += bytes;
        }
    }

    fn finish(
        self,
        snapshot: &Snapshot,
        request: &PatternRequest,
        sightings: &Sightings,
        progress: &mut Progress<'_>,
    ) -> Patterns {
        let since = request.new_since.unwrap_or(request.range.start());
        let seen = |id: &TemplateId| sightings.get(id).copied().unwrap_or((since, since));
        let is_wanted = |id: &TemplateId| request.new_since.is_none() || seen(id).0 >= since;
        let (total, other) = (self.total, self.other);
        let mut counted: Vec<(TemplateId, Counts)> = self.patterns.into_iter().collect();
        counted.retain(|(id, _)| is_wanted(id));
        counted.sort_unstable_by_key(|(id, counts)| (std::cmp::Reverse(counts.count()), *id));
        let n_counted = counted.len();
        counted.truncate(request.limit);
        let pattern = |(id, counts): (TemplateId, Counts)| {
            let text = match counts.text.is_empty() {
                true => snapshot.template(id),
                false => counts.text.clone(),
            };
            let (first_seen, last_seen) = seen(&id);
            Pattern {
                id,
                text: printed_template(&text),
                count: counts.count(),
                levels: counts.levels,
                services: counts.services.into_iter().collect(),
                buckets: counts.buckets,
                first_seen,
                last_seen,
                is_new: first_seen >= since,
            }
        };
        // Texts from the catalogue are new here. What there is no room for is one of those not shown.
        let fits = |pattern: &Pattern| progress.take(pattern.text.len() + PATTERN_BYTES);
        let patterns: Vec<Pattern> = counted.into_iter().map(pattern).take_while(fits).collect();
        let more = (n_counted - patterns.len()) as u64;
        Patterns {
            patterns,
            more,
            total,
            other,
            buckets: Vec::new(),
            bucket_ns: 0,
            stats: Stats::default(),
        }
    }
}

#[cfg(test)]
mod tests;
