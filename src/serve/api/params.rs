//! Reads the parameters that calls share: query, range of time, limits, cursors.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::model::time::NANOS_PER_HOUR;
use crate::model::{TimeRange, Timestamp};
use crate::query::lang::{self, Expr};
use crate::serve::error::Failure;
use crate::serve::state::Shared;
use crate::units::Period;

/// The range of a call that names none: the last hour, as on the pages.
const RANGE_NS_DEFAULT: u64 = NANOS_PER_HOUR;

/// The parameters of one call, with the time it came in.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    pub(crate) now: Timestamp,
}

impl FromRequestParts<Shared> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Params, Failure> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|e| Failure::bad_request("bad_parameters", e.body_text()))?;
        Ok(Params {
            pairs,
            now: app.clock.now(),
        })
    }
}

impl Params {
    #[cfg(test)]
    pub(super) fn for_tests(pairs: &[(&str, &str)], now: Timestamp) -> Params {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Params {
            pairs: pairs.iter().map(owned).collect(),
            now,
        }
    }

    /// The first value under a name; empty ones count as not given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The parsed `query`.
    pub(crate) fn query(&self) -> Result<Expr, Failure> {
        lang::parse(self.text("query")).map_err(|e| crate::query::QueryError::from(e).into())
    }

    /// `start` and `end`; without them the last hour until now.
    pub(crate) fn range(&self) -> Result<TimeRange, Failure> {
        let end = self.time("end")?.unwrap_or(self.now);
        let start = self.time("start")?;
        let start = start.unwrap_or(end.saturating_sub(RANGE_NS_DEFAULT));
        TimeRange::new(start, end).ok_or_else(|| {
            Failure::bad_request("bad_range", "start is after end")
                .hint("both take epoch s, ms or ns, RFC 3339 or now-1h")
        })
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let time = read_time(text, self.now).ok_or_else(|| {
            Failure::bad_request(
                "bad_time",
                format!("{name}: cannot read {text:?} as a time"),
            )
            .hint("write epoch s, ms, us or ns, RFC 3339, or now-1h")
        })?;
        Ok(Some(time))
    }

    /// A whole number from 1 to `max`.
    pub(crate) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|n| (1..=max).contains(n));
        number.ok_or_else(|| {
            Failure::bad_request(
                "bad_number",
                format!("{name}: {text:?} is not a number from 1 to {max}"),
            )
        })
    }

    /// A value with its own reader, such as a cursor.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let value = read(text).ok_or_else(|| {
            Failure::bad_request("bad_parameter", format!("{name}: cannot read {text:?}"))
        })?;
        Ok(Some(value))
    }
}

/// Epoch s (a fraction allowed), ms, us or ns by size; RFC 3339 or a date; `now`, `now-1h`, `now+5m`.
pub(crate) fn read_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(offset) = text.strip_prefix("now") {
        let period = |text: &str| -> Option<u64> {
            let Period(length) = text.parse().ok()?;
            u64::try_from(length.as_nanos()).ok()
        };
        return match offset.split_at_checked(1) {
            None => Some(now),
            Some(("-", ago)) => Some(now.saturating_sub(period(ago)?)),
            // A plus is a space in an address that was not escaped.
            Some(("+" | " ", ahead)) => Some(now.saturating_add(period(ahead)?)),
            Some(_) => None,
        };
    }
    if text.bytes().all(|c| c.is_ascii_digit()) {
        let number: u64 = text.parse().ok()?;
        // 1e11 s is the year 5138, 1e11 ms is 1973: no time of telemetry is read twice.
        let unit_ns = match number {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return number.checked_mul(unit_ns).map(Timestamp);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..1e11)
            .contains(&seconds)
            .then_some(Timestamp((seconds * 1e9) as u64));
    }
    lang::time(&text.replace(' ', "+")).or_else(|| lang::time(text))
}
