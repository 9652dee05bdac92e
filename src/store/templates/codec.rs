//! The row of a segment's templates as bytes: docs/formats/catalogue.md. Columns as in a segment,
//! since most of it repeats from template to template.

use roaring::RoaringBitmap;

use super::{SegmentTemplates, TemplateFacts, TemplateId};
use crate::model::{Level, Timestamp};
use crate::store::segment::column::{Decoder, Encoder, Family, VALUES_MAX, ints};
use crate::store::segment::cursor::Damage;

const VERSION: u8 = 1;

/// Length of the version, the lengths of the frame of columns and of the services' names.
const HEAD_BYTES: usize = 9;

const MALFORMED: Damage = Damage("a row of templates is malformed");

pub(in crate::store) fn encode(templates: &SegmentTemplates) -> Vec<u8> {
    let (facts, mut encoder) = (&templates.facts, Encoder::default());
    let first = facts.iter().map(|f| f.first.0).min().unwrap_or(0);
    let levels = |f: &TemplateFacts| f.levels.iter().filter(|n| **n > 0).count() as u64;
    let mut column = Vec::new();
    let mut put = |values: &mut dyn Iterator<Item = u64>| {
        column.clear();
        column.extend(values);
        ints::put(&mut encoder, &column);
    };
    let head = [
        facts.len() as u64,
        facts.iter().map(levels).sum(),
        facts.iter().map(|f| f.services.len() as u64).sum(),
        templates.raw,
        u64::from(templates.n_blocks),
        first,
    ];
    head.iter().for_each(|n| put(&mut [*n].into_iter()));
    put(&mut facts.iter().map(|f| f.id.0));
    put(&mut facts.iter().map(|f| f.first.0 - first));
    put(&mut facts.iter().map(|f| f.last.0 - f.first.0));
    put(&mut facts.iter().map(levels));
    let counts = || {
        let of = |f: &TemplateFacts| (0..).zip(f.levels).filter(|(_, n)| *n > 0);
        facts.iter().flat_map(of)
    };
    put(&mut counts().map(|(level, _)| level));
    put(&mut counts().map(|(_, n)| n));
    put(&mut facts.iter().map(|f| f.services.len() as u64));
    put(&mut facts
        .iter()
        .flat_map(|f| f.services.iter().map(|s| u64::from(*s))));
    let mut names = Vec::new();
    for service in &templates.services {
        names.extend_from_slice(&(service.len() as u32).to_le_bytes());
        names.extend_from_slice(service.as_bytes());
    }
    let mut frame = Vec::new();
    encoder.finish_framed(&mut frame);
    let mut out = vec![VERSION];
    out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    out.extend_from_slice(&(names.len() as u32).to_le_bytes());
    out.extend_from_slice(&frame);
    out.extend_from_slice(&names);
    if let Some(postings) = &templates.postings {
        let written = postings.serialize_into(&mut out);
        written.expect("writing to memory does not fail");
    }
    out
}

/// The three parts of a row: columns, names of services, postings.
fn split(row: &[u8]) -> Result<[&[u8]; 3], Damage> {
    let (head, rest) = row.split_at_checked(HEAD_BYTES).ok_or(MALFORMED)?;
    if head[0] != VERSION {
        return Err(Damage("a row of templates has an unknown version"));
    }
    let len = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| head[at + i])) as usize;
    let (frame, rest) = rest.split_at_checked(len(1)).ok_or(MALFORMED)?;
    let (names, postings) = rest.split_at_checked(len(5)).ok_or(MALFORMED)?;
    Ok([frame, names, postings])
}

/// Numbers in front of the columns.
fn head(decoder: &mut Decoder<'_>) -> Result<[u64; 6], Damage> {
    let mut head = [0; 6];
    for n in &mut head {
        *n = ints::decode(decoder, 1)?[0];
    }
    if head[..3].iter().any(|n| *n > VALUES_MAX as u64) {
        return Err(MALFORMED);
    }
    Ok(head)
}

/// The templates of a row, and the service that each is counted for.
pub(in crate::store) fn decode_ids(row: &[u8]) -> Result<Vec<(TemplateId, Box<str>)>, Damage> {
    let templates = decode(row)?;
    let service = |facts: &TemplateFacts| {
        let first = facts.services.first();
        let name = first.and_then(|number| templates.services.get(*number as usize));
        name.cloned().unwrap_or_default()
    };
    let known = templates.facts.iter().filter(|f| f.id != TemplateId::PLAIN);
    Ok(known.map(|facts| (facts.id, service(facts))).collect())
}

pub(in crate::store) fn decode(row: &[u8]) -> Result<SegmentTemplates, Damage> {
    let [frame, names, postings] = split(row)?;
    let unpacked = Family::unpack_framed(frame)?;
    let decoder = &mut unpacked.reader();
    let [n, n_levels, n_services, raw, n_blocks, base] = head(decoder)?;
    let (n, n_blocks) = (n as usize, u32::try_from(n_blocks).map_err(|_| MALFORMED)?);
    let ids = ints::decode(decoder, n)?;
    let firsts = ints::decode(decoder, n)?;
    let spans = ints::decode(decoder, n)?;
    let level_counts = ints::decode(decoder, n)?;
    let mut levels = ints::decode(decoder, n_levels as usize)?.into_iter();
    let mut rows = ints::decode(decoder, n_levels as usize)?.into_iter();
    let service_counts = ints::decode(decoder, n)?;
    let mut numbers = ints::decode(decoder, n_services as usize)?.into_iter();
    let services = services(names)?;
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(MALFORMED);
    }
    let mut facts = Vec::with_capacity(n);
    for i in 0..n {
        let mut counts = [0; Level::ALL.len()];
        for _ in 0..level_counts[i] {
            let level = levels.next().ok_or(MALFORMED)? as usize;
            *counts.get_mut(level).ok_or(MALFORMED)? = rows.next().ok_or(MALFORMED)?;
        }
        let of = numbers.by_ref().take(service_counts[i] as usize);
        let first = Timestamp(base.saturating_add(firsts[i]));
        facts.push(TemplateFacts {
            id: TemplateId(ids[i]),
            levels: counts,
            first,
            last: first.saturating_add(spans[i]),
            services: of.map(|number| number as u32).collect(),
        });
    }
    let unknown = |f: &TemplateFacts| f.services.iter().any(|s| *s as usize >= services.len());
    if facts.iter().any(unknown) {
        return Err(MALFORMED);
    }
    let n_pairs = n as u64 * u64::from(n_blocks);
    let postings = match n_pairs <= u64::from(u32::MAX) {
        true => Some(RoaringBitmap::deserialize_from(postings).map_err(|_| MALFORMED)?),
        false => None,
    };
    Ok(SegmentTemplates {
        services,
        facts,
        raw,
        n_blocks,
        postings,
    })
}

fn services(mut names: &[u8]) -> Result<Vec<Box<str>>, Damage> {
    let mut services = Vec::new();
    while let Some((len, rest)) = names.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let (name, rest) = rest.split_at_checked(len).ok_or(MALFORMED)?;
        services.push(std::str::from_utf8(name).map_err(|_| MALFORMED)?.into());
        names = rest;
    }
    Ok(services)
}
