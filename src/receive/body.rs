//! Reading and decompressing bodies within the door's budget and a hard cap (reliability.md O6).
//!
//! A bomb costs time and no memory: one that tells its size is refused by it; a stream that is longer
//! than it says or than a batch packs is first decompressed into nothing, to count.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use http_body_util::BodyExt;

use super::fault::Fault;
use crate::ingest::Encoding;
use crate::ingest::Permit;

/// Time for a whole body. Exporters give up after 10 s.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// From here on Content-Length is believed and allocated: whoever has sent this much means it.
const BELIEVED_AFTER_BYTES: usize = 256 << 10;

/// Sent by everybody who means to send more: less than the first packet of a usual batch.
const STARTED_BYTES: usize = 8 << 10;

/// One part in so many of the whole budget is what one request gets once it has begun to send.
const USUAL_PART: usize = 64;

/// Decompressed between two points where other requests get a turn.
const STEP_BYTES: usize = 256 << 10;

/// A declared size of up to this many times the compressed one is believed and allocated; batches of
/// logs pack 5 to 25 times. Over it the stream is decompressed once only to count.
const TRUSTED_RATIO: usize = 32;

/// The first guess for a stream that declares nothing.
const GUESS_RATIO: usize = 8;

/// Deflate cannot pack better than 1032:1; a gzip trailer that says so is cut off or a lie.
const DEFLATE_RATIO_MAX: usize = 1040;

/// Largest window of a zstd frame, 2^23 B = 8 MiB: what RFC 8878 asks decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Snappy's longest copy, 64 bytes, takes 3: a stream that declares more than this many times its
/// own length is lying.
const SNAPPY_RATIO_MAX: usize = 22;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Zstd,
    /// zlib, as HTTP means it.
    Deflate,
}

impl Coding {
    /// Reads `Content-Encoding` or `grpc-encoding`.
    ///
    /// # Errors
    /// Unknown, or more than one: nobody compresses twice except to hide a bomb.
    pub(crate) fn parse(header: Option<&HeaderValue>) -> Result<Coding, Fault> {
        let Some(header) = header else {
            return Ok(Coding::Identity);
        };
        let text = String::from_utf8_lossy(header.as_bytes());
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Coding::Identity),
            "gzip" | "x-gzip" => Ok(Coding::Gzip),
            "zstd" => Ok(Coding::Zstd),
            "deflate" => Ok(Coding::Deflate),
            other => Err(Fault::Coding(other.chars().take(40).collect())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
            Coding::Deflate => "deflate",
        }
    }

    /// How the WAL would name it; `None`: it cannot be logged as it came.
    pub(crate) const fn logged(self) -> Option<Encoding> {
        match self {
            Coding::Identity | Coding::Deflate => None,
            Coding::Gzip => Some(Encoding::Gzip),
            Coding::Zstd => Some(Encoding::Zstd),
        }
    }
}

/// The bytes before a message: none over HTTP, a frame of 5 over gRPC.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    bytes: [u8; 5],
    wanted: usize,
    got: usize,
}

impl Prefix {
    pub(crate) fn grpc() -> Prefix {
        Prefix {
            wanted: 5,
            ..Prefix::default()
        }
    }

    fn fill(&mut self, data: &mut bytes::Bytes) {
        let n = (self.wanted - self.got).min(data.len());
        let taken = data.split_to(n);
        self.bytes[self.got..self.got + n].copy_from_slice(&taken);
        self.got += n;
    }

    /// All of it, once it has come.
    pub(crate) fn get(&self) -> Option<[u8; 5]> {
        (self.got == self.bytes.len()).then_some(self.bytes)
    }
}

/// Reads a body of at most `max` bytes; `declared` is Content-Length. Its first bytes go into
/// `prefix` until that is full.
///
/// # Errors
/// Too large, too slow, no memory, or the sender is gone.
pub(crate) async fn collect(
    body: Body,
    declared: Option<u64>,
    max: usize,
    prefix: &mut Prefix,
    permit: &mut Permit,
) -> Result<Vec<u8>, Fault> {
    if let Some(declared) = declared.filter(|n| *n > max as u64) {
        return Err(Fault::too_large(declared, max));
    }
    let declared = declared.unwrap_or(0) as usize;
    let read = async {
        let mut body = body;
        // A usual batch asks for all of its memory at once: requests that each hold some and wait
        // for more would wait for each other.
        let believed = declared.min(BELIEVED_AFTER_BYTES.max(permit.total() / USUAL_PART));
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|_| Fault::Gone)?.into_data() else {
                continue;
            };
            prefix.fill(&mut data);
            let len = bytes.len() + data.len();
            if len > max {
                return Err(Fault::too_large(len as u64, max));
            }
            if len > bytes.capacity() {
                let wanted = match len {
                    // Whoever only says that much will come gets no memory for it.
                    ..STARTED_BYTES if len < declared => 2 * len,
                    _ if len <= believed => believed,
                    _ => declared.max(2 * len),
                };
                let (old, wanted) = (bytes.capacity(), wanted.min(max));
                // Both buffers are there while one is copied into the other; the one made for the
                // first bytes of a declared body is too small to count.
                let copied = if declared < len { old } else { 0 };
                permit.grow(wanted - old + copied).await?;
                let mut larger = permit.buffer(wanted);
                larger.extend_from_slice(&bytes);
                permit.give_back(std::mem::replace(&mut bytes, larger));
                permit.shrink(permit.bytes() - copied);
            }
            bytes.extend_from_slice(&data);
        }
        trim(&mut bytes);
        permit.shrink(bytes.capacity());
        Ok(bytes)
    };
    let read = tokio::time::timeout(BODY_TIME_MAX, read).await;
    read.unwrap_or(Err(Fault::Slow))
}

/// Decompresses to at most `max` bytes.
///
/// # Errors
/// Too large, damaged, or no memory.
pub(crate) async fn decompress(
    coding: Coding,
    bytes: &[u8],
    max: usize,
    permit: &mut Permit,
) -> Result<Vec<u8>, Fault> {
    let declared = declared_bytes(coding, bytes);
    if let Some(declared) = declared.filter(|n| *n > max) {
        return Err(Fault::too_large(declared as u64, max));
    }
    let guess = (GUESS_RATIO * bytes.len()).min(max / 8);
    let expected = declared.filter(|n| *n <= TRUSTED_RATIO * bytes.len());
    let expected = expected.unwrap_or(guess);
    permit.grow(expected).await?;
    let buffer = permit.buffer(expected);
    let mut inflated = inflate(coding, bytes, expected, buffer).await?;
    if inflated.is_none() {
        let exact = count(coding, bytes, max).await?;
        permit.grow(exact - expected).await?;
        let buffer = permit.buffer(exact);
        inflated = inflate(coding, bytes, exact, buffer).await?;
    }
    let mut out = inflated.expect("its length was counted");
    trim(&mut out);
    permit.shrink(bytes.len() + out.capacity());
    Ok(out)
}

/// Gives back what a guess was too large: a request stays in memory until it is in a segment.
/// Small surpluses stay, copying would cost more.
fn trim(bytes: &mut Vec<u8>) {
    if bytes.capacity() > bytes.len() + bytes.len() / 8 {
        bytes.shrink_to_fit();
    }
}

/// Decompresses what has at most `size` bytes into `out`, which is empty; `None`: it has more.
async fn inflate(
    coding: Coding,
    bytes: &[u8],
    size: usize,
    mut out: Vec<u8>,
) -> Result<Option<Vec<u8>>, Fault> {
    let mut reader = reader(coding, bytes)?;
    loop {
        let step = STEP_BYTES.min(size - out.len());
        let read = reader.by_ref().take(step as u64).read_to_end(&mut out);
        let read = read.map_err(|_| Fault::Compression(coding.name()))?;
        if read < step {
            return Ok(Some(out));
        }
        if out.len() == size {
            let more = reader.read(&mut [0]);
            let more = more.map_err(|_| Fault::Compression(coding.name()))?;
            return Ok((more == 0).then_some(out));
        }
        tokio::task::yield_now().await;
    }
}

/// How long the decompressed bytes are, without keeping them.
async fn count(coding: Coding, bytes: &[u8], max: usize) -> Result<usize, Fault> {
    let mut reader = reader(coding, bytes)?;
    let mut total = 0;
    while total <= max {
        let step = reader.by_ref().take(STEP_BYTES as u64);
        let read = std::io::copy(&mut { step }, &mut std::io::sink());
        let read = read.map_err(|_| Fault::Compression(coding.name()))?;
        if read == 0 {
            return Ok(total);
        }
        total += read as usize;
        tokio::task::yield_now().await;
    }
    Err(Fault::too_large(total as u64, max))
}

fn reader(coding: Coding, bytes: &[u8]) -> Result<Box<dyn Read + Send + '_>, Fault> {
    Ok(match coding {
        Coding::Identity => Box::new(bytes),
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Coding::Deflate => Box::new(flate2::bufread::ZlibDecoder::new(bytes)),
        Coding::Zstd => Box::new(zstd_reader(bytes)?),
    })
}

fn zstd_reader(bytes: &[u8]) -> Result<zstd::stream::read::Decoder<'static, &[u8]>, Fault> {
    let failed = |_| Fault::Compression("zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(failed)?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(failed)?;
    Ok(decoder)
}

/// The length that a block of snappy declares, checked before anything is allocated.
pub(crate) fn unsnappied_bytes(bytes: &[u8], max: usize) -> Result<usize, Fault> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let damaged = |_| Fault::Compression("snappy");
    let declared = snap::raw::decompress_len(bytes).map_err(damaged)?;
    if declared > max {
        return Err(Fault::too_large(declared as u64, max));
    }
    if declared > bytes.len() * SNAPPY_RATIO_MAX {
        return Err(Fault::Compression("snappy"));
    }
    Ok(declared)
}

pub(crate) fn unsnappy(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    snap::raw::Decoder::new()
        .decompress_vec(bytes)
        .map_err(|_| Fault::Compression("snappy"))
}

/// What a compressed stream says about its length, if that can be: it may say too little.
fn declared_bytes(coding: Coding, bytes: &[u8]) -> Option<usize> {
    match coding {
        Coding::Gzip => {
            // RFC 1952: the last four bytes are the size of the last member modulo 2^32.
            let size = bytes.last_chunk().map(|size| u32::from_le_bytes(*size))?;
            let size = usize::try_from(size).ok()?;
            let whole = bytes.starts_with(&[0x1f, 0x8b]) && size <= DEFLATE_RATIO_MAX * bytes.len();
            whole.then_some(size)
        }
        Coding::Zstd => {
            let size = zstd::zstd_safe::get_frame_content_size(bytes).ok()??;
            usize::try_from(size).ok()
        }
        Coding::Identity | Coding::Deflate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Budget;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).expect("memory");
        out.finish().expect("memory")
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).expect("memory");
        out.finish().expect("memory")
    }

    /// zstd as streaming encoders write it, without the size.
    fn zstd_stream(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).expect("memory")
    }

    const MAX: usize = 1 << 20;

    #[tokio::test]
    async fn every_length_around_the_limits_comes_back() {
        let budget = Budget::new(4 * MAX);
        let text: Vec<u8> = (0..=MAX).map(|i| b"abcdefgh \n"[i * 7 % 10]).collect();
        for len in [
            0,
            1,
            100,
            4_096,
            STEP_BYTES - 1,
            STEP_BYTES,
            STEP_BYTES + 1,
            MAX - 1,
            MAX,
        ] {
            let plain = &text[..len];
            let two_members = [gzip(&plain[..len / 2]), gzip(&plain[len / 2..])].concat();
            let bulk = zstd::bulk::compress(plain, 1).expect("memory");
            for (coding, packed) in [
                (Coding::Gzip, gzip(plain)),
                (Coding::Gzip, two_members),
                (Coding::Deflate, deflate(plain)),
                (Coding::Zstd, zstd_stream(plain)),
                (Coding::Zstd, bulk),
            ] {
                let mut permit = budget.reserve(packed.len()).await.expect("free");
                let out = decompress(coding, &packed, MAX, &mut permit).await;
                assert!(out.as_deref() == Ok(plain), "{coding:?} of {len}");
                assert_eq!(permit.bytes(), packed.len() + len, "{coding:?} of {len}");
            }
        }
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn one_byte_too_many_is_too_large_and_costs_no_memory() {
        let budget = Budget::new(MAX / 4);
        let plain = vec![b'x'; MAX + 1];
        // Its wrong trailer is only reached by what ends within the limit.
        let mut lying = gzip(&vec![b'x'; 2 * MAX]);
        let at = lying.len() - 4;
        lying[at..].copy_from_slice(&5u32.to_le_bytes());
        for (coding, packed) in [
            (Coding::Gzip, gzip(&plain)),
            (Coding::Gzip, lying),
            (Coding::Deflate, deflate(&plain)),
            (Coding::Zstd, zstd_stream(&plain)),
        ] {
            let mut permit = budget.reserve(packed.len()).await.expect("free");
            let out = decompress(coding, &packed, MAX, &mut permit).await;
            assert_eq!(
                out,
                Err(Fault::too_large(out_bytes(&out), MAX)),
                "{coding:?}"
            );
        }
    }

    fn out_bytes(out: &Result<Vec<u8>, Fault>) -> u64 {
        match out {
            Err(Fault::Refused(crate::ingest::Refusal::TooLarge { bytes, .. })) => *bytes,
            other => panic!("{other:?}"),
        }
    }
}
