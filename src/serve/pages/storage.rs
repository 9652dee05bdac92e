//! The storage section of `/settings`: what each signal takes and holds, and the room that is left.

use crate::config::{Settings, User};
use crate::model::Signal;
use crate::serve::format::{self, TimeText, Zone};
use crate::store::Stats;

/// Used share of the volume in percent that makes its bar a warning, and an alarm.
const USED_WARN: u64 = 80;
const USED_ALARM: u64 = 92;

/// View of the section.
pub(crate) struct StorageView {
    pub(crate) signals: Vec<SignalRow>,
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Used share of the volume in percent and its class; `None` where the disk does not tell.
    pub(crate) used: Option<(u64, &'static str)>,
    pub(crate) memory: Vec<MemoryRow>,
    /// What stops or limits storing now; empty when nothing does.
    pub(crate) problem: String,
}

/// One user of memory.
pub(crate) struct MemoryRow {
    pub(crate) what: &'static str,
    pub(crate) used: String,
    pub(crate) budget: String,
}

/// One signal's storage.
pub(crate) struct SignalRow {
    pub(crate) name: &'static str,
    pub(crate) records: String,
    pub(crate) bytes: String,
    pub(crate) per_record: String,
    /// How many times smaller than the OTLP bytes in the segments.
    pub(crate) ratio: String,
    pub(crate) partitions: String,
    pub(crate) segments: String,
    pub(crate) head: String,
    pub(crate) oldest: Option<TimeText>,
    pub(crate) newest: Option<TimeText>,
    pub(crate) retention: String,
}

/// Services with a retention of their own.
fn own_retention(settings: &Settings) -> String {
    match settings.retention_services.to_string() {
        none if none.is_empty() => "no service".to_owned(),
        services => services.replace(',', ", "),
    }
}

impl StorageView {
    /// `memory` is every user of memory with its share and what it uses, in bytes.
    pub(crate) fn new(
        stats: &Stats,
        memory: &[(User, u64, u64)],
        settings: &Settings,
        zone: &Zone,
    ) -> StorageView {
        let kept = |signal| match signal {
            Signal::Traces => settings.retention_traces.to_string(),
            Signal::Logs => settings.retention_logs.to_string(),
            Signal::Metrics => settings.retention_metrics.to_string(),
        };
        let signals = Signal::ALL
            .iter()
            .zip(&stats.signals)
            .map(|(signal, figures)| {
                let in_segments = figures.records.saturating_sub(figures.head_records);
                SignalRow {
                    name: match signal {
                        Signal::Traces => "Traces",
                        Signal::Logs => "Logs",
                        Signal::Metrics => "Metrics",
                    },
                    records: format::count(figures.records),
                    bytes: format::bytes(figures.bytes),
                    per_record: share(figures.bytes, in_segments, " B"),
                    ratio: share(figures.raw_bytes, figures.bytes, " : 1"),
                    partitions: figures.partitions.to_string(),
                    segments: figures.segments.iter().sum::<u64>().to_string(),
                    head: format!(
                        "{}, {}",
                        format::count(figures.head_records),
                        format::bytes(figures.head_bytes)
                    ),
                    oldest: figures.oldest.map(|at| zone.date_time(at.0)),
                    newest: figures.newest.map(|at| zone.date_time(at.0)),
                    retention: kept(*signal),
                }
            });
        let segments: u64 = stats.signals.iter().map(|figures| figures.bytes).sum();
        StorageView {
            signals: signals.collect(),
            facts: vec![
                ("segments", format::bytes(segments)),
                ("kept for another time", own_retention(settings)),
                ("write-ahead log", format::bytes(stats.wal_bytes)),
                ("free on the volume", format::bytes(stats.disk_free)),
                ("ingest stops below", format::bytes(stats.disk_free_min)),
                ("damaged parts", format::exact(stats.quarantined)),
            ],
            used: used(stats),
            memory: memory.iter().map(memory_row).collect(),
            problem: problem(stats),
        }
    }
}

fn memory_row((user, budget, used): &(User, u64, u64)) -> MemoryRow {
    MemoryRow {
        what: user.what(),
        used: format::bytes(*used),
        budget: format::bytes(*budget),
    }
}

/// `a / b` with one digit and a unit; a dash where there is nothing to divide by.
fn share(a: u64, b: u64, unit: &str) -> String {
    match b {
        0 => "–".to_owned(),
        _ => format!("{:.1}{unit}", a as f64 / b as f64),
    }
}

fn used(stats: &Stats) -> Option<(u64, &'static str)> {
    let taken = stats.disk_total.saturating_sub(stats.disk_free);
    let share = (taken * 100).checked_div(stats.disk_total)?;
    let class = match share {
        USED_ALARM.. => "hot",
        USED_WARN.. => "warm",
        _ => "",
    };
    Some((share, class))
}

fn problem(stats: &Stats) -> String {
    if stats.poisoned {
        return "A write to the disk failed; ingest answers 503 until a restart. The cause is in the \
                server's log."
            .to_owned();
    }
    if stats.disk_full {
        let least = format::bytes(stats.disk_free_min);
        return format!(
            "Less than {least} is free (limits.disk_free_min); ingest answers 503, queries go on."
        );
    }
    match stats.quarantined {
        0 => String::new(),
        1 => "One part of the data cannot be read and is left out; answers over it say partial."
            .to_owned(),
        n => format!(
            "{n} parts of the data cannot be read and are left out; answers over them say partial."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::StorageView;
    use crate::config::{Settings, User};
    use crate::serve::format::Zone;
    use crate::store::Stats;

    fn view(change: impl FnOnce(&mut Stats)) -> StorageView {
        let mut stats = Stats::default();
        change(&mut stats);
        let memory = [(User::Heads, 48 << 20, 16 << 20)];
        StorageView::new(&stats, &memory, &Settings::default(), &Zone::utc())
    }

    #[test]
    fn figures_are_per_record_on_disk() {
        let view = view(|stats| {
            let logs = &mut stats.signals[1];
            (logs.records, logs.head_records) = (1_100_000, 100_000);
            (logs.bytes, logs.raw_bytes) = (21_000_000, 420_000_000);
            (stats.disk_total, stats.disk_free) = (1_000, 150);
        });
        let logs = &view.signals[1];
        assert_eq!(
            (logs.per_record.as_str(), logs.ratio.as_str()),
            ("21.0 B", "20.0 : 1")
        );
        assert_eq!((logs.name, logs.retention.as_str()), ("Logs", "7d"));
        assert_eq!(view.used, Some((85, "warm")));
        let heads = &view.memory[0];
        assert_eq!(
            (heads.used.as_str(), heads.budget.as_str()),
            ("16.0 MiB", "48.0 MiB")
        );
        assert_eq!(view.problem, "");
    }

    #[test]
    fn an_empty_store_divides_by_nothing_and_trouble_is_named() {
        let empty = view(|_| ());
        assert_eq!(
            (empty.signals[0].per_record.as_str(), empty.used),
            ("–", None)
        );
        let full = view(|stats| (stats.disk_full, stats.disk_free_min) = (true, 256 << 20));
        assert!(full.problem.contains("256 MiB") && full.problem.contains("limits.disk_free_min"));
        assert!(
            view(|stats| stats.poisoned = true)
                .problem
                .contains("restart")
        );
    }
}
