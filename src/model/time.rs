//! Points in time as nanoseconds since the Unix epoch, and ranges of them. Never reads a clock.

use std::fmt;

/// Nanoseconds since the Unix epoch, as OTLP has them. Zero means "not set" on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub(crate) u64);

pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;
pub(crate) const NANOS_PER_MINUTE: u64 = 60 * NANOS_PER_SECOND;
pub(crate) const NANOS_PER_HOUR: u64 = 60 * NANOS_PER_MINUTE;
pub(crate) const NANOS_PER_DAY: u64 = 24 * NANOS_PER_HOUR;

/// How far in the future a stamp may lie before its place in lists is clamped to the time of
/// arrival (design.md section 3, late data).
pub(crate) const CLOCK_SKEW_NS_MAX: u64 = 10 * NANOS_PER_MINUTE;

impl Timestamp {
    pub(crate) const MAX: Timestamp = Timestamp(u64::MAX);

    pub(crate) const fn saturating_add(self, ns: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ns))
    }

    pub(crate) const fn saturating_sub(self, ns: u64) -> Timestamp {
        Timestamp(self.0.saturating_sub(ns))
    }

    /// The place of a record in lists and partitions: its own stamp, or the time of arrival when
    /// the stamp is missing or more than [`CLOCK_SKEW_NS_MAX`] ahead of it.
    pub(crate) fn place(own: Timestamp, received: Timestamp) -> Timestamp {
        if own.0 == 0 || own > received.saturating_add(CLOCK_SKEW_NS_MAX) {
            received
        } else {
            own
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open range of time: `start <= t < end`, with `start <= end` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    start: Timestamp,
    end: Timestamp,
}

impl TimeRange {
    pub(crate) const ALL: TimeRange = TimeRange {
        start: Timestamp(0),
        end: Timestamp::MAX,
    };

    /// `None` when `start > end`.
    pub(crate) fn new(start: Timestamp, end: Timestamp) -> Option<TimeRange> {
        (start <= end).then_some(TimeRange { start, end })
    }

    pub(crate) const fn start(self) -> Timestamp {
        self.start
    }

    pub(crate) const fn end(self) -> Timestamp {
        self.end
    }

    pub(crate) fn contains(self, t: Timestamp) -> bool {
        self.start <= t && t < self.end
    }

    /// Whether any point of the closed range `first..=last` lies in this range.
    pub(crate) fn overlaps(self, first: Timestamp, last: Timestamp) -> bool {
        first < self.end && self.start <= last
    }

    /// Length in nanoseconds.
    pub(crate) const fn duration_ns(self) -> u64 {
        self.end.0 - self.start.0
    }
}
