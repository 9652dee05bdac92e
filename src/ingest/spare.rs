//! Buffers of requests, kept for the next ones. A request's bytes live from the socket until its head
//! is a segment; then an allocator gives hundreds of megabytes a second back to the system and takes
//! them anew, page by page: that cost memory (what it had not yet given back) and time (clearing it).
//!
//! Holds at most its bound, and nothing when no requests come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// Smaller requests share pages with others: nothing is gained.
const BUFFER_BYTES_MIN: usize = 32 << 10;

/// Buffers kept at once: what a look through all of them costs is not seen.
const BUFFERS_MAX: usize = 256;

/// A buffer is used again for what fills it but for one part in so many.
const SURPLUS_PART: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Spare {
    state: Mutex<State>,
    /// Bytes of all buffers.
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Empty ones; those that came back first are in front.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Since the last [`Spare::trim`].
    was_asked: bool,
}

impl Spare {
    pub(super) fn new(max: usize) -> Arc<Spare> {
        Arc::new(Spare {
            state: Mutex::default(),
            max,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// Bytes of the buffers that wait for a request.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The smallest buffer that has room for so many bytes and little more.
    pub(super) fn take(&self, wanted: usize) -> Option<Vec<u8>> {
        if wanted < BUFFER_BYTES_MIN {
            return None;
        }
        let mut state = self.lock();
        state.was_asked = true;
        let fits = wanted..=wanted + wanted / SURPLUS_PART;
        let capacities = state.buffers.iter().map(Vec::capacity).enumerate();
        let (at, _) = capacities
            .filter(|(_, capacity)| fits.contains(capacity))
            .min_by_key(|(_, capacity)| *capacity)?;
        let buffer = state.buffers.remove(at)?;
        state.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer, or frees it: those that nobody wanted for longest go for it.
    pub(super) fn put(&self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if !(BUFFER_BYTES_MIN..=self.max).contains(&capacity) {
            return;
        }
        buffer.clear();
        // Freed when the lock is not held any more.
        let mut freed = Vec::new();
        let mut state = self.lock();
        while state.bytes + capacity > self.max || state.buffers.len() >= BUFFERS_MAX {
            let Some(oldest) = state.buffers.pop_front() else {
                break;
            };
            state.bytes -= oldest.capacity();
            freed.push(oldest);
        }
        state.bytes += capacity;
        state.buffers.push_back(buffer);
        drop(state);
    }

    /// To be called a few times a second: frees everything when nobody has asked since the last time.
    pub(super) fn trim(&self) {
        let mut state = self.lock();
        let idle = !std::mem::take(&mut state.was_asked);
        if idle && state.bytes > 0 {
            let freed = std::mem::take(&mut *state);
            drop(state);
            drop(freed);
        }
    }

    /// The bytes of a request; their buffer comes back when nobody reads them any more.
    pub(super) fn lend(self: &Arc<Spare>, bytes: Vec<u8>) -> Bytes {
        if bytes.capacity() < BUFFER_BYTES_MIN {
            return Bytes::from(bytes);
        }
        Bytes::from_owner(Lent {
            bytes,
            spare: self.clone(),
        })
    }
}

struct Lent {
    bytes: Vec<u8>,
    spare: Arc<Spare>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 4 * BUFFER_BYTES_MIN;

    fn buffer(capacity: usize) -> Vec<u8> {
        Vec::with_capacity(capacity)
    }

    #[test]
    fn a_buffer_comes_back_once_its_last_reader_is_gone() {
        let spare = Spare::new(4 * SIZE);
        let mut bytes = buffer(SIZE);
        bytes.extend_from_slice(b"records");
        let (place, lent) = (bytes.as_ptr(), spare.lend(bytes));
        let reader = lent.slice(2..4);
        drop(lent);
        assert_eq!((spare.bytes(), &reader[..]), (0, &b"co"[..]));
        drop(reader);
        assert_eq!(spare.bytes(), SIZE);
        let again = spare.take(SIZE - 100).expect("it fits");
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert_eq!(spare.bytes(), 0);
    }

    #[test]
    fn only_what_fills_a_buffer_gets_it() {
        let spare = Spare::new(4 * SIZE);
        spare.put(buffer(SIZE));
        spare.put(buffer(SIZE + 1));
        for wrong in [10, SIZE / 2, SIZE + 2] {
            assert_eq!(spare.take(wrong), None, "{wrong}");
        }
        let taken = spare.take(SIZE).expect("two fit");
        assert_eq!(taken.capacity(), SIZE, "the smaller one");
    }

    #[test]
    fn never_more_than_its_bound_and_nothing_when_idle() {
        let spare = Spare::new(3 * SIZE);
        spare.put(buffer(10));
        spare.put(buffer(3 * SIZE + 1));
        assert_eq!(spare.bytes(), 0, "too small and too large ones");
        for more in 0..5 {
            spare.put(buffer(SIZE - more));
            assert!(spare.bytes() <= 3 * SIZE);
        }
        assert_eq!(spare.take(SIZE), None, "the oldest went");
        spare.trim();
        assert_eq!(spare.bytes(), 3 * SIZE - 9, "asked for a moment ago");
        spare.trim();
        assert_eq!(spare.bytes(), 0);
    }
}
