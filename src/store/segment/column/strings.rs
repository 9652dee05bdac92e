//! Columns of byte strings: constant, a dictionary, or the strings themselves, which may be numbers in
//! disguise ([`super::textual`]).

use xxhash_rust::xxh3::xxh3_64;

use super::super::cursor::{Damage, put_varint};
use super::index::{self, Naming};
use super::textual::{self, Form};
use super::{Decoder, Encoder, check_count, ints};

/// Encoding tags on disk.
const CONST: u8 = 0;
const PLAIN: u8 = 1;
const NUMBERED: u8 = 2;
const REPEATED: u8 = 3;
const TEXTUAL: u8 = 4;

/// A part of the buffer that holds the strings of a block while it is written: offset and length,
/// in one number so that rows of numbers and of strings are kept alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece(pub(crate) u64);

impl Piece {
    /// The bytes of `arena` from `start` to its end.
    pub(crate) fn since(arena: &[u8], start: usize) -> Piece {
        Piece((start as u64) << 32 | (arena.len() - start) as u64)
    }

    pub(crate) fn get(self, arena: &[u8]) -> &[u8] {
        let start = (self.0 >> 32) as usize;
        &arena[start..start + (self.0 & 0xffff_ffff) as usize]
    }
}

/// Writes a column of pieces of `arena`; the number of values is not written. Calls `each_distinct`
/// with every string that occurs, with some of them more than once.
pub(crate) fn put(
    encoder: &mut Encoder,
    arena: &[u8],
    pieces: &[u64],
    mut each_distinct: impl FnMut(&[u8]),
) {
    let get = |piece: u64| Piece(piece).get(arena);
    if let Some(&first) = pieces.first()
        && pieces.iter().all(|piece| get(*piece) == get(first))
    {
        each_distinct(get(first));
        put_const(encoder, get(first));
        return;
    }
    let repeats = encoder.index.build(
        pieces.len(),
        |row| xxh3_64(get(pieces[row])),
        |a, b| get(pieces[a]) == get(pieces[b]),
    );
    if repeats {
        let firsts = encoder.index.firsts();
        firsts.for_each(|row| each_distinct(get(pieces[row])));
    } else {
        pieces.iter().for_each(|piece| each_distinct(get(*piece)));
    }
    put_rows(encoder, pieces, repeats, get);
}

/// As [`put`], of strings that are numbered already: `get` gives the string of a number, and equal
/// strings mostly have equal numbers, so that no string has to be hashed or compared here. Calls
/// `each_distinct` with every number that occurs, with some of them more than once.
pub(crate) fn put_numbered<'t>(
    encoder: &mut Encoder,
    numbers: &[u64],
    get: impl Fn(u64) -> &'t [u8] + Copy,
    mut each_distinct: impl FnMut(u64),
) {
    if let Some(&first) = numbers.first()
        && numbers.iter().all(|number| *number == first)
    {
        each_distinct(first);
        put_const(encoder, get(first));
        return;
    }
    let repeats = encoder.index.build(
        numbers.len(),
        |row| ints::mix(numbers[row]),
        |a, b| numbers[a] == numbers[b],
    );
    if repeats {
        let firsts = encoder.index.firsts();
        firsts.for_each(|row| each_distinct(numbers[row]));
    } else {
        numbers.iter().for_each(|number| each_distinct(*number));
    }
    put_rows(encoder, numbers, repeats, get);
}

fn put_const(encoder: &mut Encoder, text: &[u8]) {
    encoder.codes.push(CONST);
    put_varint(&mut encoder.codes, text.len() as u64);
    encoder.text.extend_from_slice(text);
}

/// Writes what the encoder's index was built of, or plain strings where they hardly repeat.
fn put_rows<'t>(
    encoder: &mut Encoder,
    pieces: &[u64],
    repeats: bool,
    get: impl Fn(u64) -> &'t [u8] + Copy,
) {
    if pieces.is_empty() {
        return;
    }
    if !repeats {
        put_plain(encoder, pieces, get);
        return;
    }
    let (naming, _) = encoder.index.naming();
    let mut distinct = encoder.buffer();
    distinct.extend(encoder.index.firsts().map(|row| pieces[row]));
    encoder.codes.push(match naming {
        Naming::Number => NUMBERED,
        Naming::Distance => REPEATED,
    });
    put_varint(&mut encoder.codes, distinct.len() as u64);
    put_plain(encoder, &distinct, get);
    index::put_names(encoder, naming);
    encoder.give_back(distinct);
}

fn put_plain<'t>(encoder: &mut Encoder, pieces: &[u64], get: impl Fn(u64) -> &'t [u8] + Copy) {
    let texts = pieces.iter().map(|piece| get(*piece));
    let form = Form::of(texts.clone());
    if form != Form::Plain {
        encoder.codes.push(TEXTUAL);
        encoder.codes.push(form.tag());
        form.put(encoder, texts);
        return;
    }
    encoder.codes.push(PLAIN);
    let mut lengths = encoder.buffer();
    lengths.extend(texts.clone().map(|text| text.len() as u64));
    ints::put_plain(encoder, &lengths);
    encoder.give_back(lengths);
    texts.for_each(|text| encoder.text.extend_from_slice(text));
}

/// A decoded column of byte strings.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    /// Start and length of each distinct string, or of each row's where `names` is empty.
    values: Vec<(u32, u32)>,
    /// Number of each row's string; all are below the number of values.
    names: Vec<u32>,
}

impl Strings {
    /// The string of a row; rows are below the count the column was decoded with.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let (start, len) = self.values[name(&self.names, row)];
        &self.bytes[start as usize..start as usize + len as usize]
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self.names.is_empty() {
            true => self.values.len(),
            false => self.names.len(),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.values.capacity() * 8 + self.names.capacity() * 4
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        let too_long = |_| Damage("the strings of a column have more than 4 GiB");
        let start = u32::try_from(self.bytes.len()).map_err(too_long)?;
        let len = u32::try_from(bytes.len()).map_err(too_long)?;
        self.values.push((start, len));
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Checks once that every string is UTF-8, so that rows need not be checked.
    pub(crate) fn into_texts(self) -> Result<Texts, Damage> {
        let not_text = Damage("a column of texts is not UTF-8");
        let texts = Texts {
            text: String::from_utf8(self.bytes).map_err(|_| not_text)?,
            values: self.values,
            names: self.names,
        };
        let whole = |(start, len): &(u32, u32)| {
            let (start, len) = (*start as usize, *len as usize);
            texts.text.is_char_boundary(start) && texts.text.is_char_boundary(start + len)
        };
        if texts.values.iter().all(whole) {
            Ok(texts)
        } else {
            Err(not_text)
        }
    }
}

/// Which value a row has.
fn name(names: &[u32], row: usize) -> usize {
    match names.is_empty() {
        true => row,
        false => names[row] as usize,
    }
}

/// A decoded column of texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    text: String,
    values: Vec<(u32, u32)>,
    names: Vec<u32>,
}

impl Texts {
    /// Which of the [`Texts::n_values`] texts a row has.
    pub(crate) fn number(&self, row: usize) -> usize {
        name(&self.names, row)
    }

    /// How many texts there are, repeated ones counted once where the column says so.
    pub(crate) fn n_values(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.values.capacity() * 8 + self.names.capacity() * 4
    }

    /// The text of a row; rows are below the count the column was decoded with.
    pub(crate) fn get(&self, row: usize) -> &str {
        self.value(name(&self.names, row))
    }

    fn value(&self, number: usize) -> &str {
        let (start, len) = self.values[number];
        &self.text[start as usize..start as usize + len as usize]
    }

    /// Asks `test` of every distinct text.
    pub(crate) fn passing(&self, test: &mut dyn FnMut(&str) -> bool) -> Passing {
        let values: Vec<bool> = (0..self.values.len())
            .map(|number| test(self.value(number)))
            .collect();
        Passing {
            any: values.contains(&true),
            values,
        }
    }
}

/// Which texts of a column pass a test.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) any: bool,
    values: Vec<bool>,
}

impl Passing {
    /// Whether the text of a row of `texts`, of which this was made, passes.
    pub(crate) fn row(&self, texts: &Texts, row: usize) -> bool {
        self.any && self.values[name(&texts.names, row)]
    }
}

/// Reads a column of `n` strings.
pub(crate) fn decode(decoder: &mut Decoder<'_>, n: usize) -> Result<Strings, Damage> {
    if n == 0 {
        return Ok(Strings::default());
    }
    check_count(n)?;
    let tag = decoder.codes.u8()?;
    let naming = match tag {
        CONST => {
            let len = decoder.codes.number()?;
            return Ok(Strings {
                bytes: decoder.text.take(len as usize)?.to_vec(),
                values: vec![(0, len)],
                names: vec![0; n],
            });
        }
        NUMBERED => Naming::Number,
        REPEATED => Naming::Distance,
        _ => return decode_plain(decoder, tag, n),
    };
    let n_distinct = decoder.codes.number()? as usize;
    if n_distinct > n {
        return Err(Damage("a column has more distinct values than rows"));
    }
    let tag = decoder.codes.u8()?;
    let distinct = decode_plain(decoder, tag, n_distinct)?;
    Ok(Strings {
        names: index::names(decoder, naming, n, n_distinct)?,
        ..distinct
    })
}

fn decode_plain(decoder: &mut Decoder<'_>, tag: u8, n: usize) -> Result<Strings, Damage> {
    let mut strings = Strings::default();
    match tag {
        PLAIN => {
            for len in ints::decode_plain(decoder, n)? {
                let len = usize::try_from(len).map_err(|_| Damage("a string is too long"))?;
                strings.push(decoder.text.take(len)?)?;
            }
        }
        TEXTUAL => {
            let form = decoder.codes.u8()?;
            let mut ok = Ok(());
            textual::decode(form, decoder, n, |text| {
                ok = ok.and(strings.push(text));
            })?;
            ok?;
        }
        _ => return Err(Damage("a column of strings has an unknown encoding")),
    }
    Ok(strings)
}
