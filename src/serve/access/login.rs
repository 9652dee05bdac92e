//! Logging in: the set-up link, passwords, and the brake on guessing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::password::{self, Hash};
use super::{Access, AccessError, checked_name, nanos};
use crate::model::Timestamp;
use crate::store::meta::{self, MetaError, UserRow};

/// Wrong passwords of one address for one account before it has to wait (reliability S3).
const FAILURES_MAX: u32 = 5;
/// How long failures are remembered, and the longest wait.
const FAILURE_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Addresses and accounts remembered; the oldest are forgotten first, about 100 bytes each.
const ATTEMPTS_MAX: usize = 10_000;
/// Shortest password. No rules about its letters: length is what helps.
const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password in bytes: argon2 takes longer ones, but nobody types them.
const PASSWORD_BYTES_MAX: usize = 1024;

/// One try to log in.
pub(crate) struct Attempt {
    pub(crate) peer: IpAddr,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Why a login or a set-up was refused.
#[derive(Debug)]
pub(crate) enum LoginError {
    /// The name or the password is wrong; which of them is not told.
    Wrong,
    /// Too many wrong tries; seconds until the next is looked at.
    Wait {
        seconds: u64,
    },
    /// The set-up link was used, is too old, or was replaced by a newer one.
    SetupOver,
    /// The wish cannot be granted; the text says why.
    Invalid(String),
    Meta(MetaError),
}

impl From<MetaError> for LoginError {
    fn from(e: MetaError) -> Self {
        LoginError::Meta(e)
    }
}

impl From<AccessError> for LoginError {
    fn from(e: AccessError) -> Self {
        match e {
            AccessError::Invalid(message) => LoginError::Invalid(message),
            AccessError::Meta(e) => LoginError::Meta(e),
        }
    }
}

impl std::fmt::Display for LoginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoginError::Wrong => f.write_str("the name or the password is wrong"),
            LoginError::Wait { seconds } => write!(f, "too many wrong passwords, wait {seconds} s"),
            LoginError::SetupOver => f.write_str("this set-up link was used or is too old"),
            LoginError::Invalid(message) => f.write_str(message),
            LoginError::Meta(e) => e.fmt(f),
        }
    }
}

/// Wrong tries by address and account. Guards one map; never held across an await.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<(IpAddr, String), Failures>>);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Attempts {
    /// Seconds to wait before the next try, 0 when it may be made now. From the fifth failure on the
    /// wait doubles from 30 s up to the window.
    fn wait_s(&self, key: &(IpAddr, String), now: Timestamp) -> u64 {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failures) = map.get(key) else {
            return 0;
        };
        let Some(over) = failures.count.checked_sub(FAILURES_MAX) else {
            return 0;
        };
        let wait_s = (30u64 << over.min(8)).min(FAILURE_WINDOW.as_secs());
        let until = failures.last.0.saturating_add(wait_s * 1_000_000_000);
        until.saturating_sub(now.0).div_ceil(1_000_000_000)
    }

    fn failed(&self, key: (IpAddr, String), now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            |failures: &Failures| now.0.saturating_sub(failures.last.0) <= nanos(FAILURE_WINDOW);
        map.retain(|_, failures| fresh(failures));
        if map.len() >= ATTEMPTS_MAX {
            let oldest = map
                .iter()
                .min_by_key(|(_, failures)| failures.last)
                .map(|(key, _)| key.clone());
            oldest.map(|key| map.remove(&key));
        }
        let failures = map.entry(key).or_insert(Failures {
            count: 0,
            last: now,
        });
        *failures = Failures {
            count: failures.count + 1,
            last: now,
        };
    }

    fn succeeded(&self, key: &(IpAddr, String)) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

impl Access {
    /// Checks a password and starts a session; returns the cookie's secret.
    pub(crate) async fn login(
        &self,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<String, LoginError> {
        let Attempt {
            peer,
            user,
            password,
        } = attempt;
        let key = (
            peer.to_canonical(),
            user.chars().take(64).collect::<String>(),
        );
        let seconds = self.attempts.wait_s(&key, now);
        if seconds > 0 {
            return Err(LoginError::Wait { seconds });
        }
        // Counted before the slow hash: a burst of parallel guesses cannot pass the limit.
        self.attempts.failed(key.clone(), now);
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(LoginError::Wrong);
        }
        let kept = meta::user(&self.database, &user)?.map(|row| Hash {
            salt: row.salt,
            hash: row.hash,
        });
        if !self.hashing.verify(password, kept).await {
            return Err(LoginError::Wrong);
        }
        self.attempts.succeeded(&key);
        Ok(self.start_session(&user, now)?)
    }

    /// Uses the set-up link: makes the account `admin` with this password and logs in.
    pub(crate) async fn set_up(
        &self,
        code: &str,
        password: String,
        now: Timestamp,
    ) -> Result<String, LoginError> {
        if !self.setup_code_holds(code, now) || self.has_user()? {
            return Err(LoginError::SetupOver);
        }
        checked_password(&password)?;
        // Hashed before the code is taken: a client that goes away meanwhile has not used it up.
        let hash = self.hashing.hash(password).await;
        if !self.take_setup_code(code, now) {
            return Err(LoginError::SetupOver);
        }
        self.put_user(ADMIN, hash, now)?;
        Ok(self.start_session(ADMIN, now)?)
    }

    /// Makes an account or changes its password; its sessions end.
    pub(crate) async fn add_user(
        &self,
        name: &str,
        password: String,
        now: Timestamp,
    ) -> Result<(), LoginError> {
        let name = checked_name(name)?;
        checked_password(&password)?;
        let hash = self.hashing.hash(password).await;
        Ok(self.put_user(&name, hash, now)?)
    }

    /// The same on this thread, for the command line.
    pub(crate) fn add_user_now(
        &self,
        name: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<(), LoginError> {
        let name = checked_name(name)?;
        checked_password(password)?;
        Ok(self.put_user(&name, password::hash_now(password), now)?)
    }

    /// The password of the settings: the account `admin` has it from now on. Sessions go on when it
    /// has not changed.
    pub(crate) fn ensure_admin(&self, password: &str, now: Timestamp) -> Result<(), LoginError> {
        checked_password(password)?;
        let kept = meta::user(&self.database, ADMIN)?;
        if kept.is_some_and(|row| {
            password::matches_now(
                password,
                &Hash {
                    salt: row.salt,
                    hash: row.hash,
                },
            )
        }) {
            return Ok(());
        }
        Ok(self.put_user(ADMIN, password::hash_now(password), now)?)
    }

    fn put_user(&self, name: &str, hash: Hash, now: Timestamp) -> Result<(), MetaError> {
        let Hash { salt, hash } = hash;
        meta::put_user(
            &self.database,
            &UserRow {
                name: name.to_owned(),
                salt,
                hash,
                created_ns: now.0,
            },
        )
    }
}

/// The account of the set-up link; roles come with a later version, so every account may do all.
const ADMIN: &str = "admin";

fn checked_password(password: &str) -> Result<(), AccessError> {
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(AccessError::Invalid(format!(
            "the password has {chars} characters, it needs {PASSWORD_CHARS_MIN}"
        )));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AccessError::Invalid(format!(
            "the password is longer than {PASSWORD_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}
