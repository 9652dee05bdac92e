//! What segments of metrics are made of, decoded from bytes that no checksum covers: for the fuzz target.
//! What a checksum lets through must not be trusted either.

use super::directory::Directory;
use super::exemplars;
use super::group::{Group, Kind};
use super::times::Columns;
use crate::model::metric::Samples;
use crate::store::metrics::chunk::{self, SAMPLES_MAX, Scratch};
use crate::store::segment::column::Unpacked;
use crate::store::segment::cursor::{Cursor, Damage};

/// Decodes one thing. Input: a byte that says what; how many samples a chunk is asked for and the lengths
/// of two streams, four bytes each, little-endian; the streams `codes`, `text` and (the rest) `bits`. The
/// number of things in it.
pub(crate) fn decode(input: &[u8]) -> Option<usize> {
    read(input).ok()
}

fn read(input: &[u8]) -> Result<usize, Damage> {
    let mut cursor = Cursor::new(input);
    let kind = cursor.u8()?;
    let n = (cursor.u32()? as usize).min(SAMPLES_MAX);
    let (codes, text) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let (codes, text) = (cursor.take(codes)?, cursor.take(text)?);
    let bits = cursor.take(cursor.remaining())?;
    let mut samples = Samples::default();
    let scratch = &mut Scratch::default();
    match kind {
        b'f' => {
            chunk::decode_floats(text, n, scratch, &mut samples.floats)?;
            Ok(samples.floats.len())
        }
        b'h' => {
            chunk::decode_histograms(text, n, scratch, &mut samples.histograms)?;
            Ok(samples.histograms.len())
        }
        b't' => chunk::decode_times(text, n).map(|times| times.len()),
        b'g' => group(Unpacked::of(codes, text, bits)),
        b'c' => columns(Unpacked::of(codes, text, bits)),
        b'e' => exemplars::read(&Unpacked::of(codes, text, bits)).map(|found| found.len()),
        b'd' => {
            let mut framed = Vec::new();
            Unpacked::of(codes, text, bits).pack_framed(&mut framed);
            Directory::read(&framed).map(|directory| directory.groups.len())
        }
        _ => Err(Damage("nothing is called so")),
    }
}

/// All chunks of a group, as a reader goes through them.
fn group(unpacked: Unpacked) -> Result<usize, Damage> {
    let group = Group::read(unpacked)?;
    let (mut samples, mut scratch) = (Samples::default(), Scratch::default());
    let mut n_read = 0;
    for series in 0..group.keys.len() {
        for chunk in &group.chunks[group.chunks_of(series)] {
            let (n, body) = (chunk.stamps.n as usize, group.body(chunk));
            samples.clear();
            match chunk.kind {
                Kind::Floats => {
                    chunk::decode_floats(body, n, &mut scratch, &mut samples.floats)?;
                }
                Kind::Histograms => {
                    chunk::decode_histograms(body, n, &mut scratch, &mut samples.histograms)?;
                }
            }
            n_read += 1;
        }
    }
    Ok(n_read)
}

fn columns(unpacked: Unpacked) -> Result<usize, Damage> {
    let columns = Columns::read(unpacked)?;
    for place in 0..columns.len() {
        columns.column(place)?;
    }
    Ok(columns.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::disk::Disk;
    use crate::store::metrics::segment::{MetricSegment, Writer, tests::sample_content};
    use crate::store::segment::Grade;
    use crate::store::segment::file::Tag;

    /// The inputs of [`decode`] that the parts of a segment are.
    fn inputs() -> BTreeMap<&'static str, Vec<u8>> {
        let mut bytes = Vec::new();
        let mut writer = Writer::start(&mut bytes, Grade::Fresh).expect("to memory");
        for (key, (samples, exemplars)) in sample_content(2, 6, 24) {
            let added = writer.series(key, &samples, &exemplars);
            added.expect("to memory");
        }
        writer.finish().expect("to memory");
        let dir = tempfile::tempdir().expect("a directory for temporary files");
        let path = dir.path().join("a.seg");
        std::fs::write(&path, &bytes).expect("the directory can be written");
        let file = Disk::Real.open(&path).expect("just written");
        let segment = MetricSegment::open(file).expect("just written");
        let input = |kind: u8, n: u32, mut unpacked: Unpacked| {
            let [codes, text, bits] = unpacked.streams();
            let mut input = vec![kind];
            for number in [n, codes.len() as u32, text.len() as u32] {
                input.extend_from_slice(&number.to_le_bytes());
            }
            for stream in [codes, text, bits] {
                input.extend_from_slice(stream);
            }
            input
        };
        let directory = segment.directory();
        let unpack = |offset, family: crate::store::segment::column::Family| {
            let stored = segment.frame().read(offset, family.stored());
            family
                .unpack(&stored.expect("just written"))
                .expect("just written")
        };
        let mut inputs = BTreeMap::new();
        let place = directory.groups[0];
        inputs.insert("group", input(b'g', 0, unpack(place.offset, place.family)));
        let place = directory.times[0];
        inputs.insert(
            "columns",
            input(b'c', 0, unpack(place.offset, place.family)),
        );
        let place = directory.exemplars[0];
        inputs.insert(
            "exemplars",
            input(b'e', 0, unpack(place.offset, place.family)),
        );
        let (_, section) = segment.frame().section(Tag::Directory).expect("whole");
        let unpacked = crate::store::segment::column::Family::unpack_framed(&section);
        inputs.insert("directory", input(b'd', 0, unpacked.expect("whole")));
        let group = segment.group(0).expect("just written");
        for (name, kind) in [("floats", Kind::Floats), ("histograms", Kind::Histograms)] {
            let chunks = group.chunks.iter().filter(|chunk| chunk.kind == kind);
            let chunk = chunks.max_by_key(|chunk| group.body(chunk).len());
            let body = group.body(chunk.expect("both kinds are there"));
            let letter = if kind == Kind::Floats { b'f' } else { b'h' };
            inputs.insert(name, input(letter, 24, Unpacked::of(&[], body, &[])));
        }
        let mut times = Vec::new();
        let stamps: Vec<i64> = (0..24).map(|i| i * 15_000 + i % 3).collect();
        chunk::encode_times(&stamps, &mut Vec::new(), &mut times);
        inputs.insert("times", input(b't', 24, Unpacked::of(&[], &times, &[])));
        let wave: Vec<f64> = (0..200).map(|i| (f64::from(i) / 9.0).sin()).collect();
        let mut packed = Vec::new();
        chunk::encode_floats(&wave, Grade::Final, &mut Scratch::default(), &mut packed);
        inputs.insert("pco", input(b'f', 200, Unpacked::of(&[], &packed, &[])));
        inputs
    }

    #[test]
    fn the_corpus_has_every_part_of_a_segment() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = dir.join("fuzz/corpus/metrics_segment");
        for (name, input) in inputs() {
            assert!(decode(&input).is_some_and(|n| n > 0), "{name}");
            let kept = std::fs::read(dir.join(name)).expect("the corpus is in the repository");
            // Old inputs stay: what was written once is read for good.
            assert!(decode(&kept).is_some_and(|n| n > 0), "{name} of the corpus");
        }
    }
}
