//! Parameters of a call: from the address and, with POST, from the form in the body, which goes first.

use axum::RequestExt;
use axum::extract::{FromRequest, Query, RawForm, Request};
use axum::http::Method;

use super::{bad_data, bad_parameter};
use crate::model::metric::{Matcher, Millis};
use crate::query::lang;
use crate::query::promql::{literal, parse_selector, print};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Times of calls that name none: everything there can be. Prometheus' own bounds.
const EVERYTHING: Millis = Millis {
    first: i64::MIN / 1_000_000,
    last: i64::MAX / 1_000_000,
};

/// `match[]` parameters of one call; pages send a handful.
const SELECTORS_MAX: usize = 100;

/// The parameters with the time the call came in.
#[derive(Debug)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
    /// Ms since the epoch.
    pub(super) now: i64,
}

impl FromRequest<Shared> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Shared) -> Result<Form, Failure> {
        let unread = |why: String| bad_data(format!("error parsing form values: {why}"));
        let address = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let mut in_address = address.map_err(|e| unread(e.body_text()))?.0;
        let kind = request.headers().get(axum::http::header::CONTENT_TYPE);
        let is_form = kind.is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(b"application/x-www-form-urlencoded")
        });
        let mut pairs = Vec::new();
        if request.method() == Method::POST && is_form {
            let RawForm(body) = request
                .extract::<RawForm, _>()
                .await
                .map_err(|e| unread(e.body_text()))?;
            pairs = serde_urlencoded_pairs(&body).map_err(unread)?;
        }
        pairs.append(&mut in_address);
        Ok(Form {
            pairs,
            now: (app.clock.now().0 / 1_000_000) as i64,
        })
    }
}

/// The pairs of an encoded form.
fn serde_urlencoded_pairs(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let uri = format!("/?{text}").parse::<axum::http::Uri>();
    let uri = uri.map_err(|error| error.to_string())?;
    let query = Query::<Vec<(String, String)>>::try_from_uri(&uri);
    query.map(|Query(pairs)| pairs).map_err(|e| e.body_text())
}

impl Form {
    /// The first value under a name; empty when there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let pair = self.pairs.iter().find(|(key, _)| key == name);
        pair.map_or("", |(_, value)| value)
    }

    /// A time in ms that has to be there.
    pub(super) fn time(&self, name: &str) -> Result<i64, Failure> {
        let text = self.text(name);
        time(text).ok_or_else(|| {
            let text = print::quote(text);
            bad_parameter(name, format!("cannot parse {text} to a valid timestamp"))
        })
    }

    pub(super) fn time_or(&self, name: &str, otherwise: i64) -> Result<i64, Failure> {
        match self.text(name) {
            "" => Ok(otherwise),
            _ => self.time(name),
        }
    }

    /// `start` and `end` of the calls that list things.
    pub(super) fn range(&self) -> Result<Millis, Failure> {
        let first = self.time_or("start", EVERYTHING.first)?;
        let last = self.time_or("end", EVERYTHING.last)?;
        Ok(Millis { first, last })
    }

    /// A duration in ms: seconds, or `1h30m`.
    pub(super) fn duration(&self, name: &str) -> Result<i64, String> {
        duration(self.text(name))
    }

    /// Of elements to answer with; `None`: all.
    pub(super) fn limit(&self) -> Result<Option<usize>, Failure> {
        Ok(self.count("limit")?.filter(|limit| *limit > 0))
    }

    /// A whole number; `None` when it is not given or negative.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, Failure> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Some(number as usize)),
            Ok(_) => Err(bad_parameter(name, format!("{name} must be non-negative"))),
            Err(_) => {
                let text = print::quote(text);
                let why = format!("strconv.Atoi: parsing {text}: invalid syntax");
                Err(bad_parameter(name, why))
            }
        }
    }

    /// The `match[]` parameters, each with a matcher that does not match everything.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, Failure> {
        let given = self.pairs.iter().filter(|(key, _)| key == "match[]");
        let mut selectors = Vec::new();
        for (_, text) in given {
            let matchers = parse_selector(text).map_err(|e| bad_parameter("match[]", e))?;
            if matchers.iter().all(|m| m.matches("")) {
                let why = "match[] must contain at least one non-empty matcher";
                return Err(bad_parameter("match[]", why));
            }
            selectors.push(matchers);
        }
        if selectors.len() > SELECTORS_MAX {
            let why = format!("more than {SELECTORS_MAX} selectors; combine some with |");
            return Err(bad_parameter("match[]", why));
        }
        Ok(selectors)
    }
}

/// Epoch seconds with a fraction, or RFC 3339; in ms.
fn time(text: &str) -> Option<i64> {
    if let Some(seconds) = number(text) {
        let millis = (seconds * 1000.0).round();
        return (millis.abs() < 9.2e18).then_some(millis as i64);
    }
    // The bounds of time as Prometheus writes them.
    match text {
        "-292273086-05-16T16:47:06Z" => return Some(EVERYTHING.first),
        "292277025-08-18T07:12:54.999999999Z" => return Some(EVERYTHING.last),
        _ => {}
    }
    let time = lang::time(text).filter(|_| text.contains('T'))?;
    Some((time.0 / 1_000_000) as i64)
}

fn duration(text: &str) -> Result<i64, String> {
    let quoted = print::quote(text);
    if let Some(seconds) = number(text) {
        let nanos = seconds * 1e9;
        if nanos.abs() >= i64::MAX as f64 {
            return Err(format!(
                "cannot parse {quoted} to a valid duration. It overflows int64"
            ));
        }
        return Ok((seconds * 1000.0) as i64);
    }
    literal::duration(text).map_err(|_| format!("cannot parse {quoted} to a valid duration"))
}

/// A finite decimal number.
fn number(text: &str) -> Option<f64> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let value: f64 = text.parse().ok().filter(|_| starts)?;
    value.is_finite().then_some(value)
}
