//! The memory that requests in flight may use: one weighted semaphore over their bytes, compressed
//! and decompressed, from the first byte read until the store has them (reliability.md O2).
//! Nothing polls; whoever does not get memory within half a second is told to come back.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Refusal;
use super::spare::Spare;

/// How long one request may wait for memory, all its waits together: with the queue behind it, what is
/// accepted under overload is answered within about a second (reliability.md O1, O2).
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Told to senders that got none.
const RETRY_AFTER_S: u32 = 2;

/// Buffers that wait for the next request have one part in so many of the door's share and at most so
/// many bytes, out of the tenth of the memory that is left to the allocator: it would keep their pages
/// as well. Requests have the whole share: four of the largest must fit.
const SPARE_PART: usize = 8;
const SPARE_BYTES_MAX: usize = 16 << 20;

/// The whole budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    total: usize,
    spare: Arc<Spare>,
}

/// Bytes of the budget, given back when it and all that it is [`Kept`] for are dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Budget,
    held: Kept,
    patience: Duration,
}

/// Keeps the bytes of a [`Permit`] for work that goes on when its sender has hung up.
#[derive(Clone, Debug)]
pub(super) struct Kept(Arc<Mutex<OwnedSemaphorePermit>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, OwnedSemaphorePermit> {
        self.0
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

impl Budget {
    /// Of so many bytes, without spare buffers.
    #[cfg(test)]
    pub(crate) fn new(bytes: usize) -> Budget {
        Budget::with_spare(bytes, Spare::new(0))
    }

    /// Of the door's share of the memory.
    pub(super) fn of_share(bytes: usize) -> Budget {
        let spare = (bytes / SPARE_PART).min(SPARE_BYTES_MAX);
        Budget::with_spare(bytes, Spare::new(spare))
    }

    fn with_spare(bytes: usize, spare: Arc<Spare>) -> Budget {
        let total = bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Budget {
            bytes: Arc::new(Semaphore::new(total)),
            total,
            spare,
        }
    }

    pub(super) fn spare(&self) -> &Arc<Spare> {
        &self.spare
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn used(&self) -> usize {
        self.total - self.bytes.available_permits()
    }

    /// # Errors
    /// [`Refusal::Overloaded`] after [`WAIT_MAX`].
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Permit, Refusal> {
        let nothing = self.bytes.clone().try_acquire_many_owned(0);
        let mut permit = Permit {
            budget: self.clone(),
            held: Kept(Arc::new(Mutex::new(nothing.expect(
                "zero permits are always there, the semaphore is never closed",
            )))),
            patience: WAIT_MAX,
        };
        permit.grow(bytes).await?;
        Ok(permit)
    }
}

impl Permit {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.held.lock().num_permits()
    }

    /// Bytes of the whole budget.
    pub(crate) const fn total(&self) -> usize {
        self.budget.total
    }

    /// Takes more.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when the request has waited [`WAIT_MAX`] in all.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let semaphore = &self.budget.bytes;
        let n = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(more) = semaphore.clone().try_acquire_many_owned(n) {
            self.held.lock().merge(more);
            return Ok(());
        }
        let overloaded = Refusal::Overloaded {
            retry_after_s: RETRY_AFTER_S,
        };
        let started = tokio::time::Instant::now();
        let more = timeout(self.patience, semaphore.clone().acquire_many_owned(n)).await;
        self.patience = self.patience.saturating_sub(started.elapsed());
        match more {
            Ok(Ok(more)) => self.held.lock().merge(more),
            Ok(Err(_)) => return Err(Refusal::Closing),
            Err(_) => return Err(overloaded),
        }
        Ok(())
    }

    /// An empty buffer with room for `bytes`, which have been asked for. What room it has beyond them
    /// is asked for too.
    pub(crate) fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        let Some(buffer) = self.budget.spare.take(bytes) else {
            return Vec::with_capacity(bytes);
        };
        let surplus = u32::try_from(buffer.capacity() - bytes).unwrap_or(u32::MAX);
        match self.budget.bytes.clone().try_acquire_many_owned(surplus) {
            Ok(more) => {
                self.held.lock().merge(more);
                buffer
            }
            Err(_) => {
                drop(buffer);
                Vec::with_capacity(bytes)
            }
        }
    }

    /// A buffer that is of no use any more, for another request.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        self.budget.spare.put(buffer);
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let mut held = self.held.lock();
        let more = held.num_permits().saturating_sub(bytes);
        drop(held.split(more));
    }

    pub(super) fn kept(&self) -> Kept {
        self.held.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_gets_more_than_there_is_and_nobody_waits_longer_than_that() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60).await.expect("free");
        first.grow(40).await.expect("free");
        let started = tokio::time::Instant::now();
        let refused = budget.reserve(1).await.expect_err("nothing is left");
        assert_eq!(refused, Refusal::Overloaded { retry_after_s: 2 });
        assert_eq!(started.elapsed(), WAIT_MAX);
        first.shrink(70);
        assert_eq!((budget.used(), first.bytes()), (70, 70));
        let second = budget.reserve(30).await.expect("given back");
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_used_buffer_counts_with_all_its_room() {
        const SIZE: usize = 1 << 20;
        let budget = Budget::of_share(8 * SIZE);
        assert_eq!((budget.total(), budget.spare().bytes()), (8 * SIZE, 0));
        let mut permit = budget.reserve(SIZE).await.expect("free");
        let buffer = permit.buffer(SIZE);
        permit.give_back(buffer);
        permit.shrink(SIZE - 10);
        let buffer = permit.buffer(SIZE - 10);
        assert_eq!((buffer.capacity(), permit.bytes()), (SIZE, SIZE));
        permit.give_back(buffer);
        permit.shrink(SIZE - 10);
        let _rest = budget.reserve(7 * SIZE + 5).await.expect("free");
        let buffer = permit.buffer(SIZE - 10);
        assert_eq!(buffer.capacity(), SIZE - 10, "no room for more");
        assert_eq!(permit.bytes(), SIZE - 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_works_on_keeps_its_memory() {
        let budget = Budget::new(100);
        let mut permit = budget.reserve(60).await.expect("free");
        let kept = permit.kept();
        permit.shrink(50);
        drop(permit);
        assert_eq!(budget.used(), 50, "the sender hung up, the work goes on");
        drop(kept);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_of_a_request_share_one_patience() {
        let budget = Budget::new(10);
        let all = budget.reserve(10).await.expect("free");
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move {
                let mut permit = budget.reserve(5).await?;
                permit.grow(50).await
            }
        });
        tokio::time::sleep(WAIT_MAX * 3 / 5).await;
        let freed = tokio::time::Instant::now();
        drop(all);
        let outcome = waiter.await.expect("no panic");
        assert_eq!(outcome, Err(Refusal::Overloaded { retry_after_s: 2 }));
        assert_eq!(freed.elapsed(), WAIT_MAX * 2 / 5);
    }
}
