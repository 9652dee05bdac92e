//! Segments of metrics: immutable files with the chunks of many series (docs/formats/segment-metrics.md
//! has every byte). Nothing here decides when to seal, where files live or what is deleted. Every byte
//! that is read has been checked against a checksum, and a damaged one is [`StoreError::Corrupt`] with
//! its place, never a panic or a wrong answer.
//!
//! Chunks lie in *groups* of about 64 KB, ordered by metric, series, kind and time: a query reads the
//! series of one metric, so its groups lie side by side. Times are kept once for all series scraped
//! together, in groups of their own. Opening reads the directory of groups, 20 B for each.

mod directory;
mod exemplars;
#[cfg(feature = "internals")]
pub(crate) mod fuzz;
mod group;
#[cfg(feature = "internals")]
pub(crate) mod measure;
mod merge;
mod read;
#[cfg(test)]
mod tests;
mod times;
mod union;
mod write;

pub(crate) use merge::{merge, merge_bytes};
pub(crate) use read::{MetricSegment, Reader};
pub(crate) use union::union;
pub(crate) use write::Writer;

/// Of the files.
const MAGIC: [u8; 8] = *b"WPsegMET";

/// Where a series stands in segments: by metric, then by number. So the series that one query reads
/// lie side by side, whichever target they come from, and merging needs no labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    /// Equal for the series of one metric; two metrics may share one.
    pub(crate) family: u32,
    pub(crate) number: u32,
}

impl SeriesKey {
    /// Of a series of this metric (`__name__`, empty when there is none).
    pub(crate) fn of(metric: &str, number: u32) -> SeriesKey {
        SeriesKey {
            family: xxhash_rust::xxh3::xxh3_64(metric.as_bytes()) as u32,
            number,
        }
    }
}
