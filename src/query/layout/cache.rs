//! Layouts of the traces that are being looked at. A page lays a trace out once; its columns and
//! every span that its drawer shows name that version and get the very rows the page was drawn
//! from. It must never stand in for reading: a page that is opened asks the store what is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{FoldGroup, Layout, Row};
use crate::model::TraceId;
use crate::query::control::Stats;

/// Layouts kept at once: more pages than a small team has open, few enough to look through.
const LAYOUTS_MAX: usize = 64;

/// A layout with the version of the trace that it shows.
#[derive(Clone, Debug)]
pub(crate) struct LaidOut {
    pub(crate) layout: Layout,
    pub(crate) version: u64,
    /// Of the reading it was made from.
    pub(crate) stats: Stats,
}

impl LaidOut {
    fn bytes(&self) -> usize {
        let layout = &self.layout;
        let names = layout.operations.iter();
        let services = layout.services.iter().map(|service| &service.name);
        size_of::<LaidOut>()
            + layout.rows.len() * size_of::<Row>()
            + layout.groups.len() * size_of::<FoldGroup>()
            + layout.critical.len() * size_of::<super::CriticalSegment>()
            + names
                .chain(services)
                .map(|name| name.len() + 32)
                .sum::<usize>()
    }
}

/// Answers and bytes of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheFigures {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) bytes: u64,
    /// Layouts larger than the whole cache, which were not kept.
    pub(crate) too_large: u64,
}

/// Layouts by trace and version, the one used last at the end; bounded in bytes.
#[derive(Debug)]
pub(crate) struct Cache {
    bytes_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    too_large: AtomicU64,
    /// Counts [`Cache::forget`]: what was read before one is not kept after it.
    epoch: AtomicU64,
    /// Guards the list; held for a look through it, never while a trace is laid out.
    kept: Mutex<Vec<(Arc<LaidOut>, usize)>>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// The layout of this very version, where it is kept; counted.
    pub(crate) fn get(&self, id: TraceId, version: u64) -> Option<Arc<LaidOut>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |(one, _): &(Arc<LaidOut>, usize)| (one.layout.trace_id, one.version) == (id, version);
        let found = kept.iter().position(same);
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let entry = kept.remove(found?);
        let laid_out = entry.0.clone();
        kept.push(entry);
        Some(laid_out)
    }

    /// Names the time since the last [`Cache::forget`]; ask before reading a trace.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Drops everything: records were deleted, and no open page may show them again.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        kept.clear();
    }

    /// Keeps a layout of what was read in `epoch`; those not used for longest go.
    pub(crate) fn put(&self, laid_out: LaidOut, epoch: u64) -> Arc<LaidOut> {
        let bytes = laid_out.bytes();
        let laid_out = Arc::new(laid_out);
        if bytes > self.bytes_max {
            self.too_large.fetch_add(1, Ordering::Relaxed);
            return laid_out;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() != epoch {
            return laid_out;
        }
        kept.retain(|(one, _)| {
            (one.layout.trace_id, one.version) != (laid_out.layout.trace_id, laid_out.version)
        });
        kept.push((laid_out.clone(), bytes));
        let mut total: usize = kept.iter().map(|(_, bytes)| bytes).sum();
        while total > self.bytes_max || kept.len() > LAYOUTS_MAX {
            total -= kept.remove(0).1;
        }
        laid_out
    }

    pub(crate) fn figures(&self) -> CacheFigures {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        CacheFigures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: kept.iter().map(|(_, bytes)| *bytes as u64).sum(),
            too_large: self.too_large.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn laid_out(id: u8, version: u64, names: usize) -> LaidOut {
        LaidOut {
            layout: Layout {
                trace_id: TraceId([id; 16]),
                start: Timestamp(0),
                duration_ns: 0,
                rows: Vec::new(),
                services: Vec::new(),
                operations: vec!["x".repeat(68); names],
                groups: Vec::new(),
                critical: Vec::new(),
                errors: 0,
                depth: 0,
                missing_parents: 0,
                skewed: 0,
            },
            version,
            stats: Stats::default(),
        }
    }

    #[test]
    fn versions_are_apart_and_the_least_used_go_first() {
        let cache = Cache::new(25_000);
        cache.put(laid_out(1, 1, 100), 0);
        cache.put(laid_out(1, 2, 100), 0);
        let has = |id: u8, version| cache.get(TraceId([id; 16]), version).is_some();
        assert!(has(1, 2) && has(1, 1) && !has(2, 1) && !has(1, 3));
        // The third does not fit beside both: version 2 was used less lately than version 1.
        cache.put(laid_out(2, 1, 100), 0);
        assert!(has(2, 1) && has(1, 1) && !has(1, 2));
        let before = cache.figures();
        assert!(
            before.bytes > 20_000 && before.bytes <= 25_000,
            "{before:?}"
        );
        cache.put(laid_out(3, 1, 300), 0);
        let figures = cache.figures();
        assert_eq!((figures.too_large, figures.bytes), (1, before.bytes));
        assert_eq!((figures.hits, figures.misses), (4, 3));
    }

    #[test]
    fn one_version_is_kept_once() {
        let cache = Cache::new(1 << 20);
        cache.put(laid_out(1, 1, 10), 0);
        let once = cache.figures().bytes;
        cache.put(laid_out(1, 1, 10), 0);
        assert_eq!(cache.figures().bytes, once);
        for id in 0..200 {
            cache.put(laid_out(id, 1, 1), 0);
        }
        assert!(
            cache.get(TraceId([1; 16]), 1).is_none(),
            "the number is bounded, too"
        );
    }

    #[test]
    fn what_was_read_before_a_deletion_is_not_kept() {
        let cache = Cache::new(1 << 20);
        cache.put(laid_out(1, 1, 10), cache.epoch());
        let before = cache.epoch();
        cache.forget();
        cache.put(laid_out(2, 1, 10), before);
        assert_eq!(cache.figures().bytes, 0);
        cache.put(laid_out(2, 1, 10), cache.epoch());
        assert!(cache.get(TraceId([2; 16]), 1).is_some());
    }
}
