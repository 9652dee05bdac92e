//! Bytes and seconds of segments over a recorded corpus. Prints figures, asserts nothing.
//!
//! `cargo bench --features internals --bench segments -- logs FILE [REQUESTS]` (or `spans`); FILE is an
//! unpacked `otlpload` corpus: a header of 1024 bytes, then frames of four little-endian u32 (stored
//! length, raw length, records, encoding) and an export request.

use bytes::Bytes;
use watchpost::internals::{measure_log_segments, measure_span_segments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HEADER_BYTES: usize = 1024;
const FRAME_HEADER_BYTES: usize = 16;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (Some(signal), Some(path)) = (args.next(), args.next()) else {
        println!("no corpus given: segments logs|spans FILE");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let mut bodies = bodies(&path);
    if let Some(requests) = args.next().and_then(|n| n.parse().ok()) {
        bodies.truncate(requests);
    }
    let figures = match signal.as_str() {
        "logs" => measure_log_segments(&bodies, dir.path()),
        _ => measure_span_segments(&bodies, dir.path()),
    };
    println!("{figures}");
}

fn bodies(path: &str) -> Vec<Bytes> {
    let file = Bytes::from(std::fs::read(path).expect("the corpus can be read"));
    let (mut at, mut bodies) = (HEADER_BYTES, Vec::new());
    while let Some(len) = file.get(at..at + 4) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let start = at + FRAME_HEADER_BYTES;
        bodies.push(file.slice(start..start + len));
        at = start + len;
    }
    bodies
}
