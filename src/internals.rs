//! What benches and fuzz targets may call. Only with the feature of that name, never in a release.

use std::path::Path;

use bytes::Bytes;

/// Figures of sealing, merging and reading log requests (encoded OTLP); files go to `dir`.
pub fn measure_log_segments(bodies: &[Bytes], dir: &Path) -> String {
    crate::store::segment::measure::logs(bodies, dir)
}

/// As [`measure_log_segments`], for span requests.
pub fn measure_span_segments(bodies: &[Bytes], dir: &Path) -> String {
    crate::store::segment::measure::spans(bodies, dir)
}
