//! Lines behind each other that say the same: same service, level and message but for its numbers
//! and ids. Only what stands together in one page of the list is folded; nothing is left out of a
//! count, and every line can be shown again.

use std::fmt::Write as _;

use crate::model::{Level, LogRecord};
use crate::serve::pages::logs::line;

/// Which lines of a list, newest first, are folded into the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fold {
    /// Place of the line that stands for all.
    pub(crate) first: usize,
    /// How many lines it stands for, itself included.
    pub(crate) lines: usize,
}

/// The list in folds; a line unlike its neighbours is a fold of one.
pub(crate) fn folds(records: &[LogRecord]) -> Vec<Fold> {
    let mut folds: Vec<Fold> = Vec::new();
    let mut before = None;
    for (at, record) in records.iter().enumerate() {
        let said = Said::of(record);
        match folds.last_mut() {
            Some(fold) if before.as_ref() == Some(&said) => fold.lines += 1,
            _ => folds.push(Fold {
                first: at,
                lines: 1,
            }),
        }
        before = Some(said);
    }
    folds
}

#[derive(Debug, PartialEq, Eq)]
struct Said<'a> {
    service: &'a str,
    level: Level,
    event: &'a str,
    message: String,
}

impl Said<'_> {
    fn of(record: &LogRecord) -> Said<'_> {
        Said {
            service: &record.resource.service,
            level: record.severity.level(),
            event: &record.event_name,
            message: template(&line::message(record)),
        }
    }
}

/// A message with every word that has a digit in it as `#`: `order 8f2c took 12 ms` and
/// `order 91d3 took 9 ms` are one.
fn template(message: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| is_word(c) == is_word(first);
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let varies = is_word(first) && run.contains(|c: char| c.is_ascii_digit());
        out.write_str(if varies { "#" } else { run })
            .expect("writing to a string");
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::folds;
    use crate::serve::pages::logs::sample::record;

    #[track_caller]
    fn check(lines: &[(&str, &str, &str)], expect: &[usize]) {
        let records: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(at, (level, service, body))| record(at as u64, level, service, body))
            .collect();
        let found = folds(&records);
        let counts: Vec<_> = found.iter().map(|fold| fold.lines).collect();
        assert_eq!(counts, expect);
        assert_eq!(counts.iter().sum::<usize>(), lines.len(), "no line is lost");
        let mut next = 0;
        for fold in found {
            assert_eq!(fold.first, next, "folds follow each other");
            next += fold.lines;
        }
    }

    #[test]
    fn neighbours_with_other_numbers_and_ids_are_alike() {
        check(
            &[
                ("INFO", "cart", "order 8f2c took 12 ms"),
                ("INFO", "cart", "order 91d3 took 9 ms"),
                ("INFO", "cart", "order 91d3 failed"),
                ("INFO", "cart", "order 91d3 took 9 ms"),
            ],
            &[2, 1, 1],
        );
    }

    #[test]
    fn service_and_level_keep_lines_apart() {
        check(
            &[
                ("INFO", "cart", "same"),
                ("WARN", "cart", "same"),
                ("WARN", "shop", "same"),
                ("WARN", "shop", "same"),
            ],
            &[1, 1, 2],
        );
        check(&[], &[]);
    }
}
