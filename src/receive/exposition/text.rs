//! The text formats. One pass, no token is looked at twice, nothing is allocated per line but for
//! lines with exemplars.
//!
//! As Prometheus 3.5 does: a comma between labels is optional in Prometheus text, a value may follow
//! the brace at once, label values of Prometheus text may hold line breaks, `_created` lines are
//! series as any others, names of samples need not fit the TYPE before them. Unlike it: a NUL where
//! a line starts is an error and not the end of the page, names may not be empty, escapes in
//! exemplars and in quoted names of metadata are undone, and a page is UTF-8 in its comments too.

use std::str;

use super::number;
use super::page::{Result, Wrong, unescape};
use super::{Item, PageError, PageExemplar, Sample};
use crate::model::metric::{Labels, MetricKind, NAME, NORMAL_NAN_BITS, Value};

pub(super) fn parse(
    page: &[u8],
    open_metrics: bool,
    mut each: impl FnMut(Item<'_>),
) -> Result<(), PageError> {
    let text = str::from_utf8(page).map_err(|error| {
        let good = &page[..error.valid_up_to()];
        let good = str::from_utf8(good).expect("valid up to here");
        Wrong::new(good.len(), "expected UTF-8").on(good)
    })?;
    let mut lines = Lines {
        page: text,
        bytes: page,
        at: 0,
        open_metrics,
        kind: MetricKind::Unknown,
        pieces: Vec::with_capacity(16),
        spare: Vec::with_capacity(16),
        unescaped: String::with_capacity(256),
        exemplars: Vec::new(),
    };
    let mut read = || {
        while !lines.at_the_end()? {
            lines.line(&mut each)?;
        }
        Ok(())
    };
    read().map_err(|wrong: Wrong| wrong.on(text))
}

/// A name or value: of the page, or where an escape was undone of the line's own text.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
    unescaped: bool,
}

struct Lines<'a> {
    page: &'a str,
    bytes: &'a [u8],
    at: usize,
    open_metrics: bool,
    /// Of the TYPE line read last: says which label is a bound.
    kind: MetricKind,
    /// Names and values of the line, in its order.
    pieces: Vec<(Piece, Piece)>,
    /// Room for the line's labels, empty between two lines.
    spare: Vec<(&'static str, &'static str)>,
    unescaped: String,
    exemplars: Vec<PageExemplar>,
}

const fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

const fn in_metric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

const fn in_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(Wrong::new(self.at, what))
    }

    /// Prometheus text allows blanks between all parts, OpenMetrics one space where it says so.
    fn blanks(&mut self) {
        if !self.open_metrics {
            while let Some(b' ' | b'\t') = self.peek() {
                self.at += 1;
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> Piece {
        let start = self.at;
        while let Some(byte) = self.peek()
            && fits(byte)
        {
            self.at += 1;
        }
        self.piece(start)
    }

    /// From `start` to here.
    fn piece(&self, start: usize) -> Piece {
        Piece {
            start: start as u32,
            end: self.at as u32,
            unescaped: false,
        }
    }

    fn text(&self, piece: Piece) -> &str {
        let whole = match piece.unescaped {
            true => self.unescaped.as_str(),
            false => self.page,
        };
        &whole[piece.start as usize..piece.end as usize]
    }

    /// Blank lines are passed over. True: the page is read.
    fn at_the_end(&mut self) -> Result<bool> {
        if self.open_metrics {
            let rest = &self.bytes[self.at..];
            if rest.is_empty() {
                return self.wrong("expected \"# EOF\" as the last line");
            }
            let Some(after) = rest.strip_prefix(b"# EOF") else {
                return Ok(false);
            };
            self.at += rest.len() - after.len();
            self.take(b'\n');
            return match self.at == self.bytes.len() {
                true => Ok(true),
                false => self.wrong("expected nothing after \"# EOF\""),
            };
        }
        while let Some(b' ' | b'\t' | b'\n') = self.peek() {
            self.at += 1;
        }
        Ok(self.at == self.bytes.len())
    }

    fn line(&mut self, each: &mut impl FnMut(Item<'_>)) -> Result<()> {
        match self.peek() {
            Some(b'#') => self.hash(each),
            Some(b'{') => self.sample(None, each),
            Some(byte) if starts_name(byte) || byte == b':' => {
                let name = self.take_while(in_metric);
                self.sample(Some(name), each)
            }
            _ if self.open_metrics => self.wrong(
                "expected a metric name, \"{\", or \"# HELP\", \"# TYPE\", \"# UNIT\" or \"# EOF\"",
            ),
            _ => self.wrong("expected a metric name, \"{\" or a comment"),
        }
    }

    /// A comment, or metadata.
    fn hash(&mut self, each: &mut impl FnMut(Item<'_>)) -> Result<()> {
        let start = self.at;
        self.at += 1;
        let spaced = match self.open_metrics {
            true => self.take(b' '),
            false => {
                let before = self.at;
                self.blanks();
                self.at > before
            }
        };
        let rest = &self.page[self.at..];
        let word = rest.get(..4).filter(|_| spaced).unwrap_or_default();
        let separated = match rest.as_bytes().get(4) {
            Some(b' ') => true,
            Some(b'\t') => !self.open_metrics,
            _ => false,
        };
        let known = matches!(word, "HELP" | "TYPE") || (word == "UNIT" && self.open_metrics);
        if known && separated {
            self.at += 5;
            return self.metadata(word, each);
        }
        if self.open_metrics {
            self.at = start;
            return self.wrong("expected \"# HELP \", \"# TYPE \", \"# UNIT \" or \"# EOF\"");
        }
        self.skip_line();
        Ok(())
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }

    fn metadata(&mut self, word: &str, each: &mut impl FnMut(Item<'_>)) -> Result<()> {
        self.unescaped.clear();
        self.blanks();
        let metric = match self.peek() {
            Some(b'"') => self.quoted(true)?,
            Some(byte) if starts_name(byte) || byte == b':' => self.take_while(in_metric),
            _ => return self.wrong(format!("expected a metric name after {word}")),
        };
        let before = self.at;
        self.skip_line();
        let rest = &self.page[before..self.at];
        if self.open_metrics {
            if self.at == self.bytes.len() {
                return self.wrong("expected a line break, and \"# EOF\" as the last line");
            }
            self.at += 1;
            if !rest.starts_with(' ') {
                return Err(Wrong::new(
                    before,
                    format!("expected a space and the text of {word}"),
                ));
            }
        }
        // Of blanks only, there is no text; else the first one separates.
        let blank = rest.bytes().all(|b| matches!(b, b' ' | b'\t')) && !self.open_metrics;
        let skipped = rest
            .chars()
            .next()
            .filter(|_| !blank)
            .map_or(0, char::len_utf8);
        let text = if blank { "" } else { &rest[skipped..] };
        match word {
            "TYPE" => {
                let Some(kind) = self.kind_of(text) else {
                    return Err(Wrong::new(before + skipped, "expected a metric type"));
                };
                self.kind = kind;
                let metric = self.text(metric);
                each(Item::Type { metric, kind });
            }
            "UNIT" => {
                let metric = self.text(metric);
                let stem = metric.strip_suffix(text);
                if !text.is_empty() && !stem.is_some_and(|stem| stem.ends_with('_')) {
                    let what = format!("expected a unit that {metric:?} ends in");
                    return Err(Wrong::new(before + skipped, what));
                }
                each(Item::Unit { metric, unit: text });
            }
            _ => {
                let mut undone = String::new();
                let mut text = text;
                if text.contains('\\') {
                    unescape(text, self.open_metrics, &mut undone);
                    text = &undone;
                }
                let metric = self.text(metric);
                each(Item::Help { metric, text });
            }
        }
        Ok(())
    }

    fn kind_of(&self, text: &str) -> Option<MetricKind> {
        Some(match text {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            "histogram" => MetricKind::Histogram,
            "summary" => MetricKind::Summary,
            "untyped" if !self.open_metrics => MetricKind::Unknown,
            "unknown" if self.open_metrics => MetricKind::Unknown,
            "gaugehistogram" if self.open_metrics => MetricKind::GaugeHistogram,
            "info" if self.open_metrics => MetricKind::Info,
            "stateset" if self.open_metrics => MetricKind::StateSet,
            _ => return None,
        })
    }

    /// The rest of a line with a value, from behind the metric's name, if that stands first.
    fn sample(&mut self, name: Option<Piece>, each: &mut impl FnMut(Item<'_>)) -> Result<()> {
        let start = name.map_or(self.at, |name| name.start as usize);
        self.pieces.clear();
        self.unescaped.clear();
        self.exemplars.clear();
        let mut name = name;
        self.blanks();
        let mut end = name.map_or(self.at, |name| name.end as usize);
        if self.take(b'{') {
            self.labels(&mut name)?;
            end = self.at;
        }
        let Some(name) = name else {
            return Err(Wrong::new(
                start,
                "expected a metric name before or in the braces",
            ));
        };
        let value = self.value("a value after the series")?;
        let at = self.timestamp()?;
        let mut pairs = lend(std::mem::take(&mut self.spare));
        pairs.push((NAME, self.text(name)));
        let pieces = self.pieces.iter();
        pairs.extend(pieces.map(|&(name, value)| (self.text(name), self.text(value))));
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_unstable();
            if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
                let what = format!(
                    "expected labels of different names, not {:?} twice",
                    twice[0].0
                );
                return Err(Wrong::new(start, what));
            }
        }
        each(Item::Sample(Sample {
            raw: &self.page[start..end],
            labels: &pairs,
            at,
            value: Value::Float(value),
            exemplars: &self.exemplars,
        }));
        self.spare = lend(pairs);
        Ok(())
    }

    /// Labels up to the closing brace; the metric's name may stand among them in quotes.
    fn labels(&mut self, metric: &mut Option<Piece>) -> Result<()> {
        loop {
            self.blanks();
            let start = self.at;
            let (name, quoted) = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'"') => (self.quoted(true)?, true),
                Some(byte) if starts_name(byte) => (self.take_while(in_label), false),
                _ => return self.wrong("expected a label name or \"}\""),
            };
            if name.start == name.end {
                return Err(Wrong::new(start, "expected a name that is not empty"));
            }
            self.blanks();
            if quoted && matches!(self.peek(), Some(b',' | b'}')) {
                if metric.replace(name).is_some() {
                    return Err(Wrong::new(start, "expected one metric name only"));
                }
                self.take(b',');
                continue;
            }
            self.label(name)?;
            self.blanks();
            if !self.take(b',') && self.open_metrics && self.peek() != Some(b'}') {
                return self.wrong("expected \",\" or \"}\"");
            }
        }
    }

    /// `="value"` of a label.
    fn label(&mut self, name: Piece) -> Result<()> {
        if !self.take(b'=') {
            return self.wrong("expected \"=\"");
        }
        self.blanks();
        if self.peek() != Some(b'"') {
            return self.wrong("expected a label value in quotes");
        }
        let value = self.quoted(!self.open_metrics)?;
        let bound = match self.kind {
            MetricKind::Histogram => "le",
            MetricKind::Summary => "quantile",
            _ => "",
        };
        let value = match !bound.is_empty() && self.text(name) == bound {
            true => self.canonical(value),
            false => value,
        };
        self.pieces.push((name, value));
        Ok(())
    }

    /// A bound in its one form; what is no number stays as it is.
    fn canonical(&mut self, value: Piece) -> Piece {
        let text = self.text(value);
        if number::is_canonical(text) {
            return value;
        }
        let Some(bound) = number::float(text) else {
            return value;
        };
        let start = self.unescaped.len() as u32;
        number::write_canonical(bound, &mut self.unescaped);
        Piece {
            start,
            end: self.unescaped.len() as u32,
            unescaped: true,
        }
    }

    /// A text in double quotes, its escapes undone.
    fn quoted(&mut self, breaks: bool) -> Result<Piece> {
        let open = self.at;
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(len) = memchr::memchr3(b'"', b'\\', if breaks { b'"' } else { b'\n' }, rest)
            else {
                return Err(Wrong::new(open, "expected a text whose quotes are closed"));
            };
            self.at += len;
            match rest[len] {
                b'"' => break,
                b'\\' if rest.get(len + 1).is_some_and(|next| *next != b'\n') => {
                    escaped = true;
                    self.at += 2;
                }
                _ => return self.wrong("expected the closing quote before the line ends"),
            }
        }
        let end = self.at;
        self.at += 1;
        if !escaped {
            return Ok(Piece {
                start: start as u32,
                end: end as u32,
                unescaped: false,
            });
        }
        let from = self.unescaped.len();
        unescape(&self.page[start..end], true, &mut self.unescaped);
        Ok(Piece {
            start: from as u32,
            end: self.unescaped.len() as u32,
            unescaped: true,
        })
    }

    /// A word up to the next blank, in OpenMetrics behind exactly one space.
    fn word(&mut self) -> Option<&'a str> {
        if self.open_metrics && !self.take(b' ') {
            return None;
        }
        self.blanks();
        let tab = if self.open_metrics { b' ' } else { b'\t' };
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .position(|b| *b == b' ' || *b == b'\n' || *b == tab);
        let start = self.at;
        self.at += len.unwrap_or(rest.len());
        Some(&self.page[start..self.at]).filter(|word| !word.is_empty())
    }

    fn value(&mut self, wanted: &str) -> Result<f64> {
        let before = self.at;
        let Some(word) = self.word() else {
            self.at = before;
            return self.wrong(format!("expected {wanted}"));
        };
        let Some(value) = number::float(word) else {
            self.at -= word.len();
            return self.wrong("expected a number");
        };
        Ok(if value.is_nan() {
            f64::from_bits(NORMAL_NAN_BITS)
        } else {
            value
        })
    }

    /// What follows a value: in ms, a timestamp. Reads to the end of the line, exemplar included.
    fn timestamp(&mut self) -> Result<Option<i64>> {
        if self.open_metrics {
            return self.seconds_and_exemplar();
        }
        self.blanks();
        let start = self.at;
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let text = &self.page[start..digits.end as usize];
        let at = match text {
            "" => None,
            text => match text.parse() {
                Ok(at) => Some(at),
                Err(_) => return Err(Wrong::new(start, "expected a timestamp below 2^63 ms")),
            },
        };
        self.blanks();
        if self.at < self.bytes.len() && !self.take(b'\n') {
            return self.wrong(match at {
                None => "expected a timestamp in ms or the end of the line",
                Some(_) => "expected the end of the line after the timestamp",
            });
        }
        Ok(at)
    }

    fn seconds_and_exemplar(&mut self) -> Result<Option<i64>> {
        let mut at = None;
        if self.peek() == Some(b' ') && !self.bytes[self.at..].starts_with(b" # {") {
            at = Some(self.seconds()?);
        }
        if self.bytes[self.at..].starts_with(b" # {") {
            self.at += " # {".len();
            self.exemplar()?;
        }
        match self.take(b'\n') {
            true => Ok(at),
            false => {
                self.wrong("expected a timestamp in seconds, an exemplar or the end of the line")
            }
        }
    }

    /// OpenMetrics: seconds, with a fraction or without; kept to the ms.
    fn seconds(&mut self) -> Result<i64> {
        let before = self.at;
        let word = self.word().unwrap_or_default();
        match number::float(word).filter(|seconds| seconds.is_finite()) {
            Some(seconds) => Ok((seconds * 1000.0) as i64),
            None => {
                self.at = before + 1;
                self.wrong("expected a timestamp in seconds")
            }
        }
    }

    fn exemplar(&mut self) -> Result<()> {
        let own = std::mem::take(&mut self.pieces);
        let (mut metric, start) = (None, self.at);
        // Bounds are of the sample, not of its exemplar.
        let kind = std::mem::take(&mut self.kind);
        self.labels(&mut metric)?;
        self.kind = kind;
        if metric.is_some() {
            return Err(Wrong::new(
                start,
                "expected a label name, an exemplar has no name",
            ));
        }
        let value = self.value("a value after the exemplar's labels")?;
        let at = match self.peek() {
            Some(b' ') => Some(self.seconds()?),
            _ => None,
        };
        let pieces = self.pieces.iter();
        let labels = pieces.map(|&(name, value)| (self.text(name), self.text(value)));
        let labels = Labels::of(labels);
        self.exemplars.push(PageExemplar { at, value, labels });
        self.pieces = own;
        Ok(())
    }
}

/// The room of an emptied list for texts that live otherwise long; nothing is allocated.
fn lend<'b>(mut pairs: Vec<(&str, &str)>) -> Vec<(&'b str, &'b str)> {
    pairs.clear();
    pairs.into_iter().map(|_| ("", "")).collect()
}
