//! Pages that change from scrape to scrape, and what is kept of each.

use super::*;
use crate::scrape::config::parse;

fn job(rest: &str) -> Job {
    let text = format!("scrape_configs:\n- job_name: j\n{rest}\n");
    let file = parse(std::path::Path::new("x"), &text, &|_| None).expect("a good file");
    file.jobs.into_iter().next().expect("one job")
}

/// What a batch holds, sorted: `labels time value`, `STALE` for a marker.
fn shown(batch: &Batch) -> String {
    let mut lines = Vec::new();
    for series in batch.iter() {
        let labels = Labels::unpack(series.packed).expect("packed labels");
        for sample in series.samples {
            let value = match &sample.value {
                Value::Float(value) if is_stale(*value) => "STALE".to_owned(),
                Value::Float(value) => value.to_string(),
                Value::Histogram(_) => "histogram".to_owned(),
            };
            lines.push(format!("{labels} {} {value}", sample.at));
        }
        for exemplar in series.exemplars {
            lines.push(format!(
                "{labels} # {} {} {}",
                exemplar.labels, exemplar.value, exemplar.at
            ));
        }
    }
    lines.sort();
    lines.join("\n")
}

struct Target {
    job: Job,
    labels: Labels,
    cache: SeriesCache,
    at: i64,
}

impl Target {
    fn new(rest: &str) -> Target {
        Target {
            job: job(rest),
            labels: Labels::of([("instance", "h"), ("job", "j")]),
            cache: SeriesCache::default(),
            at: 0,
        }
    }

    fn scrape(&mut self, page: &str) -> Read {
        self.at += 1000;
        let rules = Rules {
            job: &self.job,
            labels: &self.labels,
            at: self.at,
        };
        self.cache.read(page.as_bytes(), Format::Prometheus, rules)
    }

    /// `expect` is what is kept, or the error when it begins with `!`.
    #[track_caller]
    fn check(&mut self, page: &str, expect: &str) -> Counts {
        let read = self.scrape(page);
        let told = match &read.outcome {
            Ok(batch) => shown(batch),
            Err(error) => {
                let mut batch = Batch::default();
                self.cache.end_all(self.at, &mut batch);
                format!("!{error}\n{}", shown(&batch)).trim_end().to_owned()
            }
        };
        assert_eq!(told, expect);
        read.counts
    }
}

#[test]
fn series_that_vanish_are_ended_once() {
    let mut target = Target::new("");
    let a = r#"a{instance="h", job="j"}"#;
    let b = r#"b{instance="h", job="j"}"#;
    let counts = target.check("a 1\nb 2\n", &format!("{a} 1000 1\n{b} 1000 2"));
    assert_eq!(
        counts,
        Counts {
            scraped: 2,
            kept: 2,
            added: 2,
            repeated: 0
        }
    );
    let counts = target.check("a 3\n", &format!("{a} 2000 3\n{b} 2000 STALE"));
    assert_eq!(counts.added, 0);
    target.check("a 3\n", &format!("{a} 3000 3"));
    let counts = target.check("a 3\nb 4\n", &format!("{a} 4000 3\n{b} 4000 4"));
    assert_eq!(counts.added, 1, "it was forgotten");
    target.check("", &format!("{a} 5000 STALE\n{b} 5000 STALE"));
    target.check("", "");
}

#[test]
fn a_bad_page_ends_everything_and_keeps_nothing() {
    let mut target = Target::new("");
    let a = r#"a{instance="h", job="j"}"#;
    let b = r#"b{instance="h", job="j"}"#;
    target.check("a 1\nb 1\n", &format!("{a} 1000 1\n{b} 1000 1"));
    let read = target.scrape("a 2\nb{ 3\n");
    assert!(read.outcome.is_err());
    let mut batch = Batch::default();
    target.cache.end_all(target.at, &mut batch);
    assert_eq!(shown(&batch), format!("{a} 2000 STALE\n{b} 2000 STALE"));
    let mut again = Batch::default();
    target.cache.end_all(target.at, &mut again);
    assert!(again.is_empty(), "once");
    let counts = target.check("a 1\nb 1\n", &format!("{a} 3000 1\n{b} 3000 1"));
    assert_eq!(counts.added, 0, "they were known");
}

#[test]
fn labels_of_the_target_win_unless_the_page_is_honoured() {
    let page = "a{job=\"x\",exported_job=\"y\",k=\"v\"} 1\nb{instance=\"\"} 2\n";
    Target::new("").check(
        page,
        "a{exported_exported_job=\"x\", exported_job=\"y\", instance=\"h\", job=\"j\", k=\"v\"} 1000 1\nb{instance=\"h\", job=\"j\"} 1000 2",
    );
    Target::new("  honor_labels: true").check(
        page,
        "a{exported_job=\"y\", instance=\"h\", job=\"x\", k=\"v\"} 1000 1\nb{job=\"j\"} 1000 2",
    );
}

#[test]
fn rules_for_metrics_rename_and_drop() {
    let mut target = Target::new(
        "  metric_relabel_configs: [{source_labels: [__name__], regex: 'go_.*', action: drop}, {source_labels: [__name__], regex: 'x_(.*)', target_label: __name__, replacement: 'y_$1'}]",
    );
    let y = r#"y_a{instance="h", job="j"}"#;
    let counts = target.check("go_a 1\nx_a 2\n", &format!("{y} 1000 2"));
    assert_eq!(
        counts,
        Counts {
            scraped: 2,
            kept: 1,
            added: 1,
            repeated: 0
        }
    );
    let counts = target.check("go_a 1\n", &format!("{y} 2000 STALE"));
    assert_eq!(
        counts,
        Counts {
            scraped: 1,
            kept: 0,
            added: 0,
            repeated: 0
        }
    );
    let mut target =
        Target::new("  metric_relabel_configs: [{regex: __name__, action: labeldrop}]");
    target.check("a 1\n", "!missing metric name (__name__ label)");
}

#[test]
fn other_rules_end_what_has_another_name() {
    let mut target = Target::new("");
    let (a, b) = (r#"a{instance="h", job="j"}"#, r#"b{instance="h", job="j"}"#);
    target.check("a 1\nb 1\n", &format!("{a} 1000 1\n{b} 1000 1"));
    target.job = job(
        "  metric_relabel_configs: [{source_labels: [__name__], regex: b, target_label: __name__, replacement: c}]",
    );
    target.cache.rules_changed();
    let c = r#"c{instance="h", job="j"}"#;
    target.check(
        "a 2\nb 2\n",
        &format!("{a} 2000 2\n{b} 2000 STALE\n{c} 2000 2"),
    );
    target.check("a 2\nb 2\n", &format!("{a} 3000 2\n{c} 3000 2"));
}

#[test]
fn times_of_the_page_are_honoured_or_not() {
    let a = r#"a{instance="h", job="j"}"#;
    let mut target = Target::new("");
    target.check("a 1 77\n", &format!("{a} 77 1"));
    target.check("", "");
    let mut target = Target::new("  honor_timestamps: false");
    target.check("a 1 77\n", &format!("{a} 1000 1"));
    target.check("", &format!("{a} 2000 STALE"));
    let mut target = Target::new("  track_timestamps_staleness: true");
    target.check("a 1 77\n", &format!("{a} 77 1"));
    target.check("", &format!("{a} 2000 STALE"));
}

#[test]
fn limits_fail_the_whole_scrape() {
    let a = r#"a{instance="h", job="j"}"#;
    let mut target = Target::new("  sample_limit: 2");
    target.check("a 1\n", &format!("{a} 1000 1"));
    let counts = target.check(
        "a 1\nb 1\nc 1\nd 1\n",
        &format!("!sample limit exceeded\n{a} 2000 STALE"),
    );
    assert_eq!((counts.scraped, counts.kept), (4, 4));
    Target::new("  label_limit: 3").check(
        "a{x=\"1\"} 1\n",
        "!label_limit exceeded (metric: a, number of labels: 4, limit: 3)",
    );
    Target::new("  label_name_length_limit: 8").check(
        "a{ninechars=\"1\"} 1\n",
        "!label_name_length_limit exceeded (metric: a, label name: ninechars, length: 9, limit: 8)",
    );
    Target::new("  label_value_length_limit: 3").check(
        "a{x=\"1234\"} 1\n",
        "!label_value_length_limit exceeded (metric: a, label name: x, value: \"1234\", length: 4, limit: 3)",
    );
    Target::new(
        "  metric_name_validation_scheme: legacy\n  metric_name_escaping_scheme: underscores",
    )
    .check(
        "{\"a.b\"} 1\n",
        "!invalid metric name or label names: {\"a.b\", instance=\"h\", job=\"j\"}",
    );
}

#[test]
fn the_same_series_twice_counts_once() {
    let a = r#"a{instance="h", job="j"}"#;
    let mut target = Target::new("");
    let counts = target.check("a 1\na 2\n", &format!("{a} 1000 1"));
    assert_eq!(
        counts,
        Counts {
            scraped: 2,
            kept: 2,
            added: 1,
            repeated: 1
        }
    );
    // Written in another order it is the same series: not ended.
    let x = r#"x{a="1", b="2", instance="h", job="j"}"#;
    let mut target = Target::new("");
    target.check("x{a=\"1\",b=\"2\"} 1\n", &format!("{x} 1000 1"));
    target.check("x{b=\"2\",a=\"1\"} 1\n", &format!("{x} 2000 1"));
}

#[test]
fn what_families_say_is_told_when_it_changes() {
    let mut target = Target::new("");
    let metadata =
        |target: &mut Target, page: &str| target.scrape(page).outcome.expect("good").metadata;
    let first = metadata(&mut target, "# HELP a Text.\n# TYPE a counter\na 1\n");
    assert_eq!((first.len(), first[0].help.as_str()), (1, "Text."));
    assert!(metadata(&mut target, "# HELP a Text.\n# TYPE a counter\na 1\n").is_empty());
    assert_eq!(
        metadata(&mut target, "# HELP a Other.\n# TYPE a counter\na 1\n")[0].help,
        "Other."
    );
}

#[test]
fn room_of_forgotten_series_is_used_again() {
    let mut target = Target::new("");
    let page = |from: usize| {
        (from..from + 100)
            .map(|n| format!("a{{n=\"{n}\"}} 1\n"))
            .collect::<String>()
    };
    target.scrape(&page(0));
    let first = target.cache.heap_bytes();
    for round in 1..50 {
        let read = target.scrape(&page(round * 100));
        assert_eq!(
            read.outcome.expect("good").samples(),
            200,
            "100 new, 100 ended"
        );
    }
    assert!(
        target.cache.heap_bytes() <= 4 * first,
        "{} of {first}",
        target.cache.heap_bytes()
    );
    assert_eq!(target.cache.entries.len(), 100);
}

/// Nothing is made anew for a series that is known but its sample: a page allocates its columns.
#[test]
fn an_unchanged_page_allocates_nothing_per_series() {
    let mut target = Target::new("");
    let page: String = (0..1000).map(|n| format!("a{{n=\"{n}\"}} {n}\n")).collect();
    assert_eq!(target.scrape(&page).counts.added, 1000);
    let mut samples = 0;
    let made = allocation_counter::measure(|| {
        samples = target.scrape(&page).outcome.expect("good").samples();
    });
    assert_eq!(samples, 1000);
    assert!(made.count_total < 100, "{} allocations", made.count_total);
}
