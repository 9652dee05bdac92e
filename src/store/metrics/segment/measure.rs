//! Figures over recorded requests, for benches: what writing, merging and reading samples cost.

use std::fmt::Write as _;
use std::path::Path;

use super::{MetricSegment, SeriesKey, Writer, merge};
use crate::model::metric::{Millis, Samples};
use crate::store::disk::Disk;
use crate::store::segment::Grade;

const ALL: Millis = Millis {
    first: i64::MIN,
    last: i64::MAX,
};

/// Fresh segments that are merged into one.
const PARTS: usize = 4;

/// Series in segments, for benches of one step each.
#[derive(Debug)]
pub(crate) struct Bed {
    series: Vec<(SeriesKey, Samples)>,
    parts: Vec<MetricSegment>,
    fresh: MetricSegment,
    merged: MetricSegment,
}

impl Bed {
    /// Series by the name of their metric; files go to `dir`.
    pub(crate) fn new(series: Vec<(String, Vec<i64>, Vec<f64>)>, dir: &Path) -> Bed {
        let numbered = series.into_iter().enumerate();
        let mut series: Vec<(SeriesKey, Samples)> = numbered
            .map(|(number, (metric, times, floats))| {
                let samples = Samples {
                    times,
                    floats,
                    ..Samples::default()
                };
                (SeriesKey::of(&metric, number as u32), samples)
            })
            .collect();
        series.sort_by_key(|(key, _)| *key);
        let parts: Vec<MetricSegment> = (0..PARTS)
            .map(|part| {
                let bytes = seal(&series, part, PARTS, Grade::Fresh);
                open(dir, &format!("p{part}.seg"), &bytes)
            })
            .collect();
        let fresh = open(dir, "fresh.seg", &seal(&series, 0, 1, Grade::Fresh));
        let merged = open(dir, "merged.seg", &merged(&parts, Grade::Final));
        Bed {
            series,
            parts,
            fresh,
            merged,
        }
    }

    pub(crate) fn samples(&self) -> usize {
        self.series.iter().map(|(_, samples)| samples.len()).sum()
    }

    /// Writes all series as a fresh segment.
    pub(crate) fn seal(&self) -> usize {
        seal(&self.series, 0, 1, Grade::Fresh).len()
    }

    /// Merges four fresh segments; `last` for the last level.
    pub(crate) fn merge(&self, last: bool) -> usize {
        let grade = if last { Grade::Final } else { Grade::Fresh };
        merged(&self.parts, grade).len()
    }

    /// Reads all series of the fresh segment.
    pub(crate) fn read_fresh(&self) -> usize {
        self.read(&self.fresh)
    }

    /// Reads all series of the segment of the last level.
    pub(crate) fn read_merged(&self) -> usize {
        self.read(&self.merged)
    }

    /// Reads one series, which lies in the middle.
    pub(crate) fn read_one(&self) -> usize {
        let mut samples = Samples::default();
        let key = self.series[self.series.len() / 2].0;
        let mut reader = self.fresh.reader();
        reader.read(key, ALL, &mut samples).expect("just written");
        samples.len()
    }

    fn read(&self, segment: &MetricSegment) -> usize {
        let (mut reader, mut samples, mut n) = (segment.reader(), Samples::default(), 0);
        for (key, _) in &self.series {
            samples.clear();
            reader.read(*key, ALL, &mut samples).expect("just written");
            n += samples.len();
        }
        n
    }

    /// Bytes per sample, by what they are for.
    pub(crate) fn sizes(&self) -> String {
        let mut text = String::new();
        for (name, segment) in [("fresh", &self.fresh), ("last level", &self.merged)] {
            let directory = segment.directory();
            let per_sample = |bytes: u64| bytes as f64 / segment.facts().rows as f64;
            let groups = || directory.groups.iter().map(|place| place.family);
            let tables = groups().map(|f| u64::from(f.codes_len) + u64::from(f.bits_len));
            let chunks = groups().map(|f| u64::from(f.text_len));
            let times = directory.times.iter().map(|place| place.family.stored());
            let sections = segment.facts().bytes - segment.frame().data_end();
            let _ = writeln!(
                text,
                "{name}: {:.3} B per sample: chunks {:.3}, tables {:.4}, times {:.4}, sections {:.4}",
                per_sample(segment.facts().bytes),
                per_sample(chunks.sum()),
                per_sample(tables.sum()),
                per_sample(times.sum()),
                per_sample(sections),
            );
        }
        text
    }
}

/// One of `parts` even parts of the samples of each series.
fn seal(series: &[(SeriesKey, Samples)], part: usize, parts: usize, grade: Grade) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::start(&mut out, grade).expect("to memory");
    let mut own = Samples::default();
    for (key, samples) in series {
        let n = samples.times.len();
        let within = n * part / parts..n * (part + 1) / parts;
        own.clear();
        own.times.extend_from_slice(&samples.times[within.clone()]);
        own.floats.extend_from_slice(&samples.floats[within]);
        writer.series(*key, &own, &[]).expect("to memory");
    }
    writer.finish().expect("to memory");
    out
}

fn merged(parts: &[MetricSegment], grade: Grade) -> Vec<u8> {
    let mut out = Vec::new();
    merge(parts, grade, &mut out, &mut || Ok(())).expect("just written");
    out
}

fn open(dir: &Path, name: &str, bytes: &[u8]) -> MetricSegment {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("the directory can be written");
    let file = Disk::Real.open(&path).expect("just written");
    MetricSegment::open(file).expect("just written")
}
