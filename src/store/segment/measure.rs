//! Figures over recorded requests, for benches: what sealing, merging and reading cost.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::chunk::Request;
use crate::model::{LogChunk, ProjectId, SpanChunk, TimeRange, Timestamp};
use crate::store::disk::Disk;
use crate::store::partition::{Partition, RetentionClass, Span};
use crate::store::{LogColumns, LogPrune, SpanColumns, SpanPrune, StoreError};

use super::{Format, Logs, Sealed, Segment, Spans, merge, seal_logs, seal_spans};

/// Requests sealed at once: about 32 k records of the corpora.
const HEAD_REQUESTS: usize = 40;

/// Segments merged into one.
const MERGE_WIDTH: usize = 8;

/// Seals, writes, merges and reads the log requests in `bodies`; files go to `dir`.
pub(crate) fn logs(bodies: &[Bytes], dir: &Path) -> String {
    let seal = |bodies: &[Bytes]| {
        let chunks: Vec<Arc<LogChunk>> = bodies
            .iter()
            .map(|body| Arc::new(LogChunk::parse(request(body)).expect("a corpus is sound")))
            .collect();
        let start = cpu_seconds();
        (seal_logs(&chunks, one_day), cpu_seconds() - start)
    };
    let read = |segment: &Segment<Logs>| {
        let blocks = segment.blocks(TimeRange::ALL, &LogPrune::default())?;
        blocks.iter().try_fold(0, |n, block| {
            block.for_each(LogColumns::ALL, &mut |_| ControlFlow::Continue(()))?;
            Ok(n + block.rows())
        })
    };
    measure(bodies, dir, seal, read)
}

/// As [`logs`], for span requests.
pub(crate) fn spans(bodies: &[Bytes], dir: &Path) -> String {
    let seal = |bodies: &[Bytes]| {
        let chunks: Vec<Arc<SpanChunk>> = bodies
            .iter()
            .map(|body| Arc::new(SpanChunk::parse(request(body)).expect("a corpus is sound")))
            .collect();
        let start = cpu_seconds();
        (seal_spans(&chunks, one_day), cpu_seconds() - start)
    };
    let read = |segment: &Segment<Spans>| {
        let blocks = segment.blocks(TimeRange::ALL, &SpanPrune::default())?;
        blocks.iter().try_fold(0, |n, block| {
            block.for_each(SpanColumns::ALL, &mut |_| ControlFlow::Continue(()))?;
            Ok(n + block.rows())
        })
    };
    measure(bodies, dir, seal, read)
}

/// CPU time of this thread, as Linux counts it: the machine that measures is never idle.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    nanoseconds.expect("Linux counts the time of threads") / 1e9
}

fn request(body: &Bytes) -> Request {
    Request {
        bytes: body.clone(),
        project: ProjectId::DEFAULT,
        received: Timestamp::MAX,
    }
}

fn one_day(_: Timestamp) -> Partition {
    Partition::of(Timestamp(0), Span::Day, RetentionClass::default())
}

fn measure<F: Format>(
    bodies: &[Bytes],
    dir: &Path,
    seal: impl Fn(&[Bytes]) -> (Vec<Sealed>, f64),
    read: impl Fn(&Segment<F>) -> Result<usize, StoreError>,
) -> String {
    let (mut segments, mut seal_s) = (Vec::new(), 0.0);
    for bodies in bodies.chunks(HEAD_REQUESTS) {
        let (sealed, seconds) = seal(bodies);
        seal_s += seconds;
        for sealed in sealed {
            let name = format!("{}.seg", segments.len());
            segments.push(open::<F>(dir, &name, &sealed.bytes));
        }
    }
    let fresh = Sizes::of(&segments);
    let start = cpu_seconds();
    let merged: Vec<Segment<F>> = segments
        .chunks(MERGE_WIDTH)
        .enumerate()
        .map(|(number, inputs)| {
            let mut bytes = Vec::new();
            merge(inputs, &mut bytes).expect("just sealed");
            open(dir, &format!("m{number}.seg"), &bytes)
        })
        .collect();
    let merge_s = cpu_seconds() - start;
    let start = cpu_seconds();
    let n: usize = merged
        .iter()
        .map(|segment| read(segment).expect("just merged"))
        .sum();
    let read_s = cpu_seconds() - start;
    let per_million = |seconds: f64| seconds * 1e6 / n as f64;
    format!(
        "{n} rows\nseal {:.2} CPU s per 1M (decoding once more included)\n\
         merge {:.2} CPU s per 1M\nread all columns {:.2} CPU s per 1M\nfresh: {fresh}\nmerged: {}\n",
        per_million(seal_s),
        per_million(merge_s),
        per_million(read_s),
        Sizes::of(&merged),
    )
}

fn open<F: Format>(dir: &Path, name: &str, bytes: &[u8]) -> Segment<F> {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("the directory can be written");
    Segment::open(Disk::Real.open(&path).expect("just written")).expect("just written")
}

/// Bytes by what they are for.
struct Sizes(String);

impl Sizes {
    fn of<F: Format>(segments: &[Segment<F>]) -> Sizes {
        let mut families = vec![(0, 0, 0); usize::from(u8::MAX)];
        let (mut parts, mut rows, mut bytes, mut sections, mut blocks) = (0, 0, 0, 0, 0);
        for segment in segments {
            let loaded = segment.loaded().expect("just written");
            let directory = &loaded.directory;
            blocks += directory.blocks.len();
            for block in 0..directory.blocks.len() {
                for (tag, _, family) in directory.families(block) {
                    let sum = &mut families[usize::from(tag)];
                    sum.0 += u64::from(family.codes_len);
                    sum.1 += u64::from(family.text_len);
                    sum.2 += u64::from(family.bits_len);
                }
            }
            let of_part = |part: &super::directory::Part| part.dictionary_len + 16 * part.n_traces;
            parts += directory.parts.iter().map(of_part).sum::<u64>();
            rows += segment.facts().rows;
            bytes += segment.facts().bytes;
            sections += segment.facts().bytes - segment.frame().data_end();
        }
        let per_row = |n: u64| n as f64 / rows as f64;
        let mut text = format!("{:.2} B per row, {blocks} blocks;", per_row(bytes));
        for (tag, (codes, strings, bits)) in families.iter().enumerate() {
            if codes + strings + bits > 0 {
                let _ = write!(
                    text,
                    " family {tag}: {:.2}+{:.2}+{:.2};",
                    per_row(*codes),
                    per_row(*strings),
                    per_row(*bits)
                );
            }
        }
        let _ = write!(
            text,
            " dictionaries {:.2}; sections {:.2}",
            per_row(parts),
            per_row(sections)
        );
        Sizes(text)
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
