//! Turns sealed heads into segments, one at a time, on its own thread. The crash rule: the file is
//! durable under its name first, the catalogue's transaction second, the log's files go last (and
//! by the writer).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::burst;
use super::catalogue::{Edit, Key, SegmentRow, SeriesEdit, Watermarks};
use super::deletion::Tally;
use super::disk::{self, File};
use super::error::StoreError;
use super::head::AllHeads;
use super::hide;
use super::metrics;
use super::partition::{Partition, RetentionClass, Span};
use super::retention;
use super::segment::Sealed;
use super::segments::{self, SealedHead, Segment};
use super::shared::Shared;
use super::templates::Gate;
use crate::model::{ProjectId, Signal, Timestamp};

/// How long the sealer sleeps when nothing wakes it; also how soon it tries again on a full disk.
const SEALER_NAP: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Sealer {
    shared: Arc<Shared>,
}

impl Sealer {
    pub(super) fn new(shared: Arc<Shared>) -> Sealer {
        Sealer { shared }
    }

    /// Seals heads as they come until the store closes or is poisoned. What is left is in the log.
    pub(crate) fn run(mut self) {
        while !self.shared.is_closed() && !self.shared.is_poisoned() {
            if oldest(&self.shared.live().heads).is_none() {
                self.shared.wait_for_work(SEALER_NAP);
                continue;
            }
            if burst::on_own_thread("sealer", || self.seal_while_busy()).is_err() {
                return;
            }
        }
    }

    /// Seals heads until none has come for a nap.
    ///
    /// # Errors
    /// The store is poisoned.
    fn seal_while_busy(&mut self) -> Result<(), StoreError> {
        let mut has_napped = false;
        while !self.shared.is_closed() && !self.shared.is_poisoned() {
            match self.step() {
                Ok(true) => has_napped = false,
                Ok(false) if has_napped => break,
                Ok(false) => {
                    has_napped = true;
                    self.shared.wait_for_work(SEALER_NAP);
                }
                Err(error) if error.is_out_of_space() => {
                    tracing::warn!(%error, "head not sealed, disk full");
                    self.shared.wait_closed(SEALER_NAP);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Seals and publishes the oldest waiting head; false when there is none.
    ///
    /// # Errors
    /// When the volume is full the head waits on and the step may be tried again; any other error
    /// has poisoned the store.
    pub(crate) fn step(&mut self) -> Result<bool, StoreError> {
        self.shared.check_not_poisoned()?;
        let Some(head) = oldest(&self.shared.live().heads) else {
            return Ok(false);
        };
        let published = self.publish(&head);
        self.shared.set_scratch(0);
        match published {
            Ok(()) => Ok(true),
            Err(e @ StoreError::Io { .. }) if e.is_out_of_space() => {
                self.shared.out_of_space();
                Err(e)
            }
            Err(e) => Err(self.shared.poison(e)),
        }
    }

    fn publish(&mut self, head: &SealedHead) -> Result<(), StoreError> {
        let shared = &self.shared;
        let span = self.partition_span();
        let floor = partition_floor(head, span);
        shared.set_scratch(head_bytes(head));
        let rules = shared.live().rules.clone();
        let veil = hide::of_head(&rules, signal(head), cleared(head)).unwrap_or_default();
        let newest = rules.last().map_or(0, |rule| rule.number);
        let (mut tally, at_once) = (Tally::default(), newest.max(cleared(head)));
        let class_of = |service: &str| shared.classes.of(service);
        let class_of: Option<&dyn Fn(&str) -> RetentionClass> = match shared.classes.is_empty() {
            true => None,
            false => Some(&class_of),
        };
        let gate = Gate::new(&shared.catalogue);
        let homes = projects(head) * (1 + shared.config.retention.services.len());
        let asked = shared.catalogue.is_near_template_cap(homes);
        let asked = asked.then_some(&gate);
        let sealed = segments::encode(
            head,
            &veil,
            &mut tally,
            class_of,
            asked,
            &shared.book,
            &|at, class| Partition::of(at.max(floor), span, class),
        );
        shared.catalogue.refuse_templates(gate.refused());
        let mut opened = Vec::with_capacity(sealed.len());
        for (project, sealed) in &sealed {
            let row = self.row(signal(head), *project, sealed, at_once);
            match create(shared, row, &sealed.bytes) {
                Ok(segment) => opened.push(Arc::new(segment)),
                Err(e) => {
                    if e.is_out_of_space() {
                        // The next try takes new names; these would stay until a restart.
                        unlink(shared, opened.iter().map(|segment| &segment.row))?;
                    }
                    return Err(e);
                }
            }
        }
        let series = self.series_edit(head);
        let watermarks = self.watermarks_without(head);
        shared.catalogue.apply(&Edit {
            insert: opened.iter().map(|segment| segment.row.clone()).collect(),
            watermarks: Some(watermarks),
            keys: Some((self.keys_id(&opened), keys(head))),
            progress: tally.progress(signal(head)),
            keys_since: shared.keys_since(),
            clock: Some(shared.now()),
            templates: segments::mined(&opened)?,
            series: series.clone(),
            ..Edit::default()
        })?;
        shared.book.saved(&series);
        shared.publish(|live| {
            let segments = Arc::make_mut(&mut live.segments);
            opened.into_iter().for_each(|s| segments.insert(s));
            live.watermarks = watermarks;
            match head {
                SealedHead::Logs(_) => _ = live.heads.logs.sealing.pop_front(),
                SealedHead::Traces(_) => _ = live.heads.traces.sealing.pop_front(),
                SealedHead::Metrics(_) => _ = live.heads.metrics.sealing.pop_front(),
            }
        });
        Ok(())
    }

    /// What a head brings to the catalogue of series.
    fn series_edit(&self, head: &SealedHead) -> SeriesEdit {
        match head {
            SealedHead::Metrics(head) => self.shared.book.edit(head.new_series.clone()),
            SealedHead::Logs(_) | SealedHead::Traces(_) => SeriesEdit::default(),
        }
    }

    /// What the dedup keys are stored under. Where a deletion has left nothing of a head, its
    /// requests are known all the same.
    fn keys_id(&self, opened: &[Arc<Segment>]) -> u64 {
        let new = || self.shared.next_segment.fetch_add(1, Ordering::Relaxed);
        opened.first().map_or_else(new, |segment| segment.row.id)
    }

    fn row(&self, signal: Signal, project: ProjectId, sealed: &Sealed, cleared: u64) -> SegmentRow {
        let facts = &sealed.facts;
        SegmentRow {
            id: self.shared.next_segment.fetch_add(1, Ordering::Relaxed),
            signal,
            project,
            partition: sealed.partition,
            level: 0,
            rows: facts.rows,
            first: facts.first,
            last: facts.last,
            bytes: facts.bytes,
            raw_bytes: facts.raw_bytes,
            crc: facts.crc,
            cleared,
        }
    }

    fn partition_span(&self) -> Span {
        let shared = &self.shared;
        let live = shared.live();
        let rows = live.segments.list.iter().map(|segment| &segment.row);
        retention::partition_span(rows, shared.config.retention.max_bytes)
    }

    /// How far the log is in segments once `head` is published.
    fn watermarks_without(&self, head: &SealedHead) -> Watermarks {
        let live = self.shared.live();
        let mut watermarks = live.watermarks;
        let last = match head {
            SealedHead::Logs(head) => head.last_sequence,
            SealedHead::Traces(head) => head.last_sequence,
            SealedHead::Metrics(head) => head.last_sequence,
        };
        watermarks.sealed[signal(head) as usize] = last;
        watermarks.low = live.heads.low_without(signal(head));
        watermarks
    }
}

fn signal(head: &SealedHead) -> Signal {
    match head {
        SealedHead::Logs(_) => Signal::Logs,
        SealedHead::Traces(_) => Signal::Traces,
        SealedHead::Metrics(_) => Signal::Metrics,
    }
}

/// Nothing of a head is put into an older partition than this one's.
fn partition_floor(head: &SealedHead, span: Span) -> Timestamp {
    match head {
        SealedHead::Logs(head) => retention::partition_floor(&head.times(), span),
        SealedHead::Traces(head) => retention::partition_floor(&head.times(), span),
        SealedHead::Metrics(head) => retention::partition_floor(&metrics::seal::times(head), span),
    }
}

/// Projects that a head has log records of.
fn projects(head: &SealedHead) -> usize {
    let SealedHead::Logs(head) = head else {
        return 0;
    };
    let groups = head.groups();
    let chunks = groups.iter().flat_map(|group| &group.chunks);
    let projects: BTreeSet<ProjectId> = chunks.map(|chunk| chunk.request.project).collect();
    projects.len()
}

fn cleared(head: &SealedHead) -> u64 {
    match head {
        SealedHead::Logs(head) => head.cleared,
        SealedHead::Traces(head) => head.cleared,
        SealedHead::Metrics(_) => 0,
    }
}

fn head_bytes(head: &SealedHead) -> u64 {
    match head {
        SealedHead::Logs(head) => head.bytes,
        SealedHead::Traces(head) => head.bytes,
        SealedHead::Metrics(head) => head.bytes,
    }
}

fn keys(head: &SealedHead) -> Vec<Key> {
    match head {
        SealedHead::Logs(head) => head.keys.clone(),
        SealedHead::Traces(head) => head.keys.clone(),
        SealedHead::Metrics(head) => head.keys.iter().copied().filter(|key| key.0 != 0).collect(),
    }
}

/// The waiting head with the lowest sequence: sealing in order lets the log go from its old end.
fn oldest(heads: &AllHeads) -> Option<SealedHead> {
    let logs = heads.logs.sealing.front();
    let traces = heads.traces.sealing.front();
    let metrics = heads.metrics.sealing.front();
    let all = [
        logs.map(|head| (head.first_sequence, SealedHead::Logs(head.clone()))),
        traces.map(|head| (head.first_sequence, SealedHead::Traces(head.clone()))),
        metrics.map(|head| (head.first_sequence, SealedHead::Metrics(head.clone()))),
    ];
    let oldest = all.into_iter().flatten().min_by_key(|(first, _)| *first);
    oldest.map(|(_, head)| head)
}

/// Writes a segment and opens it again.
pub(super) fn create(
    shared: &Shared,
    row: SegmentRow,
    bytes: &[u8],
) -> Result<Segment, StoreError> {
    let path = shared.config.dir.join(row.path());
    write(shared, &path, |file| file.append(bytes, &[]))?;
    open(shared, row)
}

/// Writes a segment's file so that it is durable under its name, or leaves nothing behind when the
/// volume is full.
pub(super) fn write<T>(
    shared: &Shared,
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::io::Result<T>,
) -> Result<T, StoreError> {
    let dir = path.parent().expect("a segment lies in its partition");
    let disk = &shared.disk;
    disk.ensure_dir(dir)
        .map_err(StoreError::io("make directory", dir))?;
    let mut given = None;
    let written = disk::publish(disk, path, |file| {
        given = Some(fill(file)?);
        Ok(())
    });
    if let Err(e) = written {
        let error = StoreError::io("write", path)(e);
        if error.is_out_of_space() {
            // Best effort: what stays is deleted at the next start.
            let _gone = disk.remove(&disk::tmp_path(path));
        }
        return Err(error);
    }
    Ok(given.expect("publish() calls fill"))
}

/// Opens a segment just written, so that a file that cannot be read is never published.
pub(super) fn open(shared: &Shared, row: SegmentRow) -> Result<Segment, StoreError> {
    let path = shared.config.dir.join(row.path());
    let file = shared
        .disk
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    Segment::open(file, row)
}

/// Unlinks the files of segments that the catalogue no longer names. Empty directories stay until
/// the next start: the sealer may be about to write into one.
pub(super) fn unlink<'a>(
    shared: &Shared,
    rows: impl IntoIterator<Item = &'a SegmentRow>,
) -> Result<(), StoreError> {
    for row in rows {
        let path = shared.config.dir.join(row.path());
        match shared.disk.remove(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path)(e));
            }
            _ => {}
        }
    }
    Ok(())
}
