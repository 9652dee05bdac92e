//! Values of fields in the traces of a list: the columns that a reader adds to it. It must never
//! read more of a page of traces than a search would.

use super::QueryError;
use super::control::Control;
use super::matcher::FieldReader;
use super::traces;
use crate::model::TraceId;
use crate::store::{Snapshot, SpanColumns};

/// Values of a field told apart in one trace; more are counted as "more".
pub(crate) const VALUES_MAX: usize = 3;

/// Characters of a value in a list.
const CHARS_MAX: usize = 200;

/// The values of one field in one trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    /// Distinct ones in the order in which spans were read.
    pub(crate) values: Vec<String>,
    /// There are more than [`VALUES_MAX`].
    pub(crate) more: bool,
}

/// Per trace, per field; traces past the control's bounds are left out at the end.
pub(super) fn of(
    snapshot: &Snapshot,
    ids: &[TraceId],
    fields: &[String],
    control: &Control,
) -> Result<Vec<Vec<Values>>, QueryError> {
    let readers: Vec<FieldReader> = fields.iter().map(|name| FieldReader::new(name)).collect();
    let columns = readers
        .iter()
        .fold(SpanColumns::NONE, |all, one| all.with(one.span_columns()));
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        if control.check().is_err() {
            break;
        }
        let mut row = vec![Values::default(); readers.len()];
        traces::each_span(snapshot, *id, columns, control, &mut |span| {
            let mut taken = 0;
            for (reader, found) in readers.iter().zip(&mut row) {
                reader.span_text(span, &mut |text| taken += found.add(text));
            }
            taken
        })?;
        rows.push(row);
    }
    Ok(rows)
}

impl Values {
    /// The memory that it took, in bytes.
    fn add(&mut self, text: &str) -> usize {
        let end = text.char_indices().nth(CHARS_MAX);
        let text = end.map_or(text, |(at, _)| &text[..at]);
        if self.values.iter().any(|known| known == text) {
            return 0;
        }
        if self.values.len() == VALUES_MAX {
            self.more = true;
            return 0;
        }
        self.values.push(text.to_owned());
        size_of::<String>() + text.len()
    }
}
