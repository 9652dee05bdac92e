//! What segments are made of, decoded from bytes that no checksum covers: for the fuzz targets. What a
//! checksum lets through must not be trusted either.

use super::column::{Unpacked, ints, strings};
use super::cursor::{Cursor, Damage};
use super::dictionary::Dictionary;
use super::directory::Directory;
use super::{Format, Logs, Spans, spans};
use crate::model::RedTable;
use crate::model::summary::SummaryTable;
use crate::store::templates;

/// Values that a column is asked for.
const VALUES_MAX: u32 = 4096;

/// Decodes one thing. Input: a byte that says what; how many values a column is asked for and the
/// lengths of two streams, four bytes each, little-endian; the streams `codes`, `text` and (the rest)
/// `bits`. The number of things in it.
pub(crate) fn decode(input: &[u8]) -> Option<usize> {
    read(input).ok()
}

fn read(input: &[u8]) -> Result<usize, Damage> {
    let mut cursor = Cursor::new(input);
    let kind = cursor.u8()?;
    let n = cursor.u32()?.min(VALUES_MAX) as usize;
    let (codes, text) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let (codes, text) = (cursor.take(codes)?, cursor.take(text)?);
    let streams = Unpacked::of(codes, text, cursor.take(cursor.remaining())?);
    match kind {
        b'l' => dictionary::<Logs>(&streams),
        b's' => dictionary::<Spans>(&streams),
        b'L' => directory::<Logs>(streams),
        b'S' => directory::<Spans>(streams),
        b'i' => ints::decode(&mut streams.reader(), n).map(|column| column.len()),
        b't' => {
            let column = strings::decode(&mut streams.reader(), n)?;
            column.into_texts().map(|_| n)
        }
        b'p' => {
            let mut table = SummaryTable::default();
            spans::read_page(&framed(streams), &mut table)?;
            Ok(table.rows.len())
        }
        b'r' => {
            let table = RedTable::decode(codes).map_err(|bad| Damage(bad.0))?;
            Ok(table.rows().count())
        }
        b'm' => templates::decode(codes).map(|templates| templates.facts.len()),
        _ => Err(Damage("nothing is called so")),
    }
}

fn dictionary<F: Format>(streams: &Unpacked) -> Result<usize, Damage> {
    let dictionary = Dictionary::read(&mut streams.reader(), F::read_shape)?;
    Ok(dictionary.shapes.len())
}

fn directory<F: Format>(streams: Unpacked) -> Result<usize, Damage> {
    let directory = Directory::<F>::read(&framed(streams))?;
    Ok(directory.blocks.len())
}

fn framed(streams: Unpacked) -> Vec<u8> {
    let mut out = Vec::new();
    streams.pack_framed(&mut out);
    out
}

/// The inputs of [`decode`] that the sections of a segment are, for a corpus.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_input_is_decoded() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/segment");
        let kinds: std::collections::BTreeSet<u8> = std::fs::read_dir(dir)
            .expect("the corpus is in the repository")
            .map(|file| std::fs::read(file.expect("readable").path()).expect("readable"))
            .filter(|input| decode(input).is_some_and(|n| n > 0))
            .map(|input| input[0])
            .collect();
        assert_eq!(kinds, b"LSilmprst".iter().copied().collect());
    }
}
