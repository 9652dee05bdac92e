//! Words, phrases and prefixes by example.

use super::text::Tokens;

#[track_caller]
fn check(needle: &str, hits: &[&str], misses: &[&str]) {
    let (text, prefix) = match needle.strip_suffix('*') {
        Some(text) => (text, true),
        None => (needle, false),
    };
    let tokens = Tokens::new(text, prefix).expect("a token");
    for hit in hits {
        assert!(tokens.found_in(hit), "{needle} is in {hit:?}");
    }
    for miss in misses {
        assert!(!tokens.found_in(miss), "{needle} is not in {miss:?}");
    }
}

#[test]
fn words_match_whole_tokens_in_any_case() {
    check(
        "error",
        &["ERROR: x", "an Error", "x=error;"],
        &["errors", "terror", "_error", "éerror", "errorß"],
    );
    check("zz", &["zzz zz"], &["zzz"]);
    check("user_id", &["user_id=1"], &["user id", "user_ids"]);
    check("größe", &["GRÖSSE GRÖßE"], &["GRÖSSE"]);
    check("k", &["K"], &["\u{212a}"]);
}

#[test]
fn phrases_are_tokens_in_a_row_and_prefixes_begin_the_last() {
    check(
        "connection refused",
        &["Connection: refused", "connection--REFUSED!"],
        &[
            "connection was refused",
            "connectionrefused",
            "connection refuse",
        ],
    );
    check("conn*", &["connection", "a conn"], &["aconn", "con"]);
    check(
        "connection ref*",
        &["connection, refused"],
        &["connection unref"],
    );
    check("a b a c", &["a b a b a c"], &["a b a b"]);
    check("Über*", &["ÜBERALL"], &["uber"]);
}
