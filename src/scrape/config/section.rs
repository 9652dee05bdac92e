//! A mapping being read key by key: values are converted as they are asked for, what was not asked
//! for is unknown, and every problem is kept with its place instead of ending the reading.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::values;
use super::yaml::{At, Content, Node, as_flag};

/// Problems and warnings of one file; more are counted, not kept.
const FINDINGS_MAX: usize = 100;

/// Something to say about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: PathBuf,
    pub(crate) at: At,
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At { line, column } = self.at;
        match line {
            0 => write!(f, "{}: {}", self.path.display(), self.message),
            _ => write!(
                f,
                "{}:{line}:{column}: {}",
                self.path.display(),
                self.message
            ),
        }
    }
}

/// What is found while one file is read.
pub(super) struct Notes {
    path: PathBuf,
    problems: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
}

impl Notes {
    pub(super) fn new(path: &Path) -> Notes {
        Notes {
            path: path.to_owned(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, at: At, message: impl Into<String>) {
        self.keep(&self.problems, at, message.into());
    }

    pub(super) fn warning(&self, at: At, message: impl Into<String>) {
        self.keep(&self.warnings, at, message.into());
    }

    fn keep(&self, to: &RefCell<Vec<Finding>>, at: At, message: String) {
        let mut to = to.borrow_mut();
        let message = match to.len() {
            n if n > FINDINGS_MAX => return,
            FINDINGS_MAX => {
                format!("more than {FINDINGS_MAX} findings in this file, no more are told")
            }
            _ => message,
        };
        to.push(Finding {
            path: self.path.clone(),
            at,
            message,
        });
    }

    /// Both lists, by place.
    pub(super) fn into_parts(self) -> (Vec<Finding>, Vec<Finding>) {
        let sorted = |list: RefCell<Vec<Finding>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|finding| finding.at);
            list
        };
        (sorted(self.problems), sorted(self.warnings))
    }
}

/// One mapping.
pub(super) struct Section<'n> {
    pub(super) at: At,
    /// As Prometheus names the type in its errors.
    go_type: &'static str,
    entries: Vec<(&'n str, At, &'n Node, Cell<bool>)>,
    pub(super) notes: &'n Notes,
}

impl<'n> Section<'n> {
    /// The mapping of a node; anything else is a problem, and null an empty mapping.
    pub(super) fn open(
        node: &'n Node,
        go_type: &'static str,
        notes: &'n Notes,
    ) -> Option<Section<'n>> {
        let mut section = Section {
            at: node.at,
            go_type,
            entries: Vec::new(),
            notes,
        };
        match &node.content {
            Content::Mapping(pairs) => {
                for (key, value) in pairs {
                    let Content::Scalar { text, .. } = &key.content else {
                        notes.problem(
                            key.at,
                            format!("cannot unmarshal {} into string", key.kind()),
                        );
                        continue;
                    };
                    if section.entries.iter().any(|(known, ..)| known == text) {
                        let message = format!("field {text} already set in type {go_type}");
                        notes.problem(key.at, message);
                        continue;
                    }
                    section
                        .entries
                        .push((text, key.at, value, Cell::new(false)));
                }
                Some(section)
            }
            _ if node.is_null() => Some(section),
            _ => {
                let message = format!("cannot unmarshal {} into {go_type}", node.kind());
                notes.problem(node.at, message);
                None
            }
        }
    }

    /// Whether the key stands there, with or without a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| *name == key)
    }

    /// Where the key stands; the section where it does not.
    pub(super) fn at_of(&self, key: &str) -> At {
        let found = self.entries.iter().find(|(name, ..)| *name == key);
        found.map_or(self.at, |(_, at, ..)| *at)
    }

    /// The value of a key; null is none.
    pub(super) fn take(&self, key: &str) -> Option<&'n Node> {
        let (_, _, node, seen) = self.entries.iter().find(|(name, ..)| *name == key)?;
        seen.set(true);
        (!node.is_null()).then_some(*node)
    }

    /// The keys that nobody asked for, with their places and values.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&'n str, At, &'n Node)> {
        let unseen = self.entries.iter().filter(|(.., seen)| !seen.get());
        unseen.map(|(name, at, node, seen)| {
            seen.set(true);
            (*name, *at, *node)
        })
    }

    /// Refuses every key that was not asked for.
    pub(super) fn close(&self) {
        for (name, at, _) in self.rest() {
            let message = format!("field {name} not found in type {}", self.go_type);
            self.notes.problem(at, message);
        }
    }

    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.notes.problem(self.at_of(key), message);
    }

    fn convert<T>(
        &self,
        key: &str,
        go_type: &str,
        convert: impl Fn(&'n str) -> Option<T>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let value = node.text().and_then(convert);
        if value.is_none() {
            let message = format!("cannot unmarshal {} into {go_type}", node.kind());
            self.notes.problem(node.at, message);
        }
        value
    }

    fn parse<T>(
        &self,
        key: &str,
        go_type: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text: &str = self.convert(key, go_type, Some)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                let at = self.take(key).map_or(self.at, |node| node.at);
                self.notes.problem(at, message);
                None
            }
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.convert(key, "string", |text| Some(text.to_owned()))
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.convert(key, "bool", as_flag)
    }

    pub(super) fn count(&self, key: &str) -> Option<u64> {
        self.convert(key, "uint", |text| text.parse().ok())
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        self.parse(key, "string", values::duration)
    }

    pub(super) fn bytes(&self, key: &str) -> Option<u64> {
        self.parse(key, "string", values::bytes)
    }

    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parse(key, "string", parse)
    }

    /// The items of a list; a single scalar is none.
    pub(super) fn list(&self, key: &str, go_type: &str) -> &'n [Node] {
        match self.take(key) {
            Some(Node {
                content: Content::Sequence(items),
                ..
            }) => items,
            Some(node) => {
                let message = format!("cannot unmarshal {} into {go_type}", node.kind());
                self.notes.problem(node.at, message);
                &[]
            }
            None => &[],
        }
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let items = self.list(key, "[]string");
        items
            .iter()
            .filter_map(|item| text_of(item, self.notes))
            .collect()
    }

    /// A mapping of texts, in the order written.
    pub(super) fn pairs(&self, key: &str, go_type: &'static str) -> Vec<(String, String)> {
        let Some(section) = self.section(key, go_type) else {
            return Vec::new();
        };
        let pair = |(name, _, node): (&str, At, &Node)| {
            let value = if node.is_null() {
                Some(String::new())
            } else {
                text_of(node, self.notes)
            };
            Some((name.to_owned(), value?))
        };
        section.rest().filter_map(pair).collect()
    }

    /// A mapping of lists of texts.
    pub(super) fn text_lists(
        &self,
        key: &str,
        go_type: &'static str,
    ) -> Vec<(String, Vec<String>)> {
        let Some(section) = self.section(key, go_type) else {
            return Vec::new();
        };
        let names: Vec<&str> = section.entries.iter().map(|(name, ..)| *name).collect();
        let list = |name: &str| (name.to_owned(), section.texts(name));
        names.into_iter().map(list).collect()
    }

    pub(super) fn section(&self, key: &str, go_type: &'static str) -> Option<Section<'n>> {
        Section::open(self.take(key)?, go_type, self.notes)
    }

    /// The mappings of a list.
    pub(super) fn sections(&self, key: &str, go_type: &'static str) -> Vec<Section<'n>> {
        let items = self.list(key, go_type);
        let open = |item| Section::open(item, go_type, self.notes);
        items.iter().filter_map(open).collect()
    }
}

fn text_of(node: &Node, notes: &Notes) -> Option<String> {
    let text = node.text().map(str::to_owned);
    if text.is_none() && !node.is_null() {
        notes.problem(
            node.at,
            format!("cannot unmarshal {} into string", node.kind()),
        );
    }
    text
}
