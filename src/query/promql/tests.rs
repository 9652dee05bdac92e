//! Text to tree and back, and Prometheus' errors to the letter.

use proptest::prelude::*;

use super::ast::{Arithmetic, Expr, Kind, Type};
use super::{parse, return_type};

/// A query and how it is printed; empty: as it was.
#[track_caller]
fn check(text: &str, printed: &str) {
    let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let printed = if printed.is_empty() { text } else { printed };
    assert_eq!(expr.to_string(), printed, "{text}");
    assert_eq!(bare(parse(printed).expect(printed)), bare(expr), "{text}");
}

#[track_caller]
fn refused(text: &str, error: &str) {
    match parse(text) {
        Ok(expr) => panic!("{text} was taken: {expr:?}"),
        Err(found) => assert_eq!(found.to_string(), error, "{text}"),
    }
}

/// Without places and with matchers in order.
fn bare(mut expr: Expr) -> Expr {
    strip(&mut expr);
    expr
}

fn strip(expr: &mut Expr) {
    expr.place = 0..0;
    match &mut expr.kind {
        Kind::Number(value) if value.is_nan() => *value = -123.5,
        Kind::Number(_) | Kind::String(_) => {}
        Kind::Paren(inner) | Kind::Negate(inner) => strip(inner),
        Kind::Binary(binary) => {
            strip(&mut binary.left);
            strip(&mut binary.right);
        }
        Kind::Aggregate(aggregate) => {
            strip(&mut aggregate.expr);
            aggregate.parameter.iter_mut().for_each(strip);
        }
        Kind::Call(call) => call.args.iter_mut().for_each(strip),
        Kind::Vector(selector) | Kind::Matrix(selector, _) => {
            selector.matchers.sort_by_key(|m| format!("{m:?}"));
        }
        Kind::Subquery(subquery) => strip(&mut subquery.expr),
    }
}

#[test]
fn literals() {
    check("1", "");
    check("+Inf", "");
    check("-iNF", "-Inf");
    check("nan", "NaN");
    check("1e3", "1000");
    check("0x1F", "31");
    check("017", "15");
    check("019.5", "19.5");
    check("1_000", "1000");
    check("1_2.3_4", "12.34");
    check(".5", "0.5");
    check("5.", "5");
    check("1e-7", "0.0000001");
    check("5m", "300");
    check("1h30m", "5400");
    check("-5m", "-300");
    check("\"a\\x41\\u00e9\\n\"", "\"aAé\\n\"");
    check("'it\\'s \"x\"'", "\"it's \\\"x\\\"\"");
    check("`raw\\n`", "\"raw\\\\n\"");
    check("\"\\101\"", "\"A\"");
    check("\"a\\xc5z\"", "");
    refused(
        "0x",
        "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"0x\": invalid syntax",
    );
    refused(
        "1..2",
        "1:1: parse error: bad number or duration syntax: \"1..\"",
    );
    refused(
        "1d1y",
        "1:1: parse error: bad number or duration syntax: \"1d1\"",
    );
    refused(
        "1m1h",
        "1:1: parse error: not a valid duration string: \"1m1h\"",
    );
    refused("\"a", "1:1: parse error: unterminated quoted string");
    refused(
        "\"\\q\"",
        "1:1: parse error: unknown escape sequence U+0071 'q'",
    );
}

#[test]
fn selectors() {
    check("up", "");
    check("job:up:rate5m", "");
    check("up{job=\"a\",b!=\"c\"}", "up{b!=\"c\",job=\"a\"}");
    check("{__name__=\"up\"}", "");
    check(
        "{\"a.b\", 'x.y'=~\"z.*\",}",
        "{\"x.y\"=~\"z.*\",__name__=\"a.b\"}",
    );
    check("sum", "");
    check("offset offset 5m", "");
    check("by{without!~\"a\"}", "");
    check("up # hello\n{ # more\n a=\"b\"}", "up{a=\"b\"}");
    check("up[5m] offset 5m @ 3", "up[5m] @ 3.000 offset 5m");
    check("up @ start() offset -1d", "");
    check("up @ -1.5", "up @ -1.500");
    check("up[90s]", "up[1m30s]");
    check("up[300]", "up[5m]");
    check("up offset 0", "up");
    check("up[1h:5m] @ end()", "");
    check("max_over_time((a + b)[1h:])", "");
}

#[test]
fn bad_selectors_are_refused() {
    refused(
        "{}",
        "1:1: parse error: vector selector must contain at least one non-empty matcher",
    );
    refused(
        "1 + {a=~\".*\"}",
        "1:5: parse error: vector selector must contain at least one non-empty matcher",
    );
    refused(
        "up{__name__=\"a\"}",
        "1:1: parse error: metric name must not be set twice: \"up\" or \"a\"",
    );
    refused(
        "up{a}",
        "1:5: parse error: unexpected \"}\" in label matching, expected label matching operator",
    );
    refused(
        "up{a=b}",
        "1:6: parse error: unexpected identifier \"b\" in label matching, expected string",
    );
    refused(
        "up{a=\"b\" c}",
        "1:10: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
    );
    refused(
        "up{",
        "1:4: parse error: unexpected end of input inside braces",
    );
    refused(
        "up{a:b=\"c\"}",
        "1:5: parse error: unexpected character inside braces: ':'",
    );
    refused("up[5m", "1:6: parse error: unclosed left bracket");
    refused("up[0]", "1:4: parse error: duration must be greater than 0");
    refused(
        "up[]",
        "1:4: parse error: unexpected \"]\" in subquery selector, expected number or duration",
    );
}

#[test]
fn bad_modifiers_are_refused() {
    refused(
        "up offset 5m [5m]",
        "1:14: parse error: no offset modifiers allowed before range",
    );
    refused(
        "up @ 5 [5m]",
        "1:8: parse error: no @ modifiers allowed before range",
    );
    refused(
        "(up)[5m]",
        "1:5: parse error: ranges only allowed for vector selectors",
    );
    refused(
        "up offset x",
        "1:11: parse error: unexpected identifier \"x\" in offset, expected number or duration",
    );
    refused(
        "1 offset 5m",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    );
    refused(
        "up offset 5m offset 5m",
        "1:1: parse error: offset may not be set multiple times",
    );
    refused(
        "up @ Inf",
        "1:1: parse error: timestamp out of bounds for @ modifier: +Inf",
    );
    refused(
        "up @ x",
        "1:6: parse error: unexpected identifier \"x\" in @, expected timestamp",
    );
}

#[test]
fn operators() {
    check("1 + 2 * 3 ^ 4 ^ 5", "");
    check("a or b and c unless d", "");
    check("-a ^ b", "");
    check("+a", "a");
    check("a == bool b", "");
    check(
        "a * on(x) group_left(\"y.z\",) b",
        "a * on (x) group_left (\"y.z\") b",
    );
    check("a / ignoring() b", "a / b");
    check("a AND on() b", "a and on () b");
    check("a atan2 b", "");
    check("2 ^ -1", "");
    let product = parse("-a * b").expect("parses");
    assert!(matches!(product.kind, Kind::Binary(_)), "(-a) * b");
    let power = parse("-a ^ b").expect("parses");
    assert!(matches!(power.kind, Kind::Negate(_)), "-(a ^ b)");
}

#[test]
fn bad_operations_are_refused() {
    refused(
        "1 > 2",
        "1:3: parse error: comparisons between scalars must use BOOL modifier",
    );
    refused(
        "a + bool b",
        "1:3: parse error: bool modifier can only be used on comparison operators",
    );
    refused(
        "a and 1",
        "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
    );
    refused(
        "a + on(x) 1",
        "1:1: parse error: vector matching only allowed between instant vectors",
    );
    refused(
        "a or on(x) group_left b",
        "1:1: parse error: no grouping allowed for \"or\" operation",
    );
    refused(
        "a * on(x) group_left(x) b",
        "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
    );
    refused(
        "a + \"b\"",
        "1:5: parse error: binary expression must contain only scalar and instant vector types",
    );
    refused(
        "-\"a\"",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    );
    refused(
        "+a[5m]",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
    );
    refused("a b", "1:3: parse error: unexpected identifier \"b\"");
    refused("a +\n* b", "2:1: parse error: unexpected <op:*>");
    refused(
        "a + on b",
        "1:8: parse error: unexpected identifier \"b\" in grouping opts, expected \"(\"",
    );
    refused(
        "a =~ b",
        "1:3: parse error: unexpected character after '=': '~'",
    );
    refused("a)", "1:3: parse error: unexpected right parenthesis ')'");
    refused("(a", "1:3: parse error: unclosed left parenthesis");
    refused(
        "",
        "unknown position: parse error: no expression found in input",
    );
    refused(" ", "1:1: parse error: no expression found in input");
}

#[test]
fn calls_and_aggregations() {
    check("sum by (a, le) (rate(x[5m]))", "");
    check("sum(x) without(by,)", "sum without (by) (x)");
    check("sum by () (x)", "sum(x)");
    check("SUM(x)", "sum(x)");
    check("topk(5, x)", "");
    check("count_values(\"v\", x)", "");
    check("limit_ratio(-0.5, x)", "");
    check("round(x)", "");
    check("round(x, 5)", "");
    check("hour()", "");
    check("label_join(x, \"a\", \",\")", "");
    check("sort_by_label(x, \"a\", \"b\")", "");
    check("info(x, {a=~\".*\"})", "");
    check("info(x, {})", "");
    check("mad_over_time(x[5m])", "");
}

#[test]
fn bad_calls_are_refused() {
    refused(
        "nope(x)",
        "1:1: parse error: unknown function with name \"nope\"",
    );
    refused(
        "rate(x)",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    );
    refused(
        "abs(x[5m])",
        "1:5: parse error: expected type instant vector in call to function \"abs\", got range vector",
    );
    refused(
        "abs(x, y)",
        "1:1: parse error: expected 1 argument(s) in call to \"abs\", got 2",
    );
    refused(
        "round()",
        "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0",
    );
    refused(
        "round(x, 1, 2)",
        "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
    );
    refused(
        "abs(x,)",
        "1:6: parse error: trailing commas not allowed in function call args",
    );
    refused(
        "sum()",
        "1:1: parse error: no arguments for aggregate expression provided",
    );
    refused(
        "topk(x)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    );
    refused(
        "sum(x[5m])",
        "1:5: parse error: expected type instant vector in aggregation expression, got range vector",
    );
    refused(
        "topk(x, y)",
        "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
    );
    refused(
        "sum(x y)",
        "1:7: parse error: unexpected identifier \"y\" in aggregation",
    );
    refused(
        "sum by x (y)",
        "1:8: parse error: unexpected identifier \"x\" in grouping opts, expected \"(\"",
    );
    refused(
        "info(x, y)",
        "1:9: parse error: expected label selectors only, got vector selector instead",
    );
    refused(
        "x[5m:] + 1",
        "1:1: parse error: binary expression must contain only scalar and instant vector types",
    );
    refused(
        "rate(x[5m])[5m]",
        "1:12: parse error: ranges only allowed for vector selectors",
    );
    refused(
        "1[5m:]",
        "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
    );
}

#[test]
fn durations_may_be_computed() {
    check("up[5m+1m]", "up[300 + 60]");
    check("up[ 2 * (1m - 5s) ]", "up[2 * (60 - 5)]");
    check("up[-5m + 6m]", "up[-300 + 360]");
    check("up[step()]", "");
    check("up[1h : step() + 5s]", "up[1h:step() + 5]");
    check("up offset (2*5m)", "up offset (2 * 300)");
    check("up offset -step()", "");
    check("up offset -(1m+2m)", "up offset -(60 + 120)");
    let power = parse("up offset -2^2").expect("parses");
    assert!(matches!(power.kind, Kind::Binary(_)), "(up offset -2)^2");
    let sum = parse("up offset 5m + up").expect("parses");
    assert!(matches!(sum.kind, Kind::Binary(_)), "(up offset 5m) + up");
    refused("up[5m/0]", "1:6: parse error: division by zero");
    refused("up[5m%(0)]", "1:6: parse error: modulo by zero");
    refused(
        "up[:5m]",
        "1:5: parse error: unexpected colon before duration in duration expression",
    );
    refused("up[1e18]", "1:4: parse error: duration out of range");
}

#[test]
fn labels_of_groupings_are_checked() {
    check("sum by (a:b) (x)", "sum by (\"a:b\") (x)");
    refused(
        "sum(x) by (\"\")",
        "1:12: parse error: invalid label name for grouping: \"\"",
    );
    refused(
        "x{a=~\"[\"}",
        "1:3: parse error: error parsing regexp: missing closing ]: `[`",
    );
    refused(
        "x{a=~\"b)\"}",
        "1:3: parse error: error parsing regexp: unexpected ): `b)`",
    );
    refused(
        "5mm",
        "1:1: parse error: bad number or duration syntax: \"5mm\"",
    );
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    refused(
        &deep,
        "1:101: parse error: the query is nested more than 100 deep",
    );
    let long = vec!["a"; 100_000].join("+");
    assert!(parse(&long).is_err_and(|e| e.message.contains("more than 250 operations")));
    let signs = format!("{}a", "-".repeat(50_000));
    assert!(parse(&signs).is_err_and(|e| e.message.contains("nested")));
    let bytes = format!("\"{}\"", "a".repeat(300 << 10));
    assert!(parse(&bytes).is_err_and(|e| e.message.contains("bytes")));
    assert!(parse(&vec!["a"; 200].join(" or ")).is_ok());
}

#[test]
fn types() {
    let check = |text: &str, wanted: Type| {
        assert_eq!(return_type(&parse(text).expect(text)), wanted, "{text}");
    };
    check("1 + time()", Type::Scalar);
    check("1 + a", Type::Vector);
    check("scalar(a)", Type::Scalar);
    check("(\"a\")", Type::String);
    check("a[5m]", Type::Matrix);
    check("a[5m:]", Type::Matrix);
}

/// Text of an instant vector.
fn vector() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["up", "sum", "a:b", "by", "le_bucket"]);
    let matcher = (
        prop::sample::select(vec!["job", "\"a.b\"", "le"]),
        prop::sample::select(vec!["=", "!=", "=~", "!~"]),
        "[a-z.*\\n\"é]{0,6}",
    )
        .prop_map(|(label, op, value)| format!("{label}{op}{}", super::print::quote(&value)))
        .prop_filter("a regular expression", |m| {
            parse(&format!("x{{{m}}}")).is_ok()
        });
    let modifier = prop::sample::select(vec![
        "",
        " offset 5m",
        " offset -1h",
        " @ 12.5",
        " @ end() offset 3s",
        " offset (1m*2)",
    ]);
    (name, prop::collection::vec(matcher, 0..3), modifier).prop_map(|(name, matchers, modifier)| {
        format!("{name}{{{}}}{modifier}", matchers.join(","))
    })
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        vector(),
        any::<f64>().prop_map(|v| format!("vector({})", super::print::float(v))),
        (vector(), 1..100_000u32).prop_map(|(v, s)| format!("last_over_time({v}[{s}s:7s])")),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let op = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "atan2",
            "== bool",
            ">",
            "or",
            "and on (a)",
            "* on (a, \"b.c\") group_left (d)",
            "unless ignoring (x)",
        ]);
        let aggregate = prop::sample::select(vec![
            "sum",
            "topk by (a)",
            "count_values without (b)",
            "quantile",
            "group by ()",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(l, op, r)| format!("{l} {op} {r}")),
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("-{e}")),
            inner
                .clone()
                .prop_map(|e| format!("avg_over_time(({e})[1h:{}])", "30s")),
            (aggregate, inner).prop_map(|(op, e)| match op.split(' ').next() {
                Some("topk" | "quantile") => format!("{op} (2, {e})"),
                Some("count_values") => format!("{op} (\"v\", {e})"),
                _ => format!("{op} ({e})"),
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(text in expression()) {
        let parsed = parse(&text);
        // Some mixes have no type: the printer has nothing to say about them.
        prop_assume!(parsed.is_ok());
        let expr = parsed.expect("assumed");
        let printed = expr.to_string();
        let again = parse(&printed).unwrap_or_else(|e| panic!("{text}\n{printed}: {e}"));
        prop_assert_eq!(bare(again), bare(expr), "{}", printed);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9(){}\\[\\]\"'`,:=~!@#+*/^%<> .é\\\\-]{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at <= text.len());
        }
    }
}

#[test]
fn arithmetic_keeps_its_parentheses() {
    let expr = parse("up[2 * (1m - 5s)]").expect("parses");
    let Kind::Matrix(_, super::ast::Duration::Arithmetic(of)) = expr.kind else {
        panic!("a computed range");
    };
    assert!(
        matches!(*of, Arithmetic::Binary(_, _, right) if matches!(*right, Arithmetic::Paren(_)))
    );
}
