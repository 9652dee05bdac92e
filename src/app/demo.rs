//! The demo: ten minutes of a shop of four services that just ended, as OTLP requests. It must
//! never be told from real data by how it is stored: it goes through the ingest door like any
//! other, and every resource says `watchpost.demo=true`.
//!
//! What can be found in it: a deploy of `checkout` after six minutes, from then on failing
//! payments, one order whose items are read one by one (N+1), and one that waits for a timeout.

use crate::model::write::{bytes_field, fixed64_field, key_value, message, varint_field};
use crate::model::{Signal, Timestamp, ValueRef};

const MS: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MS;

/// Minutes told, and traces in each: some 2,300 spans and 320 log records, 440 KiB.
pub(crate) const MINUTES: u64 = 10;
const TRACES_PER_MINUTE: u64 = 60;
/// The minute of the deploy, of the order read one by one, and of the one that times out.
const DEPLOY: u64 = 6;
const ONE_BY_ONE: u64 = 7;
const TIMEOUT: u64 = 8;
/// Items of the order that is read one by one.
const ITEMS: u64 = 48;

const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const INFO: u64 = 9;
const WARN: u64 = 13;
const ERROR: u64 = 17;

#[derive(Clone, Copy)]
enum Service {
    Gateway,
    Checkout,
    Payments,
    Catalog,
}

impl Service {
    const ALL: [Service; 4] = [
        Service::Gateway,
        Service::Checkout,
        Service::Payments,
        Service::Catalog,
    ];

    fn name(self) -> &'static str {
        match self {
            Service::Gateway => "gateway",
            Service::Checkout => "checkout",
            Service::Payments => "payments",
            Service::Catalog => "catalog",
        }
    }

    fn version(self, minute: u64) -> &'static str {
        match self {
            Service::Gateway => "2.2.0",
            Service::Checkout if minute < DEPLOY => "1.8.1",
            Service::Checkout => "1.8.2",
            Service::Payments => "1.3.0",
            Service::Catalog => "5.0.1",
        }
    }
}

type Attributes<'a> = &'a [(&'a str, ValueRef<'a>)];

/// One span to be written; times in nanoseconds.
struct Call<'a> {
    service: Service,
    parent: Option<u64>,
    name: &'a str,
    kind: u64,
    start: u64,
    took: u64,
    failure: Option<&'a str>,
    attributes: Attributes<'a>,
}

/// What an order meets.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Usual,
    Declined,
    OneByOne,
    TimedOut,
}

/// Requests of the ten minutes before `now`, oldest first, each of one signal and minute.
pub(crate) fn shop(now: Timestamp) -> Vec<(Signal, Vec<u8>)> {
    let mut shop = Shop {
        dice: Dice(now.0),
        ..Shop::default()
    };
    let start = now.0.saturating_sub(MINUTES * MINUTE);
    let mut requests = Vec::new();
    for minute in 0..MINUTES {
        for i in 0..TRACES_PER_MINUTE {
            let jitter = shop.dice.below(MINUTE / TRACES_PER_MINUTE / 2);
            let at = start + minute * MINUTE + i * (MINUTE / TRACES_PER_MINUTE) + jitter;
            match (minute, i) {
                (ONE_BY_ONE, 30) => shop.buy(at, Fate::OneByOne),
                (TIMEOUT, 30) => shop.buy(at, Fate::TimedOut),
                _ if i % 5 < 3 => shop.browse(at),
                _ => {
                    let per_cent = if minute < DEPLOY { 2 } else { 30 };
                    let declined = shop.dice.below(100) < per_cent;
                    shop.buy(
                        at,
                        if declined {
                            Fate::Declined
                        } else {
                            Fate::Usual
                        },
                    );
                }
            }
        }
        requests.push((Signal::Traces, shop.finish(minute, Signal::Traces)));
        requests.push((Signal::Logs, shop.finish(minute, Signal::Logs)));
    }
    requests
}

/// Records of the minute being told, by service.
#[derive(Default)]
struct Shop {
    dice: Dice,
    trace: [u8; 16],
    spans: [Vec<u8>; 4],
    logs: [Vec<u8>; 4],
}

impl Shop {
    fn browse(&mut self, start: u64) {
        self.trace = self.dice.trace_id();
        let (read, around) = (self.dice.ms(2, 20), self.dice.ms(2, 8));
        let route = |route| {
            [
                ("http.request.method", ValueRef::Str("GET")),
                ("http.route", ValueRef::Str(route)),
                ("http.response.status_code", ValueRef::Int(200)),
            ]
        };
        let root = self.span(&Call {
            service: Service::Gateway,
            parent: None,
            name: "GET /products",
            kind: SERVER,
            start,
            took: read + 3 * around,
            failure: None,
            attributes: &route("/products"),
        });
        let list = self.span(&Call {
            service: Service::Catalog,
            parent: Some(root),
            name: "GET /v1/products",
            kind: SERVER,
            start: start + around,
            took: read + around,
            failure: None,
            attributes: &route("/v1/products"),
        });
        self.query(
            Service::Catalog,
            list,
            "SELECT products",
            start + around + around / 2,
            read,
        );
        if read > 18 * MS {
            let slow = format!("slow query {} ms on products", read / MS);
            self.log(
                Service::Catalog,
                list,
                WARN,
                &slow,
                start + around + read,
                &[],
            );
        }
    }

    fn buy(&mut self, start: u64, fate: Fate) {
        self.trace = self.dice.trace_id();
        let order = format!("{:04x}", self.dice.below(1 << 16));
        let order_id = [("order.id", ValueRef::Str(&order))];
        let step = self.dice.ms(3, 9);
        let reads = if fate == Fate::OneByOne { ITEMS } else { 1 };
        let (items, charge) = (reads * 6 * MS, self.charge_time(fate));
        let whole = 4 * step + items + charge;
        let failure = match fate {
            Fate::Usual | Fate::OneByOne => None,
            Fate::Declined => Some("card declined"),
            Fate::TimedOut => Some("payments did not answer within 4 s"),
        };
        let status = if failure.is_some() { 502 } else { 201 };
        let root = self.span(&Call {
            service: Service::Gateway,
            parent: None,
            name: "POST /checkout",
            kind: SERVER,
            start,
            took: whole,
            failure,
            attributes: &[
                ("http.request.method", ValueRef::Str("POST")),
                ("http.route", ValueRef::Str("/checkout")),
                ("http.response.status_code", ValueRef::Int(status)),
            ],
        });
        let place = self.span(&Call {
            service: Service::Checkout,
            parent: Some(root),
            name: "PlaceOrder",
            kind: SERVER,
            start: start + step,
            took: whole - 2 * step,
            failure,
            attributes: &order_id,
        });
        for item in 0..reads {
            let at = start + step + step / 2 + item * 6 * MS;
            self.query(Service::Checkout, place, "SELECT items", at, 5 * MS);
        }
        self.charge(place, start + 2 * step + items, charge, fate, &order);
        let end = start + whole - step;
        match failure {
            None => self.log(
                Service::Checkout,
                place,
                INFO,
                &format!("order {order} placed"),
                end,
                &order_id,
            ),
            Some(why) => self.log(
                Service::Checkout,
                place,
                ERROR,
                &format!("order {order} not placed: {why}"),
                end,
                &order_id,
            ),
        }
    }

    fn charge_time(&mut self, fate: Fate) -> u64 {
        match fate {
            Fate::Usual | Fate::OneByOne => self.dice.ms(40, 160),
            Fate::Declined => self.dice.ms(150, 400),
            Fate::TimedOut => 4_000 * MS,
        }
    }

    fn charge(&mut self, parent: u64, start: u64, took: u64, fate: Fate, order: &str) {
        let order_id = [("order.id", ValueRef::Str(order))];
        let failure = match fate {
            Fate::Usual | Fate::OneByOne => None,
            Fate::Declined => Some("card_expired"),
            Fate::TimedOut => Some("deadline exceeded"),
        };
        let charge = self.span(&Call {
            service: Service::Payments,
            parent: Some(parent),
            name: "ChargeCard",
            kind: SERVER,
            start,
            took,
            failure,
            attributes: &order_id,
        });
        self.span(&Call {
            service: Service::Payments,
            parent: Some(charge),
            name: "POST psp.example/charge",
            kind: CLIENT,
            start: start + MS,
            took: took - 2 * MS,
            failure,
            attributes: &[
                ("server.address", ValueRef::Str("psp.example")),
                ("http.request.method", ValueRef::Str("POST")),
            ],
        });
        if let Some(why) = failure {
            let text = format!("charge of order {order} failed: {why}");
            let kind = [("error.type", ValueRef::Str(why)), order_id[0]];
            self.log(Service::Payments, charge, ERROR, &text, start + took, &kind);
        }
    }

    fn query(&mut self, service: Service, parent: u64, name: &str, start: u64, took: u64) {
        let statement = match service {
            Service::Catalog => {
                "SELECT p.id, p.name, p.price, s.left FROM products p LEFT JOIN stock s ON \
                 s.product_id = p.id WHERE p.listed AND p.price > 0 ORDER BY p.name LIMIT 50"
            }
            Service::Gateway | Service::Checkout | Service::Payments => {
                "SELECT i.id, i.sku, i.count, p.price FROM items i JOIN products p ON p.id = \
                 i.product_id WHERE i.order_id = $1 AND i.id = $2"
            }
        };
        self.span(&Call {
            service,
            parent: Some(parent),
            name,
            kind: CLIENT,
            start,
            took,
            failure: None,
            attributes: &[
                ("db.system.name", ValueRef::Str("postgresql")),
                ("db.query.text", ValueRef::Str(statement)),
            ],
        });
    }

    /// Writes a span of the current trace; its id.
    fn span(&mut self, call: &Call<'_>) -> u64 {
        let id = self.dice.next() | 1;
        let trace = self.trace;
        message(&mut self.spans[call.service as usize], 2, |out| {
            bytes_field(out, 1, &trace);
            bytes_field(out, 2, &id.to_be_bytes());
            if let Some(parent) = call.parent {
                bytes_field(out, 4, &parent.to_be_bytes());
            }
            bytes_field(out, 5, call.name.as_bytes());
            varint_field(out, 6, call.kind);
            fixed64_field(out, 7, call.start);
            fixed64_field(out, 8, call.start + call.took);
            for (key, value) in call.attributes {
                key_value(out, 9, key, *value);
            }
            if let Some(why) = call.failure {
                message(out, 15, |out| {
                    bytes_field(out, 2, why.as_bytes());
                    varint_field(out, 3, 2);
                });
            }
        });
        id
    }

    /// Writes a log record of the current trace.
    fn log(
        &mut self,
        service: Service,
        span: u64,
        level: u64,
        text: &str,
        at: u64,
        attributes: Attributes<'_>,
    ) {
        let trace = self.trace;
        message(&mut self.logs[service as usize], 2, |out| {
            fixed64_field(out, 1, at);
            varint_field(out, 2, level);
            message(out, 5, |out| bytes_field(out, 1, text.as_bytes()));
            for (key, value) in attributes {
                key_value(out, 6, key, *value);
            }
            bytes_field(out, 9, &trace);
            bytes_field(out, 10, &span.to_be_bytes());
        });
    }

    /// The request of one signal of the minute told so far.
    fn finish(&mut self, minute: u64, signal: Signal) -> Vec<u8> {
        let records = match signal {
            Signal::Traces => &mut self.spans,
            Signal::Logs => &mut self.logs,
            Signal::Metrics => panic!("the demo tells no metrics"),
        };
        let mut request = Vec::new();
        for service in Service::ALL {
            let of_service = std::mem::take(&mut records[service as usize]);
            if of_service.is_empty() {
                continue;
            }
            let text = |out: &mut Vec<u8>, key: &str, value: &str| {
                key_value(out, 1, key, ValueRef::Str(value));
            };
            message(&mut request, 1, |out| {
                message(out, 1, |out| {
                    text(out, "service.name", service.name());
                    text(out, "service.version", service.version(minute));
                    let instance = format!("{}-1", service.name());
                    text(out, "service.instance.id", &instance);
                    text(out, "deployment.environment.name", "demo");
                    key_value(out, 1, "watchpost.demo", ValueRef::Bool(true));
                });
                message(out, 2, |out| {
                    message(out, 1, |out| bytes_field(out, 1, b"demo"));
                    out.extend_from_slice(&of_service);
                });
            });
        }
        request
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers for the same start.
#[derive(Default)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A duration in nanoseconds.
    fn ms(&mut self, from: u64, to: u64) -> u64 {
        from * MS + self.below((to - from) * MS)
    }

    fn trace_id(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next() | 1)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{ITEMS, MINUTE, MINUTES, MS, shop};
    use crate::model::chunk::Request;
    use crate::model::otlp::Scratch;
    use crate::model::{LogChunk, ProjectId, Signal, SpanChunk, SpanId, Timestamp, TraceId};

    const NOW: Timestamp = Timestamp(1_795_183_471_000_000_000);

    #[test]
    fn the_shop_is_consistent_and_has_what_it_promises() {
        let mut spans = HashMap::new();
        let mut logs = Vec::new();
        let mut size = 0;
        for (signal, bytes) in shop(NOW) {
            size += bytes.len();
            let request = Request {
                bytes: bytes.into(),
                project: ProjectId::DEFAULT,
                received: NOW,
            };
            match signal {
                Signal::Traces => {
                    let chunk = SpanChunk::parse(request).expect("well-formed");
                    let groups = chunk.group_views().expect("well-formed");
                    let mut scratch = Scratch::default();
                    for entry in &chunk.entries {
                        let span = chunk.view(entry, &groups, &mut scratch).expect("a span");
                        assert_eq!(span.resource.environment(), "demo");
                        assert!(span.end.0 <= NOW.0 && span.start.0 >= NOW.0 - MINUTES * MINUTE);
                        let service = span.resource.service().to_owned();
                        let told = (
                            span.trace_id,
                            span.parent,
                            span.name.to_owned(),
                            service,
                            span.is_error(),
                            span.duration_ns(),
                        );
                        assert!(spans.insert(span.span_id, told).is_none(), "ids are unique");
                    }
                }
                Signal::Logs => {
                    let chunk = LogChunk::parse(request).expect("well-formed");
                    let groups = chunk.group_views().expect("well-formed");
                    let mut scratch = Scratch::default();
                    for entry in &chunk.entries {
                        let log = chunk.view(entry, &groups, &mut scratch).expect("a log");
                        logs.push((log.trace_id, log.span_id));
                    }
                }
                Signal::Metrics => panic!("the demo tells no metrics"),
            }
        }
        assert!(
            size < 1 << 20 && logs.len() > 100,
            "{size} bytes, {} logs",
            logs.len()
        );
        for (trace, parent, name, ..) in spans.values() {
            let known = parent.is_none_or(|id| spans.get(&id).is_some_and(|of| of.0 == *trace));
            assert!(known, "the parent of {name} is in its trace");
        }
        for (trace, span) in logs {
            let of = span
                .and_then(|id| spans.get(&id))
                .expect("a log stands at a span");
            assert_eq!(Some(of.0), trace);
        }
        has_what_it_promises(&spans.into_values().collect::<Vec<_>>());
    }

    /// Trace, parent, name, service, failed, nanoseconds.
    type Told = (TraceId, Option<SpanId>, String, String, bool, u64);

    fn has_what_it_promises(spans: &[Told]) {
        let services: HashSet<_> = spans.iter().map(|span| span.3.as_str()).collect();
        assert_eq!(services.len(), 4);
        assert!(spans.iter().any(|span| span.4), "something fails");
        let slow = |span: &Told| span.5 > 4_000 * MS;
        assert!(spans.iter().any(slow), "something is slow");
        let mut items: HashMap<_, u64> = HashMap::new();
        for span in spans.iter().filter(|span| span.2 == "SELECT items") {
            *items.entry(span.0).or_default() += 1;
        }
        assert_eq!(items.values().max(), Some(&ITEMS));
    }
}
