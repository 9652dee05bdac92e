//! How a reader's filter meets the store: what it can decide for many log records at once, and what
//! it needs of each one otherwise.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::prune::LogColumns;
use crate::model::{LogView, Severity, Timestamp};

/// In a template: a token with a digit in it.
pub(super) const NUMBER: u8 = 1;

/// In a template: the inside of a JSON string, any text.
pub(super) const STRING: u8 = 2;

/// What log records of one kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogKind<'a> {
    pub(crate) service: &'a str,
    pub(crate) severity: Severity,
    pub(crate) severity_text: &'a str,
    pub(crate) event_name: &'a str,
    pub(crate) body: BodyKind<'a>,
    /// Bit i: the i-th word of `LogPrune` may be in a variable, or in a body that is [`BodyKind::Open`].
    pub(crate) held: u64,
}

/// What the bodies of one kind of record have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyKind<'a> {
    Empty,
    Text(Template<'a>),
    /// Anything.
    Open,
}

/// A text with a control byte for each variable. Variables start and end where tokens do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Template<'a>(&'a str);

impl<'a> Template<'a> {
    pub(crate) fn new(text: &'a str) -> Template<'a> {
        Template(text)
    }

    /// As it is kept: variables are separators between tokens.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// The constant text: one piece more than there are variables.
    pub(crate) fn literals(self) -> impl Iterator<Item = &'a str> {
        self.0.split([char::from(NUMBER), char::from(STRING)])
    }

    pub(crate) fn n_variables(self) -> usize {
        memchr::memchr2_iter(NUMBER, STRING, self.0.as_bytes()).count()
    }

    pub(crate) fn has_variables(self) -> bool {
        memchr::memchr2(NUMBER, STRING, self.0.as_bytes()).is_some()
    }

    /// Whether a variable may hold `token`, which is in lower case. The others hold ASCII tokens with a
    /// digit; the groups of a UUID and ids of traces and spans may happen to have none.
    pub(crate) fn may_hold(self, token: &str) -> bool {
        if memchr::memchr(STRING, self.0.as_bytes()).is_some() {
            return true;
        }
        self.has_variables() && fits_number(token)
    }

    /// Whether a variable is a token with a digit.
    pub(super) fn has_numbers(self) -> bool {
        memchr::memchr(NUMBER, self.0.as_bytes()).is_some()
    }

    /// Whether a variable may be any text, none at all included.
    pub(crate) fn has_strings(self) -> bool {
        memchr::memchr(STRING, self.0.as_bytes()).is_some()
    }
}

/// Whether a variable that is [`NUMBER`] may hold `token`, which is in lower case.
pub(super) fn fits_number(token: &str) -> bool {
    let hex = || {
        matches!(token.len(), 4 | 8 | 12 | 16 | 32)
            && token.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    token.bytes().any(|byte| byte.is_ascii_digit()) || hex()
}

/// A filter of log records.
pub(crate) struct LogFilter<'q> {
    /// Whether records at this time are of interest.
    pub(crate) open: &'q dyn Fn(Timestamp) -> bool,
    /// What is said of kinds.
    pub(crate) decider: &'q Decider<'q>,
    pub(crate) matches: &'q dyn Fn(&LogView<'_>) -> bool,
    /// What `matches` looks at.
    pub(crate) columns: LogColumns,
    /// Every record matches.
    pub(crate) everything: bool,
    /// What tells of texts in parts whether they may match.
    pub(crate) sieve: Option<Sieve<'q>>,
    /// Kinds that all match are counted already: only records that have to be asked are shown.
    pub(crate) only_asked: bool,
}

/// What is in every matching body that is a text, so that variables alone tell of most that they do not
/// match.
#[derive(Clone, Copy)]
pub(crate) enum Sieve<'q> {
    /// This text, not empty.
    Text(&'q str),
    /// A part that passes `has`. Parts are constant texts and variables, none reaches into another.
    Part {
        has: &'q dyn Fn(&str) -> bool,
        /// Whether the hexadecimal of an id may pass.
        may_be_id: bool,
    },
}

/// What a filter says of all records of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None matches.
    No,
    /// Every one matches.
    Yes,
    /// Each has to be looked at.
    Ask,
}

/// What a unit has told of its matches without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tallied {
    /// Nothing: it has to be read.
    Nothing,
    /// All records of kinds that match as a whole: those that have to be asked are left.
    Certain,
    All,
}

/// Verdicts on the shapes of one dictionary, by their numbers; `None` until they are asked for.
pub(super) type ShapeVerdicts = Rc<[Cell<Option<Verdict>>]>;

/// Which verdicts on shapes these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShapesKey {
    /// Address of what owns the dictionary, and the number of the dictionary there.
    pub(super) owner: usize,
    pub(super) part: u32,
    /// Number of the service there.
    pub(super) service: u32,
    /// The words that may be held.
    pub(super) held: u64,
}

/// Kept with verdicts, so that nothing else can get its address.
type Owner = Arc<dyn Any + Send + Sync>;

/// Decides about kinds of records, each once: a kind is in many blocks and groups.
pub(crate) struct Decider<'q> {
    decide: &'q dyn Fn(&LogKind<'_>) -> Option<bool>,
    /// On kinds of the head, by a hash of what they have in common and by the words held.
    kinds: RefCell<HashMap<(u64, u64), Verdict>>,
    shapes: RefCell<HashMap<ShapesKey, (Owner, ShapeVerdicts)>>,
}

/// Dictionaries (times services and words) whose verdicts are remembered: one byte per shape, 4096 at
/// most. Past it all are forgotten.
const DICTIONARIES_MAX: usize = 256;

/// Kinds of the head that are remembered, 40 bytes each. Past it all are forgotten.
const KINDS_MAX: usize = 32_768;

impl<'q> Decider<'q> {
    /// `decide` says whether all records of a kind match, or none; `None`: each has to be asked.
    pub(crate) fn new(decide: &'q dyn Fn(&LogKind<'_>) -> Option<bool>) -> Decider<'q> {
        Decider {
            decide,
            kinds: RefCell::default(),
            shapes: RefCell::default(),
        }
    }

    /// Asks without remembering.
    pub(super) fn ask(&self, kind: &LogKind<'_>) -> Option<bool> {
        (self.decide)(kind)
    }
}

impl LogFilter<'_> {
    /// What it says of a kind.
    pub(super) fn decide(&self, kind: &LogKind<'_>) -> Verdict {
        if self.everything {
            return Verdict::Yes;
        }
        match self.decider.ask(kind) {
            Some(true) => Verdict::Yes,
            Some(false) => Verdict::No,
            None => Verdict::Ask,
        }
    }

    /// As [`LogFilter::decide`], once for all kinds of this hash.
    pub(super) fn decide_hashed(&self, hash: u64, kind: &LogKind<'_>) -> Verdict {
        let mut kinds = self.decider.kinds.borrow_mut();
        if kinds.len() >= KINDS_MAX {
            kinds.clear();
        }
        let key = (hash, kind.held);
        *kinds.entry(key).or_insert_with(|| self.decide(kind))
    }

    /// The verdicts on the `n` shapes of a dictionary that are known so far.
    pub(super) fn shapes(&self, key: ShapesKey, owner: &Owner, n: usize) -> ShapeVerdicts {
        let mut shapes = self.decider.shapes.borrow_mut();
        if shapes.len() >= DICTIONARIES_MAX && !shapes.contains_key(&key) {
            shapes.clear();
        }
        let entry = shapes.entry(key).or_insert_with(|| {
            let verdicts = (0..n).map(|_| Cell::default()).collect();
            (Arc::clone(owner), verdicts)
        });
        Rc::clone(&entry.1)
    }
}
