//! What a log segment says of its templates: all of it for the catalogue, and block by block for
//! those who count patterns. Reads dictionaries, the directory and the places of rows, no text.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::model::record::severity_of;
use crate::model::{Level, Timestamp};
use crate::store::filter::{LogFilter, Verdict};
use crate::store::templates::{Mined, SegmentTemplates, TemplateFacts, TemplateId};
use crate::store::{LogColumns, StoreError};

use super::super::dictionary::Dictionary;
use super::shape::LogShape;
use super::verdict::Verdicts;
use super::{LogBlock, LogSegment, decode};

/// Some records of one template, level and service, in one bucket of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenPattern<'a> {
    pub(crate) id: TemplateId,
    /// Variables as control bytes; empty where there is no template.
    pub(crate) text: &'a str,
    pub(crate) service: &'a str,
    pub(crate) level: Level,
    pub(crate) bucket: u64,
    pub(crate) rows: u64,
}

/// What all records of a shape have in common; `level` is not known of raw ones.
#[derive(Clone, Copy, Debug)]
struct Common<'d> {
    id: TemplateId,
    text: &'d str,
    level: Option<Level>,
}

impl<'d> Common<'d> {
    fn of(shape: &LogShape, dictionary: &'d Dictionary<LogShape>) -> Common<'d> {
        let columns = shape.columns.as_ref();
        let text = columns.and_then(|columns| columns.template);
        let text = text.map(|number| dictionary.text(number));
        let level = columns.map(|columns| {
            let text = dictionary.text(columns.severity_text);
            severity_of(columns.severity, text).level()
        });
        Common {
            id: text.map_or(TemplateId::PLAIN, |text| TemplateId::of(text.as_bytes())),
            text: text.unwrap_or(""),
            level,
        }
    }
}

/// The facts of one template while blocks go by.
#[derive(Debug, Default)]
struct Building {
    text: Box<str>,
    levels: [u64; Level::ALL.len()],
    span: Option<(u64, u64)>,
    services: BTreeSet<u32>,
    blocks: Vec<u32>,
}

impl LogSegment {
    /// Everything the catalogue keeps of its templates.
    ///
    /// # Errors
    /// A directory, a dictionary or the places of a block's rows cannot be read.
    pub(crate) fn mine(&self) -> Result<Mined, StoreError> {
        let was_loaded = self.slot().is_some();
        let mined = self.mine_loaded();
        if !was_loaded {
            // Nobody has asked for the directory yet: it is not kept for this alone.
            self.release();
        }
        mined
    }

    fn mine_loaded(&self) -> Result<Mined, StoreError> {
        let loaded = self.loaded()?;
        let directory = &loaded.directory;
        let (mut all, mut raw) = (BTreeMap::<TemplateId, Building>::new(), 0);
        for number in 0..directory.blocks.len() as u32 {
            let block = LogBlock {
                segment: self.clone(),
                loaded: loaded.clone(),
                number,
                ruled_out: None,
                held: u64::MAX,
            };
            let dictionary = block.dictionary()?;
            let (shapes, at) = decode::places(&block, dictionary)?;
            for (shape, rows, first, last) in spans(&shapes, &at, dictionary.shapes.len()) {
                let common = Common::of(&dictionary.shapes[shape as usize], dictionary);
                let building = all.entry(common.id).or_insert_with(|| Building {
                    text: common.text.into(),
                    ..Building::default()
                });
                match common.level {
                    Some(level) => building.levels[level as usize] += rows,
                    None => raw += rows,
                }
                let (start, end) = building.span.unwrap_or((first, last));
                building.span = Some((start.min(first), end.max(last)));
                building.services.insert(block.entry().facts.service);
                if building.blocks.last() != Some(&number) {
                    building.blocks.push(number);
                }
            }
        }
        let n_blocks = directory.blocks.len() as u32;
        Ok(finish(all, directory.services.clone(), raw, n_blocks))
    }
}

fn finish(
    all: BTreeMap<TemplateId, Building>,
    services: Vec<Box<str>>,
    raw: u64,
    n_blocks: u32,
) -> Mined {
    let (mut facts, mut texts, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for (id, building) in all {
        let (first, last) = building.span.unwrap_or_default();
        let place = facts.len() as u32;
        pairs.extend(building.blocks.iter().map(|block| (place, *block)));
        facts.push(TemplateFacts {
            id,
            levels: building.levels,
            first: Timestamp(first),
            last: Timestamp(last),
            services: building.services.into_iter().collect(),
        });
        texts.push(building.text);
    }
    Mined {
        templates: SegmentTemplates::new(services, facts, raw, n_blocks, pairs.into_iter()),
        texts,
    }
}

/// Rows, first and last place of each shape of a block.
fn spans(shapes: &[u32], at: &[u64], n_shapes: usize) -> Vec<(u32, u64, u64, u64)> {
    let mut places = vec![u32::MAX; n_shapes];
    let mut spans: Vec<(u32, u64, u64, u64)> = Vec::new();
    for (shape, at) in shapes.iter().zip(at) {
        let place = &mut places[*shape as usize];
        if *place == u32::MAX {
            *place = spans.len() as u32;
            spans.push((*shape, 0, *at, *at));
        }
        let (_, rows, first, last) = &mut spans[*place as usize];
        *rows += 1;
        (*first, *last) = ((*first).min(*at), (*last).max(*at));
    }
    spans
}

/// Calls `each` with the records of a block that pass, counted by shape and bucket. Says whether the
/// block was read: the directory is enough where one bucket holds all of it.
pub(super) fn count(
    block: &LogBlock,
    filter: &LogFilter<'_>,
    bucket: &dyn Fn(Timestamp) -> u64,
    each: &mut dyn FnMut(&SeenPattern<'_>),
) -> Result<bool, StoreError> {
    let dictionary = block.dictionary()?;
    let verdicts = Verdicts::of(block, dictionary, filter);
    if verdicts.are_all(Verdict::No) {
        return Ok(false);
    }
    let facts = &block.entry().facts;
    let common = |shape: u32| Common::of(&dictionary.shapes[shape as usize], dictionary);
    let known = |shape: u32| (shape as usize) < dictionary.shapes.len();
    // Of a raw record only itself knows its level.
    let told = |(shape, _): &(u32, u32)| match verdicts.get(*shape) {
        Verdict::Ask => false,
        Verdict::No => true,
        Verdict::Yes => known(*shape) && common(*shape).level.is_some(),
    };
    let mut give = |shape: u32, level: Level, bucket: u64, rows: u64| {
        let common = common(shape);
        each(&SeenPattern {
            id: common.id,
            text: common.text,
            service: block.service(),
            level,
            bucket,
            rows,
        });
    };
    if facts.shapes.is_empty() || !facts.shapes.iter().all(told) {
        return decode::matching_kinds(block, filter, LogColumns::TEXT, &mut |_, shape, log| {
            let level = severity_of(log.severity, log.severity_text).level();
            give(shape, level, bucket(log.at), 1);
            ControlFlow::Continue(())
        });
    }
    let (first, last) = (block.first(), block.last());
    let level = |shape: u32| common(shape).level.unwrap_or(Level::Unset);
    let inside = (filter.open)(first) && (filter.open)(last);
    if inside && bucket(first) == bucket(last) {
        for (shape, rows) in facts
            .shapes
            .iter()
            .filter(|(s, _)| verdicts.get(*s) == Verdict::Yes)
        {
            give(*shape, level(*shape), bucket(first), u64::from(*rows));
        }
        return Ok(false);
    }
    let (shapes, at) = decode::places(block, dictionary)?;
    let mut start = 0;
    while start < at.len() {
        let number = bucket(Timestamp(at[start]));
        let end = start + at[start..].partition_point(|at| bucket(Timestamp(*at)) <= number);
        let open = |row: &usize| {
            verdicts.get(shapes[*row]) == Verdict::Yes && (filter.open)(Timestamp(at[*row]))
        };
        let rows: Vec<usize> = (start..end).filter(open).collect();
        let of: Vec<u32> = rows.iter().map(|row| shapes[*row]).collect();
        let when: Vec<u64> = rows.iter().map(|row| at[*row]).collect();
        for (shape, rows, _, _) in spans(&of, &when, dictionary.shapes.len()) {
            give(shape, level(shape), number, rows);
        }
        start = end.max(start + 1);
    }
    Ok(true)
}
