//! What the log texts of a group of the head have in common: its kinds of records (service, severity,
//! template) and the words of its variables, as a sealed block's dictionary and token table have them.
//! So a search decides about most records of the head without decoding them.
//!
//! Made for a group when the second search looks through it: that costs more than looking at every
//! record once (splitting and hashing come on top), and most groups are sealed before anybody asks
//! twice. What is kept is bounded per record, so at most 7 MB for a full head.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::filter::{BodyKind, LogFilter, LogKind, Template, Verdict};
use super::head::Group;
use super::segment::{Word, Words, split_text};
use super::templates::TemplateId;
use super::unit::each_log;
use crate::model::record::severity_of;
use crate::model::{Level, LogEntry, LogView, Severity, ValueRef};

/// Bytes of kinds per record of the group. Past it further kinds are kept without their template.
const KIND_BYTES_PER_ROW: usize = 96;

/// Distinct words of variables and plain texts per record, 4 bytes each. Past it every word may be there.
const WORDS_PER_ROW: usize = 8;

/// Records of a group that has texts: those of one huge request are looked at one by one. Two bytes
/// number as many kinds.
const ROWS_MAX: u64 = 16_384;

/// Kinds are told apart by their hashes alone, and senders must not find two that have the same.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// The texts of one group.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) kinds: Vec<Kind>,
    /// The kind of each row.
    rows: Vec<u16>,
    /// Hashes of the words, rising; `None`: every word may be there.
    words: Option<Box<[u32]>>,
}

/// What records of one kind have in common.
#[derive(Debug)]
pub(super) struct Kind {
    hash: u64,
    pub(super) service: Box<str>,
    severity: Severity,
    severity_text: Box<str>,
    event_name: Box<str>,
    has_body: bool,
    pub(super) template: Option<Box<str>>,
}

impl Kind {
    pub(super) fn level(&self) -> Level {
        severity_of(self.severity, &self.severity_text).level()
    }

    pub(super) fn body(&self) -> BodyKind<'_> {
        match (&self.template, self.has_body) {
            (Some(template), _) => BodyKind::Text(Template::new(template)),
            (None, true) => BodyKind::Open,
            (None, false) => BodyKind::Empty,
        }
    }

    pub(super) fn template_id(&self) -> TemplateId {
        let template = self.template.as_deref();
        template.map_or(TemplateId::PLAIN, |text| TemplateId::of(text.as_bytes()))
    }

    fn bytes(&self) -> usize {
        let texts = [&self.service, &self.severity_text, &self.event_name];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        size_of::<Kind>() + texts + self.template.as_ref().map_or(0, |text| text.len())
    }
}

impl Texts {
    /// The number of a row's kind.
    pub(super) fn kind(&self, row: usize) -> usize {
        usize::from(self.rows[row])
    }

    /// What a filter that asks for `words` says of each kind.
    pub(super) fn verdicts(&self, filter: &LogFilter<'_>, words: &[Word]) -> Vec<Verdict> {
        if filter.everything {
            return vec![Verdict::Yes; self.kinds.len()];
        }
        let bits = words.iter().enumerate();
        let absent = bits.filter(|(_, word)| {
            let all = self.words.as_ref();
            all.is_some_and(|all| all.binary_search(&word.hash()).is_err())
        });
        let held = absent.fold(u64::MAX, |held, (bit, _)| held & !(1 << bit));
        let verdict = |kind: &Kind| {
            let common = LogKind {
                service: &kind.service,
                severity: kind.severity,
                severity_text: &kind.severity_text,
                event_name: &kind.event_name,
                body: kind.body(),
                held,
            };
            filter.decide_hashed(kind.hash, &common)
        };
        self.kinds.iter().map(verdict).collect()
    }
}

/// The texts of a group that was asked before; `None`: its records have to be looked at.
pub(super) fn of(group: &Group<LogEntry>) -> Option<&Texts> {
    if let Some(texts) = group.texts.get() {
        return texts.as_ref();
    }
    if group.rows > ROWS_MAX || !group.asked.swap(true, Ordering::Relaxed) {
        return None;
    }
    group.texts.get_or_init(|| make(group)).as_ref()
}

/// The texts of a group if it has them already.
pub(super) fn made(group: &Group<LogEntry>) -> Option<&Texts> {
    group.texts.get().and_then(Option::as_ref)
}

/// `None`: it cannot be read, as whoever reads its records will say, or what its records have in common
/// is longer than they are.
fn make(group: &Group<LogEntry>) -> Option<Texts> {
    let mut making = Making::new(group.rows as usize);
    each_log(&group.chunks, &mut |log| making.add(log)).ok()?;
    if making.bytes > 2 * making.bytes_max {
        return None;
    }
    let words = making.words.map(|words| {
        let mut words: Vec<u32> = words.hashes().map(|hash| hash as u32).collect();
        words.sort_unstable();
        words.into()
    });
    let mut texts = making.texts;
    texts.kinds.shrink_to_fit();
    Some(Texts { words, ..texts })
}

struct Making {
    texts: Texts,
    words: Option<Words>,
    words_max: usize,
    /// Of kinds.
    bytes: usize,
    bytes_max: usize,
    /// Kinds by their hash.
    known: HashMap<u64, u16>,
    template: Vec<u8>,
    key: Vec<u8>,
}

impl Making {
    fn new(rows: usize) -> Making {
        Making {
            texts: Texts {
                rows: Vec::with_capacity(rows),
                ..Texts::default()
            },
            words: Some(Words::default()),
            words_max: rows * WORDS_PER_ROW,
            bytes: 0,
            bytes_max: rows * KIND_BYTES_PER_ROW,
            known: HashMap::new(),
            template: Vec::new(),
            key: Vec::new(),
        }
    }

    fn add(&mut self, log: &LogView<'_>) {
        if self.bytes > 2 * self.bytes_max {
            return;
        }
        let has_room = self.bytes < self.bytes_max;
        let words = self.words.as_mut();
        let splits = match log.body {
            ValueRef::Str(text) => split_text(text, &mut self.template, words, has_room),
            ValueRef::Empty => false,
            _ => {
                self.words = None;
                false
            }
        };
        if self
            .words
            .as_ref()
            .is_some_and(|words| words.len() > self.words_max)
        {
            self.words = None;
        }
        let hash = self.hash(log, splits);
        let next = self.texts.kinds.len() as u16;
        let kind = *self.known.entry(hash).or_insert(next);
        if kind == next {
            let kind = self.kind(log, splits, hash);
            self.bytes += kind.bytes();
            self.texts.kinds.push(kind);
        }
        self.texts.rows.push(kind);
    }

    fn kind(&self, log: &LogView<'_>, splits: bool, hash: u64) -> Kind {
        let template = || std::str::from_utf8(&self.template);
        Kind {
            hash,
            service: log.resource.service().into(),
            severity: log.severity,
            severity_text: log.severity_text.into(),
            event_name: log.event_name.into(),
            has_body: log.body != ValueRef::Empty,
            template: splits.then(|| {
                let template = template().expect("variables are whole characters");
                template.into()
            }),
        }
    }

    /// Of all that kinds differ in.
    fn hash(&mut self, log: &LogView<'_>, splits: bool) -> u64 {
        let key = &mut self.key;
        key.clear();
        key.push(match log.body {
            ValueRef::Empty => 0,
            _ if splits => 1,
            _ => 2,
        });
        key.extend_from_slice(&log.severity.0.to_le_bytes());
        for text in [log.resource.service(), log.severity_text, log.event_name] {
            key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        if splits {
            key.extend_from_slice(&self.template);
        }
        xxh3_64_with_seed(key, *SEED)
    }
}
