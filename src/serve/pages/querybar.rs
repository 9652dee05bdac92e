//! The query bar of the log and the trace list: a GET form whose finished terms are chips and whose
//! rest is text. Several `query` fields of one submission are its terms; the page joins them. It
//! must never run a query.

pub(crate) mod terms;

use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{Level, TimeRange};
use crate::query::{self, Control, Engine, QueryError, lang};
use crate::serve::page_url::PageUrl;
use crate::serve::request::PageRequest;
use crate::serve::spark::RIBBON_BARS;
use terms::Terms;

/// Chips shown; a longer query keeps its rest as text, where it can be read.
const CHIPS_MAX: usize = 16;

/// Longest query that pages take; the query language has the same bound on what it parses.
pub(crate) const QUERY_BYTES_MAX: usize = 8 * 1024;

/// Parameters that belong to one answer and not to the query: a new query drops them.
pub(crate) const OF_ANSWER: [&str; 6] = ["cursor", "direction", "open", "unfold", "around", "last"];

/// View of `querybar.html`.
pub(crate) struct QueryBar {
    /// Where the form goes: this page.
    pub(crate) path: String,
    pub(crate) label: &'static str,
    pub(crate) placeholder: &'static str,
    /// Where completions come from.
    pub(crate) suggest: &'static str,
    pub(crate) chips: Vec<Chip>,
    /// What is left in the text field.
    pub(crate) text: String,
    pub(crate) error: Option<BarError>,
    /// The last query that worked, shown again while the new one has a mistake.
    pub(crate) good: String,
    /// Everything else that the address says, as hidden fields.
    pub(crate) fields: Vec<(String, String)>,
    /// The page without any query, where there is one.
    pub(crate) clear: Option<String>,
}

pub(crate) struct Chip {
    /// `service:` or `-http.route:`; empty for plain words.
    pub(crate) key: String,
    pub(crate) value: String,
    /// The term as written, for the form.
    pub(crate) text: String,
    pub(crate) negated: bool,
    pub(crate) remove: String,
}

/// A mistake in the query, placed under the text it is about.
pub(crate) struct BarError {
    /// Position in the whole query, in characters, from 1.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// The text field's content in three parts; the middle one is underlined.
    pub(crate) before: String,
    pub(crate) bad: String,
    pub(crate) after: String,
    pub(crate) fix: Option<Fix>,
}

/// A query that would work.
pub(crate) struct Fix {
    pub(crate) query: String,
    pub(crate) href: String,
}

impl QueryBar {
    /// `query` as asked for; `good` is the query whose answer the page shows.
    pub(crate) fn new(
        url: &PageUrl,
        query: &str,
        good: &str,
        mistake: Option<&lang::Error>,
    ) -> QueryBar {
        let terms = Terms::split(query);
        let shown = terms.0.iter().take(CHIPS_MAX);
        let chip_end = match &mistake {
            Some(mistake) => shown
                .take_while(|term| term.at + term.text.len() < mistake.position)
                .count(),
            // One group or one `OR` is edited as text.
            None if terms.0.len() == 1 && terms.0[0].field.is_none() => 0,
            None => shown.count(),
        };
        let text_at = terms.0.get(chip_end).map_or(query.len(), |term| term.at);
        let text = query[text_at..].to_owned();
        let bare = bare(url);
        let chips = (0..chip_end).map(|at| chip(&bare, &terms, at)).collect();
        QueryBar {
            path: url.path.clone(),
            label: "",
            placeholder: "",
            suggest: "",
            chips,
            error: mistake.map(|mistake| bar_error(&bare, query, text_at, mistake)),
            text,
            good: good.to_owned(),
            fields: fields(url),
            clear: (!query.is_empty()).then(|| bare.without("query").to_string()),
        }
    }
}

/// The page without what belongs to one answer.
pub(crate) fn bare(url: &PageUrl) -> PageUrl {
    OF_ANSWER
        .iter()
        .fold(url.clone(), |url, name| url.without(name))
}

fn fields(url: &PageUrl) -> Vec<(String, String)> {
    bare(url)
        .fields_but(&["query"])
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn chip(bare: &PageUrl, terms: &Terms, at: usize) -> Chip {
    let term = &terms.0[at];
    let key_bytes = term.text.len() - term.value.len();
    Chip {
        key: term.text[..key_bytes].to_owned(),
        value: term.value.clone(),
        text: term.text.clone(),
        negated: term.negated,
        remove: bare
            .with("query", &terms.without(at).to_string())
            .to_string(),
    }
}

fn bar_error(bare: &PageUrl, query: &str, text_at: usize, mistake: &lang::Error) -> BarError {
    let position = floor_char(query, mistake.position.min(query.len()));
    let from = position.max(text_at);
    // What is missing at the end is underlined at the last word before it.
    let from = match query[from..].trim().is_empty() {
        true => query[text_at..]
            .trim_end()
            .rfind(char::is_whitespace)
            .map_or(text_at, |space| text_at + space + 1),
        false => from,
    };
    let word = query[from..]
        .find(char::is_whitespace)
        .unwrap_or(query.len() - from);
    let to = match mistake.length {
        0 => from + word,
        length => floor_char(query, (position + length).clamp(from, query.len())),
    };
    BarError {
        column: mistake.column,
        message: mistake.message.clone(),
        before: query[text_at..from].to_owned(),
        bad: query[from..to].to_owned(),
        after: query[to..].to_owned(),
        fix: mistake.hint.as_ref().map(|query| Fix {
            href: bare.with("query", query).to_string(),
            query: query.clone(),
        }),
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The query of a request: all `query` parameters joined. The flag says that the address has to be
/// rewritten, as a form without JavaScript sends one parameter per chip.
pub(crate) fn joined(url: &PageUrl) -> (String, bool) {
    let parts: Vec<_> = url
        .fields_but(&[])
        .filter(|(key, value)| *key == "query" && !value.trim().is_empty())
        .map(|(_, value)| value.trim())
        .collect();
    let mut query = parts.join(" ");
    if query.len() > QUERY_BYTES_MAX {
        query.truncate(floor_char(&query, QUERY_BYTES_MAX));
    }
    (query, parts.len() > 1)
}

/// The address of the same question as one `query`, where a form sent several.
pub(crate) fn canonical(url: &PageUrl) -> Option<String> {
    let (query, several) = joined(url);
    let redundant = url.get("last").is_some_and(|last| last == query);
    if !several && !redundant {
        return None;
    }
    let page = url.without("query").with("query", &query);
    Some(
        if redundant {
            page.without("last")
        } else {
            page
        }
        .to_string(),
    )
}

/// What a page runs for the query it was asked.
pub(crate) struct Understood {
    /// The query whose answer is shown.
    pub(crate) good: String,
    pub(crate) mistake: Option<lang::Error>,
    /// `None` only when not even the reader's scope can be read.
    pub(crate) expr: Option<lang::Expr>,
}

/// The asked query, else the last one that worked (`last`), else everything.
pub(crate) fn understood(query: &str, request: &PageRequest) -> Understood {
    let parsed = |query: &str| lang::parse(&scoped(request, query)).ok();
    // Positions are those of the text in the bar, so the scope must not shift them.
    let mistake = lang::parse(query).err().or_else(|| no_id(query));
    let last = request.url.get("last").unwrap_or_default();
    let tried = [if mistake.is_some() { last } else { query }, ""];
    let found = tried
        .into_iter()
        .find_map(|query| Some((query, parsed(query)?)));
    let (good, expr) = found.map_or(("", None), |(query, expr)| (query, Some(expr)));
    Understood {
        good: good.to_owned(),
        mistake,
        expr,
    }
}

/// The query together with the scope that the reader chose in the shell.
pub(crate) fn scoped(request: &PageRequest, query: &str) -> String {
    match request.scope_query() {
        Some(scope) if query.is_empty() => scope,
        Some(scope) => Terms::split(query).and(&scope).to_string(),
        None => query.to_owned(),
    }
}

/// Records that are read to have bars narrower than a minute: some 10 ms.
const NARROW_RECORDS_MAX: u64 = 100_000;

/// Fields of the query whose facet is counted again without their own term; each costs a scan.
const OWN_FACETS_MAX: usize = 4;

/// A field of the query is counted without its own term: its other values are what the reader may
/// want to switch to. `count` asks the engine.
pub(crate) fn own_facets(
    facets: &mut query::Facets,
    good: &str,
    request: &PageRequest,
    count: impl Fn(&lang::Expr, &str) -> Result<query::Facets, QueryError>,
) -> Result<(), QueryError> {
    let terms = Terms::split(good);
    let mut names: Vec<String> = Vec::new();
    for name in terms.0.iter().filter_map(|term| term.field.clone()) {
        let name = if name == "level" {
            "severity".to_owned()
        } else {
            name
        };
        let countable = !matches!(
            name.as_str(),
            "body" | "trace" | "span" | "duration" | "pattern"
        );
        if countable && !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names.iter().take(OWN_FACETS_MAX) {
        let Ok(expr) = lang::parse(&scoped(request, &terms.without_field(name).to_string())) else {
            continue;
        };
        let own = count(&expr, name)?;
        facets.approximate |= own.approximate;
        for facet in own.fields {
            match facets
                .fields
                .iter_mut()
                .find(|field| field.name == facet.name)
            {
                Some(field) => *field = facet,
                None => facets.fields.push(facet),
            }
        }
    }
    Ok(())
}

/// Errors logged over the page's range, for the time ribbon of the frame.
pub(crate) fn ribbon(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
) -> Result<Vec<u64>, QueryError> {
    let expr = lang::parse(&scoped(request, ""))?;
    let counts = over_time(engine, control, &expr, request.window())?;
    Ok(errors_of(&counts))
}

/// Log records by level over a range, in bars as narrow as the ribbon's where that reads little:
/// whole minutes are mostly counted without reading a record.
pub(crate) fn over_time(
    engine: &Engine,
    control: &Control,
    expr: &lang::Expr,
    range: TimeRange,
) -> Result<query::Histogram, QueryError> {
    // A range that starts within a minute touches one more of them.
    let minutes = range.duration_ns().div_ceil(NANOS_PER_MINUTE) + 1;
    let bars = usize::try_from(minutes).map_or(RIBBON_BARS, |minutes| minutes.min(RIBBON_BARS));
    let counts = engine.log_histogram(expr, range, bars, "severity", control)?;
    let read = counts.stats.scanned_records.max(counts.total);
    if bars == RIBBON_BARS || read > NARROW_RECORDS_MAX {
        return Ok(counts);
    }
    engine.log_histogram(expr, range, RIBBON_BARS, "severity", control)
}

/// Records of ERROR and FATAL per bucket of a histogram by severity.
pub(crate) fn errors_of(counts: &query::Histogram) -> Vec<u64> {
    let bad = [Level::Error.name(), Level::Fatal.name()];
    let is_bad: Vec<bool> = (counts.series.iter())
        .map(|name| bad.contains(&name.as_str()))
        .collect();
    let errors = |bucket: &query::Bucket| {
        let by = bucket.by.iter().zip(&is_bad);
        by.filter(|(_, bad)| **bad).map(|(count, _)| count).sum()
    };
    counts.buckets.iter().map(errors).collect()
}

/// An id that is none finds nothing, which would look like an answer: it is told as a mistake.
fn no_id(query: &str) -> Option<lang::Error> {
    Terms::split(query).0.iter().find_map(|term| {
        let digits = match term.field.as_deref()? {
            "trace" | "trace_id" => 32,
            "span" | "span_id" => 16,
            _ => return None,
        };
        let is_id = |text: &str| {
            let text = text.trim_matches('"');
            let open = text.contains('*') || text.starts_with('/');
            open || (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let bad = term.value.split(',').find(|text| !is_id(text))?;
        let position = term.at + term.text.find(&term.value)? + term.value.find(bad)?;
        Some(lang::Error {
            position,
            length: bad.len(),
            column: query[..position].chars().count() + 1,
            message: format!("`{bad}` is not an id of {digits} hex digits; to look for it as text, leave out the field"),
            hint: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{QueryBar, joined};
    use crate::query::lang;
    use crate::serve::page_url::PageUrl;

    fn bar(query: &str, mistake: Option<(usize, usize)>) -> QueryBar {
        let url = PageUrl::new("/logs", "start=1h&cursor=abc&wrap=1").with("query", query);
        let mistake = mistake.map(|(position, length)| lang::Error {
            position,
            length,
            column: query[..position].chars().count() + 1,
            message: "not a number".to_owned(),
            hint: None,
        });
        QueryBar::new(&url, query, "", mistake.as_ref())
    }

    #[test]
    fn terms_are_chips_that_can_be_removed() {
        let bar = bar("service:a,b -x:\"1 2\"", None);
        let keys: Vec<_> = bar
            .chips
            .iter()
            .map(|chip| (chip.key.as_str(), chip.value.as_str()))
            .collect();
        assert_eq!(keys, [("service:", "a,b"), ("-x:", "\"1 2\"")]);
        assert_eq!(
            bar.chips[1].remove,
            "/logs?start=1h&wrap=1&query=service%3Aa%2Cb"
        );
        assert_eq!(bar.text, "");
        assert_eq!(bar.fields.len(), 2, "range and wrap stay, the cursor goes");
    }

    #[test]
    fn alternatives_are_edited_as_text() {
        let bar = bar("a:1 OR b:2", None);
        assert_eq!((bar.chips.len(), bar.text.as_str()), (0, "a:1 OR b:2"));
    }

    #[test]
    fn a_mistake_is_underlined_where_it_stands() {
        let bar = bar("service:a duration:>2oo rest", Some((20, 3)));
        assert_eq!(
            (bar.chips.len(), bar.text.as_str()),
            (1, "duration:>2oo rest")
        );
        let error = bar.error.expect("an error");
        assert_eq!(error.column, 21);
        assert_eq!(
            (
                error.before.as_str(),
                error.bad.as_str(),
                error.after.as_str()
            ),
            ("duration:>", "2oo", " rest")
        );
        let bar = super::tests::bar("ünï (a", Some((8, 0)));
        let error = bar.error.expect("an error");
        assert_eq!((error.before.as_str(), error.bad.as_str()), ("", "(a"));
    }

    #[test]
    fn a_form_sends_one_field_per_chip() {
        let url = PageUrl::new("/logs", "query=a%3A1&query=+b+&query=&start=1h");
        assert_eq!(joined(&url), ("a:1 b".to_owned(), true));
        assert_eq!(
            joined(&PageUrl::new("/logs", "query=a+b")),
            ("a b".to_owned(), false)
        );
    }

    #[test]
    fn what_is_no_id_is_told_and_not_searched_for() {
        let told = |query: &str| super::no_id(query).map(|error| (error.column, error.length));
        assert_eq!(told("level:error trace:xyz"), Some((19, 3)));
        assert_eq!(told("-span:0102030405060708,12"), Some((24, 2)));
        for fine in [
            "trace:4bf92f3577b34da6a3ce929d0e0e4736",
            "trace:\"4BF92F3577B34DA6A3CE929D0E0E4736\"",
            "trace:4bf9* span:*",
            "tracer:xyz",
        ] {
            assert_eq!(told(fine), None, "{fine}");
        }
    }
}
