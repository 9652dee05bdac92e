//! Log bodies that are JSON objects or kvlists: fields lifted out of them, keys looked up in them.

use super::id::{SpanId, TraceId};
use super::severity::Severity;
use super::time::Timestamp;
use super::value::ValueRef;

/// What a structured body says about its own record (design.md section 2): filled into the
/// record's fields where those are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyFields {
    pub(crate) time: Option<Timestamp>,
    pub(crate) severity: Option<Severity>,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
}

/// Reads the well-known fields of a body that is a JSON object or a kvlist.
pub(crate) fn fields(_body: ValueRef<'_>) -> BodyFields {
    BodyFields::default()
}
