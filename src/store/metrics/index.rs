//! Which series there are, found by their labels: for every value of every label the numbers of the
//! series that have it. Knows nothing of samples; the writer adds series, a reader holds the lock for
//! one question.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use roaring::RoaringBitmap;

use super::ledger::NumberHasher;
use crate::model::metric::{Labels, MatchOp, Matcher};

/// A regular expression is tried on each series instead of each value of a label where there are so
/// many times more values than series left.
const VALUES_PER_SERIES: u64 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Guards all of it: held while series are added, and for one question.
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    series: HashMap<u32, Labels, NumberHasher>,
    all: RoaringBitmap,
    names: BTreeMap<Box<str>, Values>,
}

type Values = BTreeMap<Box<str>, RoaringBitmap>;

impl Index {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, series: impl IntoIterator<Item = (u32, Labels)>) {
        let mut inner = self.write();
        for (number, labels) in series {
            inner.insert(number, labels);
        }
    }

    pub(super) fn remove(&self, numbers: &[u32]) {
        let mut inner = self.write();
        for number in numbers {
            inner.remove(*number);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.read().series.len()
    }

    pub(super) fn labels(&self, number: u32) -> Option<Labels> {
        self.read().series.get(&number).cloned()
    }

    /// Numbers of all series.
    pub(super) fn numbers(&self) -> RoaringBitmap {
        self.read().all.clone()
    }

    /// The series that all matchers select, with their labels, in no order.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<(u32, Labels)> {
        let inner = self.read();
        let found = inner.select(matchers);
        let labels = |number: u32| Some((number, inner.series.get(&number)?.clone()));
        found.iter().filter_map(labels).collect()
    }

    /// Names of labels of the series in `of`, sorted.
    pub(super) fn label_names(&self, of: &RoaringBitmap) -> Vec<String> {
        let inner = self.read();
        let has = |values: &Values| values.values().any(|postings| !postings.is_disjoint(of));
        let names = inner.names.iter().filter(|(_, values)| has(values));
        names.map(|(name, _)| name.to_string()).collect()
    }

    /// Values of a label of the series in `of`, sorted.
    pub(super) fn label_values(&self, name: &str, of: &RoaringBitmap) -> Vec<String> {
        let inner = self.read();
        let values = inner.names.get(name).into_iter().flatten();
        let shown = values.filter(|(_, postings)| !postings.is_disjoint(of));
        shown.map(|(value, _)| value.to_string()).collect()
    }

    /// As [`Index::select`], as numbers.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> RoaringBitmap {
        self.read().select(matchers)
    }

    /// Series per value of a label, most first, at most `n`.
    pub(crate) fn top_values(&self, name: &str, n: usize) -> Vec<(String, u64)> {
        let inner = self.read();
        let values = inner.names.get(name).into_iter().flatten();
        top(
            values.map(|(value, postings)| (&**value, postings.len())),
            n,
        )
    }

    /// Values per label, most first, at most `n`.
    pub(crate) fn top_labels(&self, n: usize) -> Vec<(String, u64)> {
        let inner = self.read();
        top(
            inner
                .names
                .iter()
                .map(|(name, values)| (&**name, values.len() as u64)),
            n,
        )
    }
}

fn top<'s>(counted: impl Iterator<Item = (&'s str, u64)>, n: usize) -> Vec<(String, u64)> {
    let mut counted: Vec<(&str, u64)> = counted.collect();
    counted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counted.truncate(n);
    counted
        .into_iter()
        .map(|(t, n)| (t.to_owned(), n))
        .collect()
}

impl Inner {
    fn insert(&mut self, number: u32, labels: Labels) {
        for (name, value) in labels.iter() {
            let values = match self.names.get_mut(name) {
                Some(values) => values,
                None => self.names.entry(name.into()).or_default(),
            };
            match values.get_mut(value) {
                Some(postings) => _ = postings.insert(number),
                None => _ = values.entry(value.into()).or_default().insert(number),
            }
        }
        self.all.insert(number);
        self.series.insert(number, labels);
    }

    fn remove(&mut self, number: u32) {
        let Some(labels) = self.series.remove(&number) else {
            return;
        };
        self.all.remove(number);
        for (name, value) in labels.iter() {
            let Some(values) = self.names.get_mut(name) else {
                continue;
            };
            if let Some(postings) = values.get_mut(value) {
                postings.remove(number);
                if postings.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
    }

    fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        // Equality first: what is left makes the rest cheap.
        let mut ordered: Vec<&Matcher> = matchers.iter().collect();
        ordered.sort_by_key(|matcher| match (matcher.op, matcher.matches("")) {
            (MatchOp::Equal, false) => 0,
            (_, false) => 1,
            (_, true) => 2,
        });
        let mut found: Option<RoaringBitmap> = None;
        for matcher in ordered {
            let left = match found.take() {
                None if matcher.matches("") => self.without(self.all.clone(), matcher),
                None => self.having(matcher),
                Some(left) => self.narrow(left, matcher),
            };
            if left.is_empty() {
                return left;
            }
            found = Some(left);
        }
        found.unwrap_or_else(|| self.all.clone())
    }

    fn narrow(&self, mut left: RoaringBitmap, matcher: &Matcher) -> RoaringBitmap {
        let values = self.names.get(&*matcher.name).map_or(0, BTreeMap::len) as u64;
        let is_scan = Shape::of(matcher) == Shape::Scan;
        if is_scan && left.len() * VALUES_PER_SERIES < values {
            let value = |number| self.series.get(&number)?.get(&matcher.name);
            let numbers = left.iter();
            return numbers
                .filter(|number| matcher.matches(value(*number).unwrap_or("")))
                .collect();
        }
        if matcher.matches("") {
            return self.without(left, matcher);
        }
        left &= self.having(matcher);
        left
    }

    /// Series with a value that is selected; for matchers that do not select the empty one.
    fn having(&self, matcher: &Matcher) -> RoaringBitmap {
        let Some(values) = self.names.get(&*matcher.name) else {
            return RoaringBitmap::new();
        };
        let one = |value: &str| values.get(value).cloned().unwrap_or_default();
        match Shape::of(matcher) {
            Shape::One(value) => one(value),
            Shape::AnyOf(wanted) => {
                let mut found = RoaringBitmap::new();
                wanted.iter().for_each(|value| found |= one(value));
                found
            }
            Shape::Prefix(prefix) => {
                let from = (Bound::Included(prefix), Bound::Unbounded);
                let mut found = RoaringBitmap::new();
                for (value, postings) in values.range::<str, _>(from) {
                    if !value.starts_with(prefix) {
                        break;
                    }
                    if matcher.matches(value) {
                        found |= postings;
                    }
                }
                found
            }
            Shape::Scan => {
                let mut found = RoaringBitmap::new();
                for (_, postings) in values.iter().filter(|(value, _)| matcher.matches(value)) {
                    found |= postings;
                }
                found
            }
        }
    }

    /// Of `left` what has no value that is not selected; for matchers that select the empty one.
    fn without(&self, mut left: RoaringBitmap, matcher: &Matcher) -> RoaringBitmap {
        let values = self.names.get(&*matcher.name).into_iter().flatten();
        for (_, postings) in values.filter(|(value, _)| !matcher.matches(value)) {
            left -= postings;
        }
        left
    }
}

/// What a matcher asks of the values of its label.
#[derive(Debug, PartialEq)]
enum Shape<'m> {
    One(&'m str),
    AnyOf(Vec<&'m str>),
    /// Each that begins so is to be tried.
    Prefix(&'m str),
    Scan,
}

impl Shape<'_> {
    fn of(matcher: &Matcher) -> Shape<'_> {
        let text = &*matcher.value;
        match matcher.op {
            MatchOp::Equal => Shape::One(text),
            MatchOp::NotEqual | MatchOp::NotRegex => Shape::Scan,
            MatchOp::Regex => {
                let inside = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
                let plain = inside.unwrap_or(text);
                let literal = literal_prefix(plain);
                if literal.len() == plain.len() {
                    return Shape::AnyOf(plain.split('|').collect());
                }
                // What follows may make the last character optional, or another one an alternative.
                let prefix = literal_prefix(text);
                let end = prefix.char_indices().next_back().map_or(0, |(at, _)| at);
                match &prefix[..end] {
                    "" => Shape::Scan,
                    _ if text.contains('|') => Shape::Scan,
                    sure => Shape::Prefix(sure),
                }
            }
        }
    }
}

/// What stands for itself at the beginning of a regular expression, `|` taken as such.
fn literal_prefix(text: &str) -> &str {
    let special = |c: char| r"\.+*?()[]{}^$".contains(c);
    text.find(special).map_or(text, |at| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Vec<Labels> {
        let mut all = Vec::new();
        for job in ["api", "apiary", "db", "db(x)"] {
            for code in ["200", "500", ""] {
                all.push(Labels::of([
                    ("__name__", "up"),
                    ("job", job),
                    ("code", code),
                ]));
            }
        }
        all.push(Labels::of([("__name__", "down")]));
        all
    }

    #[test]
    fn what_the_index_selects_is_what_the_matchers_match() {
        let index = Index::default();
        let all = series();
        index.insert((0..).zip(all.iter().cloned()));
        let mut conditions = Vec::new();
        for op in [MatchOp::Equal, MatchOp::NotEqual] {
            for value in ["api", "", "none", "500"] {
                conditions.extend(["job", "code", "x"].map(|name| (name, op, value)));
            }
        }
        let expressions = [
            "api|db", "(api|db)", "ap.*", "api.+", "api?", "apix*", "", ".*", ".+", "db|", "d|b.*",
            r"db\(x\)", "[45]..", "a|(db)", "api{1}",
        ];
        for op in [MatchOp::Regex, MatchOp::NotRegex] {
            for value in expressions {
                conditions.extend(["job", "code"].map(|name| (name, op, value)));
            }
        }
        let matchers: Vec<Matcher> = conditions
            .into_iter()
            .map(|(name, op, value)| Matcher::new(name, op, value).expect("well-formed"))
            .collect();
        for a in &matchers {
            for b in &matchers {
                let both = [a.clone(), b.clone()];
                let fits =
                    |l: &Labels| both.iter().all(|m| m.matches(l.get(&m.name).unwrap_or("")));
                let expect: Vec<u32> = (0..)
                    .zip(&all)
                    .filter(|(_, l)| fits(l))
                    .map(|(n, _)| n)
                    .collect();
                let found: Vec<u32> = index.matching(&both).iter().collect();
                assert_eq!(found, expect, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn removed_series_leave_nothing_behind() {
        let index = Index::default();
        index.insert((0..).zip(series()));
        index.remove(&(0..13).collect::<Vec<u32>>());
        let inner = index.read();
        assert!(inner.names.is_empty() && inner.series.is_empty() && inner.all.is_empty());
    }
}
