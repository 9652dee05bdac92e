//! Every action on a table of labels; the figures of hashmod are Prometheus' own.

use super::{Action, Names, Pattern, Rule, apply};
use crate::model::metric::{Labels, LabelsBuilder};

/// `action source>target regex replacement`, each part optional but the first.
fn rule(action: Action, source: &str, regex: &str, target: &str, replacement: &str) -> Rule {
    let default = Rule::default();
    let or = |text: &str, other: &str| match text {
        "-" => other.to_owned(),
        text => text.to_owned(),
    };
    Rule {
        source: source
            .split(',')
            .filter(|s| !s.is_empty())
            .map(Into::into)
            .collect(),
        regex: Pattern::new(&or(regex, "(.*)")).expect("a pattern"),
        target: target.to_owned(),
        replacement: or(replacement, "$1"),
        action,
        ..default
    }
}

fn labels(text: &str) -> Labels {
    Labels::of(text.split(',').filter_map(|pair| pair.split_once('=')))
}

/// `expect` is empty when the labels are dropped.
#[track_caller]
fn check(rules: &[Rule], before: &str, expect: &str) {
    for rule in rules {
        rule.check(Names::Utf8).expect("a rule that can be");
    }
    let mut builder = LabelsBuilder::from(&labels(before));
    let kept = apply(rules, &mut builder, Names::Utf8);
    let after = kept.then(|| builder.build());
    assert_eq!(after, (!expect.is_empty()).then(|| labels(expect)));
}

#[test]
fn replace_writes_what_matched() {
    let r = Action::Replace;
    check(
        &[rule(r, "a", "f(.*)", "d", "ch${1}-ch${1}")],
        "a=foo,b=bar",
        "a=foo,b=bar,d=choo-choo",
    );
    check(
        &[rule(r, "a,b", "f(.*);(.*)r", "a", "b${1}${2}m")],
        "a=foo,b=bar",
        "a=boobam,b=bar",
    );
    check(&[rule(r, "a", "no", "d", "x")], "a=foo", "a=foo");
    check(&[rule(r, "a", "f(.*)", "a", "")], "a=foo,b=1", "b=1");
    check(
        &[rule(r, "a", "([^-]+)-(.*)", "l_${1}", "$2")],
        "a=x-y",
        "a=x-y,l_x=y",
    );
    check(&[rule(r, "a", "f(.*)", "$2", "x")], "a=foo", "a=foo");
    check(&[rule(r, "", "-", "zone", "eu")], "a=1", "a=1,zone=eu");
    check(&[rule(r, "a", "(.*)", "b", "$1x")], "a=1,b=2", "a=1");
    check(
        &[rule(r, "__address__", r"(.+):\d+", "host", "$1")],
        "__address__=h:80",
        "__address__=h:80,host=h",
    );
}

#[test]
fn keep_and_drop_decide() {
    check(&[rule(Action::Drop, "a", ".*o.*", "", "-")], "a=foo", "");
    check(&[rule(Action::Drop, "a", "o", "", "-")], "a=foo", "a=foo");
    check(&[rule(Action::Keep, "a", "f|b", "", "-")], "a=foo", "");
    check(&[rule(Action::Keep, "a", "f.*", "", "-")], "a=foo", "a=foo");
    check(
        &[rule(Action::Keep, "missing", "", "", "-")],
        "a=foo",
        "a=foo",
    );
    check(
        &[rule(Action::DropEqual, "a", "-", "b", "-")],
        "a=1,b=1",
        "",
    );
    check(
        &[rule(Action::DropEqual, "a", "-", "b", "-")],
        "a=1,b=2",
        "a=1,b=2",
    );
    check(
        &[rule(Action::KeepEqual, "a", "-", "b", "-")],
        "a=1,b=2",
        "",
    );
    check(
        &[rule(Action::KeepEqual, "a", "-", "b", "-")],
        "a=1,b=1",
        "a=1,b=1",
    );
}

#[test]
fn labels_are_mapped_dropped_kept() {
    check(
        &[rule(Action::LabelMap, "", "__meta_(.*)", "", "-")],
        "__meta_x=1,__meta_y=2",
        "__meta_x=1,__meta_y=2,x=1,y=2",
    );
    check(
        &[rule(Action::LabelDrop, "", "(b.*)", "", "-")],
        "a=1,b1=2,b2=3",
        "a=1",
    );
    check(
        &[rule(Action::LabelKeep, "", "(b.*)", "", "-")],
        "a=1,b1=2",
        "b1=2",
    );
    check(
        &[rule(Action::Lowercase, "a", "-", "a", "-")],
        "a=FoÖ",
        "a=foö",
    );
    check(
        &[rule(Action::Uppercase, "a", "-", "u", "-")],
        "a=foo",
        "a=foo,u=FOO",
    );
}

/// Cases of Prometheus' `relabel_test.go`.
#[test]
fn hashes_are_those_of_upstream() {
    let hash = |modulus, source| Rule {
        modulus,
        ..rule(Action::HashMod, source, "-", "d", "-")
    };
    check(
        &[hash(1000, "c")],
        "a=foo,b=bar,c=baz",
        "a=foo,b=bar,c=baz,d=976",
    );
    check(&[hash(1000, "a")], "a=foo\nbar", "a=foo\nbar,d=734");
}

#[test]
fn rules_run_in_order_until_one_drops() {
    let rules = [
        rule(Action::Replace, "a", "(.*)", "b", "$1"),
        rule(Action::Drop, "b", "foo", "", "-"),
        rule(Action::Replace, "", "-", "c", "never"),
    ];
    check(&rules, "a=foo", "");
    check(&rules, "a=bar", "a=bar,b=bar,c=never");
}

#[track_caller]
fn refused(rule: Rule, names: Names, expect: &str) {
    assert_eq!(rule.check(names).unwrap_err(), expect);
}

#[test]
fn what_does_not_go_with_an_action_is_refused() {
    let utf8 = Names::Utf8;
    refused(
        rule(Action::HashMod, "a", "-", "d", "-"),
        utf8,
        "relabel configuration for hashmod requires non-zero modulus",
    );
    refused(
        rule(Action::Replace, "a", "-", "", "-"),
        utf8,
        "relabel configuration for replace action requires 'target_label' value",
    );
    refused(
        rule(Action::Lowercase, "a", "-", "x", "y"),
        utf8,
        "'replacement' can not be set for lowercase action",
    );
    refused(
        rule(Action::LabelDrop, "a", "-", "", "-"),
        utf8,
        "labeldrop action requires only 'regex', and no other fields",
    );
    refused(
        rule(Action::KeepEqual, "a", "x", "b", "-"),
        utf8,
        "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
    );
    refused(
        rule(Action::Replace, "a", "-", "bad-name", "-"),
        Names::Legacy,
        "\"bad-name\" is invalid 'target_label' for replace action",
    );
    assert!(
        rule(Action::Replace, "a", "-", "bad-name", "-")
            .check(utf8)
            .is_ok()
    );
    refused(
        rule(Action::LabelMap, "", "-", "", "foo-$1"),
        Names::Legacy,
        "\"foo-$1\" is invalid 'replacement' for labelmap action",
    );
}
