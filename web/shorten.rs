//! Our style sheets and scripts as they are served: without comments, indentation and needless
//! marks. It knows strings, templates and regular expressions from code, and nothing else of the
//! languages; line ends of a script stay, so that no statement runs into the next.

/// Marks of a script that need no space beside them.
const MARKS: &str = "=+-*/<>?:,;{}()[]&|!";

/// A script of ours without comments and without spaces that say nothing: a third of its weight.
pub(crate) fn script(js: &str) -> String {
    let mut out = String::with_capacity(js.len());
    let mut rest = js;
    // Braces open in the code inside each template that is open.
    let mut templates: Vec<usize> = Vec::new();
    while let Some(next) = rest.chars().next() {
        let last = out.chars().next_back().unwrap_or('\n');
        let taken = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            // It parts what it stands between, like a space or a line end.
            '/' if rest.starts_with("/*") => {
                let end = rest.find("*/").expect("a comment ends") + 2;
                let gap = if rest[..end].contains('\n') {
                    "\n"
                } else {
                    " "
                };
                space(&mut out, last, gap, rest[end..].chars().next());
                end
            }
            ' ' | '\n' => {
                let gap = rest.len() - rest.trim_start_matches([' ', '\n']).len();
                space(&mut out, last, &rest[..gap], rest[gap..].chars().next());
                gap
            }
            '`' => text(&mut out, rest, 1, &mut templates),
            '}' if templates.last() == Some(&0) => {
                templates.pop();
                text(&mut out, rest, 1, &mut templates)
            }
            '"' | '\'' => literal(&mut out, rest, next),
            '/' if regex_may_follow(&out) => literal(&mut out, rest, '/'),
            _ => {
                if let Some(braces) = templates.last_mut() {
                    *braces = *braces + usize::from(next == '{') - usize::from(next == '}');
                }
                out.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    assert!(templates.is_empty(), "a template ends");
    out
}

/// A gap between two marks of code: gone, a space or a line end.
fn space(out: &mut String, last: char, gap: &str, next: Option<char>) {
    if gap.contains('\n') {
        if last != '\n' {
            out.push('\n');
        }
    } else if let Some(next) = next {
        // `a + +b` is not `a++b`.
        let apart = last == next && "+-/".contains(next);
        let mark = MARKS.contains(last) || MARKS.contains(next) || last == '\n';
        if apart || !mark {
            out.push(' ');
        }
    }
}

/// Copies the text of a template from `rest[..from]` on, up to its end or to code inside it.
fn text(out: &mut String, rest: &str, from: usize, templates: &mut Vec<usize>) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(from) {
        let end = match next {
            _ if escaped => None,
            '`' => Some(at + 1),
            '$' if rest[at + 1..].starts_with('{') => {
                templates.push(0);
                Some(at + 2)
            }
            _ => None,
        };
        if let Some(end) = end {
            out.push_str(&rest[..end]);
            return end;
        }
        escaped = next == '\\' && !escaped;
    }
    panic!("a template ends: {rest}");
}

/// Copies a string or a regular expression, which end on their own line.
fn literal(out: &mut String, rest: &str, quote: char) -> usize {
    let (mut escaped, mut class) = (false, false);
    for (at, next) in rest.char_indices().skip(1) {
        assert!(next != '\n', "a literal ends on its line: {rest:.40}");
        if !escaped && next == quote && !class {
            out.push_str(&rest[..=at]);
            return at + 1;
        }
        if !escaped && quote == '/' {
            class = next == '[' || class && next != ']';
        }
        escaped = next == '\\' && !escaped;
    }
    panic!("a literal ends: {rest:.40}");
}

/// Whether a slash after this code begins a regular expression; after a value it divides.
fn regex_may_follow(code: &str) -> bool {
    let code = code.trim_end();
    let word = |word: &str| code.ends_with(word);
    code.is_empty() || code.ends_with(|c| "(,=:[!&|?{};+-*<>".contains(c)) || word("return")
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
