//! Codecs of metrics: how the times, floats and histograms of one series become few bytes
//! (docs/formats/segment-metrics.md has every byte). Every codec gives back the very bits it was given,
//! NaN payloads and -0.0 among them.
//!
//! Nothing here knows of files or series. Bytes that no encoder makes are [`Damage`], never a panic.

mod decimal;
mod floats;
mod histograms;
mod packed;
mod pcodec;
#[cfg(test)]
mod tests;
mod times;
mod xor;

pub(crate) use floats::{Scratch, decode as decode_floats, encode as encode_floats};
pub(crate) use histograms::{
    COUNTS_MAX, PARTS_MAX, decode as decode_histograms, encode as encode_histograms, parts,
};
pub(crate) use times::{decode as decode_times, encode as encode_times};

/// Samples of one chunk, in any file of this version.
pub(crate) const SAMPLES_MAX: usize = 1 << 13;
