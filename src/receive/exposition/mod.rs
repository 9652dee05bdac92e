//! Pages of metrics as targets expose them: Prometheus text 0.0.4 and 1.0.0, OpenMetrics 1.0, and the
//! delimited protobuf of `io.prometheus.client.MetricFamily`.
//!
//! What is accepted follows the parsers of Prometheus 3.5 (`model/textparse`); where those end a page
//! silently or store nonsense, the page is refused instead ([`text`] names the cases). Must never
//! panic, nor allocate per line: a page has tens of thousands of them every 15 s.

mod family;
mod number;
mod page;
mod protobuf;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use crate::model::metric::{Labels, MetricKind, Value};

pub(crate) use family::Families;

/// Bytes of a page that is read at all; a body limit of a scrape is checked long before. Offsets
/// into a page are `u32`.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/plain`
    Prometheus,
    /// `application/openmetrics-text`
    OpenMetrics,
    /// `application/vnd.google.protobuf`
    Protobuf,
}

/// What a page says, item by item. `'a` is the call in which it is told.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    Help { metric: &'a str, text: &'a str },
    Type { metric: &'a str, kind: MetricKind },
    Unit { metric: &'a str, unit: &'a str },
    Sample(Sample<'a>),
}

/// One line with a value, or one value of a protobuf family.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    /// The series as the page writes it: lines of one series repeat it from page to page, so it is a
    /// key to what was made of its labels before.
    pub(crate) raw: &'a str,
    /// `__name__` and the labels, unescaped, sorted by name, no name twice; values may be empty.
    /// Values of `le` and `quantile` are in the one form of OpenMetrics (`1` is `1.0`), as
    /// Prometheus 3 keeps them.
    pub(crate) labels: &'a [(&'a str, &'a str)],
    /// ms since the epoch, if the page tells.
    pub(crate) at: Option<i64>,
    pub(crate) value: Value,
    pub(crate) exemplars: &'a [PageExemplar],
}

/// An exemplar; without a time of its own it has that of its sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PageExemplar {
    pub(crate) at: Option<i64>,
    pub(crate) value: f64,
    pub(crate) labels: Labels,
}

/// Where a page is wrong and what should stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageError {
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters; of protobuf in bytes.
    pub(crate) column: u32,
    pub(crate) what: String,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PageError { line, column, what } = self;
        write!(f, "line {line}, column {column}: {what}")
    }
}

impl std::error::Error for PageError {}

/// Reads a page from top to bottom.
///
/// # Errors
/// The first thing that is wrong; what `each` was told before is to be thrown away, as a scrape that
/// fails keeps nothing.
pub(crate) fn parse(
    page: &[u8],
    format: Format,
    each: impl FnMut(Item<'_>),
) -> Result<(), PageError> {
    if format == Format::Protobuf {
        let byte = |wrong: protobuf::Wrong| PageError {
            line: 1,
            column: u32::try_from(wrong.at + 1).unwrap_or(u32::MAX),
            what: wrong.what,
        };
        return protobuf::parse(page, each).map_err(byte);
    }
    if page.len() > PAGE_BYTES_MAX {
        return Err(PageError {
            line: 1,
            column: 1,
            what: format!(
                "the page has {} bytes, at most {PAGE_BYTES_MAX} are read",
                page.len()
            ),
        });
    }
    text::parse(page, format == Format::OpenMetrics, each)
}

/// What a response's `Content-Type` says, by the rules of Prometheus 3: a type that is missing or
/// unknown is the fallback's, and without one the scrape fails.
///
/// # Errors
/// The text says what to set.
pub(crate) fn negotiate(
    content_type: Option<&str>,
    fallback: Option<Format>,
) -> Result<Format, String> {
    let found = content_type.unwrap_or_default().trim();
    let essence = found.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "text/plain" => return Ok(Format::Prometheus),
        "application/openmetrics-text" => return Ok(Format::OpenMetrics),
        "application/vnd.google.protobuf" => return Ok(Format::Protobuf),
        _ => {}
    }
    fallback.ok_or_else(|| match found {
        "" => "non-compliant scrape target sending blank Content-Type and no \
               fallback_scrape_protocol specified for target"
            .to_owned(),
        found => format!(
            "received unsupported Content-Type {found:?} and no fallback_scrape_protocol \
             specified for target"
        ),
    })
}
