//! `info(v, {...})`: adds labels of info metrics, found by `instance` and `job` (Prometheus
//! `promql/info.go`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::metric::{Labels, LabelsBuilder, MatchOp, Matcher, NAME, is_stale};

use super::super::ast::{Call, Expr, Kind, Selector};
use super::EvalError;
use super::context::{Collision, Context, Sink, internal};
use super::row::{Cell, Grid, Row};
use super::shape::unwrapped;

/// What tells which info series belongs to a series.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The info metric unless another is asked for.
const TARGET_INFO: &str = "target_info";

fn failed(text: String) -> EvalError {
    EvalError::Execution(text)
}

impl Context<'_> {
    pub(super) fn info(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let asked: &[Matcher] = match call.args.get(1).map(unwrapped) {
            Some(Expr {
                kind: Kind::Vector(selector),
                ..
            }) => &selector.matchers,
            _ => &[],
        };
        let (names, data): (Vec<&Matcher>, Vec<&Matcher>) =
            asked.iter().partition(|matcher| matcher.name == NAME);
        let is_info = |metric: &str| match call.args.len() {
            1 => metric == TARGET_INFO,
            _ => names.iter().any(|matcher| matcher.matches(metric)),
        };
        let rows = self.collect(&call.args[0], grid)?;
        let (infos, others): (Vec<Row>, Vec<Row>) = rows
            .into_iter()
            .partition(|row| is_info(row.labels.metric()));
        let found = self.info_rows(call, &others, &names, &data, grid)?;
        let mut joined = infos;
        for row in &others {
            self.check()?;
            self.add_info(row, &found, &data, grid, &mut joined)?;
        }
        self.release_rows(&others);
        for row in &mut joined {
            row.drop_name = false;
        }
        joined.iter().try_for_each(|row| self.hold(row.weight()))?;
        self.push_all(joined, Collision::Join, sink)
    }

    /// Info series with the times of their samples as values: the newest counts.
    fn info_rows(
        &self,
        call: &Call,
        rows: &[Row],
        names: &[&Matcher],
        data: &[&Matcher],
        grid: &Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in rows {
            for name in IDENTIFYING {
                if let Some(value) = row.labels.get(name) {
                    values.entry(name).or_default().insert(value);
                }
            }
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut matchers: Vec<Matcher> = Vec::new();
        for (name, values) in values {
            let escaped: Vec<String> = values.into_iter().map(regex::escape).collect();
            let matcher = Matcher::new(name, MatchOp::Regex, &escaped.join("|"));
            matchers.push(matcher.map_err(|error| failed(error.0))?);
        }
        matchers.extend(names.iter().chain(data).map(|matcher| (*matcher).clone()));
        if names.is_empty() {
            let matcher = Matcher::new(NAME, MatchOp::Equal, TARGET_INFO);
            matchers.push(matcher.map_err(|error| failed(error.0))?);
        }
        // The selector's own time counts for the info series too.
        let first = first_selector(&call.args[0]);
        let selector = Selector {
            metric: None,
            matchers,
            offset: None,
            at: first.and_then(|selector| selector.at),
        };
        let mut found = Vec::new();
        self.sample_times(&selector, grid, &mut |row| {
            self.hold(row.weight())?;
            found.push(row);
            Ok(())
        })?;
        self.release_rows(&found);
        if found.iter().any(|row| !row.histograms.is_empty()) {
            return Err(internal("info sample should be float"));
        }
        Ok(found)
    }

    /// Adds the row with the labels that it has at each step: info series come and go.
    fn add_info(
        &self,
        row: &Row,
        infos: &[Row],
        data: &[&Matcher],
        grid: &Grid,
        joined: &mut Vec<Row>,
    ) -> Result<(), EvalError> {
        let same = |info: &&Row| {
            IDENTIFYING
                .iter()
                .all(|name| info.labels.get(name) == row.labels.get(name))
        };
        let candidates: Vec<&Row> = infos.iter().filter(same).collect();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for step in 0..grid.count {
            if matches!(row.cell(step), Cell::None) {
                continue;
            }
            let chosen = newest(&candidates, step)?;
            let Some(labels) = with_info(&row.labels, &chosen, data)? else {
                continue;
            };
            let place = *places.entry(labels.clone()).or_insert(joined.len());
            if place == joined.len() {
                joined.push(Row::empty(labels, grid.count));
            }
            joined[place].copy(row, step);
        }
        Ok(())
    }
}

/// The first selector of an expression, in the order it is written.
fn first_selector(expr: &Expr) -> Option<&Selector> {
    match &expr.kind {
        Kind::Vector(selector) | Kind::Matrix(selector, _) => Some(selector),
        Kind::Paren(inner) | Kind::Negate(inner) => first_selector(inner),
        Kind::Binary(b) => first_selector(&b.left).or_else(|| first_selector(&b.right)),
        Kind::Aggregate(aggregate) => first_selector(&aggregate.expr),
        Kind::Call(call) => call.args.iter().find_map(first_selector),
        Kind::Subquery(subquery) => first_selector(&subquery.expr),
        Kind::Number(_) | Kind::String(_) => None,
    }
}

/// Of each info metric the series with the newest sample at a step.
fn newest<'r>(candidates: &[&'r Row], step: usize) -> Result<Vec<&'r Row>, EvalError> {
    let mut chosen: Vec<&Row> = Vec::new();
    for &info in candidates
        .iter()
        .filter(|info| !is_stale(info.floats[step]))
    {
        let metric = info.labels.metric();
        match chosen
            .iter_mut()
            .find(|known| known.labels.metric() == metric)
        {
            None => chosen.push(info),
            Some(known) if known.floats[step] < info.floats[step] => *known = info,
            Some(known) if known.floats[step] > info.floats[step] => {}
            Some(_) => {
                let text = format!("found duplicate series for info metric {metric}");
                return Err(failed(text));
            }
        }
    }
    Ok(chosen)
}

/// Labels with those of info series that were asked for and are not there yet; `None` when labels
/// were asked for that no info series has.
fn with_info(
    labels: &Labels,
    infos: &[&Row],
    data: &[&Matcher],
) -> Result<Option<Labels>, EvalError> {
    let mut added = LabelsBuilder::default();
    for info in infos {
        for (name, value) in info.labels.iter().filter(|(name, _)| *name != NAME) {
            if !data.is_empty() && !data.iter().any(|matcher| matcher.name == name) {
                continue;
            }
            let known = added.get(name);
            if !known.is_empty() && known != value {
                return Err(failed(format!("conflicting label: {name}")));
            }
            if labels.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    if added.iter().next().is_none() && data.iter().any(|matcher| !matcher.matches("")) {
        return Ok(None);
    }
    let mut joined = LabelsBuilder::from(labels);
    for (name, value) in added.iter() {
        joined.set(name, value);
    }
    Ok(Some(joined.build()))
}
