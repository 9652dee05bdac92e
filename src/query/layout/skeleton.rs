//! What the waterfall needs of a trace: ids, times, names, errors. Read without attributes, events
//! and texts, which are most of a trace's bytes. It must never differ from what the whole trace
//! would give: spans are the same ones in the same order.

use std::collections::HashMap;

use super::super::QueryError;
use super::super::answer::TraceDetail;
use super::super::control::{Control, Stats};
use super::super::traces;
use crate::model::{Span, SpanId, SpanView, Timestamp, TraceId};
use crate::store::{Snapshot, SpanColumns};

/// A trace without its flesh.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Skeleton {
    pub(crate) trace_id: TraceId,
    /// Changes when spans arrive: names everything that is made from the layout.
    pub(crate) version: u64,
    /// By (start, span id); not empty.
    pub(super) bones: Vec<Bone>,
    pub(super) services: Names,
    pub(super) operations: Names,
    pub(crate) stats: Stats,
}

/// One span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bone {
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) service: u32,
    pub(super) operation: u32,
    pub(super) error: bool,
}

impl Bone {
    pub(super) fn duration_ns(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

/// Names by number, in the order of their first span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    numbers: HashMap<String, u32>,
    pub(super) list: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.list.len() as u32;
        self.list.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

impl Skeleton {
    /// Reads one out of the store.
    ///
    /// # Errors
    /// As [`traces::trace`]: not found, or the store cannot be read.
    pub(crate) fn read(
        snapshot: &Snapshot,
        id: TraceId,
        control: &Control,
    ) -> Result<Skeleton, QueryError> {
        let mut skeleton = Skeleton::empty(id);
        let wanted = SpanColumns::NONE;
        let progress = traces::each_span(snapshot, id, wanted, control, &mut |span| {
            skeleton.add(span);
            size_of::<Bone>()
        })?;
        if skeleton.bones.is_empty() {
            return Err(traces::unknown(id, &progress));
        }
        skeleton.bones.sort_by_key(|bone| (bone.start, bone.id));
        let twins = |pair: &[Bone]| (pair[0].start, pair[0].id) == (pair[1].start, pair[1].id);
        if skeleton.bones.windows(2).any(twins) {
            // Sent twice, or one id for two spans: only their whole content tells which.
            return Ok(Skeleton::of(&traces::trace(snapshot, id, control)?));
        }
        skeleton.stats = progress.stats();
        Ok(skeleton.finish())
    }

    /// That of a trace at hand.
    pub(crate) fn of(trace: &TraceDetail) -> Skeleton {
        let mut skeleton = Skeleton::empty(trace.trace_id);
        trace.spans.iter().for_each(|span| skeleton.add_owned(span));
        skeleton.stats = trace.stats;
        skeleton.finish()
    }

    fn empty(trace_id: TraceId) -> Skeleton {
        Skeleton {
            trace_id,
            version: 0,
            bones: Vec::new(),
            services: Names::default(),
            operations: Names::default(),
            stats: Stats::default(),
        }
    }

    fn add(&mut self, span: &SpanView<'_>) {
        self.bones.push(Bone {
            id: span.span_id,
            parent: span.parent,
            start: span.start,
            end: span.end,
            service: self.services.number(span.resource.service()),
            operation: self.operations.number(span.name),
            error: span.is_error(),
        });
    }

    fn add_owned(&mut self, span: &Span) {
        self.bones.push(Bone {
            id: span.span_id,
            parent: span.parent,
            start: span.start,
            end: span.end,
            service: self.services.number(&span.resource.service),
            operation: self.operations.number(&span.name),
            error: span.is_error(),
        });
    }

    /// Numbers names by the order of spans, whatever order they were read in, and signs the result.
    fn finish(mut self) -> Skeleton {
        let mut signed = xxhash_rust::xxh3::Xxh3::new();
        let (mut services, mut operations) = (Names::default(), Names::default());
        for bone in &mut self.bones {
            let service = &self.services.list[bone.service as usize];
            let operation = &self.operations.list[bone.operation as usize];
            signed.update(service.as_bytes());
            signed.update(operation.as_bytes());
            bone.service = services.number(service);
            bone.operation = operations.number(operation);
            signed.update(&bone.id.0);
            signed.update(&bone.parent.map_or([0; 8], |parent| parent.0));
            signed.update(&bone.start.0.to_le_bytes());
            signed.update(&bone.end.0.to_le_bytes());
            signed.update(&[u8::from(bone.error)]);
        }
        self.version = signed.digest();
        (self.services, self.operations) = (services, operations);
        self
    }
}
