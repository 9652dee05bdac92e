//! What a reader tells the store about what it wants: hints that skip whole units and columns.
//! They only ever leave out what cannot match; the reader still filters every row.

use super::segment::Word;
use super::templates::{RuledOut, TemplateId, TextNeed};
use crate::model::{Level, LogEntry};
use crate::model::{SpanEntry, TraceId};

/// What log records must have to be of interest.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogPrune {
    /// `service.name` is one of these; empty: any.
    pub(crate) services: Vec<String>,
    /// One bit per [`Level`] by its number; 0: any.
    pub(crate) levels: u32,
    pub(crate) trace_id: Option<TraceId>,
    /// Every match has one of these templates or none at all; empty: any.
    pub(crate) templates: Vec<TemplateId>,
    /// Words that the reader's filter asks for, at most [`WORDS_MAX`]. Blocks are not left out by them
    /// alone: constant text has words too, so the filter is told what a block may hold.
    pub(crate) words: Vec<Word>,
    /// What the text of every match has, as far as its template tells.
    pub(crate) need: TextNeed,
    /// The templates that it rules out, once a snapshot has looked them up.
    pub(crate) ruled_out: Option<RuledOut>,
}

/// Words of one [`LogPrune`]: a bit each.
pub(crate) const WORDS_MAX: usize = 64;

/// What spans must have to be of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpanPrune {
    /// `service.name` is one of these; empty: any.
    pub(crate) services: Vec<String>,
    pub(crate) trace_id: Option<TraceId>,
    /// At least this long, in nanoseconds.
    pub(crate) duration_min_ns: u64,
    pub(crate) errors_only: bool,
    /// Each of these lists has one that the span has. No list is empty.
    pub(crate) needles: Vec<Vec<Needle>>,
}

/// What a span must have, as the token table tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needle {
    /// Its name.
    Name(String),
    /// An attribute of span, scope or resource whose value has this text: its own, or that of a whole
    /// number or a truth value.
    Attribute { key: String, value: String },
    /// An attribute whose value no text stands for: doubles, bytes, arrays.
    Untold { key: String },
}

impl LogPrune {
    /// The bit of a level in `levels`.
    pub(crate) const fn bit(level: Level) -> u32 {
        1 << level as u8
    }

    pub(crate) fn wants_level(&self, level: Level) -> bool {
        self.levels == 0 || self.levels & LogPrune::bit(level) != 0
    }

    pub(crate) fn wants(&self, entry: &LogEntry) -> bool {
        self.wants_level(entry.severity.level())
            && (self.trace_id.is_none() || self.trace_id == entry.trace_id)
    }
}

impl SpanPrune {
    pub(crate) fn wants(&self, entry: &SpanEntry) -> bool {
        self.trace_id.is_none_or(|id| id == entry.trace_id)
            && entry.duration_ns >= self.duration_min_ns
            && (!self.errors_only || entry.error)
    }
}

/// The columns a reader needs of a unit; others may be empty in the views it gets. Place (`at`),
/// resource, scope, severity number, span name, kind, status code, start and end are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogColumns(pub(crate) u32);

impl LogColumns {
    pub(crate) const BODY: LogColumns = LogColumns(1);
    pub(crate) const ATTRIBUTES: LogColumns = LogColumns(2);
    /// Trace and span id.
    pub(crate) const IDS: LogColumns = LogColumns(4);
    /// Severity text and event name.
    pub(crate) const TEXT: LogColumns = LogColumns(8);
    /// Time as sent, observed time, flags, dropped counts, what was lifted.
    pub(crate) const REST: LogColumns = LogColumns(16);
    pub(crate) const NONE: LogColumns = LogColumns(0);
    pub(crate) const ALL: LogColumns = LogColumns(31);

    pub(crate) const fn with(self, other: LogColumns) -> LogColumns {
        LogColumns(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: LogColumns) -> bool {
        self.0 & other.0 == other.0
    }
}

/// As [`LogColumns`], for spans. Trace id, name, kind and status code are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanColumns(pub(crate) u32);

impl SpanColumns {
    pub(crate) const ATTRIBUTES: SpanColumns = SpanColumns(1);
    pub(crate) const EVENTS: SpanColumns = SpanColumns(2);
    pub(crate) const LINKS: SpanColumns = SpanColumns(4);
    /// Status message.
    pub(crate) const TEXT: SpanColumns = SpanColumns(8);
    /// Trace state, flags, dropped counts.
    pub(crate) const REST: SpanColumns = SpanColumns(16);
    /// Span and parent id.
    pub(crate) const IDS: SpanColumns = SpanColumns(32);
    /// Start, end and place; [`SpanColumns::DURATION`] comes with them.
    pub(crate) const TIMES: SpanColumns = SpanColumns(64);
    pub(crate) const DURATION: SpanColumns = SpanColumns(128);
    /// Ids and times: what each reader of whole units gets.
    pub(crate) const BASE: SpanColumns = SpanColumns(32 | 64 | 128);
    pub(crate) const NONE: SpanColumns = SpanColumns(0);
    pub(crate) const ALL: SpanColumns = SpanColumns(31 | 32 | 64 | 128);

    pub(crate) const fn with(self, other: SpanColumns) -> SpanColumns {
        SpanColumns(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: SpanColumns) -> bool {
        self.0 & other.0 == other.0
    }
}

/// How a reader looks for spans: which columns its test looks at, and which those who pass are shown
/// with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanAsk {
    pub(crate) find: SpanColumns,
    pub(crate) show: SpanColumns,
    /// The test looks at nothing but name, kind, status code, resource and scope, so that what it says
    /// of one span it says of all that have these in common.
    pub(crate) by_kind: bool,
}
