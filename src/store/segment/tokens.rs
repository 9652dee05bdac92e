//! The token table: which blocks hold a trace id, a word or an attribute's value. Hash-ordered buckets
//! of about 2 KB, so that a lookup is one read; their places are in the directory.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::cursor::{Cursor, Damage, put_varint};

/// Bits of a hash that are kept: of 1 M distinct tokens in a segment, the lookup of one that is not
/// there opens a wrong block with a chance of 1 in 256 (and finds nothing in it). Every bit more
/// costs an eighth of a byte per token.
const HASH_BITS: u32 = 28;

/// Of format 1, which spelled lists of blocks out as well.
const HASH_BITS_BEFORE: u32 = 40;

/// Bucket size aimed at.
const BUCKET_BYTES: usize = 2048;

/// Buckets of one table: 2 GB of entries.
const BUCKETS_MAX: usize = 1 << 20;

/// A token in a block. Ordered by hash, then block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) hash: u64,
    pub(crate) block: u32,
}

/// The kept part of a token's hash.
pub(crate) fn hash(token: &[u8]) -> u64 {
    xxh3_64(token) >> (64 - HASH_BITS)
}

/// The token of a value under a key.
pub(crate) fn of_attribute(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key)) >> (64 - HASH_BITS)
}

/// The token of a whole number: that of its decimal text.
pub(crate) fn of_int(key: &[u8], value: i64) -> u64 {
    of_attribute(key, value.to_string().as_bytes())
}

/// The token of a truth value: that of its text.
pub(crate) fn of_bool(key: &[u8], value: bool) -> u64 {
    of_attribute(key, if value { b"true" } else { b"false" })
}

/// The token of a span's name.
pub(crate) fn of_name(name: &[u8]) -> u64 {
    of_attribute(b"\0name", name)
}

/// Says that a block has values under a key that have no tokens of their own.
pub(crate) fn of_untold(key: &[u8]) -> u64 {
    of_attribute(key, b"\0untold")
}

/// Says that a block has records whose values have no tokens, whatever the key.
pub(crate) fn of_any() -> u64 {
    hash(b"\0any")
}

/// Says that the table has tokens of values; every table written since version 2 has it.
pub(crate) fn of_values() -> u64 {
    hash(b"\0values")
}

/// Sorts tokens and takes out those that are there twice.
pub(crate) fn sort(tokens: &mut Vec<Token>) {
    // A block's number has far less than 24 bits: one comparison instead of two.
    tokens.sort_unstable_by_key(|token| token.hash << 24 | u64::from(token.block));
    tokens.dedup();
}

/// The bucket of a hash in a table of `n` (a power of two) buckets.
pub(crate) fn bucket_of(hash: u64, n: usize) -> usize {
    (hash >> (HASH_BITS - n.trailing_zeros())) as usize
}

/// The first and last hash of a bucket in a table of `n` (a power of two) buckets.
pub(crate) fn range_of(bucket: usize, n: usize) -> (u64, u64) {
    let shift = HASH_BITS - n.trailing_zeros();
    let first = (bucket as u64) << shift;
    (first, first + (1 << shift) - 1)
}

/// How many buckets a table of about `n_bytes` has.
pub(crate) fn n_buckets(n_bytes: usize) -> usize {
    (n_bytes / BUCKET_BYTES)
        .next_power_of_two()
        .min(BUCKETS_MAX)
}

/// Bytes that sorted, distinct tokens take, for [`n_buckets`].
pub(crate) fn estimate(tokens: &[Token]) -> usize {
    let mut n_bytes = 0;
    for pair in tokens.windows(2) {
        n_bytes += if pair[0].hash == pair[1].hash { 1 } else { 3 };
    }
    n_bytes
}

/// Appends one bucket of sorted, distinct tokens: for each hash its distance to the one before, then
/// its blocks; of each the distance to the one before (less one) and whether another follows. Then a
/// checksum. An empty bucket has no bytes.
pub(crate) fn put_bucket(out: &mut Vec<u8>, tokens: &[Token]) {
    if tokens.is_empty() {
        return;
    }
    let (start, mut last) = (out.len(), 0);
    for blocks in tokens.chunk_by(|a, b| a.hash == b.hash) {
        put_varint(out, blocks[0].hash - last);
        last = blocks[0].hash;
        let mut next = 0;
        for (place, token) in blocks.iter().enumerate() {
            let more = place + 1 < blocks.len();
            put_varint(out, u64::from(token.block - next) << 1 | u64::from(more));
            next = token.block + 1;
        }
    }
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Writes a whole table; returns where each bucket starts, and where the last one ends.
pub(crate) fn put_table(out: &mut Vec<u8>, tokens: &[Token]) -> Vec<u64> {
    let n = n_buckets(estimate(tokens));
    let (start, mut starts, mut rest) = (out.len(), Vec::with_capacity(n + 1), tokens);
    for bucket in 0..n {
        starts.push((out.len() - start) as u64);
        let end = rest.partition_point(|token| bucket_of(token.hash, n) <= bucket);
        put_bucket(out, &rest[..end]);
        rest = &rest[end..];
    }
    starts.push((out.len() - start) as u64);
    starts
}

/// Reads a bucket of a file of format `version`, calling `each` with its tokens in order.
pub(crate) fn read_bucket(
    bucket: &[u8],
    version: u32,
    mut each: impl FnMut(Token),
) -> Result<(), Damage> {
    let Some((entries, crc)) = bucket.split_last_chunk::<4>() else {
        return if bucket.is_empty() {
            Ok(())
        } else {
            Err(Damage("a bucket of the token table is cut short"))
        };
    };
    if crc32fast::hash(entries).to_le_bytes() != *crc {
        return Err(Damage("checksum of a bucket of the token table"));
    }
    let mut cursor = Cursor::new(entries);
    if version == 1 {
        return read_entries_before(&mut cursor, each);
    }
    let mut hash = 0u64;
    while !cursor.is_empty() {
        hash = hash.wrapping_add(cursor.varint()?);
        let (mut block, mut more) = (0u32, true);
        while more {
            let step = cursor.varint()?;
            more = step & 1 != 0;
            block = block.wrapping_add((step >> 1) as u32);
            each(Token { hash, block });
            block = block.wrapping_add(1);
        }
    }
    Ok(())
}

fn read_entries_before(cursor: &mut Cursor<'_>, mut each: impl FnMut(Token)) -> Result<(), Damage> {
    let mut long = 0u64;
    while !cursor.is_empty() {
        long = long.wrapping_add(cursor.varint()?);
        let (hash, mut block) = (long >> (HASH_BITS_BEFORE - HASH_BITS), 0u32);
        for _ in 0..cursor.varint()? {
            block = block.wrapping_add(cursor.number()?);
            each(Token { hash, block });
        }
    }
    Ok(())
}

/// The blocks that a bucket names for `hash`, rising.
pub(crate) fn find(bucket: &[u8], version: u32, hash: u64) -> Result<Vec<u32>, Damage> {
    let mut blocks = Vec::new();
    read_bucket(bucket, version, |token| {
        if token.hash == hash {
            blocks.push(token.block);
        }
    })?;
    // Two hashes of format 1 may have become one.
    blocks.sort_unstable();
    blocks.dedup();
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_found_in_its_bucket() {
        let mut tokens: Vec<Token> = (0..20_000u32)
            .map(|i| Token {
                hash: hash(&(i / 3).to_le_bytes()),
                block: i % 700,
            })
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        let mut table = Vec::new();
        let starts = put_table(&mut table, &tokens);
        let n = starts.len() - 1;
        assert!(n > 1, "the table has several buckets");
        for group in tokens.chunk_by(|a, b| a.hash == b.hash) {
            let bucket = bucket_of(group[0].hash, n);
            let bytes = &table[starts[bucket] as usize..starts[bucket + 1] as usize];
            let expected: Vec<u32> = group.iter().map(|token| token.block).collect();
            assert_eq!(find(bytes, 2, group[0].hash), Ok(expected));
        }
    }

    #[test]
    fn a_damaged_bucket_is_refused() {
        let mut bucket = Vec::new();
        put_bucket(&mut bucket, &[Token { hash: 5, block: 1 }]);
        assert_eq!(find(&bucket, 2, 5), Ok(vec![1]));
        bucket[0] ^= 4;
        assert!(find(&bucket, 2, 5).is_err());
        assert!(find(&bucket[..2], 2, 5).is_err());
    }
}
