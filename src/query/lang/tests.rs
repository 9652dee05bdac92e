//! The query language by example, and what is printed parses back.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, printed: &str) {
    let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(expr.to_string(), printed);
    assert_eq!(parse(printed).as_ref(), Ok(&expr), "{printed}");
}

#[track_caller]
fn check_error(text: &str, column: usize, message: &str, hint: Option<&str>) {
    let error = parse(text).expect_err(text);
    assert!(error.message.contains(message), "{text}: {error}");
    assert_eq!(error.column, column, "{text}: {error}");
    assert_eq!(error.hint.as_deref(), hint, "{text}: {error}");
}

#[test]
fn words_are_joined_by_and_which_binds_tighter_than_or() {
    check("", "*");
    check("*", "*");
    check("a b AND c", "a b c");
    check("a OR b c", "a OR b c");
    check("(a OR b) c", "(a OR b) c");
    check("(a b) c", "a b c");
    check("((a))", "a");
    check("NOT a -b", "-a -b");
    check("-(a b)", "-(a b)");
    check("and or not", "and or not");
    check("NOT(a OR \"b c\")", "-(a OR \"b c\")");
}

#[test]
fn values_of_every_form() {
    check("level:>=warn", "level:>=warn");
    check("service:a,b", "service:a,b");
    check("host:web*,/db[0-9]/", "host:web*,/db[0-9]/");
    check("http.status:400..499", "http.status:400..499");
    check("size:1KB..2MiB", "size:1KB..2MiB");
    check("t:>2026-11-20T10:00:00Z", "t:>2026-11-20T10:00:00Z");
    check("temp:-5..-1.5", "temp:-5..-1.5");
    check("x:*", "x:*");
    check(r#"http.route:"/pay""#, r#"http.route:"/pay""#);
    check(r#"x:"say \"hi\"\n""#, r#"x:"say \"hi\"\n""#);
    check(r#""weird key":1"#, r#""weird key":1"#);
    check(
        r#"attr.x:1 body.a.b:2 scope.name:c resource.d:e"#,
        "attr.x:1 body.a.b:2 scope.name:c resource.d:e",
    );
    check(r"p:/a\/b/", r"p:/a\/b/");
    check("url:https://x.y/z", "url:https://x.y/z");
    check(r#""begin of"*"#, r#""begin of"*"#);
}

#[test]
fn pasted_text_is_searched_as_text() {
    check("std::io::Error", r#""std::io::Error""#);
    check("12:30:01.5", r#""12:30:01.5""#);
    check("hello, world", "hello world");
    check("level=error", "level=error");
    check("a,b", "a,b");
}

#[test]
fn errors_name_the_place_and_offer_a_fix() {
    check_error(
        "duration_ms:>2oo",
        14,
        "`2oo` is not a number",
        Some("duration_ms:>200"),
    );
    check_error("d:>l0ms x", 4, "`l0ms`", Some("d:>10ms x"));
    check_error("level:>=wran", 9, "`wran` is not a level", None);
    check_error(
        "a level:",
        9,
        "expected a value after `level:`",
        Some("a level:*"),
    );
    check_error("über (a b", 6, "not closed", Some("über (a b)"));
    check_error("a b)", 4, "without its `(`", Some("a b"));
    check_error("\"a b", 1, "not closed", Some("\"a b\""));
    check_error("a OR", 5, "expected a condition", None);
    check_error("OR a", 1, "before `OR`", None);
    check_error("a | stats count()", 3, "pipes", None);
    check_error(">500ms", 1, "needs a field", None);
    check_error("path:/pay", 6, "needs quotes", Some("path:\"/pay\""));
    check_error("x:/a(/", 3, "not a regular expression", None);
    check_error("a*b", 1, "only at the end", Some("/a.*b/"));
    check_error(
        "*.example.com",
        1,
        "only at the end",
        Some(r"/\.example\.com/"),
    );
    check_error("-->", 1, "negation", None);
    check_error("\"==>\"", 1, "at least one letter", Some("/==>/"));
    check_error("a - b", 3, "directly after `-`", Some("a  b"));
    check_error("x:9..3", 3, "smaller to the larger", Some("x:3..9"));
    check_error("x:1s..3", 3, "one kind", None);
    check_error(r#"x:"C:\dir""#, 6, "unknown escape", Some(r#"x:"C:\\dir""#));
    check_error("f:(a OR b)", 3, "any of several is `f:a,b`", None);
    check_error(
        r#"{app="api", level!="info"} oops"#,
        1,
        "selectors in braces",
        Some(r#"app:"api" -level:"info" oops"#),
    );
}

#[test]
fn bounds_hold() {
    let deep = "(".repeat(DEPTH_MAX + 1) + "a" + &")".repeat(DEPTH_MAX + 1);
    check_error(&deep, DEPTH_MAX + 1, "inside each other", None);
    check_error(
        &"a ".repeat(TERMS_MAX + 1),
        2 * TERMS_MAX + 1,
        "conditions",
        None,
    );
    check_error(
        &format!("x:{}a", "a,".repeat(TERMS_MAX)),
        3,
        "conditions",
        None,
    );
    check_error(&"a".repeat(QUERY_BYTES_MAX + 1), 1, "bytes", None);
}

fn field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        Just("service".to_owned()),
        Just("http.status_code".to_owned()),
        Just("OR".to_owned()),
        "[a-z][a-z0-9_.]{0,6}[a-z]",
        "[ -~äß€]{1,6}",
    ];
    // A name that itself looks forced cannot be told from a forced one.
    let unforced = |name: &String| {
        Field::named(name).place == Place::Any && !matches!(name.as_str(), "severity" | "level")
    };
    let place = prop_oneof![
        3 => Just(Place::Any),
        1 => Just(Place::Attr),
        1 => Just(Place::Scope),
        1 => Just(Place::Resource),
        1 => Just(Place::Body),
    ];
    (place, name.prop_filter("forced", unforced)).prop_map(|(place, name)| Field { place, name })
}

fn quantity() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1e9f64..1e9).prop_map(|n| n.to_string()),
        "[0-9]{1,4}(ns|us|ms|s|m|h|d|KB|MiB|B)",
        Just("2026-11-20T10:00:00Z".to_owned()),
        Just("2026-11-20 10:00:00Z".to_owned()),
    ]
    .prop_map(Literal)
}

fn simple_test(of_field: bool) -> BoxedStrategy<Test> {
    let text = move || {
        "[ -~äß€\n\t]{0,8}".prop_filter("no token", move |text| {
            of_field || text.contains(is_token_char)
        })
    };
    let plain = prop_oneof![
        text().prop_map(Test::Text),
        "[a-z]{1,6}".prop_map(Test::Text),
        text().prop_map(Test::Prefix),
        "[a-z.*/]{1,3}[a-z/][0-9]".prop_map(|s| Test::Regex(s.trim_start_matches('*').to_owned())),
    ];
    if !of_field {
        return plain.boxed();
    }
    let comparison = prop_oneof![
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
    ];
    prop_oneof![
        3 => plain,
        1 => (comparison, quantity()).prop_map(|(c, l)| Test::Compare(c, l)),
        1 => (quantity(), quantity()).prop_filter_map("order", |(a, b)| {
            let order = a.quantity(false)?.order(b.quantity(false)?)?;
            Some(if order.is_le() { Test::Range(a, b) } else { Test::Range(b, a) })
        }),
        1 => Just(Test::Exists),
    ]
    .boxed()
}

fn any_test(of_field: bool) -> impl Strategy<Value = Test> {
    prop_oneof![
        4 => simple_test(of_field),
        1 => prop::collection::vec(simple_test(of_field), 2..4).prop_map(Test::AnyOf),
    ]
}

pub(in crate::query) fn any_expr() -> impl Strategy<Value = Expr> {
    let term = prop_oneof![
        (field(), any_test(true)).prop_map(|(field, test)| Term {
            field: Some(field),
            test
        }),
        any_test(false).prop_map(|test| Term { field: None, test }),
    ];
    let leaf = prop_oneof![9 => term.prop_map(Expr::Term), 1 => Just(Expr::All)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expr::and),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expr::or),
            // `-(-a)` is how a negation of a negation prints.
            inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_back(expr in any_expr()) {
        let printed = expr.to_string();
        prop_assert_eq!(parse(&printed), Ok(expr), "{}", printed);
    }

    #[test]
    fn any_text_is_answered_with_a_place_inside_it(text in r#"[a-c:"*/>.\\()| \-,{}=é0-9ORNT]{0,40}"#) {
        match parse(&text) {
            Ok(expr) => prop_assert_eq!(parse(&expr.to_string()), Ok(expr)),
            Err(error) => {
                prop_assert!(text.get(error.position..error.position + error.length).is_some());
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}
