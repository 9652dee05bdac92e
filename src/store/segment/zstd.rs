//! zstd with one context per thread and direction: making a context costs more than a small frame
//! (10 % of query time in the measurements when made per call).

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use super::Grade;
use super::cursor::Damage;

/// Level 1: higher ones save at most 2 % of fresh columns for 10-30 % more CPU.
const LEVEL_FRESH: i32 = 1;

/// Of what is rewritten once and then kept for weeks.
const LEVEL_FINAL: i32 = 9;

/// Bytes that one frame may unpack to. A block is cut at far fewer, unless one record alone is larger.
pub(crate) const UNPACKED_BYTES_MAX: usize = 512 << 20;

thread_local! {
    static FRESH: RefCell<Compressor<'static>> = RefCell::new(compressor(LEVEL_FRESH));
    static FINAL: RefCell<Compressor<'static>> = RefCell::new(compressor(LEVEL_FINAL));
    static DECOMPRESSOR: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("a zstd context needs only memory"));
}

fn compressor(level: i32) -> Compressor<'static> {
    let mut compressor = Compressor::new(level).expect("a zstd context needs only memory");
    // The section around a frame has its length and checksum.
    for off in [
        compressor.include_contentsize(false),
        compressor.include_checksum(false),
        compressor.include_dictid(false),
    ] {
        off.expect("these parameters exist in every zstd");
    }
    compressor
}

/// Appends `bytes` to `out`, compressed when that is smaller. Returns the stored length: equal to
/// `bytes.len()` means stored as they are.
pub(crate) fn pack(bytes: &[u8], grade: Grade, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    if bytes.len() > 16 {
        out.resize(start + zstd::zstd_safe::compress_bound(bytes.len()), 0);
        let compressor = match grade {
            Grade::Fresh => &FRESH,
            Grade::Final => &FINAL,
        };
        let packed = compressor.with_borrow_mut(|zstd| {
            zstd.compress_to_buffer(bytes, &mut out[start..])
                .expect("the buffer has zstd's own bound")
        });
        if packed < bytes.len() {
            out.truncate(start + packed);
            return packed;
        }
        out.truncate(start);
    }
    out.extend_from_slice(bytes);
    bytes.len()
}

/// The inverse of [`pack`]; `raw_len` is the length before.
pub(crate) fn unpack(stored: &[u8], raw_len: usize) -> Result<Vec<u8>, Damage> {
    if raw_len > UNPACKED_BYTES_MAX {
        return Err(Damage("a frame claims more bytes than a frame may have"));
    }
    if stored.len() == raw_len {
        return Ok(stored.to_vec());
    }
    let mut out = Vec::with_capacity(raw_len);
    let n = DECOMPRESSOR
        .with_borrow_mut(|zstd| zstd.decompress_to_buffer(stored, &mut out))
        .map_err(|_| Damage("a frame does not decompress"))?;
    if n == raw_len {
        Ok(out)
    } else {
        Err(Damage("a frame has another length than the directory says"))
    }
}
