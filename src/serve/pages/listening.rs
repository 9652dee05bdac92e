//! The lamps of `/start` and the last requests on the wire. A lamp is green only when the record
//! it links to was found by a query just now.

use askama::Template;

use crate::model::Timestamp;
use crate::observe::sources::{Sender, SenderKey, WireLine};
use crate::serve::format::{self, TimeText, Zone};

/// Requests listed under "On the wire".
const WIRE_SHOWN_MAX: usize = 8;

/// A sender's clock this far off is said: records land where nobody looks for them.
pub(crate) const SKEW_NS_MAX: i64 = 120_000_000_000;

/// The panel that the page asks for again every two seconds.
#[derive(Template)]
#[template(path = "start_listening.html")]
pub(crate) struct ListeningPart {
    pub(crate) listening: Listening,
}

pub(crate) struct Listening {
    pub(crate) now: TimeText,
    pub(crate) stored: usize,
    pub(crate) lamps: Vec<Lamp>,
    pub(crate) wire: Vec<WireRow>,
}

pub(crate) struct Lamp {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// `ok`, `bad`, `seen` or `wait`.
    pub(crate) state: &'static str,
    pub(crate) when: String,
    pub(crate) tone: &'static str,
    pub(crate) headline: String,
    pub(crate) tone_text: &'static str,
    pub(crate) link: Option<(String, String)>,
    pub(crate) detail: String,
    pub(crate) fix: String,
}

pub(crate) struct WireRow {
    pub(crate) at: TimeText,
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
    pub(crate) text: String,
    pub(crate) note: String,
    pub(crate) status: u16,
    pub(crate) tone: &'static str,
}

/// The newest record of a signal that a query has found just now.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) at: Timestamp,
    pub(crate) service: String,
    pub(crate) href: String,
    /// `Open span 4bf9`.
    pub(crate) words: String,
}

/// What the panel is made from.
pub(crate) struct Seen<'a> {
    /// Newest first.
    pub(crate) wire: &'a [WireLine],
    pub(crate) senders: &'a [(SenderKey, Sender)],
    pub(crate) trace: Option<Stored>,
    pub(crate) log: Option<Stored>,
}

impl Listening {
    pub(crate) fn new(seen: &Seen, now: Timestamp, zone: &Zone) -> Listening {
        let lamps = vec![
            stored_lamp("traces", "Traces", seen, seen.trace.as_ref(), now),
            stored_lamp("logs", "Logs", seen, seen.log.as_ref(), now),
            refused_lamp(
                "metrics",
                "Metrics",
                seen,
                "this version keeps traces and logs",
            ),
            refused_lamp(
                "errors",
                "Client errors",
                seen,
                "exceptions in spans and logs count as both",
            ),
        ];
        Listening {
            now: TimeText {
                text: zone.print(now.0, "%H:%M:%S"),
                ..zone.time(now.0)
            },
            stored: lamps.iter().filter(|lamp| lamp.state == "ok").count(),
            lamps,
            wire: seen
                .wire
                .iter()
                .take(WIRE_SHOWN_MAX)
                .map(|line| wire_row(line, zone))
                .collect(),
        }
    }
}

/// Which lamp a request lights, by its path; a request to no known door lights none.
fn signal_of(line: &WireLine) -> Option<&'static str> {
    let path = line.request.as_str();
    let has = |words: &[&str]| words.iter().any(|word| path.contains(word));
    match () {
        () if has(&["/v1/traces", "TraceService"]) => Some("traces"),
        () if has(&["/v1/logs", "LogsService", "/loki/"]) => Some("logs"),
        () if has(&["/v1/metrics", "MetricsService"]) => Some("metrics"),
        () if has(&["TelemetryService", "/envelope", "/store"]) => Some("errors"),
        () => None,
    }
}

fn stored_lamp(
    id: &'static str,
    name: &'static str,
    seen: &Seen,
    stored: Option<&Stored>,
    now: Timestamp,
) -> Lamp {
    let lines: Vec<&WireLine> = seen
        .wire
        .iter()
        .filter(|line| signal_of(line) == Some(id))
        .collect();
    let newest = lines.first().copied();
    if let Some(bad) = newest.filter(|line| line.status >= 400) {
        return rejected(id, name, bad, &lines, stored);
    }
    let Some(stored) = stored else {
        return match newest {
            Some(line) => Lamp {
                state: "seen",
                when: line.status.to_string(),
                tone: "warn",
                headline: "Received, nothing to show from it".to_owned(),
                tone_text: "warn",
                fix: line.note.clone(),
                ..waiting(id, name)
            },
            None => waiting(id, name),
        };
    };
    let sender = seen
        .senders
        .iter()
        .find(|(key, _)| key.service == stored.service);
    Lamp {
        state: "ok",
        when: match newest {
            Some(line) => format!("received {}", ago(now, line.at)),
            None => format!("stamped {}", ago(now, stored.at)),
        },
        tone: "ok",
        headline: "Stored and searchable".to_owned(),
        tone_text: "",
        link: Some((stored.href.clone(), stored.words.clone())),
        detail: describe(id, stored, sender.map(|(_, sender)| sender)),
        fix: advice(newest, stored, sender.map(|(_, sender)| sender)),
        ..waiting(id, name)
    }
}

/// What is stored but not as it should be.
fn advice(newest: Option<&WireLine>, stored: &Stored, sender: Option<&Sender>) -> String {
    if let Some(line) = newest.filter(|line| !line.note.is_empty()) {
        return line.note.clone();
    }
    if stored.service.is_empty() || stored.service.starts_with("unknown_service") {
        return "no service.name in the resource; set OTEL_SERVICE_NAME".to_owned();
    }
    match sender.map_or(0, |sender| sender.skew_ns) {
        skew if skew.abs() > SKEW_NS_MAX => {
            let side = if skew < 0 { "behind" } else { "ahead of" };
            let off = format::duration(skew.unsigned_abs());
            format!("timestamps are {off} {side} this server; check the sender's clock")
        }
        _ => String::new(),
    }
}

fn describe(id: &str, stored: &Stored, sender: Option<&Sender>) -> String {
    let Some(sender) = sender else {
        return stored.service.clone();
    };
    let records = match id {
        "traces" => format::counted(sender.spans, "span"),
        _ => format::counted(sender.logs, "line"),
    };
    let sdk = match sender.sdk.is_empty() {
        true => sender.transport.name().to_owned(),
        false => format!("{} {}", sender.sdk, sender.sdk_version),
    };
    format!("{}, {records}, {}", stored.service, sdk.trim())
}

fn rejected(
    id: &'static str,
    name: &'static str,
    bad: &WireLine,
    lines: &[&WireLine],
    stored: Option<&Stored>,
) -> Lamp {
    let tries = lines.iter().take_while(|line| line.status >= 400).count();
    let reason = match bad.status {
        401 => "no token, or one that is not known",
        403 => "this token may not send",
        413 => "request too large",
        415 => "content type not understood",
        429 | 503 => "over budget, the sender will retry",
        400 => "not readable",
        _ => "refused",
    };
    let plural = if tries == 1 { "try" } else { "tries" };
    Lamp {
        state: "bad",
        when: format!("ERR {}", bad.status),
        tone: "err",
        headline: format!("Rejected, {} {reason}", bad.status),
        tone_text: "err",
        link: stored.map(|stored| (stored.href.clone(), "Last stored".to_owned())),
        detail: format!(
            "{tries} {plural}, {}, {}",
            bad.transport.name(),
            bad.request
        ),
        fix: bad.note.clone(),
        ..waiting(id, name)
    }
}

/// A signal that this version does not keep: it says so, and shows who sends it anyway.
fn refused_lamp(id: &'static str, name: &'static str, seen: &Seen, detail: &str) -> Lamp {
    let line = seen.wire.iter().find(|line| signal_of(line) == Some(id));
    let base = Lamp {
        headline: "Not kept yet".to_owned(),
        when: String::new(),
        detail: detail.to_owned(),
        ..waiting(id, name)
    };
    match line {
        Some(line) => Lamp {
            state: "seen",
            when: line.status.to_string(),
            tone: "warn",
            headline: "Received and counted as rejected".to_owned(),
            tone_text: "warn",
            fix: line.note.clone(),
            ..base
        },
        None => base,
    }
}

fn waiting(id: &'static str, name: &'static str) -> Lamp {
    Lamp {
        id,
        name,
        state: "wait",
        when: "waiting".to_owned(),
        tone: "muted",
        headline: "Nothing yet".to_owned(),
        tone_text: "muted",
        link: None,
        detail: String::new(),
        fix: String::new(),
    }
}

fn ago(now: Timestamp, then: Timestamp) -> String {
    match now.0.saturating_sub(then.0) / 1_000_000_000 {
        0 => "now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds => format!("{} ago", format::duration(seconds * 1_000_000_000)),
    }
}

fn wire_row(line: &WireLine, zone: &Zone) -> WireRow {
    let (class, word, tone) = match (line.status, line.note.is_empty()) {
        (..400, true) => ("ok", "ok", "muted"),
        (..400, false) | (429 | 503, _) => ("wrn", "warning", "warn"),
        _ => ("err", "error", "err"),
    };
    let records = match line.records {
        0 => String::new(),
        1 => ", 1 record".to_owned(),
        n => format!(", {} records", format::count(n)),
    };
    WireRow {
        at: zone.time(line.at.0),
        class,
        word,
        text: format!("{}{records}, {}", line.request, format::bytes(line.bytes)),
        note: line.note.clone(),
        status: line.status,
        tone,
    }
}

#[cfg(test)]
mod tests {
    use super::{Listening, Seen, Stored};
    use crate::model::Timestamp;
    use crate::observe::sources::{Transport, WireLine};
    use crate::serve::format::Zone;

    const NOW: Timestamp = Timestamp(1_795_183_471_000_000_000);

    fn line(request: &str, status: u16, note: &str) -> WireLine {
        WireLine {
            at: NOW.saturating_sub(2_000_000_000),
            request: request.to_owned(),
            transport: Transport::HttpProtobuf,
            bytes: 6_246,
            records: 48,
            status,
            note: note.to_owned(),
        }
    }

    fn stored(service: &str) -> Option<Stored> {
        let href = "/trace/4bf9".to_owned();
        Some(Stored {
            at: NOW,
            service: service.to_owned(),
            href,
            words: "Open".to_owned(),
        })
    }

    #[track_caller]
    fn check(wire: &[WireLine], trace: Option<Stored>, expect: [&str; 3]) {
        let seen = Seen {
            wire,
            senders: &[],
            trace,
            log: None,
        };
        let listening = Listening::new(&seen, NOW, &Zone::utc());
        let lamp = &listening.lamps[0];
        assert_eq!(
            [lamp.state, lamp.headline.as_str(), lamp.fix.as_str()],
            expect
        );
    }

    #[test]
    fn a_lamp_is_green_only_when_its_row_was_found() {
        check(&[], None, ["wait", "Nothing yet", ""]);
        check(
            &[line("POST /v1/logs", 200, "")],
            None,
            ["wait", "Nothing yet", ""],
        );
        let sent = [line("POST /v1/traces", 200, "")];
        check(
            &sent,
            None,
            ["seen", "Received, nothing to show from it", ""],
        );
        check(&sent, stored("shop"), ["ok", "Stored and searchable", ""]);
    }

    #[test]
    fn a_rejection_is_named_with_its_fix() {
        let wire = [
            line("POST /v1/traces", 401, "token revoked"),
            line("POST /v1/traces", 200, ""),
        ];
        check(
            &wire,
            stored("shop"),
            [
                "bad",
                "Rejected, 401 no token, or one that is not known",
                "token revoked",
            ],
        );
        let grpc = [line(
            "gRPC TraceService/Export",
            415,
            "send application/grpc",
        )];
        check(
            &grpc,
            None,
            [
                "bad",
                "Rejected, 415 content type not understood",
                "send application/grpc",
            ],
        );
    }

    #[test]
    fn a_missing_service_name_is_said() {
        let wire = [line("POST /v1/traces", 200, "")];
        let fix = "no service.name in the resource; set OTEL_SERVICE_NAME";
        check(
            &wire,
            stored("unknown_service:node"),
            ["ok", "Stored and searchable", fix],
        );
    }
}
