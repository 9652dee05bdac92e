//! What the address asks of the explorer, as values. The page and the points of its chart read the same.

use std::time::Duration;

use crate::model::metric::Millis;
use crate::query::explore::plot::{Ask, EXPRESSION_BYTES_MAX, EXPRESSIONS_MAX, Plot, plot};
use crate::query::{Control, Engine};
use crate::serve::request::PageRequest;
use crate::units::Period;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Graph,
    Table,
    Both,
}

impl View {
    fn read(text: Option<&str>) -> View {
        match text {
            Some("table") => View::Table,
            Some("both") => View::Both,
            _ => View::Graph,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            View::Graph => "graph",
            View::Table => "table",
            View::Both => "both",
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            View::Graph => "Graph",
            View::Table => "Table",
            View::Both => "Both",
        }
    }

    pub(crate) const fn has_chart(self) -> bool {
        matches!(self, View::Graph | View::Both)
    }

    pub(crate) const fn has_table(self) -> bool {
        matches!(self, View::Table | View::Both)
    }
}

/// The address as values.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) texts: Vec<String>,
    pub(crate) range: Millis,
    /// In ms; the text where it cannot be read.
    pub(crate) step: Result<Option<i64>, String>,
    pub(crate) view: View,
    pub(crate) stack: bool,
    pub(crate) log: bool,
    pub(crate) all: bool,
    /// Lines that stand alone, by their ids; none for all.
    pub(crate) only: Vec<String>,
}

/// The page's range as PromQL has it.
pub(crate) fn millis(request: &PageRequest) -> Millis {
    Millis {
        first: (request.range.start_ns / 1_000_000) as i64,
        last: (request.range.end_ns / 1_000_000) as i64,
    }
}

impl Asked {
    pub(crate) fn of(request: &PageRequest) -> Asked {
        let url = &request.url;
        let all = |wanted: &'static str| {
            let named = url.fields_but(&[]).filter(move |(key, _)| *key == wanted);
            named.map(|(_, value)| value)
        };
        let text = |text: &str| {
            let mut end = text.len().min(EXPRESSION_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text[..end].replace("\r\n", "\n").trim().to_owned()
        };
        let texts = all("expr").map(text).filter(|text| !text.is_empty());
        Asked {
            texts: texts.take(EXPRESSIONS_MAX).collect(),
            range: millis(request),
            step: url.get("step").map_or(Ok(None), step),
            view: View::read(url.get("view")),
            stack: url.get("stack").is_some(),
            log: url.get("log").is_some(),
            all: url.get("all").is_some(),
            only: all("only").map(str::to_owned).collect(),
        }
    }

    /// Evaluates.
    ///
    /// # Errors
    /// The step is none, or does not fit the range.
    pub(crate) fn run(&self, engine: &Engine, control: &Control) -> Result<Plot, String> {
        let ask = Ask {
            texts: self.texts.clone(),
            range: self.range,
            step: self.step.clone()?,
            all: self.all,
            rows: self.view.has_table(),
            lines: self.view.has_chart(),
        };
        plot(
            engine.series().as_ref(),
            &ask,
            control.samples_max(),
            control,
        )
    }
}

fn step(text: &str) -> Result<Option<i64>, String> {
    let Period(length) = text
        .trim()
        .parse::<Period>()
        .unwrap_or(Period(Duration::ZERO));
    let ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    if ms == 0 {
        return Err(format!(
            "step: cannot read {text:?}; write 15s, 1m, 2h, or leave it empty"
        ));
    }
    Ok(Some(ms))
}
