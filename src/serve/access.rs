//! Who may do what: tokens, accounts, sessions, the set-up link (design section 1, "Access").
//!
//! Secrets exist in the clear only in the request that carries them: what is kept is a hash, and
//! comparisons take the same time wherever they differ. Must never log a credential.

mod client;
mod guard;
mod host;
mod login;
mod password;
mod secret;
mod start_token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;

pub(crate) use guard::{Caller, Policy, Through, cookie, guard};
pub(crate) use host::HostRule;
pub(crate) use login::{Attempt, LoginError};
pub(crate) use secret::{Scopes, hex, random_number, random_text};

use crate::config::{AccessMode, IngestAccess, Settings};
use crate::model::Timestamp;
use crate::store::meta::{self, MetaError, SessionRow, TokenRow};
use client::Proxies;

/// A set-up link works this long, once.
const SETUP_LIFE: Duration = Duration::from_secs(3600);
/// A session ends after this long without a request (reliability S3).
const SESSION_IDLE: Duration = Duration::from_secs(24 * 3600);
/// And after this long in any case.
const SESSION_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// "Last seen" is written at most this often, so that reading pages does not write to the disk.
const SESSION_TOUCH: Duration = Duration::from_secs(600);
/// Longest name of a token or an account, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What of the settings decides about access.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) mode: AccessMode,
    pub(crate) ingest: IngestAccess,
    pub(crate) external_url: Option<String>,
    pub(crate) ingest_token: Option<String>,
    pub(crate) proxies: Proxies,
}

impl Config {
    pub(crate) fn from_settings(settings: &Settings) -> Config {
        Config {
            mode: settings.auth_mode,
            ingest: settings.auth_ingest,
            external_url: settings.external_url.0.clone(),
            ingest_token: settings.auth_ingest_token.0.clone(),
            proxies: Proxies {
                trusted: settings.net_trusted_proxies.clone(),
                header: settings.net_client_ip_header,
            },
        }
    }
}

/// Tokens, accounts and sessions of a running server; shared by all handlers.
pub(crate) struct Access {
    config: Config,
    database: Arc<redb::Database>,
    hosts: HostRule,
    /// Every token by id; replaced as a whole when one is made or revoked, so that a revocation
    /// holds from the next request on.
    tokens: ArcSwap<HashMap<String, TokenRow>>,
    /// SHA-256 of the token from the settings, which is not in the database.
    preset: Option<[u8; 32]>,
    /// SHA-256 of the secret in the data directory that the command line uses.
    control: [u8; 32],
    /// Guards the set-up code: taken out by the request that uses it.
    setup: Mutex<Option<Setup>>,
    /// When each session was last written as seen: of many requests at once one writes. Guards the
    /// map; held for a look-up.
    touched: Mutex<HashMap<[u8; 32], Timestamp>>,
    attempts: login::Attempts,
    hashing: password::Hashing,
    start: start_token::StartTokens,
}

struct Setup {
    hash: [u8; 32],
    made_at: Timestamp,
}

impl Setup {
    fn holds(&self, code: &str, now: Timestamp) -> bool {
        let fresh = now.0.saturating_sub(self.made_at.0) <= nanos(SETUP_LIFE);
        fresh && bool::from(self.hash.ct_eq(&secret::digest(code)))
    }
}

/// A fresh token; the secret is shown once and cannot be had again.
pub(crate) struct NewToken {
    pub(crate) row: TokenRow,
    pub(crate) secret: String,
}

impl Access {
    /// Reads the tokens. The store has made the tables. `control` is the secret the command line authenticates with.
    pub(crate) fn open(
        config: Config,
        database: Arc<redb::Database>,
        control: &str,
    ) -> Result<Access, MetaError> {
        let rows = meta::tokens(&database)?;
        let tokens = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        Ok(Access {
            hosts: HostRule::new(config.external_url.as_deref()),
            preset: config.ingest_token.as_deref().map(secret::digest),
            control: secret::digest(control),
            tokens: ArcSwap::from_pointee(tokens),
            setup: Mutex::new(None),
            touched: Mutex::default(),
            attempts: login::Attempts::default(),
            hashing: password::Hashing::new(),
            start: start_token::StartTokens::default(),
            database,
            config,
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Runs one transaction on a blocking thread: it waits for the disk, and no thread that serves
    /// sockets may.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, MetaError> + Send + 'static,
    ) -> Result<T, MetaError> {
        let database = self.database.clone();
        let done = tokio::task::spawn_blocking(move || work(&database));
        done.await.expect("small transactions do not panic")
    }

    /// Whether pages and APIs are open to whoever connects to a listener on `ip`.
    pub(crate) fn open_at(&self, ip: IpAddr) -> bool {
        match self.config.mode {
            AccessMode::None => true,
            AccessMode::Auto => ip.to_canonical().is_loopback(),
        }
    }

    /// Whether senders need no token on a listener on `ip`.
    pub(crate) fn ingest_open_at(&self, ip: IpAddr) -> bool {
        match self.config.ingest {
            IngestAccess::Open => true,
            IngestAccess::Token => false,
            IngestAccess::Auto => self.open_at(ip),
        }
    }

    /// Whether cookies are only for https.
    fn secure(&self) -> bool {
        self.config
            .external_url
            .as_deref()
            .is_some_and(|url| url.starts_with("https://"))
    }

    /// Makes a token. The name is for people: which service or person uses it.
    pub(crate) async fn create_token(
        &self,
        name: &str,
        scopes: Scopes,
        now: Timestamp,
    ) -> Result<NewToken, AccessError> {
        let made = new_token(name, scopes, now)?;
        let row = made.row.clone();
        self.on_disk(move |database| meta::put_token(database, &row))
            .await?;
        self.change_tokens(|tokens| {
            tokens.insert(made.row.id.clone(), made.row.clone());
        });
        Ok(made)
    }

    /// The same on this thread, for the command line.
    pub(crate) fn create_token_now(
        &self,
        name: &str,
        scopes: Scopes,
        now: Timestamp,
    ) -> Result<NewToken, AccessError> {
        let made = new_token(name, scopes, now)?;
        meta::put_token(&self.database, &made.row)?;
        Ok(made)
    }

    /// Revokes a token, from the next request on; false when there is none of that id.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<bool, AccessError> {
        let wanted = id.to_owned();
        let found = self
            .on_disk(move |database| meta::delete_token(database, &wanted))
            .await?;
        self.change_tokens(|tokens| {
            tokens.remove(id);
        });
        Ok(found)
    }

    /// Every token without its secret, oldest first.
    pub(crate) fn tokens(&self) -> Vec<TokenRow> {
        let mut rows: Vec<TokenRow> = self.tokens.load().values().cloned().collect();
        rows.sort_by(|a, b| (a.created_ns, &a.id).cmp(&(b.created_ns, &b.id)));
        rows
    }

    fn change_tokens(&self, change: impl Fn(&mut HashMap<String, TokenRow>)) {
        self.tokens.rcu(|tokens| {
            let mut tokens = HashMap::clone(tokens);
            change(&mut tokens);
            tokens
        });
    }

    /// Who carries this secret, if anybody.
    fn token_caller(&self, presented: &str) -> Option<Caller> {
        let hash = secret::digest(presented);
        if bool::from(hash.ct_eq(&self.control)) {
            return Some(Caller::CommandLine);
        }
        if self
            .preset
            .is_some_and(|preset| bool::from(hash.ct_eq(&preset)))
        {
            return Some(Caller::Token {
                id: "settings".to_owned(),
                scopes: Scopes::INGEST,
            });
        }
        let tokens = self.tokens.load();
        let row = tokens.get(&secret::token_id(&hash))?;
        let same = bool::from(row.hash.ct_eq(&hash));
        if same {
            self.keep_start_token(row);
        }
        same.then(|| Caller::Token {
            id: row.id.clone(),
            scopes: Scopes::from_bits(row.scopes),
        })
    }

    /// The account of a session cookie, if it still holds.
    async fn session_caller(
        &self,
        cookie: &str,
        now: Timestamp,
    ) -> Result<Option<Caller>, MetaError> {
        let hash = secret::digest(cookie);
        let found = self.on_disk(move |database| {
            let Some(row) = meta::session(database, &hash)? else {
                return Ok(None);
            };
            let idle_ns = now.0.saturating_sub(row.seen_ns);
            let age_ns = now.0.saturating_sub(row.created_ns);
            if idle_ns > nanos(SESSION_IDLE) || age_ns > nanos(SESSION_LIFE) {
                meta::delete_session(database, &hash)?;
                return Ok(None);
            }
            Ok(Some((row.user, idle_ns)))
        });
        let Some((name, idle_ns)) = found.await? else {
            return Ok(None);
        };
        if idle_ns > nanos(SESSION_TOUCH) && self.is_first_touch(hash, now) {
            self.on_disk(move |database| meta::touch_session(database, &hash, now.0))
                .await?;
        }
        Ok(Some(Caller::User { name }))
    }

    /// Whether nobody else is writing that this session was seen.
    fn is_first_touch(&self, hash: [u8; 32], now: Timestamp) -> bool {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |at: &Timestamp| now.0.abs_diff(at.0) <= nanos(SESSION_TOUCH);
        if touched.get(&hash).is_some_and(lately) {
            return false;
        }
        // At most one entry per session, and the table of sessions is bounded.
        touched.retain(|_, at| lately(at));
        touched.insert(hash, now);
        true
    }

    /// Starts a session and returns the cookie's secret: always a new one, so that a cookie planted
    /// before the login is worth nothing.
    async fn start_session(&self, user: &str, now: Timestamp) -> Result<String, MetaError> {
        let cookie = secret::random_text();
        let row = SessionRow {
            hash: secret::digest(&cookie),
            user: user.to_owned(),
            created_ns: now.0,
            seen_ns: now.0,
        };
        let oldest_seen_ns = now.0.saturating_sub(nanos(SESSION_IDLE));
        self.on_disk(move |database| meta::put_session(database, &row, oldest_seen_ns))
            .await?;
        Ok(cookie)
    }

    /// Ends the session of a cookie; ending none is fine.
    pub(crate) async fn end_session(&self, cookie: &str) -> Result<(), MetaError> {
        let hash = secret::digest(cookie);
        self.on_disk(move |database| meta::delete_session(database, &hash))
            .await
    }

    /// The name of the cookie: `__Host-` pins it to this host and to https.
    pub(crate) fn cookie_name(&self) -> &'static str {
        if self.secure() {
            "__Host-session"
        } else {
            "session"
        }
    }

    /// The `Set-Cookie` value that starts (`Some`) or ends a session.
    pub(crate) fn set_cookie(&self, secret: Option<&str>) -> String {
        let secure = if self.secure() { "; Secure" } else { "" };
        let (secret, life_s) = secret.map_or(("", 0), |secret| (secret, SESSION_LIFE.as_secs()));
        let name = self.cookie_name();
        format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={life_s}{secure}")
    }

    /// Whether an account exists.
    pub(crate) fn has_user(&self) -> Result<bool, MetaError> {
        Ok(!meta::user_names(&self.database)?.is_empty())
    }

    /// The code of the set-up link (`/login?setup=CODE`), replacing an earlier one.
    pub(crate) fn make_setup_code(&self, now: Timestamp) -> String {
        let code = secret::random_text();
        let setup = Setup {
            hash: secret::digest(&code),
            made_at: now,
        };
        *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = Some(setup);
        code
    }

    /// Whether the code is the current one and not too old.
    pub(crate) fn setup_code_holds(&self, code: &str, now: Timestamp) -> bool {
        let setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        setup.as_ref().is_some_and(|setup| setup.holds(code, now))
    }

    /// Takes the code out, so that only one request can use it.
    fn take_setup_code(&self, code: &str, now: Timestamp) -> bool {
        let mut setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at and taken under one lock: of two requests at once the second finds nothing.
        setup.take_if(|setup| setup.holds(code, now)).is_some()
    }

    /// Whether a request with this Host may see pages and the own API (reliability S8).
    fn host_allowed(&self, host: &str) -> bool {
        self.hosts.allows(host)
    }
}

/// Why an account or token could not be made.
#[derive(Debug)]
pub(crate) enum AccessError {
    Invalid(String),
    Meta(MetaError),
}

impl From<MetaError> for AccessError {
    fn from(e: MetaError) -> Self {
        AccessError::Meta(e)
    }
}

impl std::fmt::Display for AccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AccessError::Invalid(message) => f.write_str(message),
            AccessError::Meta(e) => e.fmt(f),
        }
    }
}

fn new_token(name: &str, scopes: Scopes, now: Timestamp) -> Result<NewToken, AccessError> {
    let name = checked_name(name)?;
    let secret = secret::new_token(scopes);
    let hash = secret::digest(&secret);
    let row = TokenRow {
        id: secret::token_id(&hash),
        name,
        scopes: scopes.bits(),
        hash,
        created_ns: now.0,
    };
    Ok(NewToken { row, secret })
}

fn checked_name(name: &str) -> Result<String, AccessError> {
    let name = name.trim();
    let plain = |c: char| c.is_alphanumeric() || " ._-@/".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        let message = format!(
            "{name:?} is not a name; take 1 to {NAME_BYTES_MAX} letters, digits, spaces and ._-@/"
        );
        return Err(AccessError::Invalid(message));
    }
    Ok(name.to_owned())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("the constants above are days at most")
}

#[cfg(test)]
mod tests;
