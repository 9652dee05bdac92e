//! A log line's text as runs with a meaning each: muted `key=`, marked matches, terminal colours.
//! Whatever a sender wrote comes out as plain text: control and direction-changing characters are
//! shown by name, terminal escapes never pass. It must never emit HTML: templates escape the runs.

/// A stretch of text under one class name of `logs.css`; `""` is plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) class: &'static str,
    pub(crate) text: String,
}

/// A word, prefix or phrase to be marked: its tokens in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needle {
    tokens: Vec<String>,
    /// The last token may go on: `pre*`.
    prefix: bool,
}

/// Characters that a class name stands for.
const MARK: &str = "m";
const KEY: &str = "k";
const CONTROL: &str = "u";

/// Terminal colours 0-7; 8-15 are shown as their plain ones, the themes decide about brightness.
const COLOURS: [&str; 8] = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"];

impl Needle {
    /// From a term of a query: a bare word, `"a phrase"` or `pre*`; `None` for text without a token.
    pub(crate) fn of(value: &str) -> Option<Needle> {
        let (text, prefix) = match value.strip_suffix('*') {
            Some(text) => (text, true),
            None => (value.trim_matches('"'), false),
        };
        let tokens: Vec<_> = tokens(text)
            .map(|(_, token)| token.to_lowercase())
            .collect();
        (!tokens.is_empty()).then_some(Needle { tokens, prefix })
    }

    fn matches(&self, texts: &[String]) -> bool {
        let (Some(last), true) = (self.tokens.last(), texts.len() >= self.tokens.len()) else {
            return false;
        };
        let end = self.tokens.len() - 1;
        texts[..end] == self.tokens[..end]
            && match self.prefix {
                true => texts[end].starts_with(last.as_str()),
                false => texts[end] == *last,
            }
    }
}

/// At most `chars_max` characters of `text` as runs; the flag says whether there was more.
pub(crate) fn runs(text: &str, needles: &[Needle], chars_max: usize) -> (Vec<Run>, bool) {
    let end = text
        .char_indices()
        .nth(chars_max)
        .map_or(text.len(), |(at, _)| at);
    let mut runs = Vec::new();
    for (colour, part) in coloured(&text[..end]) {
        let mut at = 0;
        for (range, class) in spans(part, needles) {
            plain(&mut runs, colour, &part[at..range.start]);
            plain(&mut runs, class, &part[range.clone()]);
            at = range.end;
        }
        plain(&mut runs, colour, &part[at..]);
    }
    (runs, end < text.len())
}

/// Appends text, naming the characters that have no picture or would reorder their neighbours.
fn plain(runs: &mut Vec<Run>, class: &'static str, text: &str) {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let Some(name) = name_of(c) else { continue };
        push(runs, class, &text[from..at]);
        push(runs, CONTROL, &name);
        from = at + c.len_utf8();
    }
    push(runs, class, &text[from..]);
}

fn push(runs: &mut Vec<Run>, class: &'static str, text: &str) {
    match runs.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.class == class => last.text.push_str(text),
        _ => runs.push(Run {
            class,
            text: text.to_owned(),
        }),
    }
}

/// Control characters by their pictures, direction marks by their code points.
fn name_of(c: char) -> Option<String> {
    match c {
        '\n' => Some("↵ ".to_owned()),
        '\t' => Some("  ".to_owned()),
        '\r' => Some(String::new()),
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).map(String::from),
        '\u{7f}' => Some("␡".to_owned()),
        '\u{80}'..='\u{9f}'
        | '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => Some(format!("U+{:04X}", u32::from(c))),
        _ => None,
    }
}

/// Splits at terminal escapes (ECMA-48 CSI and OSC), keeping the foreground colour they set.
fn coloured(text: &str) -> Vec<(&'static str, &str)> {
    let mut parts = Vec::new();
    let (mut rest, mut colour) = (text, "");
    while let Some(at) = rest.find('\u{1b}') {
        parts.push((colour, &rest[..at]));
        let after = &rest[at + 1..];
        rest = if let Some(sequence) = after.strip_prefix('[') {
            let end = sequence.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c));
            match end {
                Some(end) if sequence.as_bytes()[end] == b'm' => {
                    colour = colour_after(colour, &sequence[..end]);
                    &sequence[end + 1..]
                }
                Some(end) => &sequence[end + 1..],
                None => "",
            }
        } else if let Some(command) = after.strip_prefix(']') {
            // An operating-system command ends with BEL or ESC \; an endless one is shown as text.
            match command.find(['\u{7}', '\u{1b}']) {
                Some(end) => command[end + 1..].trim_start_matches('\\'),
                None => command,
            }
        } else {
            after
        };
    }
    parts.push((colour, rest));
    parts
}

fn colour_after(colour: &'static str, parameters: &str) -> &'static str {
    let mut numbers = parameters
        .split([';', ':'])
        .map(|number| number.parse::<usize>().unwrap_or(0));
    let mut colour = colour;
    while let Some(number) = numbers.next() {
        colour = match number {
            0 | 39 => "",
            30..=37 => COLOURS[number - 30],
            90..=97 => COLOURS[number - 90],
            38 => match numbers.next() {
                // Of the 256 colours the first 16 are the terminal's own; the rest fit no theme.
                Some(5) => numbers
                    .next()
                    .filter(|n| *n < 16)
                    .map_or("", |n| COLOURS[n % 8]),
                _ => return "",
            },
            _ => colour,
        };
    }
    colour
}

/// Where `key=` and matches stand, in order and without overlap.
fn spans(text: &str, needles: &[Needle]) -> Vec<(std::ops::Range<usize>, &'static str)> {
    let tokens: Vec<_> = tokens(text).collect();
    let lower: Vec<_> = match needles.is_empty() {
        true => Vec::new(),
        false => tokens
            .iter()
            .map(|(_, token)| token.to_lowercase())
            .collect(),
    };
    let mut spans = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = tokens[at].0;
        let found = needles.iter().find(|needle| needle.matches(&lower[at..]));
        if let Some(needle) = found {
            at += needle.tokens.len();
            spans.push((start..end_of(&tokens[at - 1]), MARK));
            continue;
        }
        if let Some(end) = key_end(text, start) {
            spans.push((start..end, KEY));
            while at < tokens.len() && tokens[at].0 < end {
                at += 1;
            }
            continue;
        }
        at += 1;
    }
    spans
}

/// The end of `key=` when one starts at `start`: a name of letters, digits, `_`, `.`, `-` after a
/// space or at the beginning.
fn key_end(text: &str, start: usize) -> Option<usize> {
    let before = text[..start].chars().next_back();
    if !before.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '{' | '(')) {
        return None;
    }
    let name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let length = text[start..].chars().take_while(name).count();
    let rest = &text[start + length..];
    let is_key = length > 0 && rest.starts_with('=') && !rest[1..].starts_with(['=', ' ']);
    (is_key && rest.len() > 1).then_some(start + length + 1)
}

/// Tokens as the query language splits them: runs of letters, digits and `_`.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_token = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_token)?;
        let length = text[start..]
            .find(|c| !is_token(c))
            .unwrap_or(text.len() - start);
        at = start + length;
        Some((start, &text[start..at]))
    })
}

fn end_of((at, token): &(usize, &str)) -> usize {
    at + token.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Needle, runs};

    #[track_caller]
    fn check(text: &str, words: &[&str], expect: &str) {
        let needles: Vec<_> = words.iter().filter_map(|word| Needle::of(word)).collect();
        let (runs, cut) = runs(text, &needles, 200);
        assert!(!cut);
        let show = |run: &super::Run| match run.class {
            "" => run.text.clone(),
            class => format!("<{class}:{}>", run.text),
        };
        assert_eq!(runs.iter().map(show).collect::<String>(), expect);
    }

    #[test]
    fn keys_are_muted_and_matches_marked() {
        check(
            "card declined code=42",
            &["declined"],
            "card <m:declined> <k:code=>42",
        );
        check("a.b-c=1, d=2 == e= f", &[], "<k:a.b-c=>1, <k:d=>2 == e= f");
        check(
            "Pool Exhausted (32/32)",
            &["\"pool exhausted\""],
            "<m:Pool Exhausted> (32/32)",
        );
        check("timeouts", &["timeout"], "timeouts");
        check("timeouts", &["time*"], "<m:timeouts>");
        check("url=http://x?a=b", &[], "<k:url=>http://x?a=b");
        check("müßig straße", &["STRASSE", "müßig"], "<m:müßig> straße");
    }

    #[test]
    fn terminal_colours_become_classes_and_other_escapes_vanish() {
        check("\u{1b}[31mred\u{1b}[0m plain", &[], "<a1:red> plain");
        check("\u{1b}[1;38;5;2mx\u{1b}[2K\u{1b}[39my", &[], "<a2:x>y");
        check(
            "\u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{1b}\\ end",
            &[],
            "link end",
        );
        check("cut \u{1b}[3", &[], "cut ");
    }

    #[test]
    fn what_has_no_picture_is_named() {
        check("a\0b\u{202e}c", &[], "a<u:␀>b<u:U+202E>c");
        check("one\r\n\ttwo", &[], "one<u:↵   >two");
        check(
            "<script>alert(1)</script> 🔥",
            &[],
            "<script>alert(1)</script> 🔥",
        );
    }

    #[test]
    fn long_lines_are_cut_at_characters() {
        let (cut, more) = runs(&"é".repeat(1_000_000), &[], 10);
        assert_eq!((cut[0].text.as_str(), more), ("éééééééééé", true));
    }

    proptest! {
        #[test]
        fn plain_text_comes_out_whole(text in "[ -~é🔥]{0,60}", word in any::<String>()) {
            let needles: Vec<_> = Needle::of(&word).into_iter().collect();
            let (runs, _) = runs(&text, &needles, 100);
            assert_eq!(runs.iter().map(|run| run.text.as_str()).collect::<String>(), text);
        }

        #[test]
        fn no_escape_or_control_character_ever_comes_out(text in any::<String>()) {
            let (runs, _) = runs(&text, &[], 1_000);
            assert!(runs.iter().all(|run| run.text.chars().all(|c| !c.is_control())));
        }
    }
}
