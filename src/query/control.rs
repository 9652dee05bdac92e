//! What bounds a query while it runs: its id, deadline, cancel flag, byte budget and counters, and
//! the list of running queries. Everything is checked once per block, never per record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time a query may run: a browser tab waits no longer, and a partial answer with a reason
/// is worth more than none.
pub(crate) const QUERY_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes of blocks one query may read: about 10 s of one core's scanning (storage.md: 400 MB/s).
pub(crate) const QUERY_BYTES_MAX: u64 = 4 << 30;

/// Time beyond the deadline for reading in full what was found by then, so that a search that takes
/// too long shows something: a page of records from about as many blocks.
pub(crate) const FINISH_TIME_MAX: Duration = Duration::from_secs(2);

/// Memory that one query may hold for what it found and for the answer made of it, in bytes, when
/// the budget gives it no less: 10,000 records of 1.5 KB, twice.
pub(crate) const QUERY_MEMORY_MAX: u64 = 32 << 20;

/// Queries listed as running at once; the semaphore in front of the engine lets far fewer run.
pub(crate) const RUNNING_MAX: usize = 1024;

/// Why an answer covers less than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partial {
    /// The deadline passed.
    Deadline,
    /// Somebody cancelled it (`DELETE /api/v1/queries/{id}`, or the client went away).
    Cancelled,
    /// The byte budget is used up.
    Bytes,
    /// What it found so far takes the memory of one query.
    Memory,
    /// More rows, values or spans than an answer may hold.
    Rows,
    /// Blocks of the range are damaged and quarantined.
    Damaged,
}

impl Partial {
    /// One sentence for people: what stopped it and what helps.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Partial::Deadline => "stopped at its time limit; narrow the time range or the query",
            Partial::Cancelled => "cancelled",
            Partial::Bytes => "stopped at its byte budget; narrow the time range or the query",
            Partial::Memory => {
                "stopped at its memory budget (limits.memory); narrow the query or lower the limit"
            }
            Partial::Rows => "more results than one answer holds; narrow the query",
            Partial::Damaged => "parts of the data are damaged and were left out",
        }
    }
}

/// What a query cost and how far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stats {
    pub(crate) scanned_records: u64,
    pub(crate) scanned_bytes: u64,
    pub(crate) elapsed: Duration,
    /// `None`: the answer is complete for the range asked.
    pub(crate) partial: Option<Partial>,
    /// Share of the range's bytes that was looked at or skipped on good grounds, 0 to 1; 1 when
    /// complete ("searched 62 %").
    pub(crate) searched: f64,
}

/// The bounds and counters of one running query; shared with whoever may cancel it.
#[derive(Debug)]
pub(crate) struct Control {
    id: u64,
    started: Instant,
    deadline: Instant,
    bytes_max: u64,
    memory_max: u64,
    cancelled: AtomicBool,
    records: AtomicU64,
    bytes: AtomicU64,
    held: AtomicU64,
}

impl Control {
    /// A control that no registry knows; `started` is the caller's clock.
    pub(crate) fn new(id: u64, started: Instant, time: Duration, bytes_max: u64) -> Control {
        Control {
            id,
            started,
            deadline: started + time,
            bytes_max,
            memory_max: QUERY_MEMORY_MAX,
            cancelled: AtomicBool::new(false),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// With a memory budget in bytes, at most [`QUERY_MEMORY_MAX`].
    pub(crate) fn with_memory(mut self, memory_max: u64) -> Control {
        self.memory_max = memory_max.min(QUERY_MEMORY_MAX);
        self
    }

    /// Samples that fit into its memory at once: a time and a value each.
    pub(crate) const fn samples_max(&self) -> usize {
        (self.memory_max / 16) as usize
    }

    /// Takes memory for something found. Checked by [`Control::check`] too, so that whoever cannot
    /// stop at once overshoots by one unit at most.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), Partial> {
        let bytes = bytes as u64;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.memory_max {
            return Err(Partial::Memory);
        }
        Ok(())
    }

    /// Gives memory back.
    pub(crate) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Stops the query at its next block.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the query must stop now. Reads the monotonic clock: the one bound that time itself
    /// sets.
    pub(crate) fn check(&self) -> Result<(), Partial> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(Partial::Cancelled)
        } else if self.bytes.load(Ordering::Relaxed) >= self.bytes_max {
            Err(Partial::Bytes)
        } else if self.held.load(Ordering::Relaxed) > self.memory_max {
            Err(Partial::Memory)
        } else if Instant::now() >= self.deadline {
            Err(Partial::Deadline)
        } else {
            Ok(())
        }
    }

    /// Whether reading what was found must stop now: cancelled, or well past the deadline. The byte
    /// budget is for searching; what is read is held against the memory budget one by one.
    pub(crate) fn check_finish(&self) -> Result<(), Partial> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(Partial::Cancelled)
        } else if Instant::now() >= self.deadline + FINISH_TIME_MAX {
            Err(Partial::Deadline)
        } else {
            Ok(())
        }
    }

    /// Counts what a block cost.
    pub(crate) fn scanned(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Records and bytes looked at so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (
            self.records.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn stats(&self, partial: Option<Partial>, searched: f64) -> Stats {
        let (scanned_records, scanned_bytes) = self.progress();
        Stats {
            scanned_records,
            scanned_bytes,
            elapsed: self.started.elapsed(),
            partial,
            searched,
        }
    }
}

/// The running queries by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    inner: Arc<RegistryInner>,
}

#[derive(Debug, Default)]
struct RegistryInner {
    next: AtomicU64,
    /// Guards the list only; held for a look-up, never while a query runs.
    running: Mutex<BTreeMap<u64, (String, Arc<Control>)>>,
}

/// A running query as `/api/v1/queries` and the shell list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunningQuery {
    pub(crate) id: u64,
    pub(crate) text: String,
    pub(crate) elapsed: Duration,
    pub(crate) scanned_records: u64,
    pub(crate) scanned_bytes: u64,
}

impl Registry {
    /// Lists a query as running until the returned guard is dropped. `None` when
    /// [`RUNNING_MAX`] queries run already.
    ///
    /// `memory_max` is what it may hold, in bytes, `time` what it may take: at most
    /// [`QUERY_TIME_MAX`].
    pub(crate) fn start(
        &self,
        text: &str,
        now: Instant,
        memory_max: u64,
        time: Duration,
    ) -> Option<Running> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed) + 1;
        let control = Control::new(id, now, time.min(QUERY_TIME_MAX), QUERY_BYTES_MAX);
        let control = Arc::new(control.with_memory(memory_max));
        let mut running = self.lock();
        if running.len() >= RUNNING_MAX {
            return None;
        }
        running.insert(id, (text.to_owned(), Arc::clone(&control)));
        Some(Running {
            control,
            registry: self.clone(),
        })
    }

    /// Cancels a running query; whether there was one.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let running = self.lock();
        let found = running.get(&id);
        if let Some((_, control)) = found {
            control.cancel();
        }
        found.is_some()
    }

    /// Memory that running queries hold, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        let running = self.lock();
        let held = running.values().map(|(_, control)| &control.held);
        held.map(|held| held.load(Ordering::Relaxed)).sum()
    }

    /// The running queries, oldest first.
    pub(crate) fn list(&self) -> Vec<RunningQuery> {
        let running = self.lock();
        let row = |(id, (text, control)): (&u64, &(String, Arc<Control>))| {
            let (scanned_records, scanned_bytes) = control.progress();
            RunningQuery {
                id: *id,
                text: text.clone(),
                elapsed: control.started.elapsed(),
                scanned_records,
                scanned_bytes,
            }
        };
        running.iter().map(row).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (String, Arc<Control>)>> {
        self.inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query in the list of running ones. Dropping it (also when the client disconnects) cancels
/// the work and takes it off the list.
#[derive(Debug)]
pub(crate) struct Running {
    control: Arc<Control>,
    registry: Registry,
}

impl Running {
    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.cancel();
        self.registry.lock().remove(&self.control.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_stops_a_query_with_its_reason() {
        let now = Instant::now();
        let control = Control::new(1, now, Duration::from_secs(60), 100);
        assert_eq!(control.check(), Ok(()));
        control.scanned(1, 100);
        assert_eq!(control.check(), Err(Partial::Bytes));
        control.cancel();
        assert_eq!(control.check(), Err(Partial::Cancelled));
        let hungry = Control::new(3, now, Duration::from_secs(60), 100).with_memory(1_000);
        assert_eq!(hungry.hold(1_000), Ok(()));
        assert_eq!(hungry.hold(1), Err(Partial::Memory));
        assert_eq!(hungry.check(), Err(Partial::Memory));
        hungry.release(1);
        assert_eq!(hungry.check(), Ok(()));
        let late = Control::new(2, now, Duration::ZERO, 100);
        assert_eq!(late.check(), Err(Partial::Deadline));
        assert_eq!(late.check_finish(), Ok(()));
        late.cancel();
        assert_eq!(late.check_finish(), Err(Partial::Cancelled));
        let overdue = now.checked_sub(FINISH_TIME_MAX).expect("the machine is up");
        let overdue = Control::new(3, overdue, Duration::ZERO, 100);
        assert_eq!(overdue.check_finish(), Err(Partial::Deadline));
    }

    #[test]
    fn a_running_query_is_listed_cancelled_by_id_and_gone_when_dropped() {
        let registry = Registry::default();
        let running = registry
            .start("error", Instant::now(), 1 << 20, QUERY_TIME_MAX)
            .expect("room");
        let id = running.control().id();
        assert_eq!(registry.list().len(), 1);
        assert!(registry.cancel(id));
        assert_eq!(running.control().check(), Err(Partial::Cancelled));
        drop(running);
        assert!(!registry.cancel(id));
        assert_eq!(registry.list(), vec![]);
    }
}
