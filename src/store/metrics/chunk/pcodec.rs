//! Floats through pco: the smallest by far for floats without a short form, and slow to write (150 ns
//! per float against 7). For what is written once and kept for weeks.

use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

use crate::store::segment::cursor::Damage;

/// Effort. Above 8 it grows by half for a few thousandths of the bytes.
const LEVEL: usize = 8;

/// Appends the values as one chunk of one page.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_paging_spec(PagingSpec::Exact(vec![values.len()]));
    let file = FileCompressor::default();
    let written = file.write_header(&mut *out).and_then(|out| {
        let mut chunk = file.chunk_compressor(values, &config)?;
        chunk.write_meta(&mut *out)?;
        chunk.write_page(0, out)
    });
    written.expect("a chunk has values, and memory takes every write");
}

/// Appends the `n` values that [`encode`] wrote.
pub(super) fn decode(bytes: &[u8], n: usize, out: &mut Vec<f64>) -> Result<(), Damage> {
    let damaged = |_| Damage("a chunk of pco does not decode");
    let (file, rest) = FileDecompressor::new(bytes).map_err(damaged)?;
    let (mut chunk, rest) = file.chunk_decompressor::<f64, _>(rest).map_err(damaged)?;
    let mut page = chunk.page_decompressor(rest, n).map_err(damaged)?;
    let start = out.len();
    out.resize(start + n, 0.0);
    let progress = page.read(&mut out[start..]).map_err(damaged)?;
    if progress.finished && progress.n_processed == n && page.into_src().is_empty() {
        Ok(())
    } else {
        Err(Damage("a chunk of pco has another length"))
    }
}
