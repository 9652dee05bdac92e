//! Labels, batches and matchers: what holds for any input.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Label sets: any names and values but empty ones.
fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("\\PC{1,5}", "\\PC{1,200}", 0..6)
}

#[test]
fn labels_are_written_as_promql_does() {
    for (pairs, expect) in [
        (
            &[("__name__", "m"), ("b", "2"), ("a", "1")][..],
            r#"m{a="1", b="2"}"#,
        ),
        (&[("__name__", "m")], "m"),
        (&[], "{}"),
        (
            &[("a", "x\"\\\n\t\u{1}\u{e9}")],
            "{a=\"x\\\"\\\\\\n\\t\\x01\u{e9}\"}",
        ),
        (
            &[("__name__", "my.metric"), ("a b", "c")],
            r#"{"my.metric", "a b"="c"}"#,
        ),
        (&[("__name__", "1st")], r#"{"1st"}"#),
        (&[("a", "1"), ("a", "2"), ("b", "")], r#"{a="2"}"#),
    ] {
        assert_eq!(Labels::of(pairs.iter().copied()).to_string(), expect);
    }
}

#[test]
fn bytes_that_are_no_labels_are_refused() {
    for bytes in [
        &b"\x01a"[..],
        b"\x01a\x02b",
        b"\x01a\x00",
        b"\x00\x01b",
        b"\x01b\x011\x01a\x011",
        b"\x01a\x011\x01a\x012",
        b"\x01a\x01\xff",
        b"\xff\xff\xff\xff\xff\xff",
    ] {
        assert_eq!(Labels::unpack(bytes), None, "{bytes:?}");
    }
}

#[test]
fn series_of_bytes_are_checked() {
    for (pairs, expect) in [
        (&[(&b"a"[..], &b"b"[..])][..], SeriesError::Nameless),
        (&[(b"__name__", b"m"), (b"", b"b")], SeriesError::EmptyName),
        (
            &[(b"__name__", b"m"), (b"a", b"1"), (b"a", b"2")],
            SeriesError::Twice,
        ),
        (
            &[(b"__name__", b"m"), (b"a", b"\xc3")],
            SeriesError::NotUtf8,
        ),
    ] {
        let mut batch = Batch::default();
        assert_eq!(batch.series_of_bytes(&mut pairs.to_vec()), Err(expect));
        assert_eq!((batch.iter().len(), batch.label_bytes()), (0, 0));
    }
}

#[test]
fn matchers_see_the_whole_value() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    for (op, pattern, value, expect) in [
        (Equal, "a", "a", true),
        (Equal, "a", "ab", false),
        (Equal, "", "", true),
        (NotEqual, "a", "", true),
        (Regex, "a|b", "b", true),
        (Regex, "a|b", "ab", false),
        (Regex, "a.b", "a\nb", true),
        (Regex, ".*", "", true),
        (Regex, ".+", "", false),
        (NotRegex, "a.*", "ab", false),
        (NotRegex, "a.*", "", true),
    ] {
        let matcher = Matcher::new("l", op, pattern).expect(pattern);
        assert_eq!(
            matcher.matches(value),
            expect,
            "{op:?} {pattern:?} {value:?}"
        );
    }
    assert!(Matcher::new("l", Regex, "(").is_err());
    assert!(Matcher::new("l", Regex, "(a{1000}){1000}").is_err());
}

#[test]
fn a_batch_gives_back_what_was_added() {
    let mut batch = Batch::default();
    let exemplar = Exemplar {
        at: 3,
        value: 0.5,
        labels: Labels::of([("trace_id", "x")]),
    };
    batch.series(&mut vec![("b", "2"), ("__name__", "m"), ("a", "")]);
    batch.sample(1, Value::Float(1.0));
    batch.sample(2, Value::Float(2.0));
    batch.exemplar(exemplar.clone());
    batch.series(&mut vec![("__name__", "empty"), ("a", "")]);
    batch.series_of(&Labels::of([("__name__", "last")]));
    batch.sample(3, Value::Float(3.0));
    assert_eq!(batch.samples(), 3);
    let told: Vec<_> = batch
        .iter()
        .map(|series| {
            let labels = Labels::unpack(series.packed).expect("packed by the batch");
            let at: Vec<i64> = series.samples.iter().map(|sample| sample.at).collect();
            (labels.to_string(), at, series.exemplars.to_vec())
        })
        .collect();
    let expect = [
        ("m{b=\"2\"}".to_owned(), vec![1, 2], vec![exemplar]),
        ("empty".to_owned(), vec![], vec![]),
        ("last".to_owned(), vec![3], vec![]),
    ];
    assert_eq!(told, expect);
    assert_eq!(
        Labels::unpack(batch.last_packed()),
        Some(Labels::of([("__name__", "last")]))
    );
}

proptest! {
    #[test]
    fn labels_unpack_to_themselves(pairs in pairs()) {
        let labels = Labels::of(&pairs);
        prop_assert_eq!(Labels::unpack(labels.packed()), Some(labels.clone()));
        let read: BTreeMap<String, String> =
            labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(&read, &pairs);
        let sorted = Labels::of_sorted(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        prop_assert_eq!(&sorted, &labels);
        prop_assert_eq!(LabelsBuilder::from(&labels).build(), labels);
    }

    #[test]
    fn labels_are_in_the_order_of_their_pairs(a in pairs(), b in pairs()) {
        let (first, second) = (Labels::of(&a), Labels::of(&b));
        prop_assert_eq!(first.cmp(&second), a.iter().cmp(b.iter()));
        prop_assert_eq!(first == second, a == b);
    }

    #[test]
    fn builders_do_what_maps_do(
        start in pairs(),
        changes in proptest::collection::vec(("[a-d]", "[xy]?"), 0..8),
    ) {
        let mut builder = LabelsBuilder::from(&Labels::of(&start));
        let mut map = start;
        for (name, value) in &changes {
            builder.set(name, value);
            map.insert(name.clone(), value.clone());
            prop_assert_eq!(builder.get(name), value);
        }
        map.retain(|_, value| !value.is_empty());
        prop_assert_eq!(builder.build(), Labels::of(&map));
    }

    #[test]
    fn every_way_to_open_a_series_packs_alike(pairs in pairs()) {
        let mut named = pairs;
        named.insert("__name__".to_owned(), "m".to_owned());
        let labels = Labels::of(&named);
        let mut batch = Batch::default();
        batch.series(&mut named.iter().rev().map(|(n, v)| (n.as_str(), v.as_str())).collect());
        batch.series_of(&labels);
        batch.series(&mut labels.iter().collect::<Vec<_>>());
        let bytes = named.iter().rev().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        batch.series_of_bytes(&mut bytes.collect()).expect("good labels");
        for series in batch.iter() {
            prop_assert_eq!(series.packed, labels.packed());
        }
        prop_assert_eq!(batch.iter().len(), 4);
    }

    #[test]
    fn unpacking_survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(labels) = Labels::unpack(&bytes) {
            prop_assert_eq!(labels.packed(), &bytes[..]);
        }
    }
}
