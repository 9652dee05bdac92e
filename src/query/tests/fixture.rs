//! A store in memory and random telemetry whose words, values and names queries can hit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::chunk::Request;
use crate::model::random::Random;
use crate::model::value::{ArrayRef, MapRef};
use crate::model::{LogChunk, ProjectId, SpanChunk, Timestamp, ValueRef, write};
use crate::query::{Control, Engine};
use crate::store::disk::sim::World;
use crate::store::fixture::{SECOND, START, config, sim};
use crate::store::{Batch, BatchChunk, Opened, open};

pub(in crate::query) struct Fixture {
    opened: Opened,
    pub(in crate::query) engine: Engine,
    next_key: u128,
}

pub(in crate::query) fn control() -> Control {
    Control::new(1, Instant::now(), Duration::from_secs(60), u64::MAX)
}

impl Fixture {
    pub(in crate::query) fn new() -> Fixture {
        let world = World::new();
        let opened = open(config(), sim(&world), START).expect("the disk is good");
        Fixture {
            engine: Engine::new(opened.store.clone(), 4 << 20),
            opened,
            next_key: 0,
        }
    }

    pub(in crate::query) fn logs(&mut self, bytes: Vec<u8>) {
        let chunk = LogChunk::parse(request(bytes)).expect("well-formed");
        self.append(BatchChunk::Logs(chunk));
    }

    pub(in crate::query) fn spans(&mut self, bytes: Vec<u8>) {
        let chunk = SpanChunk::parse(request(bytes)).expect("well-formed");
        self.append(BatchChunk::Traces(chunk));
    }

    fn append(&mut self, chunk: BatchChunk) {
        self.next_key += 1;
        let batch = Batch {
            chunk,
            key: self.next_key,
            wire: None,
        };
        self.opened.writer.append(batch).expect("accepted");
    }

    /// Moves everything from the heads into segments.
    pub(in crate::query) fn seal(&mut self) {
        let later = START.saturating_add(3600 * SECOND);
        self.opened.writer.tick(later).expect("sealed");
        while self.opened.sealer.step().expect("published") {}
    }

    /// The next search finds no directory in memory.
    pub(in crate::query) fn release(&self) {
        self.opened.store.release_directories();
    }

    /// Indexes the templates there are; those of later segments have to be looked at.
    pub(in crate::query) fn index(&self) {
        self.opened.store.index_templates();
    }
}

fn request(bytes: Vec<u8>) -> Request {
    Request {
        bytes: Arc::<[u8]>::from(bytes).to_vec().into(),
        project: ProjectId::DEFAULT,
        received: START,
    }
}

pub(super) const SERVICES: &[&str] = &["api", "checkout", "db"];
pub(super) const WORDS: &[&str] = &[
    "connection",
    "Refused",
    "user_id",
    "ÜBER",
    "größe",
    "timeout",
    "a",
    "42",
    "GET",
    "x",
];
pub(super) const KEYS: &[&str] = &[
    "host",
    "http.status",
    "size",
    "took",
    "when",
    "ok",
    "level",
    "a.b",
    "name",
];
pub(super) const TEXTS: &[&str] = &[
    "web-1",
    "web-2",
    "200",
    "500",
    "10MB",
    "1.5GiB",
    "250ms",
    "2s",
    "true",
    "warn",
    "2026-11-20T10:00:00Z",
    "2026-11-21T10:00:00+02:00",
    "",
    "Web-1 x",
];

/// One request of logs: a service, a scope, up to `most` records.
pub(super) fn log_request(random: &mut Random, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let rows = 1 + random.below(most);
    write::message(&mut out, 1, |out| {
        resource(out, random);
        write::message(out, 2, |out| {
            scope(out, random);
            for _ in 0..rows {
                write::message(out, 2, |out| log(out, random));
            }
        });
    });
    out
}

/// One request of spans.
pub(super) fn span_request(random: &mut Random, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let rows = 1 + random.below(most);
    write::message(&mut out, 1, |out| {
        resource(out, random);
        write::message(out, 2, |out| {
            scope(out, random);
            for _ in 0..rows {
                write::message(out, 2, |out| span(out, random));
            }
        });
    });
    out
}

fn resource(out: &mut Vec<u8>, random: &mut Random) {
    write::message(out, 1, |out| {
        if !random.one_in(8) {
            let service = ValueRef::Str(random.pick::<&str>(SERVICES));
            write::key_value(out, 1, "service.name", service);
        }
        attributes(out, 1, 2, random);
    });
}

fn scope(out: &mut Vec<u8>, random: &mut Random) {
    write::message(out, 1, |out| {
        write::bytes_field(out, 1, random.pick(&["lib", ""]).as_bytes());
        write::bytes_field(out, 2, random.pick(&["1.0", ""]).as_bytes());
        attributes(out, 3, 1, random);
    });
}

/// Few distinct times, so that equal ones happen.
fn time(random: &mut Random) -> Timestamp {
    START.saturating_sub(random.below(40) as u64 * SECOND)
}

fn log(out: &mut Vec<u8>, random: &mut Random) {
    write::fixed64_field(out, 1, time(random).0);
    if !random.one_in(3) {
        write::varint_field(out, 2, random.below(26) as u64);
    }
    if random.one_in(3) {
        let text = *random.pick(&["warn", "ERROR", "odd", "Notice"]);
        write::bytes_field(out, 3, text.as_bytes());
    }
    body(out, random);
    attributes(out, 6, 3, random);
    if random.one_in(2) {
        write::bytes_field(out, 9, &trace_id(random));
        write::bytes_field(out, 10, &(1 + random.below(9) as u64).to_be_bytes());
    }
    if random.one_in(6) {
        write::bytes_field(out, 12, random.pick(WORDS).as_bytes());
    }
}

fn trace_id(random: &mut Random) -> [u8; 16] {
    (0xabc0 + 1 + random.below(6) as u128).to_be_bytes()
}

fn body(out: &mut Vec<u8>, random: &mut Random) {
    let text = match random.below(14) {
        0 => return,
        1 => json(random),
        2 => {
            let mut map = Vec::new();
            attributes(&mut map, 1, 3, random);
            return write::message(out, 5, |out| {
                write::any_value(out, ValueRef::Map(MapRef(&map)));
            });
        }
        3 => {
            return write::message(out, 5, |out| {
                write::any_value(out, ValueRef::Int(42));
            });
        }
        4..8 => sentence(random),
        _ => line(random),
    };
    write::message(out, 5, |out| write::any_value(out, ValueRef::Str(&text)));
}

/// Variables of lines: numbers, ids, an address, a word with a digit, nothing.
pub(super) const VARIABLES: &[&str] = &[
    "42",
    "7",
    "a5505e54-d9b5-4536-beef-062b9f8627b1",
    "0000000000000000000000000000abc1",
    "10.0.0.7",
    "x42",
    "0.5",
    "cafe1234",
];

/// A line of one of a few forms, as programs print them: it repeats but for its variables.
pub(super) fn line(random: &mut Random) -> String {
    let mut value = || *random.pick(VARIABLES);
    let (a, b) = (value(), value());
    match random.below(7) {
        0 => format!("connection {a} Refused by user_id={b}"),
        1 => format!("GET /{a}/{b} timeout"),
        2 => format!("größe {a}: x a {b}"),
        3 => format!(
            r#"{{"msg":"{}","size":{}}}"#,
            random.pick(WORDS),
            random.below(99)
        ),
        4 => format!(
            r#"{{"level":"{}","x":["a","{b}",""],"user_id":""}}"#,
            random.pick(WORDS)
        ),
        5 => "connection Refused".to_owned(),
        _ => format!("{a} Refused {a}"),
    }
}

pub(super) fn sentence(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(6) {
        text.push_str(random.pick::<&str>(WORDS));
        text.push_str(random.pick::<&str>(&[" ", "-", ": ", "", "_", " \"", "é"]));
    }
    text
}

fn json(random: &mut Random) -> String {
    let mut object = serde_json::Map::new();
    for _ in 0..random.below(4) {
        let key = (*random.pick(KEYS)).to_owned();
        let value = match random.below(7) {
            0 => serde_json::Value::Null,
            1 => (random.below(600) as i64).into(),
            2 => 2.5.into(),
            3 => serde_json::json!([1, *random.pick(TEXTS)]),
            4 => serde_json::json!({ "b": *random.pick(TEXTS) }),
            5 => true.into(),
            _ => sentence(random).into(),
        };
        object.insert(key, value);
    }
    if random.one_in(3) {
        object.insert(
            "a".to_owned(),
            serde_json::json!({ "b": *random.pick(TEXTS) }),
        );
    }
    serde_json::Value::Object(object).to_string()
}

fn attributes(out: &mut Vec<u8>, field: u32, most: usize, random: &mut Random) {
    for _ in 0..random.below(most + 1) {
        let key = *random.pick(KEYS);
        let mut array = Vec::new();
        let value = match random.below(9) {
            0 => ValueRef::Int(random.below(600) as i64),
            1 => ValueRef::Double(2.5),
            2 => ValueRef::Bool(random.one_in(2)),
            3 => ValueRef::Bytes(b"raw"),
            4 => {
                for _ in 0..2 {
                    let text = *random.pick(TEXTS);
                    write::message(&mut array, 1, |out| {
                        write::any_value(out, ValueRef::Str(text));
                    });
                }
                ValueRef::Array(ArrayRef(&array))
            }
            5 => ValueRef::Empty,
            _ => ValueRef::Str(random.pick::<&str>(TEXTS)),
        };
        write::key_value(out, field, key, value);
    }
}

fn span(out: &mut Vec<u8>, random: &mut Random) {
    let start = time(random);
    write::bytes_field(out, 1, &trace_id(random));
    write::bytes_field(out, 2, &(1 + random.below(30) as u64).to_be_bytes());
    if !random.one_in(4) {
        write::bytes_field(out, 4, &(1 + random.below(30) as u64).to_be_bytes());
    }
    write::bytes_field(
        out,
        5,
        random.pick(&["GET /pay", "SELECT", "timeout"]).as_bytes(),
    );
    write::varint_field(out, 6, random.below(7) as u64);
    write::fixed64_field(out, 7, start.0);
    let length = *random.pick(&[0, 1_000_000, 250_000_000, 2_000_000_000]);
    write::fixed64_field(out, 8, start.0 + length + random.below(3) as u64);
    attributes(out, 9, 3, random);
    if random.one_in(4) {
        let (name, text) = (*random.pick(WORDS), sentence(random));
        write::message(out, 11, |out| {
            write::bytes_field(out, 2, name.as_bytes());
            write::key_value(out, 3, "exception.message", ValueRef::Str(&text));
        });
    }
    if !random.one_in(3) {
        let text = sentence(random);
        let code = random.below(3) as u64;
        write::message(out, 15, |out| {
            write::bytes_field(out, 2, text.as_bytes());
            write::varint_field(out, 3, code);
        });
    }
}
