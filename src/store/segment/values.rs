//! Attribute values and bodies as columns. The *shape* of a record names its keys and their kinds;
//! values of one key and kind form a column, ordered by shape and then by row: what follows from the
//! kind of record (in spans: nearly everything) becomes runs.

use std::collections::HashMap;

use crate::model::value::{ArrayRef, MapRef};
use crate::model::{Attr, ValueRef};

use super::column::strings::{Passing, Piece, Strings, Texts};
use super::column::{Decoder, Encoder, ints, strings};
use super::cursor::Damage;

/// What an AnyValue holds. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    Empty = 0,
    Str = 1,
    Bool = 2,
    Int = 3,
    Double = 4,
    Bytes = 5,
    Array = 6,
    Map = 7,
}

impl Kind {
    pub(crate) fn of(value: &ValueRef<'_>) -> Kind {
        match value {
            ValueRef::Empty => Kind::Empty,
            ValueRef::Str(_) => Kind::Str,
            ValueRef::Bool(_) => Kind::Bool,
            ValueRef::Int(_) => Kind::Int,
            ValueRef::Double(_) => Kind::Double,
            ValueRef::Bytes(_) => Kind::Bytes,
            ValueRef::Array(_) => Kind::Array,
            ValueRef::Map(_) => Kind::Map,
        }
    }

    pub(crate) fn read(number: u8) -> Result<Kind, Damage> {
        Ok(match number {
            0 => Kind::Empty,
            1 => Kind::Str,
            2 => Kind::Bool,
            3 => Kind::Int,
            4 => Kind::Double,
            5 => Kind::Bytes,
            6 => Kind::Array,
            7 => Kind::Map,
            _ => return Err(Damage("a value has an unknown kind")),
        })
    }
}

/// A key of the part's dictionary and the kind of its value.
pub(crate) type Slot = (u32, Kind);

/// Values of the rows of one block, row after row, while it is written.
#[derive(Debug, Default)]
pub(crate) struct ValueRows {
    pub(crate) arena: Vec<u8>,
    values: Vec<u64>,
    /// Where each row's values start.
    starts: Vec<u32>,
}

impl ValueRows {
    pub(crate) fn start_row(&mut self) {
        self.starts.push(self.values.len() as u32);
    }

    /// The next value of the row, whose kind is that of the row's shape in this place.
    pub(crate) fn push(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Empty => self.values.push(0),
            ValueRef::Bool(b) => self.values.push(u64::from(b)),
            ValueRef::Int(i) => self.values.push(i as u64),
            ValueRef::Double(d) => self.values.push(d.to_bits()),
            ValueRef::Str(text) => self.push_bytes(text.as_bytes()),
            ValueRef::Bytes(b) | ValueRef::Array(ArrayRef(b)) | ValueRef::Map(MapRef(b)) => {
                self.push_bytes(b);
            }
        }
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.push_since(start);
    }

    /// A value whose bytes the caller has appended to `arena` from `start` on.
    pub(crate) fn push_since(&mut self, start: usize) {
        self.values.push(Piece::since(&self.arena, start).0);
    }

    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.values.clear();
        self.starts.clear();
    }

    /// Writes the columns of a block.
    pub(crate) fn put(&self, layout: &Layout, encoder: &mut Encoder) {
        self.put_telling(layout, encoder, |_| {});
    }

    /// As [`ValueRows::put`]. Calls `each_text` with every text that occurs, with some more than once.
    pub(crate) fn put_telling(
        &self,
        layout: &Layout,
        encoder: &mut Encoder,
        mut each_text: impl FnMut(&[u8]),
    ) {
        let values_of = |row: usize| &self.values[self.starts[row] as usize..];
        layout.each_column(values_of, |(_, kind), values| match kind {
            Kind::Empty => {}
            Kind::Bool | Kind::Int | Kind::Double => ints::put(encoder, values),
            Kind::Str => strings::put(encoder, &self.arena, values, &mut each_text),
            Kind::Bytes | Kind::Array | Kind::Map => {
                strings::put(encoder, &self.arena, values, |_| {});
            }
        });
    }
}

/// Where the values of a block's rows lie in its columns. Follows from the shapes of the rows alone,
/// so it is never written.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// In order of first appearance.
    columns: Vec<Slot>,
    n_values: Vec<usize>,
    /// For each group of rows of one shape, the place of each of its slots.
    places: Vec<Vec<Place>>,
    groups: Vec<u32>,
    /// Number of each row within its group.
    ranks: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    column: u32,
    first: usize,
    stride: usize,
}

impl Place {
    fn at(self, rank: u32) -> usize {
        self.first + rank as usize * self.stride
    }
}

impl Layout {
    /// `slots_of` gives the slots of a shape.
    pub(crate) fn of<'a>(shapes: &Groups, slots_of: impl Fn(u32) -> &'a [Slot]) -> Layout {
        Layout::by_rows(shapes, |shape, _| slots_of(shape))
    }

    /// As [`Layout::of`], where the slots of a shape depend on how many rows it has.
    pub(crate) fn by_rows<'a>(
        shapes: &Groups,
        slots_of: impl Fn(u32, usize) -> &'a [Slot],
    ) -> Layout {
        let mut layout = Layout {
            groups: shapes.groups.clone(),
            ranks: shapes.ranks.clone(),
            ..Layout::default()
        };
        let mut numbers: HashMap<Slot, u32> = HashMap::new();
        for (&shape, &n_rows) in shapes.shapes.iter().zip(&shapes.n_rows) {
            let slots = slots_of(shape, n_rows);
            let mut places: Vec<Place> = Vec::with_capacity(slots.len());
            for slot in slots {
                let column = *numbers.entry(*slot).or_insert_with(|| {
                    layout.columns.push(*slot);
                    layout.n_values.push(0);
                    layout.columns.len() as u32 - 1
                });
                let earlier = places.iter().filter(|p| p.column == column).count();
                places.push(Place {
                    column,
                    first: layout.n_values[column as usize] + earlier,
                    stride: 0,
                });
            }
            layout.add_group(places, n_rows);
        }
        layout
    }

    /// Calls `each` with every column: its slot and its values. `values_of` gives those of a row, in
    /// the order of its shape's slots; more behind them do not matter.
    pub(crate) fn each_column<'v>(
        &self,
        values_of: impl Fn(usize) -> &'v [u64],
        mut each: impl FnMut(Slot, &[u64]),
    ) {
        let mut starts = Vec::with_capacity(self.n_values.len());
        let mut n = 0;
        for n_values in &self.n_values {
            starts.push(n);
            n += n_values;
        }
        let mut all = vec![0; n];
        for (row, &group) in self.groups.iter().enumerate() {
            let places = &self.places[group as usize];
            for (place, value) in places.iter().zip(values_of(row)) {
                all[starts[place.column as usize] + place.at(self.ranks[row])] = *value;
            }
        }
        for ((slot, start), n) in self.columns.iter().zip(starts).zip(&self.n_values) {
            each(*slot, &all[start..start + n]);
        }
    }

    /// A key that a record repeats has several values per row, side by side.
    fn add_group(&mut self, mut places: Vec<Place>, n_rows: usize) {
        for i in 0..places.len() {
            let column = places[i].column;
            places[i].stride = places.iter().filter(|p| p.column == column).count();
        }
        for place in &places {
            self.n_values[place.column as usize] += n_rows;
        }
        self.places.push(places);
    }
}

/// The rows of a block by shape.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The distinct shapes in order of appearance.
    shapes: Vec<u32>,
    n_rows: Vec<usize>,
    groups: Vec<u32>,
    ranks: Vec<u32>,
}

impl Groups {
    /// `n_shapes` is above every shape's number.
    pub(crate) fn of(shapes: &[u32], n_shapes: usize) -> Groups {
        let mut groups = Groups::default();
        let mut group_of = vec![u32::MAX; n_shapes];
        for &shape in shapes {
            let group = &mut group_of[shape as usize];
            if *group == u32::MAX {
                *group = groups.shapes.len() as u32;
                groups.shapes.push(shape);
                groups.n_rows.push(0);
            }
            let n_rows = &mut groups.n_rows[*group as usize];
            groups.groups.push(*group);
            groups.ranks.push(*n_rows as u32);
            *n_rows += 1;
        }
        groups
    }

    pub(crate) fn shapes(&self) -> &[u32] {
        &self.shapes
    }
}

/// The columns of a block, decoded.
#[derive(Debug, Default)]
pub(crate) struct Values {
    layout: Layout,
    columns: Vec<Column>,
}

#[derive(Debug)]
enum Column {
    Empty,
    Numbers(Kind, Vec<u64>),
    Texts(Texts),
    Bytes(Kind, Strings),
}

impl Values {
    pub(crate) fn read(layout: Layout, decoder: &mut Decoder<'_>) -> Result<Values, Damage> {
        let mut columns = Vec::with_capacity(layout.columns.len());
        for ((_, kind), &n) in layout.columns.iter().zip(&layout.n_values) {
            columns.push(match kind {
                Kind::Empty => Column::Empty,
                Kind::Bool | Kind::Int | Kind::Double => {
                    Column::Numbers(*kind, ints::decode(decoder, n)?)
                }
                Kind::Str => Column::Texts(strings::decode(decoder, n)?.into_texts()?),
                Kind::Bytes | Kind::Array | Kind::Map => {
                    Column::Bytes(*kind, strings::decode(decoder, n)?)
                }
            });
        }
        Ok(Values { layout, columns })
    }

    /// Whether columns were read at all.
    pub(crate) fn is_read(&self) -> bool {
        !self.layout.groups.is_empty()
    }

    /// The values of a row in the order of its shape's slots; none when nothing was read.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = ValueRef<'_>> {
        let places: &[Place] = match self.layout.groups.get(row) {
            Some(group) => &self.layout.places[*group as usize],
            None => &[],
        };
        places.iter().map(move |place| {
            let at = place.at(self.layout.ranks[row]);
            self.columns[place.column as usize].get(at)
        })
    }

    /// Asks of every row that `wanted` names whether one of its texts passes `test`, of each distinct
    /// text of a column once. Values that are no texts pass.
    pub(crate) fn rows_with(
        &self,
        wanted: &dyn Fn(usize) -> bool,
        test: &mut dyn FnMut(&str) -> bool,
    ) -> Vec<bool> {
        let mut columns: Vec<Option<Passing>> = self.columns.iter().map(|_| None).collect();
        let mut passes = |place: &Place, rank: u32| {
            let column = place.column as usize;
            let Column::Texts(texts) = &self.columns[column] else {
                return true;
            };
            let passing = columns[column].get_or_insert_with(|| texts.passing(test));
            passing.row(texts, place.at(rank))
        };
        let rows = self.layout.groups.iter().zip(&self.layout.ranks);
        let row = |(row, (group, rank)): (usize, (&u32, &u32))| {
            let places = &self.layout.places[*group as usize];
            wanted(row) && places.iter().any(|place| passes(place, *rank))
        };
        rows.enumerate().map(row).collect()
    }

    /// Refills `out` with the attributes of a row; `key` gives the text of a key's number.
    pub(crate) fn attributes<'a>(
        &'a self,
        row: usize,
        slots: &[Slot],
        key: impl Fn(u32) -> &'a str,
        out: &mut Vec<Attr<'a>>,
    ) {
        out.clear();
        let values = self.row(row).zip(slots);
        out.extend(values.map(|(value, (k, _))| Attr {
            key: key(*k),
            value,
        }));
    }
}

impl Column {
    fn get(&self, at: usize) -> ValueRef<'_> {
        match self {
            Column::Empty => ValueRef::Empty,
            Column::Numbers(kind, numbers) => match kind {
                Kind::Bool => ValueRef::Bool(numbers[at] != 0),
                Kind::Double => ValueRef::Double(f64::from_bits(numbers[at])),
                _ => ValueRef::Int(numbers[at] as i64),
            },
            Column::Texts(texts) => ValueRef::Str(texts.get(at)),
            Column::Bytes(kind, strings) => match kind {
                Kind::Array => ValueRef::Array(ArrayRef(strings.get(at))),
                Kind::Map => ValueRef::Map(MapRef(strings.get(at))),
                _ => ValueRef::Bytes(strings.get(at)),
            },
        }
    }
}
