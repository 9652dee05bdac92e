//! Small state that people made: tokens, accounts, sessions and the colour of each service.
//!
//! Lives in the catalogue's database, one transaction per change, each change durable when the
//! function returns. Must never hold a secret in the clear: tokens and sessions are stored as
//! SHA-256, passwords as argon2id. Layout: docs/formats/meta.md.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// Token id -> (name, scopes as bits, SHA-256 of the token, created at in epoch ns).
const TOKENS: TableDefinition<&str, (&str, u8, &[u8; 32], u64)> =
    TableDefinition::new("meta.tokens");
/// User name -> (salt, argon2id hash, created at in epoch ns).
const USERS: TableDefinition<&str, (&[u8; 16], &[u8; 32], u64)> =
    TableDefinition::new("meta.users");
/// SHA-256 of the session's secret -> (user, created at, last seen at; epoch ns).
const SESSIONS: TableDefinition<&[u8; 32], (&str, u64, u64)> =
    TableDefinition::new("meta.sessions");
/// Service name -> the order in which it was first seen, from 0.
const PALETTE: TableDefinition<&str, u32> = TableDefinition::new("meta.palette");

/// Packed labels of a group pushed as to a Pushgateway -> itself, encoded.
const PUSHED: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta.pushed");

/// Tokens of one installation. A team has tens; the limit keeps a runaway script from filling the disk.
pub(crate) const TOKENS_MAX: usize = 1_000;
/// Accounts of one installation: a small team.
pub(crate) const USERS_MAX: usize = 200;
/// Sessions kept; a login over the limit ends the one seen longest ago.
pub(crate) const SESSIONS_MAX: usize = 1_000;
/// Services with a colour of their own; later ones share by hash and are not stored.
pub(crate) const PALETTE_MAX: usize = 4_096;

/// Why small state could not be read or written.
#[derive(Debug)]
pub(crate) enum MetaError {
    /// The database failed; the text is redb's.
    Database(redb::Error),
    /// A table is full; the name of what there is too much of, and the limit.
    Full { what: &'static str, limit: usize },
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRow {
    /// Public: the first 12 hex digits of the hash.
    pub(crate) id: String,
    pub(crate) name: String,
    /// Bits as `serve::access::Scopes` defines them.
    pub(crate) scopes: u8,
    pub(crate) hash: [u8; 32],
    pub(crate) created_ns: u64,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) name: String,
    pub(crate) salt: [u8; 16],
    pub(crate) hash: [u8; 32],
    pub(crate) created_ns: u64,
}

/// A login that lasts; both times are epoch ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    /// SHA-256 of the secret in the cookie.
    pub(crate) hash: [u8; 32],
    pub(crate) user: String,
    pub(crate) created_ns: u64,
    pub(crate) seen_ns: u64,
}

/// Makes the tables, so that readers never meet a missing one.
pub(crate) fn create_tables(db: &Database) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    txn.open_table(TOKENS)?;
    txn.open_table(USERS)?;
    txn.open_table(SESSIONS)?;
    txn.open_table(PALETTE)?;
    txn.open_table(PUSHED)?;
    Ok(txn.commit()?)
}

/// Every token, by id.
pub(crate) fn tokens(db: &Database) -> Result<Vec<TokenRow>, MetaError> {
    let table = db.begin_read()?.open_table(TOKENS)?;
    let mut rows = Vec::new();
    for entry in table.iter()? {
        let (id, value) = entry?;
        let (name, scopes, hash, created_ns) = value.value();
        let (id, name) = (id.value().to_owned(), name.to_owned());
        rows.push(TokenRow {
            id,
            name,
            scopes,
            hash: *hash,
            created_ns,
        });
    }
    Ok(rows)
}

/// Adds a token.
pub(crate) fn put_token(db: &Database, row: &TokenRow) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    {
        let mut table = txn.open_table(TOKENS)?;
        if redb::ReadableTableMetadata::len(&table)? >= TOKENS_MAX as u64 {
            return Err(MetaError::Full {
                what: "tokens",
                limit: TOKENS_MAX,
            });
        }
        table.insert(
            row.id.as_str(),
            (row.name.as_str(), row.scopes, &row.hash, row.created_ns),
        )?;
    }
    Ok(txn.commit()?)
}

/// Gives a token another name; false when there is none: one that was revoked stays so.
pub(crate) fn rename_token(db: &Database, id: &str, name: &str) -> Result<bool, MetaError> {
    let txn = db.begin_write()?;
    let found = {
        let mut table = txn.open_table(TOKENS)?;
        let kept = table.get(id)?.map(|value| {
            let (_, scopes, hash, created_ns) = value.value();
            (scopes, *hash, created_ns)
        });
        if let Some((scopes, hash, created_ns)) = &kept {
            table.insert(id, (name, *scopes, hash, *created_ns))?;
        }
        kept.is_some()
    };
    txn.commit()?;
    Ok(found)
}

/// Removes a token; false when there was none.
pub(crate) fn delete_token(db: &Database, id: &str) -> Result<bool, MetaError> {
    let txn = db.begin_write()?;
    let found = txn.open_table(TOKENS)?.remove(id)?.is_some();
    txn.commit()?;
    Ok(found)
}

/// The account of that name.
pub(crate) fn user(db: &Database, name: &str) -> Result<Option<UserRow>, MetaError> {
    let table = db.begin_read()?.open_table(USERS)?;
    let row = table.get(name)?.map(|value| {
        let (salt, hash, created_ns) = value.value();
        UserRow {
            name: name.to_owned(),
            salt: *salt,
            hash: *hash,
            created_ns,
        }
    });
    Ok(row)
}

/// The names of all accounts.
pub(crate) fn user_names(db: &Database) -> Result<Vec<String>, MetaError> {
    let table = db.begin_read()?.open_table(USERS)?;
    let mut names = Vec::new();
    for entry in table.iter()? {
        names.push(entry?.0.value().to_owned());
    }
    Ok(names)
}

/// Adds an account or changes its password. All of the account's sessions end, because whoever
/// knew the old password may hold one.
pub(crate) fn put_user(db: &Database, row: &UserRow) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    {
        let mut users = txn.open_table(USERS)?;
        let known = users.get(row.name.as_str())?.is_some();
        if !known && redb::ReadableTableMetadata::len(&users)? >= USERS_MAX as u64 {
            return Err(MetaError::Full {
                what: "users",
                limit: USERS_MAX,
            });
        }
        users.insert(row.name.as_str(), (&row.salt, &row.hash, row.created_ns))?;
        txn.open_table(SESSIONS)?
            .retain(|_, (user, _, _)| user != row.name)?;
    }
    Ok(txn.commit()?)
}

/// The session with that hash.
pub(crate) fn session(db: &Database, hash: &[u8; 32]) -> Result<Option<SessionRow>, MetaError> {
    let table = db.begin_read()?.open_table(SESSIONS)?;
    let row = table.get(hash)?.map(|value| {
        let (user, created_ns, seen_ns) = value.value();
        SessionRow {
            hash: *hash,
            user: user.to_owned(),
            created_ns,
            seen_ns,
        }
    });
    Ok(row)
}

/// Adds a session and forgets those seen before `oldest_seen_ns`.
pub(crate) fn put_session(
    db: &Database,
    row: &SessionRow,
    oldest_seen_ns: u64,
) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    {
        let mut table = txn.open_table(SESSIONS)?;
        table.retain(|_, (_, _, seen_ns)| seen_ns >= oldest_seen_ns)?;
        table.insert(&row.hash, (row.user.as_str(), row.created_ns, row.seen_ns))?;
        if redb::ReadableTableMetadata::len(&table)? > SESSIONS_MAX as u64 {
            let mut oldest: Option<([u8; 32], u64)> = None;
            for entry in table.iter()? {
                let (hash, value) = entry?;
                let seen_ns = value.value().2;
                if oldest.is_none_or(|(_, other)| seen_ns < other) {
                    oldest = Some((*hash.value(), seen_ns));
                }
            }
            let (hash, _) = oldest.expect("a table over its limit is not empty");
            table.remove(&hash)?;
        }
    }
    Ok(txn.commit()?)
}

/// Notes that a session was used. One that has ended meanwhile stays ended.
pub(crate) fn touch_session(db: &Database, hash: &[u8; 32], seen_ns: u64) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    {
        let mut table = txn.open_table(SESSIONS)?;
        let kept = table.get(hash)?.map(|row| {
            let (user, created_ns, _) = row.value();
            (user.to_owned(), created_ns)
        });
        if let Some((user, created_ns)) = kept {
            table.insert(hash, (user.as_str(), created_ns, seen_ns))?;
        }
    }
    Ok(txn.commit()?)
}

/// Ends a session.
pub(crate) fn delete_session(db: &Database, hash: &[u8; 32]) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    txn.open_table(SESSIONS)?.remove(hash)?;
    Ok(txn.commit()?)
}

/// The palette index of every service seen so far.
pub(crate) fn palette(db: &Database) -> Result<Vec<(String, u32)>, MetaError> {
    let table = db.begin_read()?.open_table(PALETTE)?;
    let mut rows = Vec::new();
    for entry in table.iter()? {
        let (name, index) = entry?;
        rows.push((name.value().to_owned(), index.value()));
    }
    Ok(rows)
}

/// The palette index of a service, given out in order of first sight and kept for good.
pub(crate) fn palette_index(db: &Database, service: &str) -> Result<u32, MetaError> {
    let txn = db.begin_write()?;
    let index = {
        let mut table = txn.open_table(PALETTE)?;
        let known = table.get(service)?.map(|index| index.value());
        match known {
            Some(index) => index,
            None => {
                let count = redb::ReadableTableMetadata::len(&table)?;
                if count >= PALETTE_MAX as u64 {
                    return Err(MetaError::Full {
                        what: "services with a colour",
                        limit: PALETTE_MAX,
                    });
                }
                let index = u32::try_from(count).expect("the palette's limit fits 32 bits");
                table.insert(service, index)?;
                index
            }
        }
    };
    txn.commit()?;
    Ok(index)
}

/// Packed labels of a pushed group, and itself encoded.
pub(crate) type PushedRow = (Vec<u8>, Vec<u8>);

/// Every pushed group. Who pushes bounds how many there are.
pub(crate) fn pushed(db: &Database) -> Result<Vec<PushedRow>, MetaError> {
    let table = db.begin_read()?.open_table(PUSHED)?;
    let mut rows = Vec::new();
    for entry in table.iter()? {
        let (key, group) = entry?;
        rows.push((key.value().to_vec(), group.value().to_vec()));
    }
    Ok(rows)
}

/// Sets a pushed group, or deletes it.
pub(crate) fn put_pushed(db: &Database, key: &[u8], group: Option<&[u8]>) -> Result<(), MetaError> {
    let txn = db.begin_write()?;
    {
        let mut table = txn.open_table(PUSHED)?;
        match group {
            Some(group) => _ = table.insert(key, group)?,
            None => _ = table.remove(key)?,
        }
    }
    Ok(txn.commit()?)
}

impl std::fmt::Display for MetaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MetaError::Database(e) => write!(f, "cannot read or write the catalogue: {e}"),
            MetaError::Full { what, limit } => {
                write!(f, "there are {limit} {what} already; remove some")
            }
        }
    }
}

impl std::error::Error for MetaError {}

macro_rules! from_redb {
    ($($error:ident),+) => {
        $(impl From<redb::$error> for MetaError {
            fn from(e: redb::$error) -> Self {
                MetaError::Database(e.into())
            }
        })+
    };
}

from_redb!(TransactionError, TableError, StorageError, CommitError);

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        let db = Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .expect("in memory");
        create_tables(&db).expect("tables");
        db
    }

    fn user_row(name: &str, hash: u8) -> UserRow {
        UserRow {
            name: name.to_owned(),
            salt: [1; 16],
            hash: [hash; 32],
            created_ns: 7,
        }
    }

    fn session_row(hash: u8, user: &str, seen_ns: u64) -> SessionRow {
        SessionRow {
            hash: [hash; 32],
            user: user.to_owned(),
            created_ns: 1,
            seen_ns,
        }
    }

    #[test]
    fn tokens_are_kept_and_removed() {
        let db = database();
        let row = TokenRow {
            id: "ab".into(),
            name: "shop".into(),
            scopes: 1,
            hash: [9; 32],
            created_ns: 5,
        };
        put_token(&db, &row).expect("put");
        assert_eq!(tokens(&db).expect("read"), [row]);
        assert!(delete_token(&db, "ab").expect("delete"));
        assert!(!delete_token(&db, "ab").expect("delete again"));
        assert!(tokens(&db).expect("read").is_empty());
    }

    #[test]
    fn a_new_password_ends_the_accounts_sessions_only() {
        let db = database();
        put_user(&db, &user_row("ann", 1)).expect("put");
        put_session(&db, &session_row(1, "ann", 10), 0).expect("put");
        put_session(&db, &session_row(2, "bob", 10), 0).expect("put");
        put_user(&db, &user_row("ann", 2)).expect("put");
        assert_eq!(user(&db, "ann").expect("read"), Some(user_row("ann", 2)));
        assert_eq!(session(&db, &[1; 32]).expect("read"), None);
        assert_eq!(
            session(&db, &[2; 32]).expect("read"),
            Some(session_row(2, "bob", 10))
        );
    }

    #[test]
    fn idle_sessions_are_forgotten() {
        let db = database();
        put_session(&db, &session_row(1, "ann", 10), 0).expect("put");
        put_session(&db, &session_row(2, "ann", 20), 15).expect("put");
        assert_eq!(session(&db, &[1; 32]).expect("read"), None);
        touch_session(&db, &[2; 32], 30).expect("touch");
        let touched = session(&db, &[2; 32]).expect("read");
        assert_eq!(touched, Some(session_row(2, "ann", 30)));
        delete_session(&db, &[2; 32]).expect("delete");
        touch_session(&db, &[2; 32], 40).expect("touch");
        assert_eq!(session(&db, &[2; 32]).expect("read"), None);
    }

    #[test]
    fn a_service_keeps_its_index() {
        let db = database();
        let order: Vec<u32> = ["shop", "pay", "shop", "cart"]
            .map(|s| palette_index(&db, s).expect("index"))
            .into();
        assert_eq!(order, [0, 1, 0, 2]);
        assert_eq!(palette(&db).expect("read").len(), 3);
    }
}
