//! Severity numbers of OTLP logs (1-24) and the levels people search by.

/// A severity number as OTLP has it: 0 is unspecified, 1-24 TRACE to FATAL4. Other numbers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Severity(pub(crate) i32);

/// The six levels, and none. Ordered, so that `level:>=warn` is a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Level {
    Unset,
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Severity {
    pub(crate) fn level(self) -> Level {
        match self.0 {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=20 => Level::Error,
            21..=24 => Level::Fatal,
            _ => Level::Unset,
        }
    }

    /// Reads the words that logging libraries write (`warn`, `WARNING`, `err`, `critical`, ...).
    /// The number is the lowest of the level, as the OTLP log data model maps them.
    pub(crate) fn from_text(text: &str) -> Option<Severity> {
        Level::from_text(text).map(Level::severity)
    }
}

impl Level {
    pub(crate) const ALL: [Level; 7] = [
        Level::Unset,
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Warn,
        Level::Error,
        Level::Fatal,
    ];

    pub(crate) fn severity(self) -> Severity {
        Severity(match self {
            Level::Unset => 0,
            Level::Trace => 1,
            Level::Debug => 5,
            Level::Info => 9,
            Level::Warn => 13,
            Level::Error => 17,
            Level::Fatal => 21,
        })
    }

    /// Upper-case name as the API and the query language have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Level::Unset => "UNSET",
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
        }
    }

    /// Reads a level's word in any case, by what common logging libraries call it.
    pub(crate) fn from_text(text: &str) -> Option<Level> {
        const WORDS: &[(&str, Level)] = &[
            ("trace", Level::Trace),
            ("trc", Level::Trace),
            ("verbose", Level::Trace),
            ("debug", Level::Debug),
            ("dbg", Level::Debug),
            ("info", Level::Info),
            ("inf", Level::Info),
            ("information", Level::Info),
            ("informational", Level::Info),
            ("notice", Level::Info),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("wrn", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("severe", Level::Error),
            ("fatal", Level::Fatal),
            ("ftl", Level::Fatal),
            ("critical", Level::Fatal),
            ("crit", Level::Fatal),
            ("alert", Level::Fatal),
            ("emergency", Level::Fatal),
            ("emerg", Level::Fatal),
            ("panic", Level::Fatal),
            ("unset", Level::Unset),
        ];
        WORDS
            .iter()
            .find(|(word, _)| text.eq_ignore_ascii_case(word))
            .map(|(_, level)| *level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_its_own_name_and_number() {
        for level in Level::ALL {
            assert_eq!(Level::from_text(level.name()), Some(level));
            assert_eq!(level.severity().level(), level);
        }
        assert_eq!(Severity(19).level(), Level::Error);
        assert_eq!(Severity(99).level(), Level::Unset);
        assert!(Level::Warn >= Level::Info);
    }
}
