//! Every access of the store to the disk goes through here, so that the crash sweep can replace the
//! disk by a simulated one that loses, tears and reorders whatever was not synced ([`sim`]).
//!
//! Nothing here retries, caches or decides: an error means the operation may or may not have
//! happened, and the caller stops trusting the file.

#[cfg(test)]
pub(crate) mod sim;

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where files live. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Disk {
    Real,
    #[cfg(test)]
    Sim(Arc<sim::World>),
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
    /// Length of a file in bytes; 0 for a directory.
    pub(crate) bytes: u64,
}

/// Room on the volume, in bytes. `free` is what an unprivileged process may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// An open file. Reading takes an offset and needs no exclusive access; appending keeps its own
/// place. A file that is unlinked stays readable until the last handle is gone.
#[derive(Debug)]
pub(crate) struct File {
    path: Arc<Path>,
    end: u64,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Real(std::fs::File),
    #[cfg(test)]
    Sim(sim::Handle),
}

/// The right to be the only process in a data directory; given up when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Option<std::fs::File>,
}

impl Disk {
    /// A new, empty file; one that is there already is emptied.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let inner = match self {
            Disk::Real => Inner::Real(
                std::fs::File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(path)?,
            ),
            #[cfg(test)]
            Disk::Sim(world) => Inner::Sim(world.create(path)?),
        };
        Ok(File {
            path: path.into(),
            end: 0,
            inner,
        })
    }

    /// An existing file for reading.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        let inner = match self {
            Disk::Real => Inner::Real(std::fs::File::open(path)?),
            #[cfg(test)]
            Disk::Sim(world) => Inner::Sim(world.open(path)?),
        };
        File::at_end(path, inner)
    }

    /// A file for reading and writing in place, made when it is not there.
    pub(crate) fn open_in_place(&self, path: &Path) -> io::Result<File> {
        let inner = match self {
            Disk::Real => Inner::Real(
                std::fs::File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)?,
            ),
            #[cfg(test)]
            Disk::Sim(world) => Inner::Sim(world.open_or_create(path)?),
        };
        File::at_end(path, inner)
    }

    /// Makes a directory and those above it, each made durable in its parent.
    pub(crate) fn ensure_dir(&self, dir: &Path) -> io::Result<()> {
        if self.is_dir(dir) {
            return Ok(());
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.ensure_dir(parent)?;
        }
        match self {
            Disk::Real => match std::fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            },
            #[cfg(test)]
            Disk::Sim(world) => world.create_dir(dir)?,
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn is_dir(&self, dir: &Path) -> bool {
        match self {
            Disk::Real => dir.is_dir(),
            #[cfg(test)]
            Disk::Sim(world) => world.is_dir(dir),
        }
    }

    /// Makes names created, renamed or removed in `dir` durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let synced = match self {
            Disk::Real => std::fs::File::open(dir).and_then(|dir| dir.sync_all()),
            #[cfg(test)]
            Disk::Sim(world) => world.sync_dir(dir),
        };
        synced.map_err(final_error)
    }

    /// Replaces `to` by `from`, as one step; durable after [`Disk::sync_dir`].
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            Disk::Real => std::fs::rename(from, to),
            #[cfg(test)]
            Disk::Sim(world) => world.rename(from, to),
        }
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Real => std::fs::remove_file(path),
            #[cfg(test)]
            Disk::Sim(world) => world.remove(path),
        }
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        match self {
            Disk::Real => std::fs::remove_dir(dir),
            #[cfg(test)]
            Disk::Sim(world) => world.remove_dir(dir),
        }
    }

    /// The names in a directory, sorted; none when it is not there. Names that are not UTF-8 are
    /// not ours and are left out.
    pub(crate) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = match self {
            Disk::Real => list_real(dir)?,
            #[cfg(test)]
            Disk::Sim(world) => world.list(dir)?,
        };
        entries.sort();
        Ok(entries)
    }

    /// Room on the volume that holds `dir`.
    pub(crate) fn space(&self, dir: &Path) -> io::Result<Space> {
        match self {
            Disk::Real => {
                let stat = rustix::fs::statvfs(dir)?;
                Ok(Space {
                    free: stat.f_bavail.saturating_mul(stat.f_frsize),
                    total: stat.f_blocks.saturating_mul(stat.f_frsize),
                })
            }
            #[cfg(test)]
            Disk::Sim(world) => Ok(world.space()),
        }
    }

    /// Takes the lock file of a data directory; `None` when another process holds it.
    pub(crate) fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        match self {
            Disk::Real => {
                let file = std::fs::File::options()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)?;
                match file.try_lock() {
                    Ok(()) => Ok(Some(Lock { _held: Some(file) })),
                    Err(std::fs::TryLockError::WouldBlock) => Ok(None),
                    Err(std::fs::TryLockError::Error(e)) => Err(e),
                }
            }
            #[cfg(test)]
            Disk::Sim(_) => Ok(Some(Lock { _held: None })),
        }
    }
}

/// A sync that found no room has lost what it should have kept, unlike a write that found none: its
/// error must not look like one that can be waited out.
fn final_error(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(e),
        _ => e,
    }
}

fn list_real(dir: &Path) -> io::Result<Vec<Entry>> {
    let read = match std::fs::read_dir(dir) {
        Ok(read) => read,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut entries = Vec::new();
    for entry in read {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // Removed between the listing and this look.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        entries.push(Entry {
            name,
            is_dir: meta.is_dir(),
            bytes: if meta.is_dir() { 0 } else { meta.len() },
        });
    }
    Ok(entries)
}

impl File {
    fn at_end(path: &Path, inner: Inner) -> io::Result<File> {
        let mut file = File {
            path: path.into(),
            end: 0,
            inner,
        };
        file.seek(file.len()?)?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Length in bytes, as the disk has it now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match &self.inner {
            Inner::Real(file) => Ok(file.metadata()?.len()),
            #[cfg(test)]
            Inner::Sim(handle) => handle.len(),
        }
    }

    /// Fills `buf` from `offset`; `UnexpectedEof` when the file is shorter.
    pub(crate) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.read_exact_at(buf, offset),
            #[cfg(test)]
            Inner::Sim(handle) => handle.read_exact_at(buf, offset),
        }
    }

    /// Writes in place.
    pub(crate) fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.write_all_at(buf, offset),
            #[cfg(test)]
            Inner::Sim(handle) => handle.write_all_at(buf, offset),
        }
    }

    /// Appends with one write(2) in the usual case (the kernel may take less of a huge one).
    pub(crate) fn append(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        match &mut self.inner {
            Inner::Real(file) => {
                use io::Write;
                let parts = [io::IoSlice::new(head), io::IoSlice::new(body)];
                let n = file.write_vectored(&parts)?;
                if n < head.len() {
                    file.write_all(&head[n..])?;
                    file.write_all(body)?;
                } else {
                    file.write_all(&body[n - head.len()..])?;
                }
            }
            #[cfg(test)]
            Inner::Sim(handle) => handle.write_all_at(&[head, body].concat(), self.end)?,
        }
        self.end += (head.len() + body.len()) as u64;
        Ok(())
    }

    /// Where the next append goes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Cuts or grows (with zeros) the file; the next append goes to its new end.
    pub(crate) fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.resize(len)?;
        self.seek(len)
    }

    fn seek(&mut self, end: u64) -> io::Result<()> {
        match &mut self.inner {
            Inner::Real(file) => _ = io::Seek::seek(file, io::SeekFrom::Start(end))?,
            #[cfg(test)]
            Inner::Sim(_) => {}
        }
        self.end = end;
        Ok(())
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        match &self.inner {
            Inner::Real(file) => file.set_len(len),
            #[cfg(test)]
            Inner::Sim(handle) => handle.set_len(len),
        }
    }

    /// Makes content and length durable. After an error nothing written since the last success can
    /// be trusted, and another try proves nothing (the kernel may have dropped the dirty pages).
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        let synced = match &self.inner {
            Inner::Real(file) => file.sync_data(),
            #[cfg(test)]
            Inner::Sim(handle) => handle.sync_data(),
        };
        synced.map_err(final_error)
    }
}

impl io::Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.append(buf, &[])?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// redb's view of a file, so that its writes and syncs are simulated and counted like our own.
#[derive(Debug)]
pub(crate) struct Backend(File);

impl Backend {
    pub(crate) fn new(file: File) -> Backend {
        Backend(file)
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.resize(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// A short write of a whole file: made under `<path>.tmp`, synced, renamed, its directory synced.
/// After success the file is durable under its name; after an error it may be there or not.
pub(crate) fn publish(
    disk: &Disk,
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let tmp = tmp_path(path);
    let mut file = disk.create(&tmp)?;
    fill(&mut file)?;
    file.sync_data()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(
        path.parent()
            .expect("files of the store lie in a directory"),
    )
}

/// The name a file has until it is whole.
pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TMP_SUFFIX);
    PathBuf::from(name)
}

pub(crate) const TMP_SUFFIX: &str = ".tmp";
