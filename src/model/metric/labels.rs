//! The labels of a series: one allocation, sorted by name, cheap to clone and to compare.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::NAME;

/// Labels sorted by name; no name comes twice and no value is empty (an empty value is an absent
/// label: Prometheus data model).
///
/// Packed as name length, name, value length, value; lengths are LEB128. Equal labels have equal
/// bytes, so equality and hashing look at nothing else.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Labels(Arc<[u8]>);

impl Default for Labels {
    fn default() -> Labels {
        Labels(Arc::from([]))
    }
}

impl Labels {
    /// Labels of these pairs in any order; of a name that comes twice the last pair counts, empty
    /// values are left out.
    pub(crate) fn of<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Labels {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Labels from pairs that are sorted, unique and not empty already: no sorting, one allocation.
    pub(crate) fn of_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
        let mut packed = Vec::with_capacity(256);
        for (name, value) in pairs {
            put(&mut packed, name);
            put(&mut packed, value);
        }
        Labels(packed.into())
    }

    /// The packed form, as WAL and catalogue keep it. [`Labels::unpack`] is its inverse.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.0
    }

    /// Labels from their packed form; `None` when these bytes are none: bad lengths, not UTF-8, not
    /// sorted, a name twice, an empty name or value.
    pub(crate) fn unpack(packed: &[u8]) -> Option<Labels> {
        let mut rest = packed;
        let mut last = "";
        while !rest.is_empty() {
            let (name, after) = take_checked(rest)?;
            let (value, after) = take_checked(after)?;
            if name <= last || value.is_empty() {
                return None;
            }
            (last, rest) = (name, after);
        }
        Some(Labels(packed.into()))
    }

    /// Names and values, by name.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric's name; empty when there is none.
    pub(crate) fn metric(&self) -> &str {
        self.get(NAME).unwrap_or("")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }

    /// These labels without those of the given names.
    pub(crate) fn without(&self, names: &[&str]) -> Labels {
        Labels::of_sorted(self.iter().filter(|(name, _)| !names.contains(name)))
    }

    /// Of these labels those of the given names.
    pub(crate) fn only(&self, names: &[&str]) -> Labels {
        Labels::of_sorted(self.iter().filter(|(name, _)| names.contains(name)))
    }
}

/// By name, then value, pair by pair; fewer labels first. The order of `labels.Compare`.
impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As PromQL writes a series: `name{a="b"}`; names that are no identifiers are quoted.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric();
        let plain = is_plain_name(metric, true);
        if plain {
            f.write_str(metric)?;
        }
        let mut shown = 0;
        let mut comma = |f: &mut fmt::Formatter<'_>| {
            shown += 1;
            f.write_str(if shown == 1 { "{" } else { ", " })
        };
        if !plain && !metric.is_empty() {
            comma(f)?;
            write!(f, "{}", Quoted(metric))?;
        }
        for (name, value) in self.iter().filter(|(name, _)| *name != NAME) {
            comma(f)?;
            if is_plain_name(name, false) {
                write!(f, "{name}={}", Quoted(value))?;
            } else {
                write!(f, "{}={}", Quoted(name), Quoted(value))?;
            }
        }
        match (shown, metric.is_empty()) {
            (0, false) => Ok(()),
            (0, true) => f.write_str("{}"),
            _ => f.write_str("}"),
        }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a name needs no quotes in PromQL: `[a-zA-Z_][a-zA-Z0-9_]*`, in metrics also `:`.
fn is_plain_name(name: &str, metric: bool) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (metric && b == b':');
    !name.is_empty() && name.bytes().all(fits) && !name.as_bytes()[0].is_ascii_digit()
}

/// A string in double quotes with Go's escapes for what is not printable.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Changes labels: set, remove, build again.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    pub(crate) fn from(labels: &Labels) -> LabelsBuilder {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        LabelsBuilder {
            pairs: labels.iter().map(owned).collect(),
        }
    }

    /// Sets a label; an empty value removes it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut LabelsBuilder {
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => {
                value.clone_into(old);
            }
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub(crate) fn remove(&mut self, name: &str) -> &mut LabelsBuilder {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// Removes the labels whose name is not wanted.
    pub(crate) fn keep_names(&mut self, wanted: impl Fn(&str) -> bool) {
        self.pairs.retain(|(name, _)| wanted(name));
    }

    /// Empty when the label is absent, as relabelling sees it.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.pairs.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    pub(crate) fn build(&self) -> Labels {
        let is_one = |(name, value): &(&str, &str)| !name.is_empty() && !value.is_empty();
        let mut pairs: Vec<(&str, &str)> = self.iter().filter(is_one).collect();
        pairs.sort_unstable();
        Labels::of_sorted(pairs)
    }
}

/// Walks packed labels.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, rest) = take(self.rest);
        let (value, rest) = take(rest);
        self.rest = rest;
        Some((name, value))
    }
}

pub(super) fn put(packed: &mut Vec<u8>, text: &str) {
    put_bytes(packed, text.as_bytes());
}

/// As [`put`]; whoever calls sees to it that the bytes are UTF-8.
#[inline]
pub(super) fn put_bytes(packed: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length >= 0x80 {
        packed.push(length as u8 | 0x80);
        length >>= 7;
    }
    packed.push(length as u8);
    packed.extend_from_slice(text);
}

fn take(packed: &[u8]) -> (&str, &[u8]) {
    take_checked(packed).expect("labels are packed by `put` or checked by `unpack`")
}

fn take_checked(mut packed: &[u8]) -> Option<(&str, &[u8])> {
    let mut length = 0usize;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = packed.split_first()?;
        packed = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let (text, rest) = packed.split_at_checked(length)?;
            return Some((std::str::from_utf8(text).ok()?, rest));
        }
    }
    None
}
