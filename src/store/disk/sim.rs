//! A disk in memory that remembers what was not synced, so that a power cut can lose, tear and
//! reorder exactly that. After SQLite's method: every operation is counted, and a test cuts the
//! power or fails the disk at the nth one.
//!
//! Harsher than any one file system: a new file's name is lost without a directory sync even when
//! its content was synced, and names survive or vanish one by one.

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Entry, Space};
use node::{Change, Node};

/// What a disk does at the operation it was told to act at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing works from here on; [`World::restart`] tells what survived.
    PowerCut,
    /// This one operation fails with EIO. A failed sync drops the unsynced bytes for good, as Linux
    /// does, while they stay readable until the restart.
    Eio,
    /// This one operation fails with ENOSPC; half of a write may be there.
    Enospc,
}

/// A simulated disk.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Node>,
    names: Names,
    durable: Names,
    pending: Vec<NameChange>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    lying: bool,
    space: Option<Space>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
struct NameChange {
    dir: PathBuf,
    what: NameOp,
}

#[derive(Clone, Debug)]
enum NameOp {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
    MakeDir(PathBuf),
    RemoveDir(PathBuf),
}

impl Names {
    fn apply(&mut self, op: &NameOp) {
        match op {
            NameOp::Link(path, node) => _ = self.files.insert(path.clone(), *node),
            NameOp::Unlink(path) => _ = self.files.remove(path),
            NameOp::Rename(from, to, node) => {
                self.files.remove(from);
                self.files.insert(to.clone(), *node);
            }
            NameOp::MakeDir(path) => _ = self.dirs.insert(path.clone()),
            NameOp::RemoveDir(path) => _ = self.dirs.remove(path),
        }
    }
}

/// An open simulated file.
#[derive(Debug)]
pub(crate) struct Handle {
    world: Arc<World>,
    node: usize,
}

impl World {
    pub(crate) fn new() -> Arc<World> {
        Arc::new(World {
            state: Mutex::default(),
        })
    }

    /// Acts at the `at`th changing operation from now (0: the next one).
    pub(crate) fn inject(&self, at: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.operations + at, fault));
    }

    /// Syncs report success and do nothing: the control that a sweep must catch.
    pub(crate) fn lie_about_syncs(&self) {
        self.lock().lying = true;
    }

    pub(crate) fn set_space(&self, space: Space) {
        self.lock().space = Some(space);
    }

    /// Changing operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Whether the power was cut.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The disk after a power cut at this moment: what was synced, and a part of the rest that
    /// `seed` chooses.
    pub(crate) fn restart(&self, seed: u64) -> Arc<World> {
        let mut dice = Dice(seed | 1);
        let state = self.lock();
        let mut names = state.durable.clone();
        for change in &state.pending {
            if dice.chance(2) {
                names.apply(&change.what);
            }
        }
        let alive = names.clone();
        let known = |path: &Path| {
            path.ancestors()
                .skip(1)
                .take_while(|dir| !dir.as_os_str().is_empty())
                .all(|dir| is_root(dir) || alive.dirs.contains(dir))
        };
        names.files.retain(|path, _| known(path));
        names.dirs.retain(|path| known(path));
        let nodes = state
            .nodes
            .iter()
            .map(|node| {
                let content = node.after_power_cut(&mut dice);
                Node {
                    durable: content.clone(),
                    content,
                    pending: Vec::new(),
                }
            })
            .collect();
        Arc::new(World {
            state: Mutex::new(State {
                nodes,
                durable: names.clone(),
                names,
                lying: state.lying,
                space: state.space,
                ..State::default()
            }),
        })
    }

    /// The disk after the process died but not the machine: everything written is there.
    pub(crate) fn restart_after_kill(&self) -> Arc<World> {
        let mut state = self.lock();
        let state = std::mem::replace(
            &mut *state,
            State {
                dead: true,
                ..State::default()
            },
        );
        Arc::new(World {
            state: Mutex::new(State {
                dead: false,
                fault: None,
                ..state
            }),
        })
    }

    /// Changes one byte on the platter.
    pub(crate) fn corrupt(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.lock();
        let node = state.names.files[path];
        let node = &mut state.nodes[node];
        node.content[offset as usize] ^= mask;
        node.durable[offset as usize] ^= mask;
    }

    /// Zeroes a part of a file on the platter.
    pub(crate) fn zero(&self, path: &Path, part: std::ops::Range<u64>) {
        let mut state = self.lock();
        let node = state.names.files[path];
        let node = &mut state.nodes[node];
        let part = part.start as usize..part.end as usize;
        node.content[part.clone()].fill(0);
        node.durable[part].fill(0);
    }

    /// Cuts a file on the platter.
    pub(crate) fn truncate(&self, path: &Path, len: u64) {
        let mut state = self.lock();
        let node = state.names.files[path];
        let node = &mut state.nodes[node];
        node.content.truncate(len as usize);
        node.durable.truncate(len as usize);
    }

    /// Every file with its length.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.lock();
        state
            .names
            .files
            .iter()
            .map(|(path, node)| (path.clone(), state.nodes[*node].content.len() as u64))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds this")
    }

    pub(super) fn create(self: &Arc<World>, path: &Path) -> io::Result<Handle> {
        let mut state = self.lock();
        state.step()?;
        state.parent_must_exist(path)?;
        if let Some(&node) = state.names.files.get(path) {
            state.nodes[node].set_len(0);
            return Ok(self.handle(node));
        }
        let node = state.link(path);
        Ok(self.handle(node))
    }

    pub(super) fn open(self: &Arc<World>, path: &Path) -> io::Result<Handle> {
        let state = self.lock();
        state.alive()?;
        let node = state.names.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(*node))
    }

    pub(super) fn open_or_create(self: &Arc<World>, path: &Path) -> io::Result<Handle> {
        if self.lock().names.files.contains_key(path) {
            self.open(path)
        } else {
            self.create(path)
        }
    }

    fn handle(self: &Arc<World>, node: usize) -> Handle {
        Handle {
            world: self.clone(),
            node,
        }
    }

    pub(super) fn is_dir(&self, dir: &Path) -> bool {
        is_root(dir) || self.lock().names.dirs.contains(dir)
    }

    pub(super) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.parent_must_exist(dir)?;
        state.name(parent(dir), NameOp::MakeDir(dir.into()));
        Ok(())
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        if state.lying {
            return Ok(());
        }
        let (synced, rest): (Vec<NameChange>, _) = std::mem::take(&mut state.pending)
            .into_iter()
            .partition(|change| change.dir == dir);
        state.pending = rest;
        for change in synced {
            state.durable.apply(&change.what);
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.parent_must_exist(to)?;
        let node = *state.names.files.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.name(parent(to), NameOp::Rename(from.into(), to.into(), node));
        Ok(())
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        if !state.names.files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name(parent(path), NameOp::Unlink(path.into()));
        Ok(())
    }

    pub(super) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        if state.names.files.keys().any(|path| path.starts_with(dir)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.name(parent(dir), NameOp::RemoveDir(dir.into()));
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.lock();
        state.alive()?;
        let name = |path: &Path| {
            let name = path.file_name().expect("every simulated path has a name");
            name.to_str().expect("tests use UTF-8 names").to_owned()
        };
        let files = state
            .names
            .files
            .iter()
            .map(|(path, node)| (path, Some(*node)));
        let dirs = state.names.dirs.iter().map(|path| (path, None));
        Ok(files
            .chain(dirs)
            .filter(|(path, _)| path.parent() == Some(dir))
            .map(|(path, node)| Entry {
                name: name(path),
                is_dir: node.is_none(),
                bytes: node.map_or(0, |node| state.nodes[node].content.len() as u64),
            })
            .collect())
    }

    pub(super) fn space(&self) -> Space {
        self.lock().space.unwrap_or(Space {
            free: 1 << 40,
            total: 1 << 40,
        })
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("every simulated path has a directory")
}

fn is_root(dir: &Path) -> bool {
    dir == Path::new("/")
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    /// Counts a changing operation and lets the injected fault happen.
    fn step(&mut self) -> io::Result<Option<Fault>> {
        self.step_partly().and_then(|fault| match fault {
            None => Ok(None),
            Some(Fault::Eio) => Err(io::Error::from_raw_os_error(5)),
            Some(Fault::Enospc) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut) => Err(io::Error::other("the power is off")),
        })
    }

    /// As [`State::step`], for operations that can happen by half.
    fn step_partly(&mut self) -> io::Result<Option<Fault>> {
        self.alive()?;
        let now = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == now => {
                self.dead = fault == Fault::PowerCut;
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    fn parent_must_exist(&self, path: &Path) -> io::Result<()> {
        let dir = parent(path);
        if is_root(dir) || self.names.dirs.contains(dir) {
            return Ok(());
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn link(&mut self, path: &Path) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node::default());
        self.name(parent(path), NameOp::Link(path.into(), node));
        node
    }

    fn name(&mut self, dir: &Path, what: NameOp) {
        self.names.apply(&what);
        self.pending.push(NameChange {
            dir: dir.into(),
            what,
        });
    }
}

impl Handle {
    pub(super) fn len(&self) -> io::Result<u64> {
        let state = self.world.lock();
        state.alive()?;
        Ok(state.nodes[self.node].content.len() as u64)
    }

    pub(super) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.world.lock();
        state.alive()?;
        let content = &state.nodes[self.node].content;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let part = content
            .get(start..start.saturating_add(buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(part);
        Ok(())
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.world.lock();
        let fault = state.step_partly()?;
        let node = &mut state.nodes[self.node];
        let mut write = |bytes: &[u8]| {
            node.apply(Change::Write {
                offset,
                bytes: bytes.to_vec(),
            });
        };
        match fault {
            None => write(bytes),
            Some(Fault::PowerCut) => {
                write(bytes);
                return Err(io::Error::other("the power is off"));
            }
            Some(Fault::Eio) => return Err(io::Error::from_raw_os_error(5)),
            Some(Fault::Enospc) => {
                write(&bytes[..bytes.len() / 2]);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.world.lock();
        state.step()?;
        state.nodes[self.node].set_len(len);
        Ok(())
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        let mut state = self.world.lock();
        let fault = state.step_partly()?;
        let lying = state.lying;
        let node = &mut state.nodes[self.node];
        match fault {
            None if lying => {}
            None => {
                node.pending.clear();
                node.durable.clone_from(&node.content);
            }
            Some(Fault::PowerCut) => return Err(io::Error::other("the power is off")),
            // The kernel marks the pages clean although they never reached the disk.
            Some(Fault::Eio) => {
                node.pending.clear();
                return Err(io::Error::from_raw_os_error(5));
            }
            Some(Fault::Enospc) => return Err(io::ErrorKind::StorageFull.into()),
        }
        Ok(())
    }
}

/// xorshift64*: small, seeded, the same on every machine.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// One time in `n`.
    pub(crate) fn chance(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
