//! Paths, pushes of both kinds, and what comes back after a restart.

use proptest::prelude::*;

use super::*;
use crate::model::metric::is_stale;

fn key(path: &str) -> Labels {
    group(path).expect(path)
}

/// Pushes as the handler does it.
#[track_caller]
fn push(groups: &mut Groups, path: &str, page: &str, push: Push, now: i64) {
    let key = key(path);
    let group = groups.pushed(&key, page.as_bytes(), Format::Prometheus, push, now);
    groups.set(&key, Some(group.expect(page)));
}

/// A round as sorted lines.
fn round(groups: &mut Groups, now: i64) -> Vec<String> {
    let batch = groups.round(now);
    let line = |series: crate::model::metric::SeriesView<'_>| {
        let labels = Labels::unpack(series.packed).expect("a batch holds labels");
        match &series.samples[0].value {
            Value::Float(value) if is_stale(*value) => format!("{labels} ends"),
            Value::Float(value) => format!("{labels} {value}"),
            Value::Histogram(_) => panic!("only floats are pushed"),
        }
    };
    let mut lines: Vec<String> = batch.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn paths_name_groups() {
    for (path, expect) in [
        ("job/backup", r#"{job="backup"}"#),
        (
            "job/some%20job/instance/a",
            r#"{instance="a", job="some job"}"#,
        ),
        ("job@base64/Zm9vL2Jhcg==", r#"{job="foo/bar"}"#),
        (
            "job@base64/Zm9vL2Jhcg/path@base64/L3Zhcg",
            r#"{job="foo/bar", path="/var"}"#,
        ),
        ("job/a/empty@base64/=", r#"{job="a"}"#),
        ("job/a%2Fb", r#"{job="a/b"}"#),
    ] {
        assert_eq!(key(path).to_string(), expect);
    }
    for (path, expect) in [
        ("job", "odd number of components in label string \"job\""),
        ("job/", "job name is required"),
        ("jobs/a", "a path begins with job and its name"),
        (
            "job/a/x",
            "odd number of components in label string \"job/a/x\"",
        ),
        ("job/a/__x/b", "improper label name \"__x\""),
        ("job/a/x-y/b", "improper label name \"x-y\""),
        (
            "job@base64/!!",
            "invalid base64 encoding for label job=\"!!\"",
        ),
        ("job/a%zz", "invalid escape in \"a%zz\""),
    ] {
        assert_eq!(group(path), Err(expect.to_owned()));
    }
}

#[test]
fn posts_merge_by_family_and_puts_replace() {
    let mut groups = Groups::default();
    let page = "# TYPE a gauge\na{x=\"1\",job=\"lost\"} 1\na{x=\"2\"} 2\nb 3\n";
    push(&mut groups, "job/j", page, Push::Merge, 1_500);
    assert_eq!(
        round(&mut groups, 10),
        [
            r#"a{job="j", x="1"} 1"#,
            r#"a{job="j", x="2"} 2"#,
            r#"b{job="j"} 3"#,
            r#"push_failure_time_seconds{job="j"} 0"#,
            r#"push_time_seconds{job="j"} 1.5"#,
        ]
    );
    push(&mut groups, "job/j", "a{x=\"3\"} 4\n", Push::Merge, 2_000);
    assert_eq!(
        round(&mut groups, 10),
        [
            r#"a{job="j", x="1"} ends"#,
            r#"a{job="j", x="2"} ends"#,
            r#"a{job="j", x="3"} 4"#,
            r#"b{job="j"} 3"#,
            r#"push_failure_time_seconds{job="j"} 0"#,
            r#"push_time_seconds{job="j"} 2"#,
        ]
    );
    push(&mut groups, "job/j", "c 5\n", Push::Replace, 3_000);
    groups.set(&key("job/j"), groups.failed(&key("job/j"), 4_000));
    assert_eq!(
        round(&mut groups, 10),
        [
            r#"a{job="j", x="3"} ends"#,
            r#"b{job="j"} ends"#,
            r#"c{job="j"} 5"#,
            r#"push_failure_time_seconds{job="j"} 4"#,
            r#"push_time_seconds{job="j"} 3"#,
        ]
    );
    groups.set(&key("job/j"), None);
    assert_eq!(
        round(&mut groups, 10),
        [
            r#"c{job="j"} ends"#,
            r#"push_failure_time_seconds{job="j"} ends"#,
            r#"push_time_seconds{job="j"} ends"#,
        ]
    );
    assert!(round(&mut groups, 10).is_empty());
}

#[test]
fn histograms_stay_together() {
    let mut groups = Groups::default();
    let histogram =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    push(&mut groups, "job/j", histogram, Push::Merge, 1);
    push(
        &mut groups,
        "job/j",
        "# TYPE h histogram\nh_count 7\n",
        Push::Merge,
        1,
    );
    let lines = round(&mut groups, 10);
    assert!(
        lines.contains(&r#"h_count{job="j"} 7"#.to_owned()),
        "{lines:?}"
    );
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("h_sum") && !line.ends_with("ends"))
    );
}

#[test]
fn bad_pages_change_nothing() {
    let mut groups = Groups::default();
    push(&mut groups, "job/j", "a 1\n", Push::Merge, 1);
    for (page, expect) in [
        (
            "a 1 5\n",
            "a{job=\"j\"}: pushed metrics must not have timestamps",
        ),
        ("a 1\na 2\n", "a{job=\"j\"} comes twice"),
        (
            "a{job=\"1\"} 1\na{job=\"2\"} 2\n",
            "a{job=\"j\"} comes twice",
        ),
        (
            "push_time_seconds 1\n",
            "push_time_seconds is told by the gateway itself",
        ),
        (
            "a\n",
            "line 1, column 2: expected a value after the series, found the end of the line",
        ),
    ] {
        let pushed = groups.pushed(
            &key("job/j"),
            page.as_bytes(),
            Format::Prometheus,
            Push::Replace,
            2,
        );
        assert_eq!(pushed.err().as_deref(), Some(expect));
    }
    assert_eq!(round(&mut groups, 10)[0], r#"a{job="j"} 1"#);
}

#[test]
fn there_is_room_for_so_much() {
    let mut groups = Groups::default();
    for n in 0..GROUPS_MAX {
        push(&mut groups, &format!("job/{n}"), "", Push::Merge, 1);
    }
    let one_more = |groups: &Groups, path: &str, page: &str| {
        groups.pushed(
            &key(path),
            page.as_bytes(),
            Format::Prometheus,
            Push::Merge,
            1,
        )
    };
    assert!(one_more(&groups, "job/more", "").is_err_and(|e| e.contains("delete some")));
    assert_eq!(groups.failed(&key("job/more"), 1), None);
    let page: String = (0..SERIES_MAX)
        .map(|n| format!("a{{n=\"{n}\"}} 1\n"))
        .collect();
    assert!(one_more(&groups, "job/1", &page).is_err_and(|e| e.contains("series")));
}

proptest! {
    #[test]
    fn what_is_kept_comes_back(
        help in any::<String>(),
        series in proptest::collection::btree_map("\\PC{1,8}", any::<i32>(), 0..5),
        kind in 0..KINDS.len(),
    ) {
        let labels = |x: &str| Labels::of([(NAME, "m.n"), ("job", "j"), ("x y", x)]);
        let series = series.iter().map(|(x, value)| (labels(x), f64::from(*value) / 3.0));
        let family = Family {
            kind: KINDS[kind],
            help,
            series: series.collect(),
        };
        let group = Group {
            families: [("m.n".to_owned(), family)].into(),
            pushed: 12,
            failed: 0,
        };
        prop_assert_eq!(Group::decode(&group.encode()), Ok(group));
    }
}
