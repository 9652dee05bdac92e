//! One request in the write-ahead log: a fixed header with its own checksum, then the payload.
//! Layout: docs/formats/wal.md. Pure bytes, no I/O.

use std::io::Read;

use bytes::Bytes;

use crate::model::{ProjectId, Signal, Timestamp};

/// How a frame's payload is compressed: as the sender did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    const ALL: [Encoding; 3] = [Encoding::Identity, Encoding::Gzip, Encoding::Zstd];
}

/// What stands before a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
    pub(crate) signal: Signal,
    pub(crate) encoding: Encoding,
    /// Counts frames of the whole log from 1, without gaps.
    pub(crate) sequence: u64,
    /// The newest sequence known to be on the disk for good when this frame was written. A damaged
    /// frame at or below it is a bad disk; one above it is the torn end of a power cut.
    pub(crate) synced: u64,
    pub(crate) received: Timestamp,
    /// Hash of the decompressed request, by which a retry is known.
    pub(crate) key: u128,
    pub(crate) project: ProjectId,
    /// Length of the payload when decompressed: the cap of decompression.
    pub(crate) raw_bytes: u32,
}

/// Why bytes are no frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAHeader {
    Damaged,
    /// Whole, but of a later format.
    Newer(u8),
}

pub(crate) const HEADER_BYTES: usize = 68;
pub(crate) const MAGIC: [u8; 4] = *b"wpF\x01";
const VERSION: u8 = 1;

/// The largest payload, compressed or not: the largest request any limit of ingest admits, twice,
/// since admission may rewrite a request to a longer one.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 128 << 20;

/// Sequences count from 1; a million frames a second reach the end in 292,000 years.
pub(crate) const SEQUENCES: std::ops::RangeInclusive<u64> = 1..=(1 << 63);

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&self.payload_bytes.to_le_bytes());
        put(&self.payload_crc.to_le_bytes());
        put(&[VERSION, self.signal as u8, self.encoding as u8, 0]);
        put(&self.sequence.to_le_bytes());
        put(&self.synced.to_le_bytes());
        put(&self.received.0.to_le_bytes());
        put(&self.key.to_le_bytes());
        put(&self.project.0.to_le_bytes());
        put(&self.raw_bytes.to_le_bytes());
        let crc = crc32fast::hash(&out[..HEADER_BYTES - 4]);
        out[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, NotAHeader> {
        let u32_at = |at: usize| u32::from_le_bytes(array(bytes, at));
        let u64_at = |at: usize| u64::from_le_bytes(array(bytes, at));
        if bytes[..4] != MAGIC || u32_at(64) != crc32fast::hash(&bytes[..64]) {
            return Err(NotAHeader::Damaged);
        }
        let [version, signal, encoding, _] = array(bytes, 12);
        if version > VERSION {
            return Err(NotAHeader::Newer(version));
        }
        let header = Header {
            payload_bytes: u32_at(4),
            payload_crc: u32_at(8),
            signal: *Signal::ALL
                .get(usize::from(signal))
                .ok_or(NotAHeader::Damaged)?,
            encoding: *Encoding::ALL
                .get(usize::from(encoding))
                .ok_or(NotAHeader::Damaged)?,
            sequence: u64_at(16),
            synced: u64_at(24),
            received: Timestamp(u64_at(32)),
            key: u128::from_le_bytes(array(bytes, 40)),
            project: ProjectId(u32_at(56)),
            raw_bytes: u32_at(60),
        };
        let sane = header.payload_bytes.max(header.raw_bytes) <= PAYLOAD_BYTES_MAX
            && SEQUENCES.contains(&header.sequence);
        if sane {
            Ok(header)
        } else {
            Err(NotAHeader::Damaged)
        }
    }

    /// The frame's whole length in bytes.
    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}

/// The request as it was before compression; `None` when the payload is not what the header says.
pub(crate) fn decompress(header: &Header, payload: &[u8]) -> Option<Bytes> {
    let raw = header.raw_bytes as usize;
    let mut out = Vec::with_capacity(raw);
    // One byte more than promised tells a longer stream from a whole one.
    let limit = u64::from(header.raw_bytes) + 1;
    match header.encoding {
        Encoding::Identity => out.extend_from_slice(payload),
        Encoding::Gzip => {
            // Senders may concatenate gzip members (RFC 1952, section 2.2).
            let stream = flate2::read::MultiGzDecoder::new(payload);
            stream.take(limit).read_to_end(&mut out).ok()?;
        }
        Encoding::Zstd => {
            let stream = zstd::stream::read::Decoder::with_buffer(payload).ok()?;
            stream.take(limit).read_to_end(&mut out).ok()?;
        }
    }
    (out.len() == raw).then(|| Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            payload_bytes: 12,
            payload_crc: 0xdead_beef,
            signal: Signal::Logs,
            encoding: Encoding::Zstd,
            sequence: 7,
            synced: 3,
            received: Timestamp(1_795_222_800_000_000_000),
            key: u128::MAX - 5,
            project: ProjectId(9),
            raw_bytes: 400,
        }
    }

    #[test]
    fn header_reads_back_and_any_flipped_bit_is_seen() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), Err(NotAHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn newer_version_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[12] = VERSION + 1;
        let crc = crc32fast::hash(&bytes[..64]);
        bytes[64..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(NotAHeader::Newer(VERSION + 1)));
    }

    #[test]
    fn decompression_stops_at_the_promised_length() {
        let raw = vec![7; 100_000];
        let payload = zstd::encode_all(&raw[..], 1).expect("memory");
        let mut header = Header {
            raw_bytes: 100_000,
            ..header()
        };
        assert_eq!(decompress(&header, &payload).as_deref(), Some(&raw[..]));
        header.raw_bytes = 99_999;
        assert_eq!(decompress(&header, &payload), None);
        header.raw_bytes = 100_001;
        assert_eq!(decompress(&header, &payload), None);
    }
}
