//! Where the groups of a segment lie and what is in them: all that stays in memory of an open segment.

use super::SeriesKey;
use super::group::Extent;
use crate::model::metric::Millis;
use crate::store::segment::column::{Decoder, Encoder, Family, ints};
use crate::store::segment::cursor::{Damage, unzigzag, zigzag};

/// Of the directory and all it leads to. The frame around it has its own.
const VERSION: u64 = 1;

/// Groups of one kind in a segment: 16 GB of chunks before compression, 25 MB of directory in memory.
pub(super) const GROUPS_MAX: usize = 1 << 18;

/// A group of chunks or of exemplars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) extent: Extent,
    pub(super) offset: u64,
    pub(super) family: Family,
}

/// A group of columns of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimesPlace {
    /// Number of its first column.
    pub(super) first: u32,
    pub(super) offset: u64,
    pub(super) family: Family,
}

/// The directory of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// In order of keys; of a series with many chunks several.
    pub(super) groups: Vec<Place>,
    /// In order of their numbers.
    pub(super) times: Vec<TimesPlace>,
    /// In order of keys.
    pub(super) exemplars: Vec<Place>,
}

impl Directory {
    pub(super) fn heap_bytes(&self) -> usize {
        (self.groups.len() + self.exemplars.len()) * size_of::<Place>()
            + self.times.len() * size_of::<TimesPlace>()
    }

    /// Of all samples and exemplars; empty when there are none.
    pub(super) fn range(&self) -> Millis {
        let places = self.groups.iter().chain(&self.exemplars);
        let ranges = places.map(|place| place.extent.range);
        let all = ranges.reduce(|a, b| Millis {
            first: a.first.min(b.first),
            last: a.last.max(b.last),
        });
        all.unwrap_or(Millis { first: 0, last: -1 })
    }

    pub(super) fn put(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        ints::put(encoder, &[VERSION]);
        for places in [&self.groups, &self.exemplars] {
            ints::put(encoder, &[places.len() as u64]);
            let numbers: [fn(&Place) -> u64; 6] = [
                |place| u64::from(place.extent.first.family),
                |place| u64::from(place.extent.first.number),
                |place| u64::from(place.extent.last.family),
                |place| u64::from(place.extent.last.number),
                |place| zigzag(place.extent.range.first),
                |place| {
                    let range = place.extent.range;
                    range.last.wrapping_sub(range.first) as u64
                },
            ];
            for number in numbers {
                put_column(encoder, places.iter().map(number));
            }
            put_places(encoder, places.iter().map(|p| (p.offset, p.family)));
        }
        ints::put(encoder, &[self.times.len() as u64]);
        put_column(encoder, self.times.iter().map(|p| u64::from(p.first)));
        put_places(encoder, self.times.iter().map(|p| (p.offset, p.family)));
        encoder.finish_framed(out);
    }

    pub(super) fn read(section: &[u8]) -> Result<Directory, Damage> {
        let unpacked = Family::unpack_framed(section)?;
        let mut decoder = unpacked.reader();
        if ints::decode(&mut decoder, 1)?[0] != VERSION {
            return Err(Damage("the directory is of another version"));
        }
        let groups = read_groups(&mut decoder)?;
        let exemplars = read_groups(&mut decoder)?;
        let n = read_count(&mut decoder)?;
        let firsts = read_narrow(&mut decoder, n)?;
        let places = read_places(&mut decoder, n)?;
        let times: Vec<TimesPlace> = firsts
            .into_iter()
            .zip(places)
            .map(|(first, (offset, family))| TimesPlace {
                first,
                offset,
                family,
            })
            .collect();
        let rises = times.is_sorted_by(|a, b| a.first < b.first);
        if !rises || times.first().is_some_and(|place| place.first != 0) {
            return Err(Damage("the columns of times are not in order"));
        }
        Ok(Directory {
            groups,
            times,
            exemplars,
        })
    }
}

fn put_column(encoder: &mut Encoder, numbers: impl Iterator<Item = u64>) {
    ints::put(encoder, &numbers.collect::<Vec<u64>>());
}

fn put_places(encoder: &mut Encoder, places: impl Iterator<Item = (u64, Family)> + Clone) {
    put_column(encoder, places.clone().map(|(offset, _)| offset));
    let fields: [fn(&Family) -> u32; 6] = [
        |family| family.codes_raw,
        |family| family.codes_len,
        |family| family.text_raw,
        |family| family.text_len,
        |family| family.bits_len,
        |family| family.crc,
    ];
    for field in fields {
        let column = places.clone();
        put_column(encoder, column.map(|(_, family)| u64::from(field(&family))));
    }
}

fn read_groups(decoder: &mut Decoder<'_>) -> Result<Vec<Place>, Damage> {
    let n = read_count(decoder)?;
    let first_families = read_narrow(decoder, n)?;
    let first_numbers = read_narrow(decoder, n)?;
    let last_families = read_narrow(decoder, n)?;
    let last_numbers = read_narrow(decoder, n)?;
    let firsts = ints::decode(decoder, n)?;
    let lengths = ints::decode(decoder, n)?;
    let places = read_places(decoder, n)?;
    let key = |family, number| SeriesKey { family, number };
    let groups = (0..n).map(|i| {
        let first = unzigzag(firsts[i]);
        let extent = Extent {
            first: key(first_families[i], first_numbers[i]),
            last: key(last_families[i], last_numbers[i]),
            range: Millis {
                first,
                last: first.wrapping_add(lengths[i] as i64),
            },
        };
        let (offset, family) = places[i];
        Place {
            extent,
            offset,
            family,
        }
    });
    let groups: Vec<Place> = groups.collect();
    let is_ordered = |a: &Place, b: &Place| a.extent.last <= b.extent.first;
    let upright = |place: &Place| place.extent.first <= place.extent.last;
    if groups.is_sorted_by(is_ordered) && groups.iter().all(upright) {
        Ok(groups)
    } else {
        Err(Damage("the groups of a segment are not in order"))
    }
}

fn read_count(decoder: &mut Decoder<'_>) -> Result<usize, Damage> {
    let n = ints::decode(decoder, 1)?[0] as usize;
    if n > GROUPS_MAX {
        return Err(Damage("a segment claims more groups than one may have"));
    }
    Ok(n)
}

fn read_narrow(decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<u32>, Damage> {
    let wide = |_| Damage("a number of the directory is wider than 32 bits");
    let numbers = ints::decode(decoder, n)?.into_iter();
    numbers.map(|n| u32::try_from(n).map_err(wide)).collect()
}

fn read_places(decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<(u64, Family)>, Damage> {
    let offsets = ints::decode(decoder, n)?;
    let mut fields: [Vec<u32>; 6] = Default::default();
    for field in &mut fields {
        *field = read_narrow(decoder, n)?;
    }
    let [codes_raw, codes_len, text_raw, text_len, bits_len, crc] = fields;
    let family = |i: usize| Family {
        codes_raw: codes_raw[i],
        codes_len: codes_len[i],
        text_raw: text_raw[i],
        text_len: text_len[i],
        bits_len: bits_len[i],
        crc: crc[i],
    };
    Ok((0..n).map(|i| (offsets[i], family(i))).collect())
}
