//! Threads of their own for queries, which give way to ingest: where cores are short, a query is
//! what can wait. On an idle machine they run at once like any other.
//!
//! A thread is started when work finds none idle, and ends with its memory when none has come for a
//! while: an allocator keeps what a sleeping thread has freed.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::oneshot;

/// Niceness of the threads: beside a thread of ingest on the same core they get a tenth of it.
const NICENESS: i32 = 10;

/// How long a thread waits for more work before it ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// See the module. The threads end when this is dropped and their work is done.
#[derive(Debug)]
pub(crate) struct NicedThreads {
    shared: Arc<Shared>,
}

/// Why work gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Panicked,
    /// No thread could be started, and none was there.
    NoThread,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ended::Panicked => "it panicked",
            Ended::NoThread => "no thread can be started for it",
        })
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads, {} idle", self.threads, self.idle)
    }
}

impl NicedThreads {
    /// At most `threads_max` at once.
    pub(crate) fn new(threads_max: usize) -> NicedThreads {
        NicedThreads {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Condvar::new(),
                threads_max: threads_max.max(1),
            }),
        }
    }

    /// Runs work on one of the threads. What waits for one is not bounded here: callers have a slot
    /// for each thread.
    ///
    /// # Errors
    /// The work gave no answer.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        // Whoever asked may have gone; the panic of work has been told on stderr and drops `reply`.
        let work = Box::new(move || _ = reply.send(work()));
        self.shared.put(work)?;
        answer.await.map_err(|_| Ended::Panicked)
    }
}

impl Drop for NicedThreads {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock();
        state.expect("nothing panics while it holds the lock")
    }

    fn put(self: &Arc<Shared>, work: Work) -> Result<(), Ended> {
        let mut state = self.lock();
        state.waiting.push_back(work);
        if state.waiting.len() > state.idle && state.threads < self.threads_max {
            let shared = self.clone();
            let started = Builder::new()
                .name("query".to_owned())
                .spawn(move || shared.work());
            match started {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    tracing::warn!(%error, "a query finds no thread");
                    state.waiting.pop_back();
                    return Err(Ended::NoThread);
                }
                Err(_) => {}
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self) {
        give_way();
        while let Some(work) = self.next() {
            _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    /// `None`: the thread is to end.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        state.idle += 1;
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, IDLE_MAX, |state| {
                state.waiting.is_empty() && !state.closed
            })
            .expect("nothing panics while it holds the lock");
        state.idle -= 1;
        let work = state.waiting.pop_front();
        if work.is_none() {
            state.threads -= 1;
        }
        work
    }
}

/// Linux counts niceness by thread. Without it queries are as before: no reason to stop.
fn give_way() {
    let own = rustix::process::getpriority_process(None).unwrap_or(0);
    if own >= NICENESS {
        return;
    }
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "queries do not give way to ingest");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).expect("a thread knows its own")
    }

    #[tokio::test]
    async fn work_is_niced_and_nobody_else_is() {
        let threads = NicedThreads::new(2);
        let before = niceness();
        assert_eq!(threads.run(niceness).await, Ok(NICENESS.max(before)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn a_panic_ends_its_work_alone() {
        let threads = NicedThreads::new(1);
        let broken = threads.run(|| -> u32 { panic!("a query that breaks") });
        assert_eq!(broken.await, Err(Ended::Panicked));
        assert_eq!(threads.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_waits_for_a_thread_and_threads_are_no_more_than_allowed() {
        let threads = Arc::new(NicedThreads::new(2));
        let running = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let asked = (0..64).map(|n| {
            let (threads, running) = (threads.clone(), running.clone());
            tokio::spawn(async move {
                let work = move || {
                    let at_once = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    (n, at_once)
                };
                threads.run(work).await
            })
        });
        let asked: Vec<_> = asked.collect();
        for (n, answer) in asked.into_iter().enumerate() {
            let (own, at_once) = answer.await.expect("it ends").expect("it answers");
            assert_eq!(own, n);
            assert!(at_once < 2);
        }
        assert!(threads.shared.lock().threads <= 2);
    }

    #[tokio::test]
    async fn threads_end_when_nobody_can_ask_any_more() {
        let threads = NicedThreads::new(2);
        assert_eq!(threads.run(|| 1).await, Ok(1));
        let shared = threads.shared.clone();
        drop(threads);
        while shared.lock().threads > 0 {
            std::thread::yield_now();
        }
    }
}
