//! A test script as its commands: `clear`, `load`, `eval` in all their forms.

use regex::Regex;

use super::classic;
use super::series::{self, Item};
use crate::model::metric::{Labels, Sample, Value};
use crate::query::promql::literal;

#[derive(Debug)]
pub(super) enum Command {
    Clear,
    Load(Vec<(Labels, Vec<Sample>)>),
    Eval(Box<Eval>),
}

#[derive(Debug)]
pub(super) enum When {
    Instant(i64),
    Range { first: i64, last: i64, step: i64 },
}

/// A query and what it is expected to give. Times are ms.
#[derive(Debug)]
pub(super) struct Eval {
    pub(super) text: String,
    pub(super) when: When,
    /// First, last and step of an expected range vector.
    pub(super) range_vector: Option<(i64, i64, i64)>,
    pub(super) ordered: bool,
    pub(super) fail: Option<Wanted>,
    pub(super) warnings: Annotations,
    pub(super) infos: Annotations,
    pub(super) scalar: Option<f64>,
    pub(super) string: Option<String>,
    pub(super) series: Vec<(Labels, Vec<Item>)>,
}

impl Eval {
    pub(super) fn has_histograms(&self) -> bool {
        let mut items = self.series.iter().flat_map(|(_, items)| items);
        items.any(|item| matches!(item, Item::Histogram(..)))
    }
}

/// What is expected of one kind of annotation.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// Some have to be there, whatever they say.
    pub(super) any: bool,
    pub(super) none: bool,
    /// Each is met, and each annotation meets one.
    pub(super) wanted: Vec<Wanted>,
}

/// A text that an error or annotation has to have.
#[derive(Debug)]
pub(super) enum Wanted {
    Anything,
    Message(String),
    Regex(Regex),
}

impl Wanted {
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Wanted::Anything => true,
            Wanted::Message(message) => message == text,
            Wanted::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Commands with their lines, counted from 1.
pub(super) fn parse(text: &str) -> Result<Vec<(usize, Command)>, String> {
    let lines: Vec<&str> = text.lines().map(uncommented).collect();
    let mut commands = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        let (number, line) = (next + 1, lines[next]);
        next += 1;
        let word = line.split_whitespace().next().unwrap_or("");
        let named = |why: String| format!("line {number}: {why}");
        let command = match word.to_ascii_lowercase().as_str() {
            "" => continue,
            "clear" => Command::Clear,
            load if load.starts_with("load") => {
                let body = block(&lines, &mut next);
                Command::Load(parse_load(line, body).map_err(named)?)
            }
            eval if eval.starts_with("eval") => {
                let mut eval = parse_eval(line).map_err(named)?;
                while next < lines.len() && !lines[next].is_empty() {
                    next += 1;
                    if expectation(&mut eval, lines[next - 1]).map_err(named)? {
                        break;
                    }
                }
                Command::Eval(Box::new(eval))
            }
            _ => return Err(named(format!("invalid command {line}"))),
        };
        commands.push((number, command));
    }
    Ok(commands)
}

fn uncommented(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

/// The lines up to the next empty one.
fn block<'l, 't>(lines: &'l [&'t str], next: &mut usize) -> &'l [&'t str] {
    let rest = &lines[*next..];
    let length = rest.iter().position(|line| line.is_empty());
    let length = length.unwrap_or(rest.len());
    *next += length;
    &rest[..length]
}

fn parse_load(line: &str, body: &[&str]) -> Result<Vec<(Labels, Vec<Sample>)>, String> {
    let (word, step) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let native = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(format!("invalid load command {word}")),
    };
    let step = literal::duration(step.trim())?;
    let mut loaded = Vec::new();
    for line in body {
        let (labels, items) = series::parse(line)?;
        let samples = items.into_iter().zip(0..).filter_map(|(item, i)| {
            let value = match item {
                Item::Omitted => return None,
                Item::Float(value) => Value::Float(value),
                Item::Histogram(value, _) => Value::Histogram(value),
            };
            Some(Sample {
                at: i * step,
                value,
            })
        });
        // Of a series that comes twice the last line counts.
        loaded.retain(|(known, _): &(Labels, Vec<Sample>)| *known != labels);
        loaded.push((labels, samples.collect()));
    }
    if native {
        let more = classic::native(&loaded)?;
        loaded.extend(more);
    }
    Ok(loaded)
}

fn parse_eval(line: &str) -> Result<Eval, String> {
    let mut words = Words { rest: line };
    let mode = words.next();
    let when = match words.next() {
        "instant" => {
            words.expect("at")?;
            When::Instant(literal::duration(words.next())?)
        }
        "range" => {
            let (first, last, step) = range(&mut words)?;
            When::Range { first, last, step }
        }
        other => return Err(format!("invalid evaluation command: {other}")),
    };
    let mut eval = Eval {
        text: words.rest.trim().to_owned(),
        when,
        range_vector: None,
        ordered: false,
        fail: None,
        warnings: Annotations::default(),
        infos: Annotations::default(),
        scalar: None,
        string: None,
        series: Vec::new(),
    };
    match mode {
        "eval" => {}
        "eval_fail" => eval.fail = Some(Wanted::Anything),
        "eval_warn" => eval.warnings.any = true,
        "eval_info" => eval.infos.any = true,
        "eval_ordered" => eval.ordered = true,
        other => return Err(format!("invalid evaluation command: {other}")),
    }
    Ok(eval)
}

/// `from 0 to 1m step 10s`.
fn range(words: &mut Words<'_>) -> Result<(i64, i64, i64), String> {
    let mut part = |word: &str| {
        words.expect(word)?;
        literal::duration(words.next())
    };
    Ok((part("from")?, part("to")?, part("step")?))
}

struct Words<'t> {
    rest: &'t str,
}

impl<'t> Words<'t> {
    fn next(&mut self) -> &'t str {
        let text = self.rest.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        self.rest = &text[end..];
        &text[..end]
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        match self.next() {
            found if found == word => Ok(()),
            found => Err(format!("expected {word}, found {found}")),
        }
    }
}

/// Takes one line after an `eval`; whether it is the last of it.
fn expectation(eval: &mut Eval, line: &str) -> Result<bool, String> {
    let regex = |text: &str| Regex::new(text.trim()).map_err(|error| error.to_string());
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        eval.fail = Some(Wanted::Message(message.trim().to_owned()));
        return Ok(true);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        eval.fail = Some(Wanted::Regex(regex(pattern)?));
        return Ok(true);
    }
    if let Some(rest) = line.strip_prefix("expect range vector") {
        eval.range_vector = Some(range(&mut Words { rest })?);
        return Ok(false);
    }
    if let Some(rest) = line.strip_prefix("expect string") {
        let quoted = rest.trim();
        if quoted.len() < 2 || !quoted.starts_with(['"', '`', '\'']) {
            return Err("expected string literal not valid".to_owned());
        }
        eval.string = Some(literal::unquote(quoted)?);
        return Ok(false);
    }
    if let Some(rest) = line.strip_prefix("expect ") {
        expect(eval, rest.trim())?;
        return Ok(false);
    }
    let (sign, digits) = match line.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, line),
    };
    if let Ok(value) = literal::number(digits) {
        eval.scalar = Some(sign * value);
        return Ok(true);
    }
    let (labels, items) = series::parse(line)?;
    let one = items.len() <= 1 || !matches!(eval.when, When::Instant(_));
    if !one && eval.range_vector.is_none() {
        return Err("expecting multiple values in instant evaluation not allowed".to_owned());
    }
    eval.series.retain(|(known, _)| *known != labels);
    eval.series.push((labels, items));
    Ok(false)
}

/// `fail`, `ordered`, `warn msg: ...`, `no_info`, `info regex: ...`.
fn expect(eval: &mut Eval, text: &str) -> Result<(), String> {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let wanted = if rest.is_empty() {
        Wanted::Anything
    } else if let Some(message) = rest.strip_prefix("msg:") {
        Wanted::Message(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        Wanted::Regex(Regex::new(pattern.trim()).map_err(|error| error.to_string())?)
    } else {
        return Err(format!("invalid expect statement {text}"));
    };
    match kind {
        "ordered" => eval.ordered = true,
        "fail" => eval.fail = Some(wanted),
        "warn" => eval.warnings.wanted.push(wanted),
        "info" => eval.infos.wanted.push(wanted),
        "no_warn" => eval.warnings.none = true,
        "no_info" => eval.infos.none = true,
        _ => return Err(format!("invalid expect statement {text}")),
    }
    let both = |a: &Annotations| a.none && !a.wanted.is_empty();
    if both(&eval.warnings) || both(&eval.infos) {
        return Err("a kind of annotation cannot be expected and not".to_owned());
    }
    Ok(())
}
