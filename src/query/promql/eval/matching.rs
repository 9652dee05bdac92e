//! Which elements of two vectors belong together (Prometheus `VectorBinop`, `resultMetric`).

use std::collections::HashMap;

use crate::model::metric::{Labels, LabelsBuilder, NAME};

use super::super::ast::{Binary, Cardinality, Matching, Place};
use super::super::print::quote;
use super::EvalError;
use super::binary::set;
use super::context::{Context, changes_metric, remove_name, without_name};
use super::element::elements;
use super::row::{Cell, Grid, Row};

/// The labels that elements must share to match.
pub(super) fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let mut names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
    if matching.on {
        return labels.only(&names);
    }
    names.push(NAME);
    labels.without(&names)
}

/// Rows of one match group: of the "many" side and of the "one" side.
#[derive(Default)]
struct Group {
    many: Vec<usize>,
    one: Vec<usize>,
}

/// A conflict at a step; the first step's is told.
struct Conflict {
    step: usize,
    text: String,
}

impl Context<'_> {
    /// Arithmetic and comparison of two vectors. Rows may have equal labels still.
    pub(super) fn matched(
        &self,
        binary: &Binary,
        matching: &Matching,
        place: &Place,
        (left, right): (Vec<Row>, Vec<Row>),
        grid: &Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped {
            (right, left)
        } else {
            (left, right)
        };
        let groups = grouped(&many, &one, matching);
        if let Some(conflict) = duplicate_on_one_side(&groups, &many, &one, matching, grid) {
            return Err(EvalError::Execution(conflict.text));
        }
        let mut rows = Vec::new();
        let mut first: Option<Conflict> = None;
        for group in &groups {
            self.check()?;
            let start = rows.len();
            for &many_row in &group.many {
                for &one_row in &group.one {
                    let pair = (&many[many_row], &one[one_row]);
                    let row = self.pair(binary, matching, place, pair, grid);
                    if !row.is_empty() {
                        rows.push(row);
                    }
                }
            }
            let conflict = ambiguous(&rows[start..], matching, grid);
            if let Some(conflict) = conflict
                && first
                    .as_ref()
                    .is_none_or(|known| conflict.step < known.step)
            {
                first = Some(conflict);
            }
        }
        match first {
            Some(conflict) => Err(EvalError::Execution(conflict.text)),
            None => Ok(rows),
        }
    }

    /// The results of two rows at all steps.
    fn pair(
        &self,
        binary: &Binary,
        matching: &Matching,
        place: &Place,
        (many, one): (&Row, &Row),
        grid: &Grid,
    ) -> Row {
        let mut labels = result_labels(&many.labels, &one.labels, binary, matching);
        if binary.returns_bool && !self.params.delayed_names {
            labels = without_name(&labels);
        }
        let mut row = Row::of_floats(labels, self.column(grid.count));
        row.drop_name = binary.returns_bool;
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (one, many) } else { (many, one) };
        for step in 0..grid.count {
            let (l, r) = (left.cell(step), right.cell(step));
            if matches!(l, Cell::None) || matches!(r, Cell::None) {
                continue;
            }
            match elements(binary.op, l, r) {
                Err(note) => self.notes.add(note, place),
                Ok(outcome) if binary.returns_bool => {
                    row.floats[step] = f64::from(u8::from(outcome.keep));
                }
                Ok(outcome) if outcome.keep => set(&mut row, step, outcome.value),
                Ok(_) => {}
            }
        }
        row
    }
}

fn grouped(many: &[Row], one: &[Row], matching: &Matching) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(one.len());
    let mut groups: Vec<Group> = Vec::with_capacity(one.len());
    for (index, row) in one.iter().enumerate() {
        let place = *places
            .entry(signature(&row.labels, matching))
            .or_insert(groups.len());
        if place == groups.len() {
            groups.push(Group::default());
        }
        groups[place].one.push(index);
    }
    for (index, row) in many.iter().enumerate() {
        if let Some(place) = places.get(&signature(&row.labels, matching)) {
            groups[*place].many.push(index);
        }
    }
    groups
}

/// Two elements of one group on the "one" side, at a step where the other side has any element at all.
fn duplicate_on_one_side(
    groups: &[Group],
    many: &[Row],
    one: &[Row],
    matching: &Matching,
    grid: &Grid,
) -> Option<Conflict> {
    let mut found: Option<Conflict> = None;
    for group in groups.iter().filter(|group| group.one.len() > 1) {
        let steps = found.as_ref().map_or(grid.count, |known| known.step);
        for step in 0..steps {
            let mut present = group.one.iter().filter(|row| one[**row].has(step));
            let (Some(first), Some(second)) = (present.next(), present.next()) else {
                continue;
            };
            if many.iter().any(|row| row.has(step)) {
                let text = duplicate(&one[*second].labels, &one[*first].labels, matching);
                found = Some(Conflict { step, text });
                break;
            }
        }
    }
    found
}

fn duplicate(labels: &Labels, known: &Labels, matching: &Matching) -> String {
    let side = match matching.cardinality {
        Cardinality::OneToMany => "left",
        _ => "right",
    };
    let names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
    let group = match matching.on {
        true => labels.only(&names),
        false => labels.without(&[&names[..], &[NAME]].concat()),
    };
    let [group, labels, known] = [&group, labels, known].map(listed);
    format!(
        "found duplicate series for the match group {group} on the {side} hand-side of the \
         operation: [{labels}, {known}];many-to-many matching not allowed: matching labels must be \
         unique on one side"
    )
}

/// Labels as Prometheus' errors list them: the name is one of them.
fn listed(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| match is_plain(name) {
            true => format!("{name}={}", quote(value)),
            false => format!("{}={}", quote(name), quote(value)),
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(fits) && !name.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

/// Results of one match group that meet: at one-to-one any two, otherwise two with the same labels.
fn ambiguous(rows: &[Row], matching: &Matching, grid: &Grid) -> Option<Conflict> {
    if rows.len() < 2 {
        return None;
    }
    let one_to_one = matching.cardinality == Cardinality::OneToOne;
    for step in 0..grid.count {
        let mut seen: Vec<&Labels> = Vec::new();
        for row in rows.iter().filter(|row| row.has(step)) {
            if one_to_one && !seen.is_empty() {
                let text = "multiple matches for labels: many-to-one matching must be explicit \
                            (group_left/group_right)";
                let text = text.to_owned();
                return Some(Conflict { step, text });
            }
            if seen.contains(&&row.labels) {
                let text =
                    "multiple matches for labels: grouping labels must ensure unique matches";
                let text = text.to_owned();
                return Some(Conflict { step, text });
            }
            seen.push(&row.labels);
        }
    }
    None
}

/// The labels of a result: of the "many" side, at one-to-one those that matched, and what
/// `group_left` and `group_right` take over from the other side.
fn result_labels(many: &Labels, one: &Labels, binary: &Binary, matching: &Matching) -> Labels {
    let mut labels = LabelsBuilder::from(many);
    if changes_metric(binary.op) {
        remove_name(&mut labels);
    }
    if matching.cardinality == Cardinality::OneToOne {
        let named = |name: &str| matching.labels.iter().any(|label| label == name);
        let gone: Vec<String> = many
            .iter()
            .filter(|(name, _)| named(name) != matching.on)
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in gone {
            labels.remove(&name);
        }
    }
    for name in &matching.include {
        labels.set(name, one.get(name).unwrap_or(""));
    }
    labels.build()
}
