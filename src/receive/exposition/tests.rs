//! Pages in all formats, good and bad. What is expected was taken from the parsers of
//! Prometheus 3.5.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::model::write;

/// A page as one line per item.
fn told(page: &str, format: Format) -> Result<String, String> {
    let mut out = String::new();
    let read = parse(page.as_bytes(), format, |item| {
        match item {
            Item::Help { metric, text } => write!(out, "help {metric} {text:?}"),
            Item::Type { metric, kind } => write!(out, "type {metric} {}", kind.name()),
            Item::Unit { metric, unit } => write!(out, "unit {metric} {unit}"),
            Item::Sample(sample) => {
                let Value::Float(value) = sample.value else {
                    panic!("text has floats only")
                };
                write!(
                    out,
                    "{:?} {value:?}",
                    Labels::of_sorted(sample.labels.iter().copied())
                )
                .expect("a string takes everything");
                if let Some(at) = sample.at {
                    write!(out, " @{at}").expect("a string takes everything");
                }
                for PageExemplar { at, value, labels } in sample.exemplars {
                    write!(out, " # {labels:?} {value:?} {at:?}")
                        .expect("a string takes everything");
                }
                Ok(())
            }
        }
        .expect("a string takes everything");
        out.push('\n');
    });
    read.map(|()| out).map_err(|error| error.to_string())
}

#[track_caller]
fn check(format: Format, page: &str, expect: &str) {
    let told = told(page, format).expect(page);
    assert_eq!(told.trim_end(), expect, "{page}");
}

#[track_caller]
fn check_wrong(format: Format, page: &str, expect: &str) {
    assert_eq!(told(page, format), Err(expect.to_owned()), "{page}");
}

#[test]
fn prometheus_text() {
    let check = |page, expect| check(Format::Prometheus, page, expect);
    check("", "");
    check("\n \t\n", "");
    check("a 1", "a 1.0");
    check("a 1 1700000000123\n", "a 1.0 @1700000000123");
    check("a{} 2\nb 3\n", "a 2.0\nb 3.0");
    check("a{b=\"c\",} 1", "a{b=\"c\"} 1.0");
    check(
        "a { b = \"c\" , d\t=\"e\" } \t1 \t5 ",
        "a{b=\"c\", d=\"e\"} 1.0 @5",
    );
    check("a{b=\"c\" d=\"e\"}1", "a{b=\"c\", d=\"e\"} 1.0");
    check(
        "a{z=\"1\",b=\"2\",A=\"3\"} 1",
        "a{A=\"3\", b=\"2\", z=\"1\"} 1.0",
    );
    check(r#"a{b="x\"y\\z\n\q"} 1"#, r#"a{b="x\"y\\z\n\\q"} 1.0"#);
    check("a{b=\"two\nlines\"} 1", r#"a{b="two\nlines"} 1.0"#);
    check("a{b=\"\"} 1", "a{b=\"\"} 1.0");
    check("a:b_c{_x=\"\u{fc}\"} 1", "a:b_c{_x=\"\u{fc}\"} 1.0");
    check(r#"{"my.metric", a="b"} 1"#, r#"{"my.metric", a="b"} 1.0"#);
    check(r#"{"my.metric"} 1"#, r#"{"my.metric"} 1.0"#);
    check(r#"{a="b", "m"} 1"#, r#"m{a="b"} 1.0"#);
    check(r#"m{"l.1"="b"} 1"#, r#"m{"l.1"="b"} 1.0"#);
    check(r#"{"m\"n"} 1"#, r#"{"m\"n"} 1.0"#);
    check("a +Inf\na -inf\na Infinity", "a inf\na -inf\na inf");
    check(
        "a 1e-5\na +.5\na 5.\na 1E3\na -0",
        "a 1e-5\na 0.5\na 5.0\na 1000.0\na -0.0",
    );
    check(
        "#\n# x\n#HELP a b\n# EOF\n# HELP\n# HELPa b\n# UNIT a b",
        "",
    );
    check("# HELP a", "help a \"\"");
    check("# HELP a   ", "help a \"\"");
    check(
        "#\tHELP\ta  b \\\\ \\n \\\" ",
        "help a \" b \\\\ \\n \\\\\\\" \"",
    );
    check("# HELP \"a.b\" c", "help a.b \"c\"");
    check(
        "# TYPE a untyped\n# TYPE b summary",
        "type a unknown\ntype b summary",
    );
}

#[test]
fn prometheus_text_that_is_wrong() {
    let check = |page, expect| check_wrong(Format::Prometheus, page, expect);
    check(
        "a",
        "line 1, column 2: expected a value after the series, found the end of the page",
    );
    check(
        "ok 1\na{b=1} 1",
        "line 2, column 5: expected a label value in quotes, found \"1} 1\"",
    );
    check(
        "a{b=\"c\"} x",
        "line 1, column 10: expected a number, found \"x\"",
    );
    check(
        "a 1\r\n",
        "line 1, column 3: expected a number, found \"1\\r\"",
    );
    check(
        "a 0x10",
        "line 1, column 3: expected a number, found \"0x10\"",
    );
    check(
        "a 1_0",
        "line 1, column 3: expected a number, found \"1_0\"",
    );
    check(
        "a 1e999",
        "line 1, column 3: expected a number, found \"1e999\"",
    );
    check(
        "a +NaN",
        "line 1, column 3: expected a number, found \"+NaN\"",
    );
    check(
        "a 1 -5",
        "line 1, column 5: expected a timestamp in ms or the end of the line, found \"-5\"",
    );
    check(
        "a 1 5 6",
        "line 1, column 7: expected the end of the line after the timestamp, found \"6\"",
    );
    check(
        "a 1 9999999999999999999",
        "line 1, column 5: expected a timestamp below 2^63 ms, found \"9999999999999999999\"",
    );
}

#[test]
fn prometheus_series_that_are_wrong() {
    let check = |page, expect| check_wrong(Format::Prometheus, page, expect);
    check(
        "{} 1",
        "line 1, column 1: expected a metric name before or in the braces, found \"{} 1\"",
    );
    check(
        r#"{"a","b"} 1"#,
        "line 1, column 6: expected one metric name only, found \"\\\"b\\\"} 1\"",
    );
    check(
        r#"a{"b"} 1"#,
        "line 1, column 3: expected one metric name only, found \"\\\"b\\\"} 1\"",
    );
    check(
        r#"{""} 1"#,
        "line 1, column 2: expected a name that is not empty, found \"\\\"\\\"} 1\"",
    );
    check(
        "a{,} 1",
        "line 1, column 3: expected a label name or \"}\", found \",} 1\"",
    );
    check(
        "a{b=\"c\",,} 1",
        "line 1, column 9: expected a label name or \"}\", found \",} 1\"",
    );
    check("a{b} 1", "line 1, column 4: expected \"=\", found \"} 1\"");
    check(
        "a{b=\"c} 1\n",
        "line 1, column 5: expected a text whose quotes are closed, found \"\\\"c} 1\"",
    );
    check(
        "a{b=\"c\",b=\"d\"} 1",
        "line 1, column 1: expected labels of different names, not \"b\" twice, found \"a{b=\\\"c\\\",b=\\\"d\\\"} 1\"",
    );
    check(
        "a{__name__=\"b\"} 1",
        "line 1, column 1: expected labels of different names, not \"__name__\" twice, found \"a{__name__=\\\"b\\\"} 1\"",
    );
    check(
        "1a 1",
        "line 1, column 1: expected a metric name, \"{\" or a comment, found \"1a 1\"",
    );
    check(
        "\u{e9} 1",
        "line 1, column 1: expected a metric name, \"{\" or a comment, found \"\u{e9} 1\"",
    );
    check(
        "a 1\n\0b 2",
        "line 2, column 1: expected a metric name, \"{\" or a comment, found \"\\0b 2\"",
    );
    check(
        "# TYPE a info",
        "line 1, column 10: expected a metric type, found \"info\"",
    );
    check(
        "# TYPE 1 gauge",
        "line 1, column 8: expected a metric name after TYPE, found \"1 gauge\"",
    );
    check(
        "# TYPE a  gauge",
        "line 1, column 10: expected a metric type, found \" gauge\"",
    );
    let not_utf8 = parse(b"a{b=\"\xc3\xa9\xff\"} 1", Format::Prometheus, |_| {});
    assert_eq!(
        not_utf8.expect_err("not UTF-8").to_string(),
        "line 1, column 7: expected UTF-8, found the end of the page"
    );
}

#[test]
fn open_metrics() {
    let check = |page, expect| check(Format::OpenMetrics, page, expect);
    check("# EOF", "");
    check("# EOF\n", "");
    check("a 1\n# EOF", "a 1.0");
    check("a 1 1.5\n# EOF\n", "a 1.0 @1500");
    check("a 1 -1e-1\n# EOF\n", "a 1.0 @-100");
    check("a{} 1\na{b=\"c\",} 2\n# EOF\n", "a 1.0\na{b=\"c\"} 2.0");
    check(
        "a_bucket{le=\"1\"} 1 # {trace_id=\"x\\\"\"} 0.5 1.25\n# EOF\n",
        "a_bucket{le=\"1\"} 1.0 # {trace_id=\"x\\\"\"} 0.5 Some(1250)",
    );
    check("a 1 2 # {} 3\n# EOF\n", "a 1.0 @2000 # {} 3.0 None");
    check(
        r##"{"a.b","c.d"="e"} 1
# EOF"##,
        r#"{"a.b", "c.d"="e"} 1.0"#,
    );
    check(
        "# UNIT a_seconds seconds\n# UNIT b \n# EOF\n",
        "unit a_seconds seconds\nunit b",
    );
    check(
        "# TYPE a gaugehistogram\n# TYPE b stateset\n# TYPE c unknown\n# HELP d x\\\"\n# EOF\n",
        "type a gaugehistogram\ntype b stateset\ntype c unknown\nhelp d \"x\\\"\"",
    );
    check("a_created 1.5\n# EOF\n", "a_created 1.5");
}

#[test]
fn open_metrics_that_is_wrong() {
    let check = |page, expect| check_wrong(Format::OpenMetrics, page, expect);
    check(
        "",
        "line 1, column 1: expected \"# EOF\" as the last line, found the end of the page",
    );
    check(
        "a 1\n",
        "line 2, column 1: expected \"# EOF\" as the last line, found the end of the page",
    );
    check(
        "# EOF\na 1\n",
        "line 2, column 1: expected nothing after \"# EOF\", found \"a 1\"",
    );
    check(
        "\n# EOF\n",
        "line 1, column 1: expected a metric name, \"{\", or \"# HELP\", \"# TYPE\", \"# UNIT\" or \"# EOF\", found the end of the line",
    );
    check(
        "# x\n# EOF\n",
        "line 1, column 1: expected \"# HELP \", \"# TYPE \", \"# UNIT \" or \"# EOF\", found \"# x\"",
    );
    check(
        "a  1\n# EOF\n",
        "line 1, column 2: expected a value after the series, found \"  1\"",
    );
    check(
        "a{b=\"c\" ,d=\"e\"} 1\n# EOF\n",
        "line 1, column 8: expected \",\" or \"}\", found \" ,d=\\\"e\\\"} 1\"",
    );
    check(
        "a{b=\"c\n\"} 1\n# EOF\n",
        "line 1, column 7: expected the closing quote before the line ends, found the end of the line",
    );
    check(
        "a 1 NaN\n# EOF\n",
        "line 1, column 5: expected a timestamp in seconds, found \"NaN\"",
    );
    check(
        "a 1 \n# EOF\n",
        "line 1, column 5: expected a timestamp in seconds, found the end of the line",
    );
    check(
        "a 1 # {b=\"c\"}\n# EOF\n",
        "line 1, column 14: expected a value after the exemplar's labels, found the end of the line",
    );
    check(
        "a 1 # {\"b\"} 1\n# EOF\n",
        "line 1, column 8: expected a label name, an exemplar has no name, found \"\\\"b\\\"} 1\"",
    );
    check(
        "# UNIT a seconds\n# EOF\n",
        "line 1, column 10: expected a unit that \"a\" ends in, found \"seconds\"",
    );
    check(
        "# TYPE a untyped\n# EOF\n",
        "line 1, column 10: expected a metric type, found \"untyped\"",
    );
    check(
        "# TYPE a\n# EOF\n",
        "line 1, column 9: expected a space and the text of TYPE, found the end of the line",
    );
}

#[test]
fn bounds_have_one_form() {
    for (bound, expect) in [
        ("1", "1.0"),
        ("+Inf", "+Inf"),
        ("Inf", "+Inf"),
        ("0.10", "0.1"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("0.000025", "2.5e-05"),
        ("1000000", "1e+06"),
        ("1234567.0", "1.234567e+06"),
        ("999999", "999999.0"),
        ("1e2", "100.0"),
        ("-1", "-1.0"),
        ("0", "0.0"),
        ("x", "x"),
    ] {
        let page = format!("# TYPE h histogram\nh_bucket{{le=\"{bound}\",quantile=\"1\"}} 1");
        let expect = format!("type h histogram\nh_bucket{{le=\"{expect}\", quantile=\"1\"}} 1.0");
        check(Format::Prometheus, &page, &expect);
    }
    check(
        Format::Prometheus,
        "# TYPE s summary\ns{quantile=\"1\",le=\"1\"} 1",
        "type s summary\ns{le=\"1\", quantile=\"1.0\"} 1.0",
    );
}

#[test]
fn content_types() {
    let om = Ok(Format::OpenMetrics);
    assert_eq!(
        negotiate(Some("application/openmetrics-text; version=1.0.0"), None),
        om
    );
    assert_eq!(negotiate(Some("Text/Plain"), None), Ok(Format::Prometheus));
    assert_eq!(negotiate(Some("text/html"), Some(Format::OpenMetrics)), om);
    assert_eq!(negotiate(None, Some(Format::OpenMetrics)), om);
    assert!(negotiate(Some("text/html"), None).is_err_and(|e| e.contains("\"text/html\"")));
    assert!(negotiate(None, None).is_err_and(|e| e.contains("blank Content-Type")));
}

fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    write::varint(out, u64::from(number << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

/// A delimited family of one metric with a label.
fn family(name: &str, kind: u64, number: u32, data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    write::bytes_field(&mut message, 1, name.as_bytes());
    write::bytes_field(&mut message, 2, b"help");
    write::varint_field(&mut message, 3, kind);
    write::message(&mut message, 4, |out| {
        write::message(out, 1, |out| {
            write::bytes_field(out, 1, b"a");
            write::bytes_field(out, 2, b"b");
        });
        write::message(out, number, data);
        write::varint_field(out, 6, 77);
    });
    let mut out = Vec::new();
    write::varint(&mut out, message.len() as u64);
    out.extend(message);
    out
}

/// A page with every classic kind.
fn classic_families() -> Vec<u8> {
    let exemplar = |out: &mut Vec<u8>| {
        write::message(out, 1, |out| {
            write::bytes_field(out, 1, b"trace_id");
            write::bytes_field(out, 2, b"x");
        });
        double(out, 2, 0.5);
        write::message(out, 3, |out| {
            write::varint_field(out, 1, 3);
            write::varint_field(out, 2, 4_000_000);
        });
    };
    let mut page = family("c_total", 0, 3, |out| {
        double(out, 1, 2.0);
        write::message(out, 2, exemplar);
    });
    page.extend(family("g", 1, 2, |out| double(out, 1, f64::NAN)));
    page.extend(family("s", 2, 4, |out| {
        write::varint_field(out, 1, 3);
        double(out, 2, 1.5);
        write::message(out, 3, |out| {
            double(out, 1, 1.0);
            double(out, 2, 9.0);
        });
    }));
    page.extend(family("h", 4, 7, |out| {
        write::varint_field(out, 1, 5);
        double(out, 2, 2.5);
        write::message(out, 3, |out| {
            write::varint_field(out, 1, 4);
            double(out, 2, 1e6);
        });
    }));
    page
}

#[test]
fn protobuf_says_what_text_would() {
    let page = classic_families();
    let mut told = Vec::new();
    let read = parse(&page, Format::Protobuf, |item| match item {
        Item::Type { metric, kind } => told.push(format!("{metric} is {}", kind.name())),
        Item::Sample(sample) => {
            assert_eq!(sample.at, Some(77));
            let labels = Labels::of_sorted(sample.labels.iter().copied());
            let Value::Float(value) = sample.value else {
                panic!("classic families")
            };
            let exemplars = sample.exemplars.iter();
            let exemplars: String = exemplars
                .map(|e| format!(" # {} {} {:?}", e.labels, e.value, e.at))
                .collect();
            told.push(format!("{labels} {value}{exemplars}"));
        }
        Item::Help { text, .. } => assert_eq!(text, "help"),
        Item::Unit { .. } => panic!("no unit was written"),
    });
    read.expect("a good page");
    let expect = [
        "c_total is counter",
        "c_total{a=\"b\"} 2 # {trace_id=\"x\"} 0.5 Some(3004)",
        "g is gauge",
        "g{a=\"b\"} NaN",
        "s is summary",
        "s_count{a=\"b\"} 3",
        "s_sum{a=\"b\"} 1.5",
        "s{a=\"b\", quantile=\"1.0\"} 9",
        "h is histogram",
        "h_count{a=\"b\"} 5",
        "h_sum{a=\"b\"} 2.5",
        "h_bucket{a=\"b\", le=\"1e+06\"} 4",
        "h_bucket{a=\"b\", le=\"+Inf\"} 5",
    ];
    assert_eq!(told, expect);
    let cut = parse(&page[..page.len() - 1], Format::Protobuf, |_| {});
    assert!(cut.is_err_and(|error| error.what.contains("expected a MetricFamily of")));
}

#[test]
fn protobuf_has_native_histograms() {
    let page = family("n", 4, 7, |out| {
        write::varint_field(out, 1, 6);
        double(out, 2, 2.5);
        write::varint_field(out, 5, 6);
        double(out, 6, 0.001);
        write::message(out, 12, |out| {
            write::varint_field(out, 1, 2);
            write::varint_field(out, 2, 2);
        });
        write::message_bytes(out, 13, &[4, 4]);
    });
    let mut found = None;
    let read = parse(&page, Format::Protobuf, |item| {
        if let Item::Sample(sample) = item {
            found = Some(sample.value);
        }
    });
    read.expect("a good page");
    let Some(Value::Histogram(histogram)) = found else {
        panic!("a native histogram was written")
    };
    assert_eq!(
        (histogram.schema, histogram.count, histogram.sum),
        (3, 6.0, 2.5)
    );
    assert_eq!(histogram.positive_counts, [2.0, 4.0]);
    assert_eq!(histogram.positive_spans[0].offset, 1);
}

#[test]
fn families_gather_metadata() {
    let page = "# HELP a_seconds help\n# TYPE a_seconds counter\n# TYPE b gauge\n# UNIT a_seconds seconds\n# EOF";
    let mut families = Families::default();
    parse(page.as_bytes(), Format::OpenMetrics, |item| {
        families.note(&item)
    })
    .expect(page);
    let found = families.into_metadata();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].help.as_str(), found[0].unit.as_str()),
        ("help", "seconds")
    );
    assert_eq!(
        (found[0].kind, found[1].kind),
        (MetricKind::Counter, MetricKind::Gauge)
    );
}

#[test]
fn lines_cost_no_allocation() {
    let lines = |n: usize| {
        let mut page = "# TYPE h histogram\n".to_owned();
        for i in 0..n {
            writeln!(
                page,
                "h_bucket{{path=\"/a\\\\b\",le=\"{i}\",code=\"200\"}} {i}.5"
            )
            .expect("a string takes everything");
        }
        page
    };
    let cost = |page: &str| {
        allocation_counter::measure(|| {
            parse(page.as_bytes(), Format::Prometheus, |_| {}).expect("a good page");
        })
        .count_total
    };
    assert_eq!(cost(&lines(10)), cost(&lines(5000)));
}

/// The cases of the OpenMetrics project that Prometheus 3.5 judges otherwise, and so do we: it takes
/// lines one by one and does not ask whether a family makes sense.
const TAKEN_ALL_THE_SAME: &[(&str, &[u32], &str)] = &[
    ("bad_clashing_names", &[0, 2], "families may be told twice"),
    (
        "bad_counter_values",
        &[1, 3, 5, 7, 9, 11, 13, 15, 17, 19],
        "any number is a value",
    ),
    (
        "bad_exemplars",
        &[6],
        "its labels are over 128 characters: left out where it is stored",
    ),
    (
        "bad_exemplars_on_unallowed_metric_types",
        &[0, 2],
        "any sample may have an exemplar",
    ),
    (
        "bad_exemplars_on_unallowed_samples",
        &[1, 3],
        "any sample may have an exemplar",
    ),
    (
        "bad_grouping_or_ordering",
        &[2, 4, 6, 8],
        "series may come in any order",
    ),
    (
        "bad_histograms",
        &[1, 2, 6, 8, 11, 13],
        "buckets, count and sum are series of their own",
    ),
    (
        "bad_info_and_stateset_values",
        &[0],
        "any number is a value",
    ),
    (
        "bad_metadata_in_wrong_place",
        &[0, 2],
        "metadata may follow samples",
    ),
    (
        "bad_missing_or_invalid_labels_for_a_type",
        &[0, 2, 4, 6],
        "labels do not depend on the type",
    ),
    ("bad_repeated_metadata", &[0], "the last one counts"),
    ("bad_stateset_info_values", &[0, 2], "any number is a value"),
    ("bad_unit", &[7], "any type may have a unit"),
];

#[test]
fn the_cases_of_openmetrics() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/openmetrics");
    let Ok(cases) = std::fs::read_dir(&dir) else {
        eprintln!("skipped: {} is not there", dir.display());
        return;
    };
    let mut differing = Vec::new();
    for case in cases {
        let path = case.expect("a directory entry").path();
        let page = std::fs::read(path.join("metrics")).expect("a page");
        let wanted = std::fs::read_to_string(path.join("test.json")).expect("what is expected");
        let parsed = parse(&page, Format::OpenMetrics, |_| {});
        if parsed.is_ok() != wanted.contains("\"shouldParse\": true") {
            let name = path
                .file_name()
                .expect("a case has a name")
                .to_string_lossy();
            differing.push((name.into_owned(), parsed.err().map(|e| e.to_string())));
        }
    }
    differing.sort();
    let mut listed: Vec<(String, Option<String>)> = TAKEN_ALL_THE_SAME
        .iter()
        .flat_map(|(name, numbers, _)| numbers.iter().map(move |n| (format!("{name}_{n}"), None)))
        .collect();
    listed.sort();
    assert_eq!(differing, listed);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        labels in proptest::collection::btree_map("[a-zA-Z_][a-z0-9_]{0,8}", any::<String>(), 0..6),
        value in any::<f64>(),
        at in proptest::option::of(0..i64::MAX),
    ) {
        let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut page = "metric{".to_owned();
        for (name, value) in labels.iter().filter(|(name, _)| *name != "le") {
            write!(page, "{name}=\"{}\",", escaped(value)).expect("a string takes everything");
        }
        write!(page, "}} {value:?}").expect("a string takes everything");
        if let Some(at) = at {
            write!(page, " {at}").expect("a string takes everything");
        }
        let mut samples = 0;
        let read = parse(page.as_bytes(), Format::Prometheus, |item| {
            let Item::Sample(sample) = item else { panic!("only a sample was written") };
            let read: Vec<_> = sample.labels.iter().copied().filter(|(n, _)| *n != "__name__").collect();
            let wrote = labels.iter().filter(|(name, _)| *name != "le");
            let wrote: Vec<_> = wrote.map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(read, wrote);
            let Value::Float(found) = sample.value else { panic!("a float was written") };
            assert!(found == value || (found.is_nan() && value.is_nan()));
            assert_eq!(sample.at, at);
            samples += 1;
        });
        prop_assert_eq!(read.map(|()| samples), Ok(1));
    }

    #[test]
    fn no_page_is_too_strange(page in "[a-c{}=\",\\\\ \t\n#0-9.eELP+{NaN}EOF]{0,80}") {
        for format in [Format::Prometheus, Format::OpenMetrics, Format::Protobuf] {
            let _ = parse(page.as_bytes(), format, |_| {});
        }
    }
}
