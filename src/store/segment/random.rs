//! Random telemetry for tests: every field, kind of value and odd case that OTLP allows, from a seed.

use bytes::Bytes;

use crate::model::chunk::Request;
use crate::model::record::{Attr, LogView, ResourceView, ScopeView, SpanView};
use crate::model::value::{ArrayRef, MapRef};
use crate::model::write::{RequestWriter, bytes_field, key_value, message, varint_field};
use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::partition::{Partition, RetentionClass, Span};

use super::{Format, Segment};
use crate::model::{ProjectId, Severity, SpanId, Timestamp, TraceId, ValueRef, write};

/// 2026-11-21 00:00 UTC: so that records around it fall into two days.
pub(crate) const MIDNIGHT: u64 = 1_795_219_200_000_000_000;

/// xorshift64*: a test needs reproducible variety, not quality.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    fn text(&mut self) -> String {
        match self.below(9) {
            0 => String::new(),
            1 => format!(
                "{:032x}",
                u128::from(self.next()) << 64 | u128::from(self.next())
            ),
            2 => self.next().to_string(),
            3 => format!("10.0.{}.{}", self.below(256), self.below(256)),
            4 => format!(
                "{:08x}-1234-4abc-9def-{:012x}",
                self.next() as u32,
                self.next() >> 16
            ),
            5 => format!(
                "GET /orders/{} took {} ms ünïcode \u{1f980}",
                self.below(9999),
                self.below(500)
            ),
            6 => "x".repeat(self.below(300) as usize),
            7 => format!(
                r#"{{"msg":"{}","n":{},"ok":[true,"{}"]}}"#,
                self.pick(&["a b", "", "\\\"7\\\""]),
                self.below(99),
                self.below(9)
            ),
            _ => self
                .pick(&["ok", "GET", "POST", "alpha", "beta"])
                .to_owned(),
        }
    }

    /// Calls `f` with a random value, nested ones included.
    fn value(&mut self, f: &mut dyn FnMut(ValueRef<'_>)) {
        let text = self.text();
        let mut nested = Vec::new();
        match self.below(12) {
            0 => f(ValueRef::Empty),
            1 => f(ValueRef::Bool(self.chance(2))),
            2 => f(ValueRef::Int(self.next() as i64)),
            3 => f(ValueRef::Int(self.below(600) as i64)),
            4 => f(ValueRef::Double(f64::from_bits(self.next()))),
            5 => f(ValueRef::Double(f64::from_bits(0x7ff8_0000_0000_0001))),
            6 => f(ValueRef::Bytes(&[0xff, 0, 0xfe][..self.below(4) as usize])),
            7 => {
                message(&mut nested, 1, |out| {
                    write::any_value(out, ValueRef::Str(&text))
                });
                message(&mut nested, 1, |_| {});
                f(ValueRef::Array(ArrayRef(&nested)));
            }
            8 => {
                key_value(&mut nested, 1, "k", ValueRef::Str(&text));
                key_value(&mut nested, 1, "k", ValueRef::Empty);
                f(ValueRef::Map(MapRef(&nested)));
            }
            _ => f(ValueRef::Str(&text)),
        }
    }

    /// Encoded `KeyValue`s as field `number`: few keys, sometimes repeated, sometimes many.
    fn attributes(&mut self, out: &mut Vec<u8>, number: u32) {
        const KEYS: &[&str] = &[
            "http.method",
            "http.status_code",
            "user.id",
            "peer",
            "",
            "k",
        ];
        let n = if self.chance(40) { 60 } else { self.below(6) };
        for _ in 0..n {
            let key = if self.chance(30) {
                self.text()
            } else {
                self.pick(KEYS).to_owned()
            };
            self.value(&mut |value| key_value(out, number, &key, value));
        }
    }

    fn trace_id(&mut self, seed: u64) -> TraceId {
        let mut id = [7; 16];
        id[8..].copy_from_slice(
            &(self.below(20) + seed % 1000)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes(),
        );
        TraceId(id)
    }

    fn time(&mut self) -> u64 {
        match self.below(20) {
            0 => 0,
            1 => self.next(),
            _ => MIDNIGHT - 5_000_000_000 + self.below(10_000_000_000),
        }
    }

    fn groups(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (mut resource, mut scope) = (Vec::new(), Vec::new());
        if !self.chance(6) {
            let service = self.pick(&["shop", "cart", "payments"]).to_owned();
            key_value(&mut resource, 1, "service.name", ValueRef::Str(&service));
            self.attributes(&mut resource, 1);
            varint_field(&mut resource, 2, self.below(3));
        }
        if !self.chance(6) {
            bytes_field(&mut scope, 1, self.text().as_bytes());
            bytes_field(&mut scope, 2, self.text().as_bytes());
            self.attributes(&mut scope, 3);
        }
        (resource, scope)
    }
}

/// An export request of random log records.
pub(crate) fn log_request(seed: u64, n: u64) -> Request {
    let random = &mut Random::new(seed);
    let mut writer = RequestWriter::default();
    let (mut resource, mut scope) = random.groups();
    for _ in 0..n {
        if random.chance(12) {
            (resource, scope) = random.groups();
        }
        let mut record = Vec::new();
        random.attributes(&mut record, 6);
        let trace_id = (!random.chance(3)).then(|| random.trace_id(seed));
        let span_id = (!random.chance(3)).then(|| SpanId((random.next() | 1).to_be_bytes()));
        let mut text = random.text();
        if let (Some(trace), true) = (trace_id, random.chance(2)) {
            text = format!(
                "{trace} {text} {trace}{}",
                span_id.map_or(String::new(), |id| id.to_string())
            );
        }
        let mut body = Vec::new();
        random.value(&mut |value| write::any_value(&mut body, value));
        if random.chance(2) {
            body.clear();
            write::any_value(&mut body, ValueRef::Str(&text));
        }
        let attributes = attributes(&record, 6);
        let (severity_text, event_name) = (
            random.pick(&["", "INFO", "warn"]),
            random.pick(&["", "", "", "click"]),
        );
        writer.log(&LogView {
            resource: &ResourceView::parse(&resource, "https://opentelemetry.io/schemas/1.30.0")
                .expect("just written"),
            scope: &ScopeView::parse(&scope, "").expect("just written"),
            at: Timestamp(0),
            time: Timestamp(random.time()),
            observed: Timestamp(random.time()),
            severity: Severity(if random.chance(9) {
                random.next() as i32
            } else {
                random.below(25) as i32
            }),
            severity_text,
            body: ValueRef::parse(&body).expect("just written"),
            attributes: &attributes,
            dropped_attributes: if random.chance(9) {
                random.next() as u32
            } else {
                0
            },
            flags: random.below(2) as u32,
            trace_id,
            span_id,
            event_name,
            lifted: Default::default(),
        });
    }
    request(writer)
}

fn attributes(record: &[u8], field: u32) -> Vec<Attr<'_>> {
    let mut fields = crate::model::wire::Fields::new(record);
    let mut attributes = Vec::new();
    while let Some((number, value)) = fields.next().expect("just written") {
        if number == field {
            let raw = value.bytes().expect("just written");
            attributes.push(crate::model::record::parse_attr(raw).expect("just written"));
        }
    }
    attributes
}

fn request(writer: RequestWriter) -> Request {
    Request {
        bytes: Bytes::from(writer.finish()),
        project: ProjectId::DEFAULT,
        received: Timestamp(MIDNIGHT + 1_000_000_000),
    }
}

/// An export request of random spans of few traces; parents mostly among them.
pub(crate) fn span_request(seed: u64, n: u64) -> Request {
    let random = &mut Random::new(seed);
    let mut writer = RequestWriter::default();
    let (mut resource, mut scope) = random.groups();
    let mut ids: Vec<SpanId> = Vec::new();
    for _ in 0..n {
        if random.chance(4) {
            (resource, scope) = random.groups();
        }
        let id = SpanId((random.next() | 1).to_be_bytes());
        let parent = match random.below(5) {
            0 => None,
            1 => Some(SpanId((random.next() | 1).to_be_bytes())),
            _ => ids
                .get(random.below(1 + ids.len() as u64) as usize)
                .copied(),
        };
        let repeated = ids.first().copied().filter(|_| random.chance(50));
        ids.push(repeated.unwrap_or(id));
        let (mut record, mut lists) = (Vec::new(), Vec::new());
        random.attributes(&mut record, 9);
        for field in [11, 13] {
            for _ in 0..if random.chance(5) { random.below(4) } else { 0 } {
                message(&mut lists, field, |out| {
                    bytes_field(out, 2, random.text().as_bytes());
                    random.attributes(out, 3);
                });
            }
        }
        let (start, name) = (random.time(), random.text());
        let (attributes, state) = (attributes(&record, 9), random.text());
        writer.span(&SpanView {
            resource: &ResourceView::parse(&resource, "").expect("just written"),
            scope: &ScopeView::parse(&scope, "https://scope.example/1").expect("just written"),
            at: Timestamp(0),
            trace_id: random.trace_id(seed),
            span_id: *ids.last().expect("one was just pushed"),
            parent,
            trace_state: if random.chance(3) { &state } else { "" },
            flags: random.below(3) as u32,
            name: if random.chance(4) { &name } else { "GET /" },
            kind: random.below(6) as i32 - i32::from(random.chance(50)),
            start: Timestamp(start),
            end: Timestamp(if random.chance(20) {
                random.time()
            } else {
                start.wrapping_add(random.below(1 << 30))
            }),
            attributes: &attributes,
            dropped_attributes: random.below(2) as u32,
            events: &messages(&lists, 11),
            dropped_events: 0,
            links: &messages(&lists, 13),
            dropped_links: random.below(2) as u32,
            status_code: random.below(4) as i32 - 1,
            status_message: random.pick(&["", "", "boom"]),
        });
    }
    request(writer)
}

fn messages(lists: &[u8], field: u32) -> Vec<&[u8]> {
    let mut fields = crate::model::wire::Fields::new(lists);
    let mut messages = Vec::new();
    while let Some((number, value)) = fields.next().expect("just written") {
        if number == field {
            messages.push(value.bytes().expect("just written"));
        }
    }
    messages
}

pub(crate) fn day(at: Timestamp) -> Partition {
    Partition::of(at, Span::Day, RetentionClass::default())
}

/// A directory of segment files that goes away at the end of a test.
#[derive(Debug)]
pub(crate) struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Files {
        Files {
            dir: tempfile::tempdir().expect("a directory for temporary files"),
        }
    }

    pub(crate) fn open<F: Format>(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<Segment<F>, StoreError> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        Segment::open(Disk::Real.open(&path).expect("it is there"))
    }
}
