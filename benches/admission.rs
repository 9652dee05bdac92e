//! CPU of the steps of admission per 1M records of a corpus:
//! `cargo bench --features internals --bench admission -- logs-1m.bin [traces]`
//!
//! The corpus is a file of frames as the load generator writes it: a header of 1,024 bytes, then
//! per frame four little-endian u32 (stored bytes, raw bytes, records, encoding) and the bytes.

use std::io::{Read, Seek, SeekFrom};
use std::time::Instant;

const HEADER_BYTES: u64 = 1024;
/// Frames measured: enough for a stable figure.
const FRAMES_MAX: usize = 400;

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let Some(path) = args.next() else {
        println!("usage: ... -- CORPUS.bin [traces]; nothing measured");
        return;
    };
    let traces = args.next().is_some_and(|arg| arg == "traces");
    let (frames, records) = read(&path);
    let bytes: usize = frames.iter().map(Vec::len).sum();
    println!("{} frames, {records} records, {bytes} bytes", frames.len());
    for (name, step) in watchpost::internals::STEPS {
        // The copy is what the socket would have done; it is not measured.
        let best = (0..5).map(|_| {
            let copies = frames.clone();
            let started = Instant::now();
            let mut sum = 0usize;
            for frame in copies {
                sum = sum.wrapping_add(step(frame, traces));
            }
            std::hint::black_box(sum);
            started.elapsed().as_secs_f64()
        });
        let best = best.fold(f64::MAX, f64::min);
        let per_million = best * 1e6 / records as f64;
        println!("{name:24} {per_million:.3} s per 1M records");
    }
}

fn read(path: &str) -> (Vec<Vec<u8>>, usize) {
    let mut file = std::fs::File::open(path).expect("the corpus opens");
    file.seek(SeekFrom::Start(HEADER_BYTES)).expect("a header");
    let mut file = std::io::BufReader::new(file);
    let (mut frames, mut records) = (Vec::new(), 0);
    let mut head = [0u8; 16];
    while frames.len() < FRAMES_MAX && file.read_exact(&mut head).is_ok() {
        let number = |at: usize| {
            let word = head[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(word) as usize
        };
        let mut frame = vec![0; number(0)];
        file.read_exact(&mut frame).expect("a whole frame");
        assert_eq!(number(12), 0, "frames of an uncompressed corpus");
        records += number(8);
        frames.push(frame);
    }
    (frames, records)
}
