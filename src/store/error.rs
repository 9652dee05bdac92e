//! What can go wrong in the store, told so that the reader knows which file and which setting.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One variant per thing a caller treats differently.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// The operating system refused.
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Bytes on the disk are not what was written.
    Corrupt {
        path: PathBuf,
        offset: u64,
        what: &'static str,
    },
    /// Written by a newer watchpost: never guessed at.
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// Another process works in the data directory.
    Locked { dir: PathBuf },
    /// An earlier write or sync failed; nothing is accepted until a restart.
    Poisoned,
    /// Less room on the volume than the store keeps free. Queries go on; ingest resumes by itself.
    DiskFull { free: u64, min: u64 },
    /// The write-ahead log has reached its bound because sealing is behind.
    WalFull { bytes: u64, max: u64 },
    /// Heads wait for the sealer with more memory than they may take.
    Behind { bytes: u64, max: u64 },
    /// One batch larger than a frame may be.
    TooLarge { bytes: u64, max: u64 },
    /// The condition of a deletion is not one.
    BadCondition(String),
    /// More deletions asked for than are carried out at once.
    TooManyDeletions { pending: usize, max: usize },
    /// Background work was told to stop; what it was about is as it was.
    Stopped,
    /// redb refused.
    Catalogue(Box<redb::Error>),
}

impl StoreError {
    /// For `map_err`: names the operation and the file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: &'static str) -> StoreError {
        StoreError::Corrupt {
            path: path.to_owned(),
            offset,
            what,
        }
    }

    /// No room on the volume: worth another try later, unlike every other failed write.
    pub(crate) fn is_out_of_space(&self) -> bool {
        matches!(
            self,
            StoreError::Io { source, .. } if matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        )
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io {
                action,
                path,
                source,
            } => write!(f, "cannot {action} {}: {source}", path.display()),
            StoreError::Corrupt { path, offset, what } => {
                write!(f, "{} is damaged at byte {offset}: {what}", path.display())
            }
            StoreError::Newer { path, found, known } => write!(
                f,
                "{} has format {found}, newest known {known}: downgrade refused, run the newer version",
                path.display()
            ),
            StoreError::Locked { dir } => write!(
                f,
                "{} is in use by another process: stop it or set another data_dir",
                dir.display()
            ),
            StoreError::Poisoned => f.write_str(
                "storage is poisoned by an earlier write error: check the disk, then restart",
            ),
            StoreError::DiskFull { free, min } => write!(
                f,
                "disk almost full: {free} bytes free, {min} kept free (limits.disk_free_min)"
            ),
            StoreError::WalFull { bytes, max } => write!(
                f,
                "write-ahead log has {bytes} of at most {max} bytes: sealing is behind, try again"
            ),
            StoreError::Behind { bytes, max } => write!(
                f,
                "{bytes} bytes wait to be sealed, at most {max} may: the disk is slow, try again"
            ),
            StoreError::TooLarge { bytes, max } => {
                write!(f, "batch of {bytes} bytes, at most {max} fit one log frame")
            }
            StoreError::BadCondition(what) => f.write_str(what),
            StoreError::TooManyDeletions { pending, max } => write!(
                f,
                "{pending} deletions are not carried out yet, at most {max} may be: ask again when some are"
            ),
            StoreError::Stopped => f.write_str("stopped before it was done"),
            StoreError::Catalogue(e) => write!(f, "cannot use catalog.redb: {e}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            StoreError::Catalogue(e) => Some(e),
            _ => None,
        }
    }
}

/// redb has an error type per operation; all of them convert to its common one.
impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(e: E) -> StoreError {
        StoreError::Catalogue(Box::new(e.into()))
    }
}
