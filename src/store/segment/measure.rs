//! Figures over recorded requests, for benches: what sealing, merging and reading cost.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::chunk::Request;
use crate::model::{LogChunk, LogView, ProjectId, SpanChunk, TimeRange, Timestamp};
use crate::store::disk::Disk;
use crate::store::partition::{Partition, RetentionClass, Span};
use crate::store::{
    BodyKind, Decider, LogColumns, LogFilter, LogKind, LogPrune, Sieve, SpanColumns, SpanPrune,
    StoreError,
};

use super::{
    Format, Logs, Sealed, Segment, SegmentFacts, Spans, merge, recode_logs, recode_spans,
    seal_logs, seal_spans,
};

/// Requests sealed at once: about 32 k records of the corpora.
const HEAD_REQUESTS: usize = 40;

/// Segments merged into one.
const MERGE_WIDTH: usize = 8;

/// Merged segments rewritten as one.
const RECODE_WIDTHS: [usize; 2] = [1, 4];

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
    let recode = |inputs: &[Segment<Logs>], out: &mut Vec<u8>| {
        recode_logs(inputs, ProjectId::DEFAULT, out, None, &mut || Ok(()))
    };
    measure(bodies, dir, seal, read, recode)
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
    let recode = |inputs: &[Segment<Spans>], out: &mut Vec<u8>| {
        recode_spans(inputs, ProjectId::DEFAULT, out, &mut || Ok(()))
    };
    measure(bodies, dir, seal, read, recode)
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
    recode: impl Fn(&[Segment<F>], &mut Vec<u8>) -> Result<SegmentFacts, StoreError>,
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
            merge(inputs, &mut bytes, &mut || Ok(())).expect("just sealed");
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
    let mut text = String::new();
    for width in RECODE_WIDTHS {
        let start = cpu_seconds();
        let recoded = merged.chunks(width).enumerate().map(|(number, inputs)| {
            let mut bytes = Vec::new();
            recode(inputs, &mut bytes).expect("just merged");
            open(dir, &format!("r{width}-{number}.seg"), &bytes)
        });
        let recoded: Vec<Segment<F>> = recoded.collect();
        let recode_s = cpu_seconds() - start;
        let start = cpu_seconds();
        let read = recoded
            .iter()
            .map(|segment| read(segment).expect("just written"));
        assert_eq!(read.sum::<usize>(), n);
        let read_s = cpu_seconds() - start;
        let _ = writeln!(
            text,
            "rewritten {} at a time: {:.2} CPU s per 1M, read {:.2}: {}",
            n / recoded.len(),
            per_million(recode_s),
            per_million(read_s),
            Sizes::of(&recoded)
        );
    }
    format!(
        "{n} rows\nseal {:.2} CPU s per 1M (decoding once more included)\n\
         merge {:.2} CPU s per 1M\nread all columns {:.2} CPU s per 1M\nfresh: {fresh}\nmerged: {}\n{text}",
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

/// Segments of a corpus for benches of one step each.
#[derive(Debug)]
pub(crate) struct Bed<F: Format> {
    bodies: Vec<Bytes>,
    fresh: Vec<Segment<F>>,
    recoded: Segment<F>,
}

impl Bed<Logs> {
    pub(crate) fn new(bodies: Vec<Bytes>, dir: &Path) -> Bed<Logs> {
        Bed::of(
            bodies,
            dir,
            Bed::<Logs>::seal_bodies,
            Bed::<Logs>::recode_segments,
        )
    }

    fn seal_bodies(bodies: &[Bytes]) -> Vec<Sealed> {
        let chunk = |body| Arc::new(LogChunk::parse(request(body)).expect("a corpus is sound"));
        seal_logs(&bodies.iter().map(chunk).collect::<Vec<_>>(), one_day)
    }

    fn recode_segments(inputs: &[Segment<Logs>]) -> Vec<u8> {
        let mut out = Vec::new();
        recode_logs(inputs, ProjectId::DEFAULT, &mut out, None, &mut || Ok(()))
            .expect("just sealed");
        out
    }

    pub(crate) fn seal(&self) -> usize {
        Bed::<Logs>::seal_bodies(&self.bodies[..HEAD_REQUESTS.min(self.bodies.len())]).len()
    }

    pub(crate) fn recode(&self) -> usize {
        Bed::<Logs>::recode_segments(&self.fresh).len()
    }

    /// All records with all columns.
    pub(crate) fn read(&self) -> usize {
        let (mut n, any) = (0, LogPrune::default());
        for block in self.recoded.blocks(TimeRange::ALL, &any).expect("whole") {
            let read = block.for_each(LogColumns::ALL, &mut |_| {
                n += 1;
                ControlFlow::Continue(())
            });
            read.expect("whole");
        }
        n
    }

    /// The records whose body has `text`.
    pub(crate) fn search(&self, text: &str) -> usize {
        let mut n = 0;
        let any = LogPrune::default();
        for block in self.recoded.blocks(TimeRange::ALL, &any).expect("whole") {
            let read = block.for_each(LogColumns::BODY, &mut |log| {
                n += usize::from(log.body.as_str().is_some_and(|body| body.contains(text)));
                ControlFlow::Continue(())
            });
            read.expect("whole");
        }
        n
    }

    /// The same records, sifted by distinct variables and templates before a text is put together.
    pub(crate) fn sift(&self, text: &str) -> usize {
        let mut n = 0;
        let has = |log: &LogView<'_>| log.body.as_str().is_some_and(|body| body.contains(text));
        let decide = |kind: &LogKind<'_>| match kind.body {
            BodyKind::Text(template) if template.text().contains(text) => Some(true),
            BodyKind::Text(template) if !template.has_variables() => Some(false),
            BodyKind::Empty => Some(false),
            BodyKind::Text(_) | BodyKind::Open => None,
        };
        let filter = LogFilter {
            open: &|_| true,
            decider: &Decider::new(&decide),
            matches: &has,
            columns: LogColumns::BODY,
            everything: false,
            sieve: Some(Sieve::Text(text)),
            only_asked: false,
        };
        let any = LogPrune::default();
        for block in self.recoded.blocks(TimeRange::ALL, &any).expect("whole") {
            let read = block.matching(&filter, LogColumns::NONE, &mut |_, _| {
                n += 1;
                ControlFlow::Continue(())
            });
            read.expect("whole");
        }
        n
    }
}

impl Bed<Spans> {
    pub(crate) fn new(bodies: Vec<Bytes>, dir: &Path) -> Bed<Spans> {
        Bed::of(
            bodies,
            dir,
            Bed::<Spans>::seal_bodies,
            Bed::<Spans>::recode_segments,
        )
    }

    fn seal_bodies(bodies: &[Bytes]) -> Vec<Sealed> {
        let chunk = |body| Arc::new(SpanChunk::parse(request(body)).expect("a corpus is sound"));
        seal_spans(&bodies.iter().map(chunk).collect::<Vec<_>>(), one_day)
    }

    fn recode_segments(inputs: &[Segment<Spans>]) -> Vec<u8> {
        let mut out = Vec::new();
        recode_spans(inputs, ProjectId::DEFAULT, &mut out, &mut || Ok(())).expect("just sealed");
        out
    }

    pub(crate) fn seal(&self) -> usize {
        Bed::<Spans>::seal_bodies(&self.bodies[..HEAD_REQUESTS.min(self.bodies.len())]).len()
    }

    pub(crate) fn recode(&self) -> usize {
        Bed::<Spans>::recode_segments(&self.fresh).len()
    }

    /// All spans of the middle trace by id, from a rewritten segment.
    pub(crate) fn trace(&self) -> usize {
        Bed::<Spans>::trace_in(std::slice::from_ref(&self.recoded))
    }

    /// As [`Bed::trace`], from fresh segments.
    pub(crate) fn trace_fresh(&self) -> usize {
        Bed::<Spans>::trace_in(&self.fresh)
    }

    fn trace_in(segments: &[Segment<Spans>]) -> usize {
        let table = segments[0].summaries().expect("whole");
        let id = table.rows[table.rows.len() / 2].trace_id;
        let prune = SpanPrune {
            trace_id: Some(id),
            ..SpanPrune::default()
        };
        let mut n = 0;
        for segment in segments {
            for block in segment.blocks(TimeRange::ALL, &prune).expect("whole") {
                let read = block
                    .only(Some(id))
                    .for_each(SpanColumns::ALL, &mut |span| {
                        n += usize::from(span.trace_id == id);
                        ControlFlow::Continue(())
                    });
                read.expect("whole");
            }
        }
        n
    }
}

impl<F: Format> Bed<F> {
    pub(crate) fn rows(&self) -> usize {
        self.recoded.facts().rows as usize
    }

    pub(crate) fn head_rows(&self) -> usize {
        self.fresh[0].facts().rows as usize
    }

    fn of(
        bodies: Vec<Bytes>,
        dir: &Path,
        seal: impl Fn(&[Bytes]) -> Vec<Sealed>,
        recode: impl Fn(&[Segment<F>]) -> Vec<u8>,
    ) -> Bed<F> {
        let sealed = bodies.chunks(HEAD_REQUESTS).flat_map(seal).enumerate();
        let fresh: Vec<Segment<F>> = sealed
            .map(|(number, sealed)| open(dir, &format!("b{number}.seg"), &sealed.bytes))
            .collect();
        let recoded = open(dir, "recoded.seg", &recode(&fresh));
        Bed {
            bodies,
            fresh,
            recoded,
        }
    }

    pub(crate) fn merge(&self) -> usize {
        let mut out = Vec::new();
        merge(&self.fresh, &mut out, &mut || Ok(())).expect("just sealed");
        out.len()
    }
}
