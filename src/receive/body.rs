//! Reading and decompressing bodies within the door's budget and a hard cap (reliability.md O6).
//!
//! A bomb costs what it claims until the cap and not a byte more: output grows in one buffer whose
//! capacity comes from the size the compressed stream declares, or else from the cap.

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

/// Decompressed between two looks at the budget.
const STEP_BYTES: usize = 256 << 10;

/// Largest window of a zstd frame, 2^23 B = 8 MiB: what RFC 8878 asks decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

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
        let mut bytes = Vec::with_capacity(declared.min(BELIEVED_AFTER_BYTES));
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|_| Fault::Gone)?.into_data() else {
                continue;
            };
            prefix.fill(&mut data);
            let len = bytes.len() + data.len();
            if len > max {
                return Err(Fault::too_large(len as u64, max));
            }
            permit.grow(data.len()).await?;
            if len > bytes.capacity() {
                bytes.reserve_exact(declared.max(2 * len).min(max) - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
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
    let (mut reader, name): (Box<dyn Read + Send + '_>, _) = match coding {
        Coding::Identity => return Ok(bytes.to_vec()),
        Coding::Gzip => (
            Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            "gzip",
        ),
        Coding::Deflate => (
            Box::new(flate2::bufread::ZlibDecoder::new(bytes)),
            "deflate",
        ),
        Coding::Zstd => (Box::new(zstd_reader(bytes)?), "zstd"),
    };
    let mut out = Vec::with_capacity(capacity(coding, bytes, max));
    loop {
        let step = STEP_BYTES.min(max + 1 - out.len());
        permit.grow(step).await?;
        let read = reader.by_ref().take(step as u64).read_to_end(&mut out);
        let read = read.map_err(|_| Fault::Compression(name))?;
        if out.len() > max {
            return Err(Fault::too_large(out.len() as u64, max));
        }
        if read < step {
            break;
        }
        if out.capacity() - out.len() < STEP_BYTES {
            // The declared size was too small: this is the only time the buffer moves.
            out.reserve_exact(max + 1 - out.len());
        }
    }
    if out.capacity() > 2 * out.len() {
        out.shrink_to_fit();
    }
    permit.shrink(bytes.len() + out.len());
    Ok(out)
}

fn zstd_reader(bytes: &[u8]) -> Result<zstd::stream::read::Decoder<'static, &[u8]>, Fault> {
    let failed = |_| Fault::Compression("zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(failed)?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(failed)?;
    Ok(decoder)
}

/// The buffer's capacity for a stream: what it declares, if it does. Declared sizes over an eighth
/// of the cap get the cap at once, so that a lie costs at most that eighth more.
fn capacity(coding: Coding, bytes: &[u8], max: usize) -> usize {
    let declared = match coding {
        Coding::Identity => Some(bytes.len()),
        // RFC 1952: the last four bytes are the size modulo 2^32.
        Coding::Gzip => bytes
            .last_chunk()
            .map(|size| u32::from_le_bytes(*size) as usize),
        Coding::Zstd => zstd::bulk::Decompressor::upper_bound(bytes),
        Coding::Deflate => None,
    };
    // One byte more, so that a right size is seen to end without growing the buffer.
    let wanted = declared.unwrap_or(4 * bytes.len()).max(4 << 10) + STEP_BYTES;
    if wanted > max / 8 {
        max + 1 + STEP_BYTES
    } else {
        wanted
    }
}
