//! Carries deletions out: rewrites segments without the records they hide, and knows when nothing
//! is left of them. Never touches a head or the log: the sealer and the writer do their part.
//!
//! Publication is that of a merge: pieces durable first, one transaction, then the old file goes.
//! Cut off anywhere, a segment is either whole and behind its veil or replaced.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::catalogue::{Catalogue, Damaged, Edit, SegmentRow};
use super::config::Config;
use super::deletion::{self, Deletion, Progress, Stage, Tally};
use super::disk::Disk;
use super::error::StoreError;
use super::head::{HEAD_BYTES_MAX, HEAD_ROWS_MAX};
use super::hide::{self, Rule};
use super::open::CATALOGUE;
use super::prune::{LogColumns, LogPrune, SpanColumns, SpanPrune};
use super::rewrite::Gather;
use super::sealer;
use super::segment::{LogSegment, SpanSegment};
use super::segments::{self, Data, Segment};
use super::shared::Shared;
use super::templates::Gate;
use crate::model::{Signal, TimeRange, Timestamp};

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Erased {
    /// It holds nothing that is hidden.
    Clean,
    Rewritten,
}

/// Rewrites a segment without what `veil` hides, where it holds such records. `upto` is the newest
/// deletion that `veil` was made from.
///
/// # Errors
/// The disk refuses. A damaged segment is no error: what can be read of it is rewritten, the file
/// goes to quarantine and answers say that they are partial, as before.
pub(super) fn segment(
    shared: &Shared,
    segment: &Segment,
    veil: &[Rule],
    upto: u64,
) -> Result<Erased, StoreError> {
    match holds_hidden(segment, veil) {
        Ok(false) => return Ok(Erased::Clean),
        Ok(true) | Err(StoreError::Corrupt { .. }) => {}
        Err(e) => return Err(e),
    }
    let mut rewriter = Rewriter {
        shared,
        old: segment,
        veil,
        upto,
        gather: Gather::new(segment.row.signal, segment.row.project),
        gathered_bytes: 0,
        hidden: 0,
        tally: Tally::default(),
        pieces: Vec::new(),
        gate: Gate::new(&shared.catalogue),
        broken: None,
    };
    let done = rewriter.copy().and_then(|()| rewriter.flush());
    if let Err(e) = done {
        if e.is_out_of_space() {
            // The next try takes new names; these would stay until a restart.
            sealer::unlink(shared, rewriter.pieces.iter().map(|piece| &piece.row))?;
        }
        return Err(e);
    }
    rewriter.publish()?;
    Ok(Erased::Rewritten)
}

fn holds_hidden(segment: &Segment, veil: &[Rule]) -> Result<bool, StoreError> {
    let mut found = false;
    let mut see = |hidden: bool| {
        found |= hidden;
        if found {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    match &segment.data {
        Data::Logs(data) => {
            let columns = hide::log_columns(veil);
            for block in hide::touched_logs(data, veil)? {
                block.for_each(columns, &mut |log| {
                    see(veil.iter().any(|rule| rule.hides_log(log)))
                })?;
            }
        }
        Data::Traces(data) => {
            let columns = hide::span_columns(veil);
            for block in hide::touched_spans(data, veil)? {
                block.for_each(columns, &mut |span| {
                    see(veil.iter().any(|rule| rule.hides_span(span)))
                })?;
            }
        }
        Data::Metrics(_) => {}
    }
    Ok(found)
}

/// One segment on its way to the pieces that replace it, each as large as a sealed head: memory
/// does not grow with the segment, and the next merges join them again.
struct Rewriter<'s> {
    shared: &'s Shared,
    old: &'s Segment,
    veil: &'s [Rule],
    upto: u64,
    gather: Gather,
    gathered_bytes: u64,
    hidden: u64,
    tally: Tally,
    pieces: Vec<Arc<Segment>>,
    /// Always asked: together the pieces bring more templates than one seal.
    gate: Gate<'s>,
    /// The first thing that could not be read.
    broken: Option<StoreError>,
}

impl Rewriter<'_> {
    fn copy(&mut self) -> Result<(), StoreError> {
        match &self.old.data {
            Data::Logs(data) => self.copy_logs(data),
            Data::Traces(data) => self.copy_spans(data),
            Data::Metrics(_) => unreachable!("no deletion is about metrics"),
        }
    }

    fn copy_logs(&mut self, data: &LogSegment) -> Result<(), StoreError> {
        let blocks = data.blocks(TimeRange::ALL, &LogPrune::default());
        for block in self.readable(blocks)?.unwrap_or_default() {
            self.make_room(block.bytes())?;
            let veil = self.veil;
            let read = block.for_each(LogColumns::ALL, &mut |log| {
                match veil.iter().find(|rule| rule.hides_log(log)) {
                    Some(rule) => self.hide(rule.number),
                    None => self.gather.log(log),
                }
                ControlFlow::Continue(())
            });
            self.readable(read)?;
        }
        Ok(())
    }

    fn copy_spans(&mut self, data: &SpanSegment) -> Result<(), StoreError> {
        let blocks = data.blocks(TimeRange::ALL, &SpanPrune::default());
        for block in self.readable(blocks)?.unwrap_or_default() {
            self.make_room(block.bytes())?;
            let veil = self.veil;
            let read = block.for_each(SpanColumns::ALL, &mut |span| {
                match veil.iter().find(|rule| rule.hides_span(span)) {
                    Some(rule) => self.hide(rule.number),
                    None => self.gather.span(span),
                }
                ControlFlow::Continue(())
            });
            self.readable(read)?;
        }
        Ok(())
    }

    fn hide(&mut self, number: u64) {
        self.hidden += 1;
        self.tally.add(number);
    }

    /// Remembers damage and goes on without what is damaged; any other error ends the rewriting.
    fn readable<T>(&mut self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(e @ StoreError::Corrupt { .. }) => {
                self.broken.get_or_insert(e);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Seals what is gathered before a block would make it larger than a head.
    fn make_room(&mut self, block_bytes: u64) -> Result<(), StoreError> {
        self.gathered_bytes += block_bytes;
        if self.gather.rows >= HEAD_ROWS_MAX || self.gathered_bytes > HEAD_BYTES_MAX {
            self.flush()?;
            self.gathered_bytes = block_bytes;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.gather.rows == 0 {
            return Ok(());
        }
        let old = &self.old.row;
        for sealed in self.gather.seal(old.partition, &self.gate) {
            let facts = &sealed.facts;
            let share = u128::from(old.raw_bytes) * u128::from(facts.rows);
            let row = SegmentRow {
                id: self.shared.next_segment.fetch_add(1, Ordering::Relaxed),
                level: 0,
                rows: facts.rows,
                first: facts.first,
                last: facts.last,
                bytes: facts.bytes,
                raw_bytes: (share / u128::from(old.rows.max(1))) as u64,
                crc: facts.crc,
                cleared: self.upto,
                ..old.clone()
            };
            let piece = sealer::create(self.shared, row, &sealed.bytes)?;
            self.pieces.push(Arc::new(piece));
        }
        Ok(())
    }

    /// Replaces the old segment by the pieces.
    fn publish(self) -> Result<(), StoreError> {
        let (shared, old) = (self.shared, &self.old.row);
        shared.catalogue.refuse_templates(self.gate.refused());
        let kept: u64 = self.pieces.iter().map(|piece| piece.row.rows).sum();
        let quarantine = self.broken.map(|why| {
            tracing::error!(error = %why, "damaged segment is rewritten as far as it can be read");
            Damaged {
                path: format!("quarantine/{}-{:010}.seg", old.signal.name(), old.id),
                ..self.old.damaged(&why)
            }
        });
        if quarantine.is_none() {
            assert_eq!(
                kept + self.hidden,
                old.rows,
                "every record is kept or erased"
            );
        }
        shared.catalogue.apply(&Edit {
            insert: self.pieces.iter().map(|piece| piece.row.clone()).collect(),
            remove: vec![old.id],
            quarantine: quarantine.iter().cloned().collect(),
            forget: vec![old.path()],
            progress: self.tally.progress(old.signal),
            templates: segments::mined(&self.pieces)?,
            ..Edit::default()
        })?;
        shared.publish(|live| {
            let segments = Arc::make_mut(&mut live.segments);
            segments.remove(&[old.id]);
            segments
                .damaged
                .retain(|damaged| damaged.path != old.path());
            segments.damaged.extend(quarantine.clone().map(Arc::new));
            self.pieces
                .into_iter()
                .for_each(|piece| segments.insert(piece));
        });
        let Some(damaged) = quarantine else {
            return sealer::unlink(shared, [old]);
        };
        let from = shared.config.dir.join(old.path());
        let to = shared.config.dir.join(&damaged.path);
        let moved = shared.disk.rename(&from, &to);
        moved.map_err(StoreError::io("move to quarantine", &from))
    }
}

/// Takes away the rules that nothing is left to do for, and tells so.
pub(super) fn finish(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let removed_below = shared.removed_below.load(Ordering::Acquire);
    let (over, left): (Vec<Rule>, Vec<(Option<Signal>, bool)>) = {
        let live = shared.live();
        let in_heads = live.heads.cleared().unwrap_or(u64::MAX);
        let is_over = |rule: &&Rule| {
            let segments = &live.segments.list;
            removed_below >= rule.before
                && in_heads >= rule.number
                && !segments.iter().any(|segment| rule.applies(&segment.row))
        };
        let over = live.rules.iter().filter(is_over).cloned().collect();
        let damaged = live.segments.damaged.iter();
        let left = damaged.map(|d| (d.signal, d.path.starts_with("quarantine/")));
        (over, left.collect())
    };
    if over.is_empty() {
        return Ok(());
    }
    let left_files = |rule: &Rule| {
        let about = |signal: Option<Signal>| match signal {
            Some(Signal::Logs) => rule.condition.logs.is_some(),
            Some(Signal::Traces) => rule.condition.traces.is_some(),
            Some(Signal::Metrics) => false,
            None => true,
        };
        let of_it = left
            .iter()
            .filter(|(signal, aside)| *aside && about(*signal));
        of_it.count() as u32
    };
    let done = |rule: &Rule| Progress::over(rule.number, Stage::Erased, now, left_files(rule));
    // Texts of templates are gone with their segments, but not yet from the database's file.
    let catalogue = shared.config.dir.join(CATALOGUE);
    if !shared.catalogue.wipe(&shared.disk, &catalogue)? {
        tracing::warn!("deletion not carried out yet, catalog.redb is to be wiped again");
        return Ok(());
    }
    shared.catalogue.apply(&Edit {
        progress: over.iter().map(done).collect(),
        ..Edit::default()
    })?;
    let is_over = |number: u64| over.iter().any(|rule| rule.number == number);
    shared.publish(|live| {
        let rest = live.rules.iter().filter(|rule| !is_over(rule.number));
        live.rules = rest.cloned().collect();
    });
    for rule in &over {
        deletion::forget(&shared.disk, &shared.config.dir, rule.number)?;
        let left_files = left_files(rule);
        tracing::info!(deletion = rule.number, left_files, "deletion carried out");
    }
    Ok(())
}

/// The rules of the deletions that a restart has found pending. One whose condition cannot be read
/// hides nothing any more: that is told and kept as failed.
pub(super) fn reload(
    disk: &Disk,
    config: &Config,
    catalogue: &Catalogue,
    deletions: &[Deletion],
    now: Timestamp,
) -> Result<Vec<Rule>, StoreError> {
    let (mut rules, mut failed) = (Vec::new(), Vec::new());
    for deletion in deletions.iter().filter(|d| !d.stage.is_over()) {
        match rule(disk, &config.dir, config, deletion) {
            Ok(rule) => rules.push(rule),
            Err(e) if is_lost(&e) => {
                tracing::error!(deletion = deletion.number, error = %e, "deletion lost, ask again");
                failed.push(Progress::over(deletion.number, Stage::Failed, now, 0));
            }
            Err(e) => return Err(e),
        }
    }
    if !failed.is_empty() {
        catalogue.apply(&Edit {
            progress: failed,
            ..Edit::default()
        })?;
    }
    let is_pending = |number| rules.iter().any(|rule| rule.number == number);
    deletion::delete_strays(disk, &config.dir, is_pending)?;
    Ok(rules)
}

fn is_lost(e: &StoreError) -> bool {
    match e {
        StoreError::Corrupt { .. } | StoreError::BadCondition(_) => true,
        StoreError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn rule(disk: &Disk, dir: &Path, config: &Config, deletion: &Deletion) -> Result<Rule, StoreError> {
    let condition = deletion::read(disk, dir, deletion.number)?;
    let condition = (config.compile)(&condition).map_err(StoreError::BadCondition)?;
    Ok(Rule {
        number: deletion.number,
        before: deletion.before,
        range: deletion.range,
        condition: Arc::new(condition.only(deletion.signals)),
        signal: None,
        spared: Arc::default(),
    })
}
