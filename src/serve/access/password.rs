//! Hashing passwords: argon2id, m = 19 MiB, t = 2, p = 1 (reliability S3).

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory of one hash in KiB: OWASP's minimum, because the whole server may have 256 MB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Hashes at a time: each takes 19 MiB and a core.
const HASHES_MAX: usize = 1;
/// Hashes that wait or run. Each takes about 50 ms, so the last one waits for half a second; more
/// people do not log in at once, so the rest are guesses.
pub(super) const PLACES_MAX: usize = 10;

/// Salt and hash of a password.
#[derive(Clone, Copy)]
pub(crate) struct Hash {
    pub(crate) salt: [u8; 16],
    pub(crate) hash: [u8; 32],
}

/// Lets one hash run at a time, a few others wait, and refuses more.
pub(crate) struct Hashing {
    places: Arc<Semaphore>,
    slots: Arc<Semaphore>,
}

/// A place in the queue; given back when dropped.
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Hashing {
    pub(crate) fn new() -> Hashing {
        Hashing {
            places: Arc::new(Semaphore::new(PLACES_MAX)),
            slots: Arc::new(Semaphore::new(HASHES_MAX)),
        }
    }

    /// `None`: [`PLACES_MAX`] others are there already.
    pub(crate) fn place(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(Place)
    }

    /// Hashes a new password with a fresh salt.
    pub(crate) async fn hash(&self, place: Place, password: String) -> Hash {
        self.run(place, move || hash_now(&password)).await
    }

    /// Whether the password is the one hashed. For an unknown account pass None: it takes the same
    /// time and is false.
    pub(crate) async fn verify(&self, place: Place, password: String, kept: Option<Hash>) -> bool {
        self.run(place, move || {
            let known = kept.is_some();
            let kept = kept.unwrap_or(Hash {
                salt: [0; 16],
                hash: [0; 32],
            });
            let hash = derive(&password, &kept.salt);
            bool::from(hash.ct_eq(&kept.hash)) && known
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        let work = tokio::task::spawn_blocking(move || {
            // Held by the work and not by who waits for it: a client that hangs up does not stop
            // the hash, and the next one must not run beside it.
            let (_place, _slot) = (place, slot);
            work()
        });
        work.await.expect("hashing does not panic")
    }
}

/// Hashes on this thread; for the command line and the start.
pub(crate) fn hash_now(password: &str) -> Hash {
    let mut salt = [0; 16];
    super::secret::fill(&mut salt);
    Hash {
        salt,
        hash: derive(password, &salt),
    }
}

fn derive(password: &str, salt: &[u8; 16]) -> [u8; 32] {
    let params = Params::new(MEMORY_KIB, 2, 1, Some(32)).expect("constant parameters are valid");
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .expect("salt and output have fixed, valid lengths");
    hash
}

/// Compares on this thread; for the start.
pub(crate) fn matches_now(password: &str, kept: &Hash) -> bool {
    bool::from(derive(password, &kept.salt).ct_eq(&kept.hash))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;
    use std::time::{Duration, Instant};

    use super::*;

    /// Clients that ask and hang up at once: their work goes on, but never two at a time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hanging_up_starts_no_second_hash() {
        let hashing = Hashing::new();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (running, most) = (running.clone(), most.clone());
            move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                running.fetch_sub(1, Ordering::SeqCst);
            }
        };
        for _ in 0..PLACES_MAX {
            let place = hashing.place().expect("nobody waits");
            let mut asked = Box::pin(hashing.run(place, work()));
            std::future::poll_fn(|cx| {
                _ = asked.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
        }
        let place = hashing.place().expect("who hung up waits no longer");
        hashing.run(place, work()).await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let hashing = Hashing::new();
        let places: Vec<_> = (0..PLACES_MAX).map(|_| hashing.place()).collect();
        assert!(places.iter().all(Option::is_some) && hashing.place().is_none());
        drop(places);
        assert!(hashing.place().is_some());
    }

    /// The quickest of several runs each, taken in turns: noise of the machine only adds.
    #[tokio::test]
    async fn an_unknown_account_takes_as_long_as_a_known_one() {
        let hashing = Hashing::new();
        let kept = [Some(hash_now("another password")), None];
        let mut quickest = [Duration::MAX; 2];
        // A busy machine needs a few more rounds until both have had a quiet moment.
        for _ in 0..100 {
            for (quickest, kept) in quickest.iter_mut().zip(kept) {
                let place = hashing.place().expect("nobody waits");
                let started = Instant::now();
                assert!(!hashing.verify(place, "a wrong one".to_owned(), kept).await);
                *quickest = started.elapsed().min(*quickest);
            }
            let [known, unknown] = quickest.map(|time| time.as_secs_f64());
            if (0.9..1.1).contains(&(unknown / known)) {
                return;
            }
        }
        panic!("known and unknown: {quickest:?}");
    }
}
