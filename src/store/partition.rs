//! Partitions: what retention drops as one. A record belongs to the day (or hour) of its place in
//! lists, in UTC.

use std::fmt;

use crate::model::time::{NANOS_PER_DAY, NANOS_PER_HOUR};
use crate::model::{Signal, Timestamp};

/// How much time one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Span {
    Day,
    /// Where the byte budget holds less than three days, so that dropping the oldest one is a small step.
    Hour,
}

/// Which retention a partition is under: 0 the general one, others that of a service (`classes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RetentionClass(pub(crate) u8);

/// A retention class and a day or hour. Ordered by time, so that the oldest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition {
    start: Timestamp,
    span: Span,
    class: RetentionClass,
}

impl Span {
    pub(crate) const fn duration_ns(self) -> u64 {
        match self {
            Span::Day => NANOS_PER_DAY,
            Span::Hour => NANOS_PER_HOUR,
        }
    }
}

impl Partition {
    /// The partition that holds `at`.
    pub(crate) fn of(at: Timestamp, span: Span, class: RetentionClass) -> Partition {
        Partition {
            start: Timestamp(at.0 - at.0 % span.duration_ns()),
            span,
            class,
        }
    }

    pub(crate) fn start(self) -> Timestamp {
        self.start
    }

    /// The first moment after it.
    pub(crate) fn end(self) -> Timestamp {
        self.start.saturating_add(self.span.duration_ns())
    }

    pub(crate) fn span(self) -> Span {
        self.span
    }

    pub(crate) fn class(self) -> RetentionClass {
        self.class
    }

    /// Its directory below the data directory: `logs/20261121` or `logs/20261121T05`.
    pub(crate) fn dir(self, signal: Signal) -> String {
        format!("{}/{self}", signal.name())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A Timestamp reaches to the year 2554, which jiff can always tell.
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.start.0))
            .expect("u64 nanoseconds lie within jiff's range")
            .to_zoned(jiff::tz::TimeZone::UTC);
        write!(f, "{:04}{:02}{:02}", time.year(), time.month(), time.day())?;
        match self.span {
            Span::Day => {}
            Span::Hour => write!(f, "T{:02}", time.hour())?,
        }
        match self.class.0 {
            0 => Ok(()),
            class => write!(f, ".c{class}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_utc_day_and_hour() {
        let at = Timestamp(1_795_222_800_000_000_123);
        let class = RetentionClass::default();
        let day = Partition::of(at, Span::Day, class);
        let hour = Partition::of(at, Span::Hour, class);
        assert_eq!(day.dir(Signal::Logs), "logs/20261121");
        assert_eq!(hour.dir(Signal::Traces), "traces/20261121T01");
        assert!(day.start() <= at && at < day.end());
        assert!(hour.start() <= at && at < hour.end());
        assert_eq!(
            Partition::of(at, Span::Day, RetentionClass(2)).to_string(),
            "20261121.c2"
        );
    }
}
