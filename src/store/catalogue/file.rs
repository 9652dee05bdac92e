//! Opening and making the database file. Never leaves a half-made one under its name.

use std::path::Path;

use redb::Database;

use super::{FORMAT, FORMAT_VERSION, STATE, make_tables};
use crate::store::StoreError;
use crate::store::disk::{Backend, Disk, tmp_path};

/// redb's page cache. The catalogue is a few hundred bytes per segment and what its templates take;
/// redb's own default is 1 GiB.
const CACHE_BYTES: usize = 4 << 20;

pub(super) fn open_database(disk: &Disk, path: &Path) -> Result<Database, StoreError> {
    let file = disk
        .open_in_place(path)
        .map_err(StoreError::io("open", path))?;
    // A plain open trusts the file and may panic later; the check reads all of it, 1 MB for
    // the templates of a million records.
    Ok(redb::Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(Backend::new(file))?)
}

/// Makes the database under another name first: redb cannot open one whose making was cut off.
pub(super) fn create(disk: &Disk, path: &Path) -> Result<(), StoreError> {
    let tmp = tmp_path(path);
    // What an earlier attempt has left is emptied.
    disk.create(&tmp).map_err(StoreError::io("create", &tmp))?;
    let database = open_database(disk, &tmp)?;
    let txn = database.begin_write()?;
    txn.open_table(STATE)?.insert(FORMAT, FORMAT_VERSION)?;
    make_tables(&txn)?;
    txn.commit()?;
    database.close()?;
    let dir = path.parent().expect("it lies in the data directory");
    disk.open_in_place(&tmp)
        .and_then(|file| file.sync_data())
        .and_then(|()| disk.rename(&tmp, path))
        .and_then(|()| disk.sync_dir(dir))
        .map_err(StoreError::io("create", path))
}
