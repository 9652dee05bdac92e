//! Hashing passwords: argon2id, m = 19 MiB, t = 2, p = 1 (reliability S3).

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Memory of one hash in KiB: OWASP's minimum, because the whole server may have 256 MB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Hashes at a time: each takes 19 MiB and a core.
const HASHES_MAX: usize = 1;

/// Salt and hash of a password.
#[derive(Clone, Copy)]
pub(crate) struct Hash {
    pub(crate) salt: [u8; 16],
    pub(crate) hash: [u8; 32],
}

/// Lets one hash run at a time and the others wait.
pub(crate) struct Hashing {
    slots: Semaphore,
}

impl Hashing {
    pub(crate) fn new() -> Hashing {
        Hashing {
            slots: Semaphore::new(HASHES_MAX),
        }
    }

    /// Hashes a new password with a fresh salt.
    pub(crate) async fn hash(&self, password: String) -> Hash {
        self.run(move || hash_now(&password)).await
    }

    /// Whether the password is the one hashed. For an unknown account pass None: it takes the same
    /// time and is false.
    pub(crate) async fn verify(&self, password: String, kept: Option<Hash>) -> bool {
        self.run(move || {
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

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _slot = self
            .slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        tokio::task::spawn_blocking(work)
            .await
            .expect("hashing does not panic")
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
