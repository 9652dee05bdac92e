//! Random OTLP requests for tests, as the reference types have them: every field, every kind of
//! value, odd orders and duplicates, within the limits of admission. Same seed, same request.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// A small deterministic generator (xorshift64*): tests print the seed, not the data.
#[derive(Clone, Debug)]
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

    /// A number below `n` (at least 1).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8 | 1).collect()
    }

    fn text(&mut self) -> String {
        const WORDS: &[&str] = &[
            "",
            "payment",
            "declined",
            "GET /cart",
            "ключ",
            "🦀",
            "a b",
            "timeout",
            "order=8f2c-11",
            "\u{0}",
            "\"q\"",
            "42",
        ];
        (0..self.below(4))
            .map(|_| *self.pick(WORDS))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn any(&mut self, depth: usize) -> AnyValue {
        let kinds = if depth == 0 { 6 } else { 8 };
        let value = match self.below(kinds) {
            0 => None,
            1 => Some(Value::StringValue(self.text())),
            2 => Some(Value::BoolValue(self.one_in(2))),
            3 => Some(Value::IntValue(*self.pick(&[
                0,
                1,
                -1,
                402,
                i64::MIN,
                i64::MAX,
                1 << 53,
            ]))),
            4 => Some(Value::DoubleValue(*self.pick(&[
                0.0,
                -0.0,
                1.5,
                f64::INFINITY,
                f64::NEG_INFINITY,
                1e-310,
            ]))),
            5 => Some(Value::BytesValue(
                (0..self.below(20)).map(|_| self.next() as u8).collect(),
            )),
            6 => Some(Value::ArrayValue(ArrayValue {
                values: (0..self.below(4)).map(|_| self.any(depth - 1)).collect(),
            })),
            _ => Some(Value::KvlistValue(KeyValueList {
                values: self.attributes(3, depth - 1),
            })),
        };
        AnyValue { value }
    }

    fn attributes(&mut self, most: usize, depth: usize) -> Vec<KeyValue> {
        const KEYS: &[&str] = &[
            "http.route",
            "user.id",
            "retry",
            "db.statement",
            "",
            "ключ",
            "host.name",
            "elapsed_ms",
        ];
        (0..self.below(most + 1))
            .map(|_| KeyValue {
                key: (*self.pick(KEYS)).to_owned(),
                value: Some(self.any(depth)),
                ..KeyValue::default()
            })
            .collect()
    }

    fn resource(&mut self) -> Resource {
        let mut attributes = self.attributes(4, 2);
        if !self.one_in(5) {
            let name = (*self.pick(&["checkout", "payments", "gateway", "ключ"])).to_owned();
            let value = Some(AnyValue {
                value: Some(Value::StringValue(name)),
            });
            attributes.insert(
                0,
                KeyValue {
                    key: "service.name".to_owned(),
                    value,
                    ..KeyValue::default()
                },
            );
        }
        let entity_refs = if self.one_in(4) {
            vec![EntityRef {
                r#type: "service".to_owned(),
                id_keys: vec!["service.name".to_owned()],
                ..EntityRef::default()
            }]
        } else {
            Vec::new()
        };
        Resource {
            attributes,
            dropped_attributes_count: self.below(3) as u32,
            entity_refs,
        }
    }

    fn scope(&mut self) -> InstrumentationScope {
        InstrumentationScope {
            name: self.text(),
            version: (*self.pick(&["", "1.0.0"])).to_owned(),
            attributes: self.attributes(2, 1),
            dropped_attributes_count: self.below(2) as u32,
        }
    }

    fn schema(&mut self) -> String {
        (*self.pick(&["", "https://opentelemetry.io/schemas/1.40.0"])).to_owned()
    }

    /// A stamp within two hours after `base_ns`, now and then zero.
    fn stamp(&mut self, base_ns: u64) -> u64 {
        if self.one_in(12) {
            0
        } else {
            base_ns + self.next() % (2 * super::time::NANOS_PER_HOUR)
        }
    }

    fn log(&mut self, base_ns: u64) -> LogRecord {
        LogRecord {
            time_unix_nano: self.stamp(base_ns),
            observed_time_unix_nano: self.stamp(base_ns),
            severity_number: self.below(25) as i32,
            severity_text: (*self.pick(&["", "INFO", "warn", "Fatal"])).to_owned(),
            body: if self.one_in(10) {
                None
            } else {
                Some(self.any(3)).filter(|any| any.value.is_some())
            },
            attributes: self.attributes(6, 3),
            dropped_attributes_count: self.below(3) as u32,
            flags: self.below(3) as u32,
            trace_id: if self.one_in(2) {
                self.id(16)
            } else {
                Vec::new()
            },
            span_id: if self.one_in(2) {
                self.id(8)
            } else {
                Vec::new()
            },
            event_name: (*self.pick(&["", "", "device.app.lifecycle"])).to_owned(),
        }
    }

    /// A span of the trace whose id is made from `trace`.
    fn span(&mut self, base_ns: u64, trace: u8) -> Span {
        let start = base_ns + self.next() % (2 * super::time::NANOS_PER_HOUR);
        Span {
            trace_id: vec![trace | 1; 16],
            span_id: self.id(8),
            trace_state: (*self.pick(&["", "vendor=1"])).to_owned(),
            parent_span_id: if self.one_in(3) {
                Vec::new()
            } else {
                self.id(8)
            },
            flags: *self.pick(&[0, 1, 0x101]),
            name: self.text(),
            kind: self.below(6) as i32,
            start_time_unix_nano: start,
            end_time_unix_nano: if self.one_in(20) {
                0
            } else {
                start + self.next() % 3_000_000_000
            },
            attributes: self.attributes(6, 3),
            dropped_attributes_count: self.below(3) as u32,
            events: (0..self.below(3)).map(|_| self.event(start)).collect(),
            dropped_events_count: self.below(2) as u32,
            links: (0..self.below(2)).map(|_| self.link()).collect(),
            dropped_links_count: self.below(2) as u32,
            status: if self.one_in(2) {
                None
            } else {
                Some(self.status())
            },
        }
    }

    fn status(&mut self) -> Status {
        // An empty status and no status are the same thing on the wire's other side.
        Status {
            message: self.text(),
            code: 1 + self.below(2) as i32,
        }
    }

    fn event(&mut self, start: u64) -> Event {
        Event {
            time_unix_nano: start + self.next() % 1_000_000,
            name: (*self.pick(&["exception", "retry", ""])).to_owned(),
            attributes: self.attributes(3, 2),
            dropped_attributes_count: self.below(2) as u32,
        }
    }

    fn link(&mut self) -> Link {
        Link {
            trace_id: self.id(16),
            span_id: self.id(8),
            trace_state: self.text(),
            attributes: self.attributes(2, 1),
            dropped_attributes_count: self.below(2) as u32,
            flags: self.below(2) as u32,
        }
    }

    /// A logs request with stamps in the two hours after `base_ns`; at most about 60 records.
    pub(crate) fn logs_request(&mut self, base_ns: u64) -> ExportLogsServiceRequest {
        let scope_logs = |random: &mut Random| ScopeLogs {
            scope: Some(random.scope()),
            log_records: (0..random.below(8)).map(|_| random.log(base_ns)).collect(),
            schema_url: random.schema(),
        };
        ExportLogsServiceRequest {
            resource_logs: (0..1 + self.below(3))
                .map(|_| ResourceLogs {
                    resource: Some(self.resource()),
                    scope_logs: (0..self.below(4)).map(|_| scope_logs(self)).collect(),
                    schema_url: self.schema(),
                })
                .collect(),
        }
    }

    /// A traces request of at most about 60 spans over at most eight trace ids.
    pub(crate) fn traces_request(&mut self, base_ns: u64) -> ExportTraceServiceRequest {
        let scope_spans = |random: &mut Random| ScopeSpans {
            scope: Some(random.scope()),
            spans: (0..random.below(8))
                .map(|_| {
                    let trace = random.below(8) as u8 * 16;
                    random.span(base_ns, trace)
                })
                .collect(),
            schema_url: random.schema(),
        };
        ExportTraceServiceRequest {
            resource_spans: (0..1 + self.below(3))
                .map(|_| ResourceSpans {
                    resource: Some(self.resource()),
                    scope_spans: (0..self.below(4)).map(|_| scope_spans(self)).collect(),
                    schema_url: self.schema(),
                })
                .collect(),
        }
    }
}
