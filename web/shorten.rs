//! Our style sheets and scripts as they are served: without comments, indentation and needless
//! marks. Line-based and small instead of a parser, so it asserts what it relies on.

/// A script of ours without indentation and lines that are only a comment: a fifth of its weight.
/// Text over several lines would lose its indentation, so ours has none.
pub(crate) fn script(js: &str) -> String {
    let whole =
        |line: &str| line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
    let mut out = String::with_capacity(js.len());
    for line in js
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !whole(line))
    {
        assert!(
            line.matches('`').count() % 2 == 0,
            "text goes on after the line: {line}"
        );
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// A style sheet without comments, line ends and indentation. Quoted text in ours never holds any.
pub(crate) fn style_sheet(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/").expect("a comment ends").1;
    }
    out.push_str(rest);
    let joined = out.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut short = joined.split_whitespace().collect::<Vec<_>>().join(" ");
    for mark in ["{", "}", ";", ","] {
        short = short
            .replace(&format!(" {mark}"), mark)
            .replace(&format!("{mark} "), mark);
    }
    short = short.replace(": ", ":").replace(";}", "}");
    // `0.5` is `.5`, but `10.5` stays.
    for mark in [" ", ",", ":", "("] {
        short = short.replace(&format!("{mark}0."), &format!("{mark}."));
    }
    short
}
