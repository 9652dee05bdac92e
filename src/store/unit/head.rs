//! Log records of the head: decoded only where index entry, service and the group's texts
//! ([`crate::store::texts`]) cannot tell. Rows are numbered as the group has them.

use std::ops::ControlFlow;

use super::{Wanted, damaged};
use crate::model::chunk::LogChunk;
use crate::model::otlp::{GroupView, Scratch};
use crate::model::record::severity_of;
use crate::model::{Level, LogEntry, LogView, Timestamp};
use crate::store::filter::{LogFilter, Tallied, Verdict};
use crate::store::head::Group;
use crate::store::prune::LogPrune;
use crate::store::segment::{SeenPattern, template_of};
use crate::store::templates::TemplateId;
use crate::store::texts::{self, Kind, Texts};
use crate::store::{BodyKind, StoreError};

/// Calls `each` with the records of a group that may match, until it breaks.
pub(super) fn for_each(
    group: &Group<LogEntry>,
    wanted: &Wanted<LogPrune>,
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let wants = |_, entry: &LogEntry| wanted.wants(entry);
    show(group, Some(wanted), &wants, &mut |_, log| each(log))
}

impl Wanted<LogPrune> {
    fn wants(&self, entry: &LogEntry) -> bool {
        self.range.contains(entry.at) && self.prune.wants(entry)
    }

    /// Whether records of a resource and scope may be wanted.
    fn wants_group(&self, group: &GroupView<'_>) -> bool {
        let services = &self.prune.services;
        services.is_empty() || services.iter().any(|s| s == group.resource.service())
    }
}

/// Calls `each` with number and view of the rows that `wants` names, until it breaks.
fn show(
    group: &Group<LogEntry>,
    wanted: Option<&Wanted<LogPrune>>,
    wants: &dyn Fn(usize, &LogEntry) -> bool,
    each: &mut dyn FnMut(usize, &LogView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut start = 0;
    for chunk in &group.chunks {
        let rows = (start..).zip(&chunk.entries);
        start += chunk.entries.len();
        let mut rows = rows.filter(|(row, entry)| wants(*row, entry)).peekable();
        if rows.peek().is_none() {
            continue;
        }
        let groups = chunk.group_views().map_err(damaged)?;
        let open: Vec<bool> = groups
            .iter()
            .map(|group| wanted.is_none_or(|wanted| wanted.wants_group(group)))
            .collect();
        let mut scratch = Scratch::default();
        for (row, entry) in rows.filter(|(_, entry)| open[entry.group as usize]) {
            let view = chunk.view(entry, &groups, &mut scratch).map_err(damaged)?;
            if each(row, &view).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Calls `each` with number and view of the records that pass, until it breaks; false when none can.
pub(super) fn matching(
    group: &Group<LogEntry>,
    wanted: &Wanted<LogPrune>,
    filter: &LogFilter<'_>,
    each: &mut dyn FnMut(u32, &LogView<'_>) -> ControlFlow<()>,
) -> Result<bool, StoreError> {
    let texts = texts_for(group, filter);
    let verdicts = texts.map(|texts| texts.verdicts(filter, &wanted.prune.words));
    let verdict = |row: usize| match (&verdicts, texts) {
        _ if filter.everything => Verdict::Yes,
        (Some(verdicts), Some(texts)) => verdicts[texts.kind(row)],
        _ => Verdict::Ask,
    };
    let may_pass = |verdict: &Verdict| match verdict {
        Verdict::No => false,
        Verdict::Yes => !filter.only_asked,
        Verdict::Ask => true,
    };
    if verdicts
        .as_ref()
        .is_some_and(|all| !all.iter().any(may_pass))
    {
        return Ok(false);
    }
    let wants = |row: usize, entry: &LogEntry| {
        wanted.wants(entry) && may_pass(&verdict(row)) && (filter.open)(entry.at)
    };
    show(group, Some(wanted), &wants, &mut |row, log| {
        if verdict(row) == Verdict::Yes || (filter.matches)(log) {
            return each(row as u32, log);
        }
        ControlFlow::Continue(())
    })?;
    Ok(true)
}

/// The texts of a group, where a filter has use for them.
fn texts_for<'g>(group: &'g Group<LogEntry>, filter: &LogFilter<'_>) -> Option<&'g Texts> {
    match filter.everything {
        true => None,
        false => texts::of(group),
    }
}

/// Calls `each` with the records numbered in `rows`, which rise, until it breaks.
pub(super) fn rows_at(
    group: &Group<LogEntry>,
    rows: &[u32],
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let wants = |row: usize, _: &LogEntry| rows.binary_search(&(row as u32)).is_ok();
    show(group, None, &wants, &mut |_, log| each(log))
}

/// Calls `each` with time, level, service and number of the records that pass, as far as index and
/// texts tell; those of one bucket of `width_ns` may be told by its start.
pub(super) fn tally(
    group: &Group<LogEntry>,
    wanted: &Wanted<LogPrune>,
    filter: &LogFilter<'_>,
    width_ns: u64,
    each: &mut dyn FnMut(Timestamp, Level, &str, u64),
) -> Result<Tallied, StoreError> {
    if let Some(texts) = texts::made(group) {
        return Ok(tally_texts(group, texts, wanted, filter, width_ns, each));
    }
    if !filter.everything {
        return Ok(Tallied::Nothing);
    }
    let mut entries = group.chunks.iter().flat_map(|chunk| &chunk.entries);
    // Without a number the level may be in its text.
    if entries.any(|entry| entry.severity.0 == 0) {
        return Ok(Tallied::Nothing);
    }
    let mut run = Run::new(width_ns, each);
    for chunk in &group.chunks {
        let groups = chunk.group_views().map_err(damaged)?;
        let services: Vec<&str> = groups
            .iter()
            .map(|group| group.resource.service())
            .collect();
        let entries = chunk.entries.iter();
        for entry in entries.filter(|entry| (filter.open)(entry.at)) {
            let service = services[entry.group as usize];
            run.add(entry.at, entry.severity.level(), service);
        }
    }
    run.finish();
    Ok(Tallied::All)
}

/// Records of one service and bucket in a row, which are told together.
struct Run<'g, 'e> {
    width_ns: u64,
    /// Start of the bucket.
    start: u64,
    service: &'g str,
    levels: [u64; Level::ALL.len()],
    each: &'e mut dyn FnMut(Timestamp, Level, &str, u64),
}

impl<'g, 'e> Run<'g, 'e> {
    fn new(width_ns: u64, each: &'e mut dyn FnMut(Timestamp, Level, &str, u64)) -> Run<'g, 'e> {
        Run {
            width_ns: width_ns.max(1),
            start: 0,
            service: "",
            levels: Default::default(),
            each,
        }
    }

    fn add(&mut self, at: Timestamp, level: Level, service: &'g str) {
        let inside = at.0 >= self.start && at.0 - self.start < self.width_ns;
        if !inside || service != self.service {
            self.tell();
            self.start = at.0 / self.width_ns * self.width_ns;
            self.service = service;
        }
        self.levels[level as usize] += 1;
    }

    fn tell(&mut self) {
        let levels = Level::ALL.iter().zip(&mut self.levels);
        for (level, rows) in levels.filter(|(_, rows)| **rows > 0) {
            (self.each)(Timestamp(self.start), *level, self.service, *rows);
            *rows = 0;
        }
    }

    fn finish(mut self) {
        self.tell();
    }
}

fn tally_texts(
    group: &Group<LogEntry>,
    texts: &Texts,
    wanted: &Wanted<LogPrune>,
    filter: &LogFilter<'_>,
    width_ns: u64,
    each: &mut dyn FnMut(Timestamp, Level, &str, u64),
) -> Tallied {
    let verdicts = texts.verdicts(filter, &wanted.prune.words);
    if verdicts.contains(&Verdict::Yes) {
        let levels: Vec<Level> = texts.kinds.iter().map(Kind::level).collect();
        let mut run = Run::new(width_ns, each);
        let entries = group.chunks.iter().flat_map(|chunk| &chunk.entries);
        for (row, entry) in entries.enumerate() {
            let kind = texts.kind(row);
            if verdicts[kind] == Verdict::Yes && (filter.open)(entry.at) {
                run.add(entry.at, levels[kind], &texts.kinds[kind].service);
            }
        }
        run.finish();
    }
    match verdicts.contains(&Verdict::Ask) {
        true => Tallied::Certain,
        false => Tallied::All,
    }
}

/// Calls `each` with the records that pass, counted by pattern, level and bucket.
pub(super) fn patterns(
    group: &Group<LogEntry>,
    wanted: &Wanted<LogPrune>,
    filter: &LogFilter<'_>,
    bucket: &dyn Fn(Timestamp) -> u64,
    each: &mut dyn FnMut(&SeenPattern<'_>),
) -> Result<bool, StoreError> {
    let Some(texts) = texts::made(group) else {
        return matching(group, wanted, filter, &mut |_, log| {
            give_pattern(log, bucket(log.at), each);
            ControlFlow::Continue(())
        });
    };
    let verdicts = texts.verdicts(filter, &wanted.prune.words);
    let told = |kind: usize| {
        let is_text = !matches!(texts.kinds[kind].body(), BodyKind::Open);
        verdicts[kind] == Verdict::Yes && is_text
    };
    let entries = group.chunks.iter().flat_map(|chunk| &chunk.entries);
    for (row, entry) in entries.enumerate() {
        let kind = texts.kind(row);
        if told(kind) && (filter.open)(entry.at) {
            let kind = &texts.kinds[kind];
            let text = kind.template.as_deref().unwrap_or("");
            each(&SeenPattern {
                id: kind.template_id(),
                text,
                service: &kind.service,
                level: kind.level(),
                bucket: bucket(entry.at),
                rows: 1,
            });
        }
    }
    let asks = |row: usize, entry: &LogEntry| {
        let kind = texts.kind(row);
        verdicts[kind] != Verdict::No && !told(kind) && (filter.open)(entry.at)
    };
    show(group, Some(wanted), &asks, &mut |row, log| {
        if verdicts[texts.kind(row)] == Verdict::Yes || (filter.matches)(log) {
            give_pattern(log, bucket(log.at), each);
        }
        ControlFlow::Continue(())
    })?;
    Ok(true)
}

/// Calls `each` with one record as it is counted: by the pattern of its own text.
pub(super) fn give_pattern(log: &LogView<'_>, bucket: u64, each: &mut dyn FnMut(&SeenPattern<'_>)) {
    let mut template = Vec::new();
    let splits = log
        .body
        .as_str()
        .is_some_and(|text| template_of(text, &mut template));
    let text = match splits {
        true => std::str::from_utf8(&template).expect("variables are whole characters"),
        false => "",
    };
    each(&SeenPattern {
        id: match splits {
            true => TemplateId::of(text.as_bytes()),
            false => TemplateId::PLAIN,
        },
        text,
        service: log.resource.service(),
        level: severity_of(log.severity, log.severity_text).level(),
        bucket,
        rows: 1,
    });
}

/// Calls `each` with every record of a group and its row.
pub(in crate::store) fn each_log(
    chunks: &[std::sync::Arc<LogChunk>],
    each: &mut dyn FnMut(&LogView<'_>),
) -> Result<(), StoreError> {
    for chunk in chunks {
        let groups = chunk.group_views().map_err(damaged)?;
        let mut scratch = Scratch::default();
        for entry in &chunk.entries {
            each(&chunk.view(entry, &groups, &mut scratch).map_err(damaged)?);
        }
    }
    Ok(())
}
