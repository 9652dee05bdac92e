//! Threads of their own for queries, which give way to ingest: where cores are short, a query is
//! what can wait. On an idle machine they run at once like any other.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

/// Niceness of the threads: beside a thread of ingest on the same core they get a tenth of it.
const NICENESS: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// See the module. The threads end when this is dropped and their work is done.
#[derive(Debug)]
pub(crate) struct NicedThreads {
    queue: SyncSender<Work>,
}

impl NicedThreads {
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(n: usize) -> io::Result<NicedThreads> {
        let (queue, works) = sync_channel(n);
        let works = Arc::new(Mutex::new(works));
        for _ in 0..n {
            let works = works.clone();
            Builder::new()
                .name("query".to_owned())
                .spawn(move || run(&works))?;
        }
        Ok(NicedThreads { queue })
    }

    /// Runs work on one of the threads; `None`: it panicked. At most as many callers as there are
    /// threads may wait here at once: another one would block the thread that it runs on.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        // Whoever asked may have gone; the panic of work has been told on stderr and drops `reply`.
        let work = Box::new(move || _ = reply.send(work()));
        self.queue.send(work).ok()?;
        answer.await.ok()
    }
}

fn run(works: &Mutex<Receiver<Work>>) {
    // Linux counts niceness by thread. Without it queries are as before: no reason to stop.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "queries do not give way to ingest");
    }
    loop {
        let next = works.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else {
            return;
        };
        _ = catch_unwind(AssertUnwindSafe(work));
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
        let threads = NicedThreads::start(2).expect("threads start");
        let before = niceness();
        assert_eq!(threads.run(niceness).await, Some(NICENESS.max(before)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn a_panic_ends_its_work_alone() {
        let threads = NicedThreads::start(1).expect("threads start");
        let broken = threads.run(|| -> u32 { panic!("a query that breaks") });
        assert_eq!(broken.await, None);
        assert_eq!(threads.run(|| 7).await, Some(7));
    }
}
