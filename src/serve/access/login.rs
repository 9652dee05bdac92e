//! Logging in: the set-up link, passwords, and the brake on guessing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;

use super::client::counted_as;
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

/// What is told when too many passwords are being checked: by then the queue is empty.
const BUSY_RETRY_S: u64 = 2;

/// One try to log in.
pub(crate) struct Attempt<'a> {
    pub(crate) peer: IpAddr,
    /// Where a trusted proxy tells whom it passes on.
    pub(crate) headers: &'a HeaderMap,
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
    /// Others' passwords are being checked; seconds until there is room.
    Busy {
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
            LoginError::Busy { seconds } => {
                write!(f, "too many people log in at once, wait {seconds} s")
            }
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

impl Failures {
    /// Seconds to wait before the next try, 0 when it may be made now. From the fifth failure on the
    /// wait doubles from 30 s up to the window.
    fn wait_s(&self, now: Timestamp) -> u64 {
        let Some(over) = self.count.checked_sub(FAILURES_MAX) else {
            return 0;
        };
        let wait_s = (30u64 << over.min(8)).min(FAILURE_WINDOW.as_secs());
        let until = self.last.0.saturating_add(wait_s * 1_000_000_000);
        until.saturating_sub(now.0).div_ceil(1_000_000_000)
    }
}

impl Attempts {
    /// Counts a try as failed until [`Attempts::succeeded`] says otherwise, or says how many seconds
    /// it has to wait. Looked at and counted under one lock, and before the slow hash: of a burst of
    /// guesses no more pass than of slow ones.
    fn begin(&self, key: (IpAddr, String), now: Timestamp) -> Result<(), u64> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match map.get(&key).map_or(0, |failures| failures.wait_s(now)) {
            0 => {}
            seconds => return Err(seconds),
        }
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
        Ok(())
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
        attempt: Attempt<'_>,
        now: Timestamp,
    ) -> Result<String, LoginError> {
        let Attempt {
            peer,
            headers,
            user,
            password,
        } = attempt;
        let client = counted_as(self.config.proxies.client(peer, headers));
        let key = (client, user.chars().take(64).collect::<String>());
        // Taken first: a try that nobody looks at is not counted against anybody.
        let place = self.hashing.place().ok_or(BUSY)?;
        let begun = self.attempts.begin(key.clone(), now);
        begun.map_err(|seconds| LoginError::Wait { seconds })?;
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(LoginError::Wrong);
        }
        let kept = {
            let user = user.clone();
            self.on_disk(move |database| meta::user(database, &user))
                .await?
        };
        let kept = kept.map(|row| Hash {
            salt: row.salt,
            hash: row.hash,
        });
        if !self.hashing.verify(place, password, kept).await {
            return Err(LoginError::Wrong);
        }
        self.attempts.succeeded(&key);
        Ok(self.start_session(&user, now).await?)
    }

    /// Uses the set-up link: makes the account `admin` with this password and logs in.
    pub(crate) async fn set_up(
        &self,
        code: &str,
        password: String,
        now: Timestamp,
    ) -> Result<String, LoginError> {
        let has_user = self.on_disk(|database| Ok(!meta::user_names(database)?.is_empty()));
        if !self.setup_code_holds(code, now) || has_user.await? {
            return Err(LoginError::SetupOver);
        }
        checked_password(&password)?;
        let place = self.hashing.place().ok_or(BUSY)?;
        // Hashed before the code is taken: a client that goes away meanwhile has not used it up.
        let hash = self.hashing.hash(place, password).await;
        if !self.take_setup_code(code, now) {
            return Err(LoginError::SetupOver);
        }
        let row = user_row(ADMIN, hash, now);
        self.on_disk(move |database| meta::put_user(database, &row))
            .await?;
        Ok(self.start_session(ADMIN, now).await?)
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
        let place = self.hashing.place().ok_or(BUSY)?;
        let row = user_row(&name, self.hashing.hash(place, password).await, now);
        Ok(self
            .on_disk(move |database| meta::put_user(database, &row))
            .await?)
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
        let row = user_row(&name, password::hash_now(password), now);
        Ok(meta::put_user(&self.database, &row)?)
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
        let row = user_row(ADMIN, password::hash_now(password), now);
        Ok(meta::put_user(&self.database, &row)?)
    }
}

/// A place among those whose password is being checked was not to be had.
const BUSY: LoginError = LoginError::Busy {
    seconds: BUSY_RETRY_S,
};

fn user_row(name: &str, hash: Hash, now: Timestamp) -> UserRow {
    let Hash { salt, hash } = hash;
    UserRow {
        name: name.to_owned(),
        salt,
        hash,
        created_ns: now.0,
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
