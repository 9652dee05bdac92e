//! Every own metric in one list, and their Prometheus text.
//!
//! Values change once per request or per scrape, never per record, so one lock around a small map
//! is cheap. Label sets are bounded: a metric that reaches [`SERIES_MAX`] counts on under `other`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

/// Label sets of one metric. 256 services and reasons are more than a small team has; each costs
/// about 200 B.
const SERIES_MAX: usize = 256;

/// Bytes of one label value; a service name may be 64 KiB long.
const LABEL_BYTES_MAX: usize = 128;

/// What stands in for label values past [`SERIES_MAX`].
const OTHER: &str = "other";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

/// One line of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

macro_rules! metrics {
    ($($variant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// The name of a metric in code; the list below is the only place that knows more.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Metric { $($variant,)+ }

        impl Metric {
            /// In the order in which `/metrics` shows them.
            pub(crate) const ALL: &[Metric] = &[$(Metric::$variant,)+];

            pub(crate) const fn description(self) -> Description {
                match self {
                    $(Metric::$variant => Description {
                        name: $name,
                        kind: Kind::$kind,
                        labels: &[$($label),*],
                        help: $help,
                    },)+
                }
            }
        }
    };
}

metrics! {
    Info = Gauge "watchpost_build_info" ["version"] "Always 1; the running version.";
    StartTime = Gauge "watchpost_start_time_seconds" [] "When the process became ready, Unix time.";
    Requests = Counter "watchpost_ingest_requests_total" ["signal", "transport", "status"] "Requests of senders by answer.";
    ReceivedBytes = Counter "watchpost_ingest_received_bytes_total" ["signal", "transport"] "Bytes of requests as they came, still compressed.";
    DecodedBytes = Counter "watchpost_ingest_decoded_bytes_total" ["signal"] "Bytes of requests after decompression.";
    Accepted = Counter "watchpost_ingest_accepted_records_total" ["signal", "service"] "Records acknowledged and kept.";
    Rejected = Counter "watchpost_ingest_rejected_records_total" ["signal", "service", "reason"] "Records left out of a request that was otherwise accepted.";
    Refused = Counter "watchpost_ingest_refused_requests_total" ["signal", "reason"] "Whole requests refused.";
    Truncated = Counter "watchpost_ingest_truncated_records_total" ["signal", "service", "limit"] "Records cut at a limit and marked with watchpost.truncated.";
    Mended = Counter "watchpost_ingest_mended_strings_total" ["signal"] "Strings that were not UTF-8 and got U+FFFD.";
    Redacted = Counter "watchpost_ingest_redacted_values_total" ["signal", "rule"] "Secrets masked before anything was written.";
    Deduplicated = Counter "watchpost_ingest_deduplicated_requests_total" ["signal"] "Requests seen before within ingest.dedup_window: acknowledged again, not stored twice.";
    Exemplars = Counter "watchpost_ingest_exemplars_total" [] "Exemplars of metrics kept.";
    RepeatedSamples = Counter "watchpost_ingest_repeated_samples_total" [] "Samples and exemplars that came again with the same value: accepted, not stored twice.";
    SeriesAdded = Counter "watchpost_series_added_total" [] "Series of metrics seen for the first time.";
    SeriesLimitDropped = Counter "watchpost_series_limit_dropped_total" ["reason"] "Samples left out because of a cap on series or labels (limits.active_series).";
    ActiveSeries = Gauge "watchpost_series_active" [] "Series of metrics with samples within about the last hour.";
    KnownSeries = Gauge "watchpost_series_known" [] "Series of metrics that are stored.";
    BudgetBytes = Gauge "watchpost_ingest_budget_bytes" [] "Memory that requests in flight may use.";
    BudgetUsedBytes = Gauge "watchpost_ingest_budget_used_bytes" [] "Memory that requests in flight use now.";
    MemoryBudgetBytes = Gauge "watchpost_memory_budget_bytes" ["user"] "Share of limits.memory, by user.";
    MemoryUsedBytes = Gauge "watchpost_memory_used_bytes" ["user"] "Memory accounted for, by user; process is the rest of the resident memory.";
    StorePoisoned = Gauge "watchpost_store_poisoned" [] "1 after a failed write: ingest answers 503 until a restart.";
    StoreDiskBytes = Gauge "watchpost_store_disk_bytes" ["signal"] "Bytes of segments on disk.";
    StoreRows = Gauge "watchpost_store_rows" ["signal"] "Records in segments.";
    StoreSegments = Gauge "watchpost_store_segments" ["signal"] "Segment files.";
    StoreHeadBytes = Gauge "watchpost_store_head_bytes" ["signal"] "Memory of records not yet in a segment.";
    StoreHeadRows = Gauge "watchpost_store_head_rows" ["signal"] "Records not yet in a segment.";
    StoreWalBytes = Gauge "watchpost_store_wal_bytes" [] "Bytes of the write-ahead log.";
    StoreWalLast = Gauge "watchpost_store_wal_appended_sequence" [] "The last request in the write-ahead log, numbered from 1 over the life of the data directory.";
    StoreWalSynced = Gauge "watchpost_store_wal_synced_sequence" [] "The last request of the log that survives a power cut; with durability = \"sync\" nothing later was acknowledged.";
    StoreWalSyncs = Counter "watchpost_store_wal_syncs_total" [] "fdatasync calls of the write-ahead log.";
    StoreDiskFree = Gauge "watchpost_store_disk_free_bytes" [] "Free bytes of the data directory's volume.";
    StoreQuarantined = Gauge "watchpost_store_quarantined" [] "Damaged blocks and segments set aside; answers over them say partial.";
    StoreTemplates = Gauge "watchpost_store_templates" [] "Templates of log texts that the catalogue knows.";
    StoreTemplatesRefused = Counter "watchpost_store_templates_refused_total" [] "Log records kept with a plain body since the start, because their service (or all of them) has too many templates.";
    Scrapes = Counter "watchpost_scrapes_total" ["result"] "Scrapes of targets that were kept: up, or down with the markers of what ended.";
    ScrapesNotKept = Counter "watchpost_scrapes_not_kept_total" ["reason"] "Scrapes of which nothing was kept, because the store did not take them.";
    ScrapeTargets = Gauge "watchpost_scrape_targets" ["state"] "Targets by the state of their last scrape.";
    HttpRequests = Counter "watchpost_http_requests_total" ["route", "status"] "Answers of pages and APIs.";
    QueriesRunning = Gauge "watchpost_queries_running" [] "Queries now at work.";
    QueriesRefused = Counter "watchpost_queries_refused_total" ["reason"] "Queries not run, or ended early.";
    LayoutCache = Counter "watchpost_layout_cache_requests_total" ["result"] "Waterfalls asked for: found laid out (hit), laid out anew (miss), not kept because larger than the cache (too_large).";
    LayoutCacheBytes = Gauge "watchpost_layout_cache_bytes" [] "Memory of waterfalls kept for the pages that are open.";
    ConnectionsRefused = Counter "watchpost_connections_refused_total" [] "Connections over limits.connections.";
    ResidentBytes = Gauge "watchpost_process_resident_bytes" [] "Resident memory of the process.";
}

type Labels = Vec<String>;

/// The values of all metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Guards the values; held for one map operation, or for rendering.
    values: Mutex<BTreeMap<Metric, BTreeMap<Labels, f64>>>,
}

impl Metrics {
    /// Adds to a counter (or gauge). `labels` are the values of the labels in the list's order.
    pub(crate) fn add(&self, metric: Metric, labels: &[&str], n: u64) {
        if n > 0 {
            self.with(metric, labels, |value| *value += n as f64);
        }
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, metric: Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.description().kind, Kind::Gauge);
        self.with(metric, labels, |old| *old = value);
    }

    /// Brings a counter that is kept elsewhere up to its present value.
    pub(crate) fn counted(&self, metric: Metric, labels: &[&str], total: u64) {
        debug_assert_eq!(metric.description().kind, Kind::Counter);
        self.with(metric, labels, |value| *value = value.max(total as f64));
    }

    /// Moves a gauge up or down.
    pub(crate) fn change(&self, metric: Metric, labels: &[&str], by: f64) {
        debug_assert_eq!(metric.description().kind, Kind::Gauge);
        self.with(metric, labels, |value| *value += by);
    }

    /// The sum of a metric's values over all its label sets.
    pub(crate) fn total(&self, metric: Metric) -> f64 {
        let values = self.values.lock().expect("no holder panics");
        values.get(&metric).map_or(0.0, |s| s.values().sum())
    }

    /// Label values and value of every series of one metric, for pages.
    pub(crate) fn series(&self, metric: Metric) -> Vec<(Vec<String>, f64)> {
        let values = self.values.lock().expect("no holder panics");
        let Some(series) = values.get(&metric) else {
            return Vec::new();
        };
        series.iter().map(|(l, v)| (l.clone(), *v)).collect()
    }

    fn with(&self, metric: Metric, labels: &[&str], change: impl FnOnce(&mut f64)) {
        let names = metric.description().labels;
        assert_eq!(labels.len(), names.len(), "one value per label");
        let mut key: Labels = labels.iter().map(|label| cut(label).to_owned()).collect();
        let mut values = self.values.lock().expect("no holder panics");
        let series = values.entry(metric).or_default();
        if series.len() >= SERIES_MAX && !series.contains_key(&key) {
            // Signals and reasons are closed sets; services are what can grow without end.
            for (name, value) in names.iter().zip(&mut key) {
                if !matches!(*name, "signal" | "transport" | "reason" | "limit") {
                    OTHER.clone_into(value);
                }
            }
        }
        change(series.entry(key).or_insert(0.0));
    }

    /// The Prometheus text format (version 0.0.4) of every metric that has a value.
    pub(crate) fn render(&self, reach: Reach) -> String {
        let values = self.values.lock().expect("no holder panics");
        let mut out = String::with_capacity(8 << 10);
        for &metric in Metric::ALL {
            let about = metric.description();
            if reach == Reach::Unnamed && about.labels.contains(&"service") {
                continue;
            }
            let Some(series) = values.get(&metric) else {
                continue;
            };
            let kind = match about.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let name = about.name;
            _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", about.help);
            for (labels, value) in series {
                out.push_str(name);
                write_labels(&mut out, about.labels, labels);
                _ = writeln!(out, " {value}");
            }
        }
        out
    }
}

/// Which families a scrape gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    /// Those without a `service` label.
    Unnamed,
}

fn write_labels(out: &mut String, names: &[&str], values: &[String]) {
    for (i, (name, value)) in names.iter().zip(values).enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        _ = write!(out, "{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if !names.is_empty() {
        out.push('}');
    }
}

/// At most [`LABEL_BYTES_MAX`] bytes of `text`, cut between characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LABEL_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_help_type_and_escaped_labels() {
        let metrics = Metrics::default();
        metrics.add(Metric::Accepted, &["logs", "a\"b\\c\nd"], 3);
        metrics.add(Metric::Accepted, &["logs", "a\"b\\c\nd"], 4);
        metrics.set(Metric::StorePoisoned, &[], 1.0);
        let expect = "\
# HELP watchpost_ingest_accepted_records_total Records acknowledged and kept.
# TYPE watchpost_ingest_accepted_records_total counter
watchpost_ingest_accepted_records_total{signal=\"logs\",service=\"a\\\"b\\\\c\\nd\"} 7
# HELP watchpost_store_poisoned 1 after a failed write: ingest answers 503 until a restart.
# TYPE watchpost_store_poisoned gauge
watchpost_store_poisoned 1
";
        assert_eq!(metrics.render(Reach::All), expect);
    }

    #[test]
    fn endless_services_are_counted_under_other() {
        let metrics = Metrics::default();
        for i in 0..2 * SERIES_MAX {
            metrics.add(Metric::Accepted, &["logs", &format!("service-{i}")], 1);
        }
        let series = metrics.series(Metric::Accepted);
        assert_eq!(series.len(), SERIES_MAX + 1);
        assert!(series.contains(&(vec!["logs".into(), OTHER.into()], SERIES_MAX as f64)));
        assert_eq!(metrics.total(Metric::Accepted), 2.0 * SERIES_MAX as f64);
    }

    #[test]
    fn names_are_unique_and_say_what_they_are() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in Metric::ALL {
            let about = metric.description();
            assert!(seen.insert(about.name), "{} twice", about.name);
            let counter = about.kind == Kind::Counter;
            assert_eq!(about.name.ends_with("_total"), counter, "{}", about.name);
        }
    }
}
