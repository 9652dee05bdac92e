//! Dedup keys of sealed requests as bytes. Only encodes; never touches a table.

use super::Key;
use crate::model::Timestamp;

const KEY_BYTES: usize = 24;

pub(super) fn encode_keys(keys: &[Key]) -> Vec<u8> {
    let mut out = Vec::with_capacity(keys.len() * KEY_BYTES);
    for (key, received) in keys {
        out.extend_from_slice(&key.to_le_bytes());
        out.extend_from_slice(&received.0.to_le_bytes());
    }
    out
}

pub(super) fn decode_keys(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Key> {
    bytes.chunks_exact(KEY_BYTES).map(|entry| {
        let (key, received) = entry.split_at(16);
        let key = u128::from_le_bytes(key.try_into().expect("16 bytes"));
        let received = u64::from_le_bytes(received.try_into().expect("8 bytes"));
        (key, Timestamp(received))
    })
}
