//! The metrics that there are, as families, each with the query that shows it best: nobody has to
//! write PromQL to look at them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::metric::{MatchOp, Matcher, Metadata, MetricKind, Millis, NAME};
use crate::query::promql::print::{duration, quote};
use crate::query::promql::source::{SeriesSource, SourceError};

use super::unit::family;

/// Names looked at in one listing; more are a mistake in how they are made.
pub(crate) const NAMES_MAX: usize = 50_000;

/// Beginnings of names offered as filters.
const PREFIXES_MAX: usize = 14;

/// Rates look back over this at least, in ms: four scrapes of a minute and one missed.
const WINDOW_MIN: i64 = 300_000;

/// How a family is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Counter,
    Gauge,
    /// With `_bucket`, `_count` and `_sum`.
    Classic,
    /// Its samples are histograms.
    Native,
    Summary,
    /// Its labels are what it says.
    Info,
}

impl Shape {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Classic | Shape::Native => "histogram",
            Shape::Summary => "summary",
            Shape::Info => "info",
        }
    }

    /// What the automatic query makes of it.
    pub(crate) const fn drawn(self) -> &'static str {
        match self {
            Shape::Counter => "rate",
            Shape::Gauge => "avg, max",
            Shape::Classic | Shape::Native => "p50, p95, p99",
            Shape::Summary => "by quantile",
            Shape::Info => "count",
        }
    }
}

/// A metric: all series that show one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) unit: String,
    pub(crate) help: String,
}

/// Which families.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Every word is part of the name or of the help.
    pub(crate) words: String,
    pub(crate) prefix: String,
    /// Of the series: job, service, label.
    pub(crate) matchers: Vec<Matcher>,
}

/// The families that a filter leaves, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) families: Vec<Family>,
    /// Without the filter by words and prefix.
    pub(crate) total: usize,
    /// Beginnings of the names with how many families have them, most first.
    pub(crate) prefixes: Vec<(String, usize)>,
    pub(crate) truncated: bool,
}

/// Lists.
///
/// # Errors
/// The source cannot be read.
pub(crate) fn list(
    source: &dyn SeriesSource,
    range: Millis,
    filter: &Filter,
) -> Result<Listing, SourceError> {
    let mut names = source.label_values(NAME, &filter.matchers, range)?;
    let truncated = names.len() > NAMES_MAX;
    names.truncate(NAMES_MAX);
    let said = source.metadata(None);
    let said: BTreeMap<&str, &Metadata> = said.iter().map(|m| (m.metric.as_str(), m)).collect();
    let all = families(&names, &said);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &all {
        *counts.entry(prefix_of(&one.name)).or_default() += 1;
    }
    let mut prefixes: Vec<(String, usize)> =
        counts.into_iter().map(|(p, n)| (p.to_owned(), n)).collect();
    prefixes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    prefixes.truncate(PREFIXES_MAX);
    let words: Vec<String> = filter
        .words
        .split_whitespace()
        .map(str::to_lowercase)
        .collect();
    let fits = |one: &Family| {
        let text = format!("{} {}", one.name, one.help).to_lowercase();
        let of_prefix = filter.prefix.is_empty() || prefix_of(&one.name) == filter.prefix;
        of_prefix && words.iter().all(|word| text.contains(word))
    };
    Ok(Listing {
        total: all.len(),
        families: all.into_iter().filter(fits).collect(),
        prefixes,
        truncated,
    })
}

/// `node` of `node_cpu_seconds_total`.
fn prefix_of(name: &str) -> &str {
    let end = name.find(['_', ':', '.']).unwrap_or(name.len());
    &name[..end]
}

/// Series' names joined to families: the parts of a histogram or summary are one.
fn families(names: &[String], said: &BTreeMap<&str, &Metadata>) -> Vec<Family> {
    let present: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let has = |family: &str, part: &str| present.contains(format!("{family}{part}").as_str());
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for name in &present {
        let of = family(name);
        let known = said.get(name).or_else(|| said.get(of));
        let kind = known.map_or(MetricKind::Unknown, |m| m.kind);
        let (name, shape) = if *name != of && has(of, "_bucket") && !name.ends_with("_total") {
            (of, Shape::Classic)
        } else if *name != of && kind == MetricKind::Summary {
            (of, Shape::Summary)
        } else if name.ends_with("_created") && *name != of {
            continue;
        } else {
            (*name, shape_of(name, kind))
        };
        let family = Family {
            name: name.to_owned(),
            shape,
            unit: known.map_or(String::new(), |m| m.unit.clone()),
            help: known.map_or(String::new(), |m| m.help.clone()),
        };
        found.entry(name.to_owned()).or_insert(family);
    }
    found.into_values().collect()
}

fn shape_of(name: &str, kind: MetricKind) -> Shape {
    match kind {
        MetricKind::Counter => Shape::Counter,
        MetricKind::Histogram | MetricKind::GaugeHistogram => {
            // `_count` and `_sum` whose buckets are gone still only grow.
            if name == family(name) {
                Shape::Native
            } else {
                Shape::Counter
            }
        }
        MetricKind::Summary => Shape::Summary,
        MetricKind::Info | MetricKind::StateSet => Shape::Info,
        MetricKind::Gauge => Shape::Gauge,
        MetricKind::Unknown => match name {
            n if n.ends_with("_total") || n.ends_with("_count") || n.ends_with("_sum") => {
                Shape::Counter
            }
            n if n.ends_with("_info") => Shape::Info,
            _ => Shape::Gauge,
        },
    }
}

/// The window of rates drawn with this step, as PromQL writes it.
pub(crate) fn window(step: i64) -> String {
    duration((step * 4).max(WINDOW_MIN))
}

/// The expressions that show a family, with a word for each. `matchers` narrow its series.
pub(crate) fn queries(of: &Family, matchers: &[Matcher], window: &str) -> Vec<(String, String)> {
    let series = |part: &str| selector(&format!("{}{part}", of.name), matchers);
    let quantile = |of: String| {
        let one = move |(word, q): (&str, &str)| {
            (word.to_owned(), format!("histogram_quantile({q}, {of})"))
        };
        [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")]
            .map(one)
            .to_vec()
    };
    let one = |word: &str, text: String| (word.to_owned(), text);
    match of.shape {
        Shape::Counter => vec![one("rate", format!("sum(rate({}[{window}]))", series("")))],
        Shape::Gauge => vec![
            one("avg", format!("avg({})", series(""))),
            one("max", format!("max({})", series(""))),
        ],
        Shape::Classic => quantile(format!(
            "sum by (le) (rate({}[{window}]))",
            series("_bucket")
        )),
        Shape::Native => quantile(format!("sum(rate({}[{window}]))", series(""))),
        Shape::Summary => vec![one(
            "quantile",
            format!("avg by (quantile) ({})", series("")),
        )],
        Shape::Info => vec![one("count", format!("count({})", series("")))],
    }
}

/// The selector of a metric's series, also where its name needs quotes.
fn selector(name: &str, matchers: &[Matcher]) -> String {
    let plain = |text: &str, colon: bool| {
        let fits = |(at, c): (usize, char)| {
            c.is_ascii_alphabetic() || c == '_' || colon && c == ':' || at > 0 && c.is_ascii_digit()
        };
        !text.is_empty() && text.char_indices().all(fits)
    };
    let mut inside: Vec<String> = Vec::new();
    if !plain(name, true) {
        inside.push(quote(name));
    }
    for matcher in matchers {
        let label = if plain(&matcher.name, false) {
            matcher.name.clone()
        } else {
            quote(&matcher.name)
        };
        let op = match matcher.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        inside.push(format!("{label}{op}{}", quote(&matcher.value)));
    }
    let name = if plain(name, true) { name } else { "" };
    if inside.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", inside.join(", "))
    }
}
