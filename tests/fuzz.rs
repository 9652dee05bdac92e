//! Replays the fuzz corpus through every decoder of foreign bytes, then mutates it for a while with a
//! fixed seed: no panic, no input that takes long. `FUZZ_SECONDS` is the time per decoder beyond the
//! replay (default: 1; the long run takes 60).

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use watchpost::internals::{DECODERS, Decoder};

/// One input may take this long (reliability.md F1), of the processor: a busy machine is nobody's fault.
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);

/// Inputs grown by mutation stay below this.
const INPUT_BYTES_MAX: usize = 64 << 10;

#[test]
fn every_decoder_survives_its_corpus_and_what_grows_from_it() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let budget = Duration::from_secs(seconds.unwrap_or(1));
    let waiting = Mutex::new(DECODERS.iter());
    let next = || waiting.lock().expect("no thread panics holding it").next();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((name, decode)) = next() {
                    replay_and_mutate(name, *decode, budget);
                }
            });
        }
    });
}

fn replay_and_mutate(name: &str, decode: Decoder, budget: Duration) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(&dir).expect(name) {
        seeds.push(std::fs::read(file.expect(name).path()).expect(name));
    }
    seeds.sort();
    let taken = seeds.iter().filter(|seed| run(name, decode, seed)).count();
    assert!(
        taken > 0,
        "{name}: a corpus whose every file is refused tests little"
    );
    assert!(
        taken < seeds.len(),
        "{name}: a corpus of good files only tests little"
    );
    mutate(name, decode, &seeds, budget);
}

/// Whether the input was taken.
#[track_caller]
fn run(name: &str, decode: Decoder, input: &[u8]) -> bool {
    let started = processor_time();
    let taken = decode(input).is_some();
    let took = processor_time() - started;
    assert!(
        took < INPUT_TIME_MAX,
        "{name}: {took:?} for {} bytes",
        input.len()
    );
    taken
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn mutate(name: &str, decode: Decoder, seeds: &[Vec<u8>], budget: Duration) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let started = Instant::now();
    let mut pool: Vec<Vec<u8>> = seeds.to_vec();
    while started.elapsed() < budget {
        let mut input = pool[random.below(pool.len())].clone();
        for _ in 0..=random.below(4) {
            change(&mut input, &mut random, seeds);
        }
        input.truncate(INPUT_BYTES_MAX);
        let taken = run(name, decode, &input);
        if taken && random.below(50) == 0 && pool.len() < 4 * seeds.len() {
            pool.push(input);
        }
    }
}

fn change(input: &mut Vec<u8>, random: &mut Random, seeds: &[Vec<u8>]) {
    let at = random.below(input.len() + 1);
    match random.below(6) {
        0 => input.truncate(at),
        1 => input.insert(at, random.next() as u8),
        2 if at < input.len() => input[at] ^= 1 << random.below(8),
        3 if at < input.len() => {
            let end = (at + random.below(16)).min(input.len());
            input.drain(at..end);
        }
        4 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ if at < input.len() => {
            let end = (at + random.below(64)).min(input.len());
            let part = input[at..end].to_vec();
            let copies = 1 + random.below(20);
            let grown = part.repeat(copies);
            input.splice(at..at, grown);
        }
        _ => {}
    }
}

/// xorshift64*: the same inputs on every run of the same length.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
