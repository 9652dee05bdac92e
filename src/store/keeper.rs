//! The maintenance thread: forgets what is past retention, merges small segments and rewrites them for
//! good. Never touches the head or the log. The catalogue forgets first, then files go; readers that
//! hold them go on. Merging takes a tenth of a core at most unless files pile up, steps aside for the
//! sealer, and stops when the volume is full; retention and deletions do not wait for it to end.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roaring::RoaringBitmap;

use super::burst;
use super::catalogue::{Damaged, Edit, SegmentRow, SeriesEdit};
use super::erase::Erased;
use super::error::StoreError;
use super::merge::{LEVEL_FINAL, Plan, Way};
use super::pace::{Meter, Pace};
use super::retention::{self, ClockGuard};
use super::segments::{self, Segment};
use super::shared::Shared;
use super::{disk, erase, hide, merge, sealer, templates};
use crate::model::{Signal, Timestamp};

/// How often the keeper looks. Retention must give bytes back within 10 minutes, merges keep up
/// with a segment per 50 ms.
const KEEPER_INTERVAL: Duration = Duration::from_secs(5);

/// As long as a deletion is pending: it is carried out within seconds when there is nothing else to
/// do, and leaves the disk to others in between.
const ERASE_INTERVAL: Duration = Duration::from_millis(250);

/// Segments looked at, and segments rewritten, for deletions in one round: retention and merges get
/// their turn. Rewriting takes 1.5-3 s of a core per million records (reading, encoding as requests,
/// sealing: the sum of those figures, not measured as one).
const SCANNED_PER_ROUND: usize = 64;
const ERASED_PER_ROUND: usize = 4;

/// Merges in one round, so that retention gets its turn under full load. One that rewrites ends its
/// round: 1 M rows take half a minute at this pace, and longer while heads wait to be sealed.
const MERGES_PER_ROUND: usize = 64;

/// The index over templates may take one part in so many of what directories may.
const INDEX_PART: u64 = 2;

/// Rounds that a rewrite is put off because a head waits to be sealed: a minute. Ingest that never
/// pauses keeps one waiting at nearly every look, and what is never rewritten takes a fifth more disk.
const PUT_OFF_MAX: u32 = 12;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    guard: ClockGuard,
    /// Segments with a damaged block: served as far as they can be read, never rewritten.
    unmergeable: BTreeSet<u64>,
    /// Segments that would take too much memory to be rewritten, or have too many kinds of records for
    /// one part. Kept as they are.
    too_large: BTreeSet<u64>,
    /// Rounds in a row that have put off a rewrite.
    put_off: u32,
    /// Series without samples have been looked for since the start.
    has_forgotten: bool,
    pace: Pace,
}

/// What one round has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) dropped: usize,
    pub(crate) merged: usize,
    /// Segments written anew, of one or several.
    pub(crate) recoded: usize,
    /// Segments rewritten for deletions.
    pub(crate) erased: usize,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, clock: Timestamp) -> Keeper {
        Keeper {
            shared,
            guard: ClockGuard::new(clock),
            unmergeable: BTreeSet::new(),
            too_large: BTreeSet::new(),
            put_off: 0,
            has_forgotten: false,
            pace: Pace::full(),
        }
    }

    /// Works until the store closes or is poisoned. `meter` gives the CPU time of the calling thread.
    pub(crate) fn run(mut self, clock: impl Fn() -> Timestamp, meter: Meter) {
        self.pace = Pace::new(meter);
        while !self.shared.is_closed() && !self.shared.is_poisoned() {
            let now = clock();
            if let Err(error) = burst::on_own_thread("keeper", || self.maintain(now)) {
                tracing::warn!(%error, "maintenance not finished");
            }
            let is_pending = !self.shared.live().rules.is_empty();
            self.shared.wait_for_upkeep(if is_pending {
                ERASE_INTERVAL
            } else {
                KEEPER_INTERVAL
            });
        }
    }

    /// One round: retention, deletions, then merges.
    ///
    /// # Errors
    /// A full volume stops the round, and the next one tries again; any other error has poisoned
    /// the store.
    pub(crate) fn maintain(&mut self, now: Timestamp) -> Result<Round, StoreError> {
        self.shared.check_not_poisoned()?;
        let round = self.round(now);
        round.map_err(|e| match e {
            e @ StoreError::Io { .. } if e.is_out_of_space() => e,
            e => self.shared.poison(e),
        })
    }

    fn round(&mut self, now: Timestamp) -> Result<Round, StoreError> {
        self.trim_directories();
        let mut round = Round {
            dropped: self.retain(now)?,
            erased: self.erase(now)?,
            ..Round::default()
        };
        self.index_templates();
        self.pace.forgive();
        while round.merged < MERGES_PER_ROUND && round.recoded == 0 && self.may_merge() {
            let rows = self.rows();
            let rules = self.shared.live().rules.clone();
            // What is to be rewritten is not copied before.
            let is_mergeable = |row: &SegmentRow| {
                let kept = [&self.unmergeable, &self.too_large];
                !kept.iter().any(|ids| ids.contains(&row.id))
                    && !rules.iter().any(|rule| rule.applies(row))
            };
            let Some(plan) = merge::plan(&rows, now, is_mergeable) else {
                break;
            };
            let hurry = merge::is_behind(&rows, is_mergeable);
            if plan.way == Way::Recode && self.puts_off(!rules.is_empty()) {
                break;
            }
            let merged = self.merge(&plan, hurry);
            self.shared.rewriting_bytes.store(0, Ordering::Relaxed);
            match merged {
                Ok(()) => {}
                Err(StoreError::Stopped) => break,
                Err(e) => return Err(e),
            }
            match plan.way {
                Way::Copy => round.merged += 1,
                Way::Recode => round.recoded += 1,
            }
            // For what came after its last pause.
            if Keeper::pause(&self.shared, &mut self.pace, hurry).is_err() {
                break;
            }
        }
        templates::backfill(&self.shared)?;
        self.forget_series(round.dropped)?;
        Ok(round)
    }

    /// Merging needs room that a full volume has not: retention's turn comes first.
    fn may_merge(&self) -> bool {
        !self.shared.is_closed() && !self.shared.is_full()
    }

    /// Whether a rewrite has to wait for another round. Heads that wait need memory and the core: it can
    /// wait for them, but not for ever. Deletions come to an end and go first.
    fn puts_off(&mut self, is_erasing: bool) -> bool {
        if is_erasing {
            return true;
        }
        let is_busy = self.shared.live().heads.sealing_bytes() > 0;
        let puts_off = is_busy && self.put_off < PUT_OFF_MAX;
        self.put_off = if puts_off { self.put_off + 1 } else { 0 };
        puts_off
    }

    /// What a merge does between two pieces of its work: rests, and lets the sealer go first.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the store closes or the volume fills up.
    fn pause(shared: &Shared, pace: &mut Pace, hurry: bool) -> Result<(), StoreError> {
        if hurry || shared.is_hurried() {
            pace.forgive();
        } else {
            pace.rest(shared);
        }
        if shared.is_closed() || shared.is_poisoned() || shared.is_full() {
            return Err(StoreError::Stopped);
        }
        Ok(())
    }

    /// Brings the index over templates up to date. Without it searches look at all texts.
    fn index_templates(&self) {
        let max = self.shared.config.memory.directories / INDEX_PART;
        if let Err(error) = self.shared.catalogue.index_templates(max) {
            tracing::warn!(%error, "templates not indexed");
        }
    }

    /// Keeps the index over templates and what segments cache of their directories within their bound,
    /// newest segments first.
    fn trim_directories(&self) {
        let max = self.shared.config.memory.directories;
        let segments = self.shared.live().segments.clone();
        let mut cached = self.shared.catalogue.index_bytes();
        for segment in segments.list.iter().rev() {
            cached += segment.cached_bytes();
            if cached as u64 > max {
                segment.release();
            }
        }
    }

    fn rows(&self) -> Vec<SegmentRow> {
        let segments = self.shared.live().segments.clone();
        let rows = segments.list.iter().map(|segment| segment.row.clone());
        rows.collect()
    }

    fn retain(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let stamp = self.shared.newest_stamp.load(Ordering::Relaxed);
        self.guard.look(now, Timestamp(stamp));
        let config = &self.shared.config;
        let mut rows = self.rows();
        let total: u64 = rows.iter().map(|row| row.bytes).sum();
        let classes = &self.shared.classes;
        let mut ids = retention::past_age(&rows, |row| {
            let class = row.partition.class();
            classes.cutoff(class, &config.retention, row.signal, now)
        });
        let aged = rows.iter().filter(|row| ids.contains(&row.id));
        let aged_bytes = aged.map(|row| row.bytes).sum();
        if !self.guard.allows(aged_bytes, total) {
            tracing::warn!(bytes = aged_bytes, "retention held, the clock has jumped");
            ids.clear();
        }
        rows.retain(|row| !ids.contains(&row.id));
        let dir = &config.dir;
        let disk = &self.shared.disk;
        let space = disk.space(dir).map_err(StoreError::io("measure", dir))?;
        let log_bytes = self.shared.wal_bytes.load(Ordering::Relaxed);
        let free_min = config.free_min(space);
        let max = config.retention.max_bytes;
        let budget = retention::budget(max, total + log_bytes, space, free_min);
        ids.extend(retention::over_bytes(
            &rows,
            budget.saturating_sub(log_bytes),
        ));
        let forgotten = self.forgotten_damage(now);
        if !ids.is_empty() || !forgotten.is_empty() {
            self.drop_segments(&ids, &forgotten, now)?;
        }
        Ok(ids.len())
    }

    /// Forgets series that no segment and no head has samples of: looked for when segments were dropped,
    /// and once after a start.
    fn forget_series(&mut self, dropped: usize) -> Result<(), StoreError> {
        if dropped == 0 && self.has_forgotten {
            return Ok(());
        }
        self.has_forgotten = true;
        let shared = &self.shared;
        let (segments, heads, sequence) = {
            let live = shared.live();
            let heads = live.heads.metrics.data();
            (live.segments.clone(), heads, live.heads.next)
        };
        let mut kept = RoaringBitmap::new();
        for segment in segments.metrics() {
            match segment.series() {
                Ok(series) => kept |= series,
                Err(error) => {
                    tracing::warn!(%error, "series are not forgotten: which ones a segment has is not known");
                    return Ok(());
                }
            }
        }
        heads.iter().for_each(|head| kept.extend(head.numbers()));
        let remove = shared.book.forget(&kept, sequence);
        if remove.is_empty() {
            return Ok(());
        }
        tracing::info!(series = remove.len(), "series without samples forgotten");
        shared.catalogue.apply(&Edit {
            series: SeriesEdit {
                remove,
                ..SeriesEdit::default()
            },
            ..Edit::default()
        })
    }

    /// Damaged things that are past retention themselves.
    fn forgotten_damage(&self, now: Timestamp) -> Vec<String> {
        let segments = self.shared.live().segments.clone();
        let retention = &self.shared.config.retention;
        let is_past = |damaged: &Damaged| {
            let cutoffs = Signal::ALL.map(|signal| retention.oldest(signal, now));
            let cutoff = damaged.signal.map_or_else(
                || cutoffs.into_iter().min().unwrap_or_default(),
                |s| cutoffs[s as usize],
            );
            damaged.last < cutoff
        };
        let damaged = segments.damaged.iter().filter(|d| is_past(d));
        damaged.map(|d| d.path.clone()).collect()
    }

    fn drop_segments(
        &mut self,
        ids: &[u64],
        forget: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.catalogue.apply(&Edit {
            remove: ids.to_vec(),
            forget: forget.to_vec(),
            clock: Some(now),
            ..Edit::default()
        })?;
        let mut dropped = Vec::new();
        shared.publish(|live| {
            let segments = Arc::make_mut(&mut live.segments);
            dropped = segments.remove(ids);
            segments.damaged.retain(|d| !forget.contains(&d.path));
        });
        sealer::unlink(shared, dropped.iter().map(|segment| &segment.row))?;
        for path in forget {
            // What was moved to quarantine; a damaged block's segment went with its partition.
            let _gone = shared.disk.remove(&shared.config.dir.join(path));
        }
        Ok(())
    }

    /// Rewrites some of the segments that pending deletions are about. Gives the number rewritten.
    fn erase(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let shared = &self.shared;
        let (rules, segments) = {
            let live = shared.live();
            (live.rules.clone(), live.segments.clone())
        };
        let Some(newest) = rules.last() else {
            return Ok(0);
        };
        let (mut clean, mut erased) = (Vec::new(), 0);
        for segment in &segments.list {
            let Some(veil) = hide::of_segment(&rules, &segment.row) else {
                continue;
            };
            let enough = erased >= ERASED_PER_ROUND || clean.len() >= SCANNED_PER_ROUND;
            if enough || shared.is_closed() {
                break;
            }
            match erase::segment(shared, segment, &veil, newest.number)? {
                Erased::Clean => clean.push(Arc::new(segment.with_cleared(newest.number))),
                Erased::Rewritten => erased += 1,
            }
        }
        if !clean.is_empty() {
            shared.catalogue.apply(&Edit {
                insert: clean.iter().map(|segment| segment.row.clone()).collect(),
                ..Edit::default()
            })?;
            let ids: Vec<u64> = clean.iter().map(|segment| segment.row.id).collect();
            shared.publish(|live| {
                let segments = Arc::make_mut(&mut live.segments);
                segments.remove(&ids);
                clean.into_iter().for_each(|s| segments.insert(s));
            });
        }
        erase::finish(shared, now)?;
        Ok(erased)
    }

    /// The segments of a plan; of one that rewrites, as many as memory and one part allow: the
    /// rest is for another.
    fn inputs(&mut self, plan: &Plan) -> Result<Vec<Arc<Segment>>, StoreError> {
        let list = self.shared.live().segments.clone();
        let planned = list.list.iter().filter(|s| plan.ids.contains(&s.row.id));
        let mut inputs: Vec<Arc<Segment>> = planned.cloned().collect();
        // What was rewritten before only joins others: it is left out first.
        inputs.sort_by_key(|segment| (segment.row.level == LEVEL_FINAL, segment.row.id));
        if plan.way == Way::Recode {
            let memory = self.shared.config.memory.keeper;
            let (n, bytes) = segments::rewritable(&inputs, memory)?;
            self.shared.rewriting_bytes.store(bytes, Ordering::Relaxed);
            if n == 0 {
                self.too_large.extend(inputs.first().map(|s| s.row.id));
            }
            inputs.truncate(n);
        }
        Ok(inputs)
    }

    fn merge(&mut self, plan: &Plan, hurry: bool) -> Result<(), StoreError> {
        let inputs = match self.inputs(plan) {
            Ok(inputs) if inputs.is_empty() => return Ok(()),
            Ok(inputs) => inputs,
            Err(broken @ StoreError::Corrupt { .. }) => {
                let list = self.shared.live().segments.clone();
                let planned = list.list.iter().filter(|s| plan.ids.contains(&s.row.id));
                let inputs: Vec<Arc<Segment>> = planned.cloned().collect();
                return self.set_aside(&inputs, &broken);
            }
            Err(e) => return Err(e),
        };
        let mut row = self.output(&inputs, plan.way);
        let shared = &self.shared;
        let path = shared.config.dir.join(row.path());
        let pace = &mut self.pace;
        let mut pause = || Keeper::pause(shared, pace, hurry);
        let written = sealer::write(shared, &path, |file| {
            segments::merge(&inputs, plan.way, &shared.catalogue, file, &mut pause)
                .map_err(io::Error::other)
        });
        let facts = match written {
            Ok(facts) => facts,
            Err(e) => return self.unfinished(&inputs, &path, e),
        };
        row.rows = facts.rows;
        row.first = facts.first;
        row.last = facts.last;
        row.bytes = facts.bytes;
        row.raw_bytes = facts.raw_bytes;
        row.crc = facts.crc;
        let rows_in: u64 = inputs.iter().map(|segment| segment.row.rows).sum();
        match row.signal {
            Signal::Logs | Signal::Traces => {
                assert_eq!(row.rows, rows_in, "a merge keeps every row");
            }
            // Of a sample that is in several of them one is left.
            Signal::Metrics => assert!(row.rows <= rows_in, "a merge makes no samples"),
        }
        let merged = Arc::new(sealer::open(shared, row)?);
        let ids: Vec<u64> = inputs.iter().map(|segment| segment.row.id).collect();
        shared.catalogue.apply(&Edit {
            insert: vec![merged.row.clone()],
            remove: ids.clone(),
            templates: segments::mined(std::slice::from_ref(&merged))?,
            ..Edit::default()
        })?;
        shared.publish(|live| {
            let segments = Arc::make_mut(&mut live.segments);
            segments.remove(&ids);
            segments.insert(merged);
        });
        sealer::unlink(shared, inputs.iter().map(|segment| &segment.row))
    }

    /// The row of what a merge makes, but for what only its file tells.
    fn output(&self, inputs: &[Arc<Segment>], way: Way) -> SegmentRow {
        let levels = inputs.iter().map(|segment| segment.row.level);
        let cleared = inputs.iter().map(|segment| segment.row.cleared).min();
        SegmentRow {
            id: self.shared.next_segment.fetch_add(1, Ordering::Relaxed),
            level: match way {
                Way::Copy => levels.max().unwrap_or(0).saturating_add(1),
                Way::Recode => LEVEL_FINAL,
            },
            cleared: cleared.unwrap_or(0),
            ..inputs[0].row.clone()
        }
    }

    /// After a merge that has not come to its end: the inputs stay what they were.
    fn unfinished(
        &mut self,
        inputs: &[Arc<Segment>],
        path: &Path,
        error: StoreError,
    ) -> Result<(), StoreError> {
        let StoreError::Io {
            action,
            path: at,
            source,
        } = error
        else {
            return Err(error);
        };
        match source.downcast::<StoreError>() {
            Ok(why) => {
                // Best effort: what stays is deleted at the next start.
                let _gone = self.shared.disk.remove(&disk::tmp_path(path));
                match why {
                    StoreError::Corrupt { .. } => self.set_aside(inputs, &why),
                    why => Err(why),
                }
            }
            Err(source) => Err(StoreError::Io {
                action,
                path: at,
                source,
            }),
        }
    }

    /// A damaged input: named in the catalogue so that answers say they are partial, and left alone.
    fn set_aside(
        &mut self,
        inputs: &[Arc<Segment>],
        broken: &StoreError,
    ) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut damaged = Vec::new();
        for input in inputs {
            let Err(error) = input.verify() else {
                continue;
            };
            tracing::error!(%error, "damaged segment is not merged");
            self.unmergeable.insert(input.row.id);
            damaged.push(input.damaged(&error));
        }
        if damaged.is_empty() {
            // Nobody to blame: leave all of them, so that the same merge is not tried for ever.
            tracing::error!(error = %broken, "merge failed");
            self.unmergeable.extend(inputs.iter().map(|s| s.row.id));
        }
        shared.catalogue.apply(&Edit {
            quarantine: damaged.clone(),
            ..Edit::default()
        })?;
        shared.publish(|live| {
            let segments = Arc::make_mut(&mut live.segments);
            segments.damaged.extend(damaged.into_iter().map(Arc::new));
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
