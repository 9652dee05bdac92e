//! Records for the tests of the log page, made by hand: no store, no engine.

use std::sync::Arc;

use crate::model::owned::RecordId;
use crate::model::{Level, LogRecord, Resource, Scope, Timestamp, Value};

/// 2026-11-20 14:04:31.220 UTC.
pub(crate) const NOW_NS: u64 = 1_795_183_471_220_000_000;

/// A record `ago_ms` before [`NOW_NS`].
pub(crate) fn record(ago_ms: u64, level: &str, service: &str, body: &str) -> LogRecord {
    let at = Timestamp(NOW_NS - ago_ms * 1_000_000);
    let resource = Resource {
        service: service.to_owned(),
        schema_url: String::new(),
        attributes: vec![
            ("service.version".to_owned(), Value::Str("1.3.0".to_owned())),
            ("host.name".to_owned(), Value::Str("shop-2".to_owned())),
        ],
    };
    let scope = Scope {
        name: String::new(),
        version: String::new(),
        schema_url: String::new(),
        attributes: Vec::new(),
    };
    LogRecord {
        id: RecordId { at, hash: ago_ms },
        time: at,
        observed: at,
        severity: Level::from_text(level).expect("a level").severity(),
        severity_text: level.to_owned(),
        body: Value::Str(body.to_owned()),
        attributes: Vec::new(),
        dropped_attributes: 0,
        flags: 0,
        trace_id: None,
        span_id: None,
        event_name: String::new(),
        resource: Arc::new(resource),
        scope: Arc::new(scope),
    }
}
