//! `/trace/{id}/compare`: a trace beside another, or beside the typical trace of its root operation,
//! by operation. It must never need script.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::missing;
use super::usual::day;
use crate::model::{TimeRange, TraceId};
use crate::query::compare::{self, Operation, Spent, Sums};
use crate::query::{Control, Engine, QueryError};
use crate::serve::error::Failure;
use crate::serve::format;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::Shared;

/// Operations listed; the others differ less than each of these.
const ROWS_MAX: usize = 200;

/// View of `trace/compare.html`.
#[derive(Template)]
#[template(path = "trace/compare.html")]
struct ComparePage {
    shell: Shell,
    here: String,
    root_class: &'static str,
    root_name: String,
    duration: String,
    back: String,
    typical_href: String,
    typical: bool,
    with: String,
    fields: Vec<(String, String)>,
    /// What stands beside the trace, and its address where it is a trace.
    other: String,
    other_href: Option<String>,
    other_duration: String,
    /// Why there is nothing to compare with.
    problem: Option<String>,
    notice: Option<String>,
    rows: Vec<Row>,
    more: usize,
}

struct Row {
    class: &'static str,
    service: String,
    name: String,
    /// "only here", "missing here".
    mark: &'static str,
    here: Figures,
    other: Figures,
    delta: String,
    /// `slower`, `faster`, or nothing.
    tone: &'static str,
    /// Length of the delta's bar in percent.
    bar: String,
    href: Option<String>,
}

struct Figures {
    count: String,
    total: String,
    own: String,
}

/// What the trace is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Typical,
    Trace(TraceId),
    /// Text that names no trace.
    Unknown,
}

impl With {
    /// Reads `with`: an id, or an address with one in it.
    fn parse(text: &str) -> With {
        let text = text.trim();
        if text.is_empty() || text == "typical" {
            return With::Typical;
        }
        let words = text.split(|c: char| !c.is_ascii_hexdigit());
        let id = words
            .filter(|word| word.len() == 32)
            .find_map(TraceId::from_hex);
        id.map_or(With::Unknown, With::Trace)
    }
}

/// Both sides.
struct Pair {
    root: Operation,
    here: Sums,
    other: Option<Sums>,
    /// Traces that the typical one is made of.
    traces: usize,
    cut: bool,
}

/// `GET /trace/{id}/compare`.
pub(crate) async fn page(
    State(app): State<Shared>,
    page: PageRequest,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asked = page.url.get("with").unwrap_or_default().to_owned();
    let with = With::parse(&asked);
    let Some(trace) = TraceId::from_hex(&id) else {
        return Ok(missing(
            &app,
            &page,
            &id,
            &format!("{id} is not a trace id."),
        ));
    };
    let now_ns = page.now_ns;
    let work = move |engine: &Engine, control: &Control| pair(engine, control, trace, with, now_ns);
    let found = app.ask(&format!("compare trace {id}"), work).await?;
    let Some(pair) = found else {
        let why = format!("No span of trace {id} is stored.");
        return Ok(missing(&app, &page, &id, &why));
    };
    let names = pair.here.operations.keys();
    let others = pair.other.iter().flat_map(|other| other.operations.keys());
    app.colours
        .meet(names.chain(others).map(|(service, _)| service.as_str()));
    let data = app.shell_data();
    let colours = Colours::new(&data.services);
    let title = format!("Compare {}", pair.root.1);
    let shell = Shell::new(&page, Section::Traces, &title, data);
    Ok(html(&view(
        &page,
        shell,
        trace,
        &pair,
        (with, asked),
        &colours,
    )))
}

/// Reads both; `None` where the trace itself is not there.
fn pair(
    engine: &Engine,
    control: &Control,
    trace: TraceId,
    with: With,
    now_ns: u64,
) -> Result<Option<Pair>, QueryError> {
    let laid_out = match engine.laid_out(trace, control) {
        Ok(laid_out) => laid_out,
        Err(QueryError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let layout = &laid_out.layout;
    let top = &layout.rows[0];
    let root = (
        layout.services[top.service as usize].name.clone(),
        layout.operations[top.operation as usize].clone(),
    );
    let mut pair = Pair {
        here: compare::sums(layout),
        root,
        other: None,
        traces: 0,
        cut: false,
    };
    match with {
        With::Unknown => {}
        With::Trace(id) => match engine.laid_out(id, control) {
            Ok(other) => pair.other = Some(compare::sums(&other.layout)),
            Err(QueryError::NotFound(_)) => {}
            Err(error) => return Err(error),
        },
        With::Typical => {
            let end = layout.start.saturating_add(layout.duration_ns);
            let range: TimeRange = day(now_ns, end).0;
            let typical = compare::typical(engine, &pair.root, trace, range, control)?;
            (pair.traces, pair.cut) = (typical.traces, typical.cut);
            pair.other = (typical.traces > 0).then_some(typical.sums);
        }
    }
    Ok(Some(pair))
}

fn view(
    page: &PageRequest,
    shell: Shell,
    trace: TraceId,
    pair: &Pair,
    (with, asked): (With, String),
    colours: &Colours,
) -> ComparePage {
    let url = &page.url;
    let back = url.carry_to(&format!("/trace/{trace}"));
    let nothing = Sums::default();
    let other = pair.other.as_ref();
    let (rows, more) = match other {
        Some(other) => rows(&pair.here, other, &back, colours),
        None => (Vec::new(), 0),
    };
    let (name, href) = match with {
        With::Typical => (format!("median of {} traces", pair.traces), None),
        With::Trace(id) => {
            let href = url.carry_to(&format!("/trace/{id}")).to_string();
            (format!("trace {}", &id.to_string()[..8]), Some(href))
        }
        With::Unknown => (String::new(), None),
    };
    let fields = url.fields_but(&["with"]);
    ComparePage {
        shell,
        here: url.path.clone(),
        root_class: colours.class(&pair.root.0),
        root_name: pair.root.1.clone(),
        duration: format::duration(pair.here.duration_ns),
        typical_href: url.with("with", "typical").to_string(),
        typical: with == With::Typical,
        with: if with == With::Typical {
            String::new()
        } else {
            asked
        },
        fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        other: name,
        other_href: href,
        other_duration: format::duration(other.unwrap_or(&nothing).duration_ns),
        problem: other.is_none().then(|| problem(with, &pair.root)),
        notice: pair.cut.then(|| {
            "Not all traces of the day could be read in time: the median is of those that were."
                .to_owned()
        }),
        rows,
        more,
        back: back.to_string(),
    }
}

fn problem(with: With, root: &Operation) -> String {
    match with {
        With::Typical => format!(
            "No other trace of the day begins with {} in {}. Paste the id of a trace to compare with.",
            root.1, root.0
        ),
        With::Trace(id) => format!(
            "No span of trace {id} is stored: it was never received, or is past its retention."
        ),
        With::Unknown => {
            "That names no trace: paste 32 hexadecimal digits, or the address of a trace's page."
                .to_owned()
        }
    }
}

/// One row per operation of either side, the greatest difference in self time first; and how many
/// more there are.
fn rows(here: &Sums, other: &Sums, back: &PageUrl, colours: &Colours) -> (Vec<Row>, usize) {
    let mut names: Vec<&Operation> = here.operations.keys().collect();
    let only_there = other
        .operations
        .keys()
        .filter(|name| !here.operations.contains_key(*name));
    names.extend(only_there);
    let spent = |of: &Sums, name| of.operations.get(name).copied().unwrap_or_default();
    let mut all: Vec<(&Operation, Spent, Spent)> = names
        .into_iter()
        .map(|name| (name, spent(here, name), spent(other, name)))
        .collect();
    let delta = |a: &Spent, b: &Spent| a.self_ns.abs_diff(b.self_ns);
    all.sort_by(|(x, a, b), (y, c, d)| delta(c, d).cmp(&delta(a, b)).then_with(|| x.cmp(y)));
    let most = all.first().map_or(1, |(_, a, b)| delta(a, b).max(1));
    let more = all.len().saturating_sub(ROWS_MAX);
    let row = |(name, a, b): (&Operation, Spent, Spent)| Row {
        class: colours.class(&name.0),
        service: name.0.clone(),
        name: name.1.clone(),
        mark: match (a.count, b.count) {
            (_, 0) => "only here",
            (0, _) => "missing here",
            _ => "",
        },
        delta: match a.self_ns.cmp(&b.self_ns) {
            std::cmp::Ordering::Less => format!("−{}", format::duration(delta(&a, &b))),
            std::cmp::Ordering::Equal => "0".to_owned(),
            std::cmp::Ordering::Greater => format!("+{}", format::duration(delta(&a, &b))),
        },
        tone: match a.self_ns.cmp(&b.self_ns) {
            std::cmp::Ordering::Less => "faster",
            std::cmp::Ordering::Equal => "",
            std::cmp::Ordering::Greater => "slower",
        },
        bar: format!("{:.1}%", delta(&a, &b) as f64 * 100.0 / most as f64),
        href: (a.count > 0).then(|| {
            let find = format!("service:\"{}\" name:\"{}\"", name.0, name.1);
            back.with("find", &find).to_string()
        }),
        here: figures(&a),
        other: figures(&b),
    };
    (all.into_iter().take(ROWS_MAX).map(row).collect(), more)
}

fn figures(spent: &Spent) -> Figures {
    if spent.count == 0 {
        let none = || "–".to_owned();
        return Figures {
            count: none(),
            total: none(),
            own: none(),
        };
    }
    Figures {
        count: format::exact(spent.count),
        total: format::duration(spent.total_ns),
        own: format::duration(spent.self_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(spent: &[(&str, u64, u64)]) -> Sums {
        let one = |(name, count, ms): &(&str, u64, u64)| {
            let spent = Spent {
                count: *count,
                total_ns: ms * 1_000_000,
                self_ns: ms * 1_000_000,
            };
            (("shop".to_owned(), (*name).to_owned()), spent)
        };
        Sums {
            duration_ns: 0,
            operations: spent.iter().map(one).collect(),
        }
    }

    #[test]
    fn the_greatest_difference_comes_first_and_what_is_only_on_one_side_is_marked() {
        let here = sums(&[("same", 1, 5), ("slow", 1, 900), ("new", 2, 30)]);
        let other = sums(&[("same", 1, 5), ("slow", 1, 10), ("gone", 1, 400)]);
        let back = PageUrl::new("/trace/x", "");
        let (rows, more) = rows(&here, &other, &back, &Colours::new(&[]));
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.mark, row.delta.as_str(), row.tone))
            .collect();
        assert_eq!(
            told,
            [
                ("slow", "", "+890 ms", "slower"),
                ("gone", "missing here", "−400 ms", "faster"),
                ("new", "only here", "+30.0 ms", "slower"),
                ("same", "", "0", ""),
            ]
        );
        assert_eq!((more, rows[0].bar.as_str()), (0, "100.0%"));
        assert!(rows[1].href.is_none() && rows[1].here.count == "–");
    }

    #[test]
    fn an_address_names_its_trace() {
        let id = "5b8efff798038103d269b633813fc60c";
        let trace = With::Trace(TraceId::from_hex(id).expect("an id"));
        assert_eq!(With::parse(&format!(" {} ", id.to_uppercase())), trace);
        assert_eq!(
            With::parse(&format!("http://x:4300/trace/{id}?span=1")),
            trace
        );
        assert_eq!(With::parse(""), With::Typical);
        assert_eq!(With::parse("typical"), With::Typical);
        assert_eq!(With::parse("yesterday"), With::Unknown);
    }
}
