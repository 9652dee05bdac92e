//! What rewriting segments as one takes, so that it is only done where it may: memory, which the keeper
//! has a share of (`limits.memory`), and kinds of records, which one part has room for. Decides nothing
//! about which segments; reads directories and dictionaries, never a block.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::dictionary::{SHAPES_MAX, TEXT_BYTES_MAX};
use crate::model::Signal;

/// Memory of one trace id of logs while it is written: in two tables and a list.
const TRACE_BYTES: u64 = 60;

/// Memory per byte of the token tables that become one: a token has 2 there at least and 16 in memory.
const PER_TOKEN_BYTE: u64 = 8;

/// Memory per byte that a dictionary unpacks to: as it is read, as it is written, and shapes taking more
/// than their bytes.
const PER_DICTIONARY_BYTE: u64 = 3;

/// Memory of one segment or several, but for what no input makes larger: the block being written and the
/// counts of templates, under 16 MB together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(super) traces: u64,
    pub(super) token_bytes: u64,
    /// What the dictionaries of all parts unpack to.
    pub(super) dictionary_bytes: u64,
    /// Blocks that are open at once.
    pub(super) open_bytes: u64,
    /// Records that wait for others, of one input after the other.
    pub(super) waiting_bytes: u64,
}

impl Footprint {
    pub(crate) fn with(self, other: Footprint) -> Footprint {
        Footprint {
            traces: self.traces + other.traces,
            token_bytes: self.token_bytes + other.token_bytes,
            dictionary_bytes: self.dictionary_bytes + other.dictionary_bytes,
            open_bytes: self.open_bytes + other.open_bytes,
            waiting_bytes: self.waiting_bytes.max(other.waiting_bytes),
        }
    }

    /// Memory of rewriting it, in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.traces * TRACE_BYTES
            + self.token_bytes * PER_TOKEN_BYTE
            + self.dictionary_bytes * PER_DICTIONARY_BYTE
            + self.open_bytes
            + self.waiting_bytes
    }
}

/// The distinct shapes and texts of parts that are to become one. Past the bounds of a part records are
/// kept raw, and rewriting would make it so for good.
#[derive(Debug)]
pub(crate) struct Variety {
    shapes_max: usize,
    text_bytes_max: usize,
    shapes: HashSet<u64>,
    texts: HashSet<u64>,
    text_bytes: usize,
}

impl Variety {
    /// Of logs a quarter counts, without templates: these are chosen anew, and have the rest.
    pub(crate) fn of(signal: Signal) -> Variety {
        let share = match signal {
            Signal::Logs => 4,
            Signal::Traces => 1,
        };
        Variety {
            shapes_max: SHAPES_MAX / share,
            text_bytes_max: TEXT_BYTES_MAX / share,
            shapes: HashSet::new(),
            texts: HashSet::new(),
            text_bytes: 0,
        }
    }

    /// Adds a shape by what tells it apart, texts spelled out.
    pub(super) fn shape(&mut self, key: &[u8]) {
        self.shapes.insert(xxh3_64(key));
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.texts.insert(xxh3_64(text.as_bytes())) {
            self.text_bytes += text.len();
        }
    }

    /// Whether one part has room for all of it.
    pub(crate) fn fits(&self) -> bool {
        self.shapes.len() <= self.shapes_max && self.text_bytes <= self.text_bytes_max
    }
}
