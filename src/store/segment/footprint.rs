//! What rewriting segments as one takes of memory, so that it is only tried where that is bounded: all of
//! it has to fit beside the heads on a machine of 256 MB.

/// Trace ids of the logs of one rewritten segment: about 60 bytes each while it is written.
const TRACES_MAX: u64 = 1 << 19;

/// Bytes of the token tables that become one: a token has 2 there at least and 16 in memory.
const TOKEN_BYTES_MAX: u64 = 4 << 20;

/// Bytes of the blocks and dictionaries that are open at once.
const OPEN_BYTES_MAX: u64 = 64 << 20;

/// Of one segment or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(super) traces: u64,
    pub(super) token_bytes: u64,
    pub(super) open_bytes: u64,
}

impl Footprint {
    pub(crate) fn with(self, other: Footprint) -> Footprint {
        Footprint {
            traces: self.traces + other.traces,
            token_bytes: self.token_bytes + other.token_bytes,
            open_bytes: self.open_bytes + other.open_bytes,
        }
    }

    /// Whether segments of this footprint may be rewritten.
    pub(crate) fn fits(self) -> bool {
        self.traces <= TRACES_MAX
            && self.token_bytes <= TOKEN_BYTES_MAX
            && self.open_bytes <= OPEN_BYTES_MAX
    }
}
