//! Where large requests are decoded: on blocking threads, a few at a time, so that pages and small
//! requests are served meanwhile. 32 MiB of JSON take a core for a quarter of a second.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Up to here decoding is quicker than changing threads is worth: 1 MiB takes about 2 ms as
/// protobuf, 8 ms as JSON.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// The threads for large requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Offload {
    slots: Arc<Semaphore>,
}

impl Offload {
    /// Half of the cores: the others answer. Who waits here holds its share of the memory budget, so
    /// the budget bounds how many wait.
    pub(super) fn new() -> Offload {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Offload {
            slots: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }

    /// Runs `work` over `bytes` of a request, here or on a blocking thread. Dropping the future lets
    /// work that has begun run to its end, in its slot, and throws the outcome away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if bytes <= INLINE_BYTES_MAX {
            return work();
        }
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        let work = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        match work.await {
            Ok(outcome) => outcome,
            // As if it had panicked here: the request is answered with 500.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
