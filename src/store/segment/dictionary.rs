//! What the blocks of one part share: resources, scopes, texts, shapes, trace ids.
//!
//! A *part* is what one sealing wrote. Its blocks name entries of its dictionary by number, so a
//! merge that copies blocks copies their dictionary beside them and no reference changes.

use crate::model::{Attr, ProjectId, ResourceView, ScopeView};

use super::column::strings::{Piece, Strings, Texts};
use super::column::{Decoder, Encoder, ints, strings};
use super::cursor::{Cursor, Damage, put_bytes, put_varint};
use super::footprint::Variety;
use super::interner::Interner;
use super::values::{Kind, Slot};

/// Shapes of one part. Past it (attribute keys or names that are data) records are kept raw, which
/// bounds what a reader of one block has to load: 4096 shapes of ten keys are about 100 KB.
pub(crate) const SHAPES_MAX: usize = 4096;

/// Bytes of the texts (keys, names, severity texts) of one part, for the same reason.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

/// Collects the dictionary of the part being written.
#[derive(Debug)]
pub(crate) struct DictionaryBuilder<S> {
    resources: Interner,
    scopes: Interner,
    texts: Interner,
    /// Shapes with their texts spelled out, as records are looked up.
    shape_keys: Interner,
    /// The same shapes with numbers of texts, as they are written and as they are used.
    encoded: Vec<Vec<u8>>,
    shapes: Vec<S>,
    scratch: Vec<u8>,
}

impl<S> Default for DictionaryBuilder<S> {
    fn default() -> DictionaryBuilder<S> {
        DictionaryBuilder {
            resources: Interner::default(),
            scopes: Interner::default(),
            texts: Interner::default(),
            shape_keys: Interner::default(),
            encoded: Vec::new(),
            shapes: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl<S> DictionaryBuilder<S> {
    pub(crate) fn resource(&mut self, project: ProjectId, resource: &ResourceView<'_>) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&project.0.to_le_bytes());
        put_bytes(&mut self.scratch, resource.schema_url.as_bytes());
        self.scratch.extend_from_slice(resource.raw);
        self.resources.intern(&self.scratch)
    }

    pub(crate) fn scope(&mut self, scope: &ScopeView<'_>) -> u32 {
        self.scratch.clear();
        put_bytes(&mut self.scratch, scope.schema_url.as_bytes());
        self.scratch.extend_from_slice(scope.raw);
        self.scopes.intern(&self.scratch)
    }

    /// The number of a shape seen before.
    pub(crate) fn find_shape(&self, key: &[u8]) -> Option<u32> {
        self.shape_keys.find(key)
    }

    /// Whether new shapes may still come in.
    pub(crate) fn has_room(&self) -> bool {
        self.shapes.len() < SHAPES_MAX && self.texts.n_bytes() < TEXT_BYTES_MAX
    }

    /// Adds a shape that [`DictionaryBuilder::find_shape`] did not find.
    pub(crate) fn add_shape(&mut self, key: &[u8], encoded: Vec<u8>, shape: S) -> u32 {
        let number = self.shape_keys.intern(key);
        self.encoded.push(encoded);
        self.shapes.push(shape);
        number
    }

    /// The number of a template's text; `None` when there is no room for another: a quarter is kept
    /// for keys and names.
    pub(crate) fn template(&mut self, template: &[u8]) -> Option<u32> {
        if self.texts.n_bytes() < TEXT_BYTES_MAX / 4 * 3 {
            return Some(self.texts.intern(template));
        }
        self.texts.find(template)
    }

    pub(crate) fn text(&mut self, text: &str) -> u32 {
        self.texts.intern(text.as_bytes())
    }

    /// As [`DictionaryBuilder::text`], of bytes that are known to be UTF-8.
    pub(crate) fn text_bytes(&mut self, text: &[u8]) -> u32 {
        self.texts.intern(text)
    }

    /// The text of a number.
    pub(crate) fn text_of(&self, number: u32) -> &[u8] {
        self.texts.get(number)
    }

    /// The shapes by their numbers.
    pub(crate) fn shapes(&self) -> &[S] {
        &self.shapes
    }

    /// Writes everything but trace ids, framed.
    pub(crate) fn put(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        for interner in [&self.resources, &self.scopes, &self.texts] {
            let entries = (0..interner.len() as u32).map(|number| interner.get(number));
            put_list(encoder, entries);
        }
        put_list(encoder, self.encoded.iter().map(Vec::as_slice));
        encoder.finish_framed(out);
    }
}

/// A count and a column of strings.
pub(crate) fn put_list<'a>(encoder: &mut Encoder, entries: impl Iterator<Item = &'a [u8]>) {
    let (mut arena, mut pieces) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = arena.len();
        arena.extend_from_slice(entry);
        pieces.push(Piece::since(&arena, start).0);
    }
    ints::put(encoder, &[pieces.len() as u64]);
    strings::put(encoder, &arena, &pieces, |_| {});
}

/// The inverse of [`put_list`].
pub(crate) fn read_list(decoder: &mut Decoder<'_>) -> Result<Strings, Damage> {
    let n = ints::decode(decoder, 1)?[0];
    let n = usize::try_from(n).map_err(|_| Damage("a list claims too many entries"))?;
    strings::decode(decoder, n)
}

/// Appends keys and kinds.
pub(crate) fn spell_attributes(key: &mut Vec<u8>, attributes: &[Attr<'_>]) {
    for attr in attributes {
        key.push(Kind::of(&attr.value) as u8);
        key.extend_from_slice(&(attr.key.len() as u32).to_le_bytes());
        key.extend_from_slice(attr.key.as_bytes());
    }
}

/// Numbers for keys, with their kinds.
pub(crate) fn slots<S>(
    dictionary: &mut DictionaryBuilder<S>,
    attributes: &[Attr<'_>],
) -> Vec<Slot> {
    let slot = |attr: &Attr<'_>| (dictionary.text(attr.key), Kind::of(&attr.value));
    attributes.iter().map(slot).collect()
}

/// Appends a text so that what follows cannot be taken for more of it.
fn spell(key: &mut Vec<u8>, text: &[u8]) {
    key.extend_from_slice(&(text.len() as u32).to_le_bytes());
    key.extend_from_slice(text);
}

/// Adds a shape to what is to become one part: its scope, numbers, texts and slots.
pub(crate) fn vary<S>(
    dictionary: &Dictionary<S>,
    variety: &mut Variety,
    scope: u32,
    numbers: &[i64],
    texts: &[u32],
    slots: &[Slot],
) {
    let mut key = Vec::new();
    spell(&mut key, dictionary.scope_bytes(scope));
    for number in numbers {
        key.extend_from_slice(&number.to_le_bytes());
    }
    let of_slots = slots.iter().map(|(text, _)| text);
    for text in texts.iter().chain(of_slots) {
        let text = dictionary.text(*text);
        spell(&mut key, text.as_bytes());
        variety.text(text);
    }
    key.extend(slots.iter().map(|(_, kind)| *kind as u8));
    variety.shape(&key);
}

/// Appends the number of slots and the slots.
pub(crate) fn put_slots(out: &mut Vec<u8>, slots: &[Slot]) {
    put_varint(out, slots.len() as u64);
    for (key, kind) in slots {
        put_varint(out, u64::from(*key) << 3 | *kind as u64);
    }
}

/// The inverse of [`put_slots`]; keys are below `n_texts`.
pub(crate) fn read_slots(cursor: &mut Cursor<'_>, n_texts: usize) -> Result<Vec<Slot>, Damage> {
    let n = cursor.number()? as usize;
    if n > cursor.remaining() {
        return Err(Damage("a shape claims more attributes than its bytes hold"));
    }
    let mut slots = Vec::with_capacity(n);
    for _ in 0..n {
        let slot = cursor.varint()?;
        let key = check_text(slot >> 3, n_texts)?;
        slots.push((key, Kind::read((slot & 7) as u8)?));
    }
    Ok(slots)
}

/// A number of the text dictionary, if it is one.
pub(crate) fn check_text(number: u64, n_texts: usize) -> Result<u32, Damage> {
    if number >= n_texts as u64 {
        return Err(Damage("a shape names a text that is not there"));
    }
    Ok(number as u32)
}

/// The dictionary of a part; `S` is the signal's shape.
#[derive(Debug)]
pub(crate) struct Dictionary<S> {
    resources: Strings,
    scopes: Strings,
    texts: Texts,
    pub(crate) shapes: Vec<S>,
}

impl<S> Dictionary<S> {
    /// `read_shape` gets the shape's bytes, the number of scopes and that of texts.
    pub(crate) fn read(
        decoder: &mut Decoder<'_>,
        read_shape: impl Fn(&mut Cursor<'_>, usize, usize) -> Result<S, Damage>,
    ) -> Result<Dictionary<S>, Damage> {
        let resources = read_list(decoder)?;
        let scopes = read_list(decoder)?;
        let texts = read_list(decoder)?;
        let encoded = read_list(decoder)?;
        let mut shapes = Vec::with_capacity(encoded.len());
        for number in 0..encoded.len() {
            let mut cursor = Cursor::new(encoded.get(number));
            shapes.push(read_shape(&mut cursor, scopes.len(), texts.len())?);
        }
        Ok(Dictionary {
            resources,
            scopes,
            texts: texts.into_texts()?,
            shapes,
        })
    }

    /// Heap bytes, roughly: a shape is counted with eight attributes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let strings = self.resources.heap_bytes() + self.scopes.heap_bytes();
        strings + self.texts.heap_bytes() + self.shapes.len() * (size_of::<S>() + 64)
    }

    pub(crate) fn n_resources(&self) -> usize {
        self.resources.len()
    }

    /// A text by its number, which the shape has checked.
    pub(crate) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize)
    }

    /// A scope as it is kept, by its number, which the shape has checked.
    pub(crate) fn scope_bytes(&self, number: u32) -> &[u8] {
        self.scopes.get(number as usize)
    }

    pub(crate) fn resource(&self, number: u32) -> Result<ResourceView<'_>, Damage> {
        let mut cursor = Cursor::new(self.resources.get(number as usize));
        let _project = ProjectId(cursor.u32()?);
        let schema = cursor.str()?;
        ResourceView::parse(cursor.take(cursor.remaining())?, schema)
            .map_err(|_| Damage("a resource is malformed"))
    }

    pub(crate) fn scope(&self, number: u32) -> Result<ScopeView<'_>, Damage> {
        let mut cursor = Cursor::new(self.scopes.get(number as usize));
        let schema = cursor.str()?;
        ScopeView::parse(cursor.take(cursor.remaining())?, schema)
            .map_err(|_| Damage("a scope is malformed"))
    }
}

/// The resources and scopes that the rows of one block name, parsed once.
#[derive(Debug)]
pub(crate) struct GroupViews<'a> {
    resources: Vec<Option<ResourceView<'a>>>,
    scopes: Vec<Option<ScopeView<'a>>>,
}

impl<'a> GroupViews<'a> {
    /// All numbers have been checked against the dictionary.
    pub(crate) fn read<S>(
        dictionary: &'a Dictionary<S>,
        resources: impl Iterator<Item = u32>,
        scopes: impl Iterator<Item = u32>,
    ) -> Result<GroupViews<'a>, Damage> {
        let mut views = GroupViews {
            resources: (0..dictionary.n_resources()).map(|_| None).collect(),
            scopes: (0..dictionary.scopes.len()).map(|_| None).collect(),
        };
        for number in resources {
            let view = &mut views.resources[number as usize];
            if view.is_none() {
                *view = Some(dictionary.resource(number)?);
            }
        }
        for number in scopes {
            let view = &mut views.scopes[number as usize];
            if view.is_none() {
                *view = Some(dictionary.scope(number)?);
            }
        }
        Ok(views)
    }

    /// One of the resources it was made for.
    pub(crate) fn resource(&self, number: u32) -> &ResourceView<'a> {
        let view = self.resources[number as usize].as_ref();
        view.expect("the block's resources were read before its rows")
    }

    /// One of the scopes it was made for.
    pub(crate) fn scope(&self, number: u32) -> &ScopeView<'a> {
        let view = self.scopes[number as usize].as_ref();
        view.expect("the block's scopes were read before its rows")
    }
}

/// Numbers that all lie below `n`.
pub(crate) fn check_numbers(
    values: Vec<u64>,
    n: usize,
    unknown: Damage,
) -> Result<Vec<u32>, Damage> {
    if values.iter().any(|value| *value >= n as u64) {
        return Err(unknown);
    }
    Ok(values.into_iter().map(|value| value as u32).collect())
}
