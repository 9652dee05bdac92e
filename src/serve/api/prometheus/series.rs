//! `series`, `labels`, `label/{name}/values`, `metadata`: what there is to ask about.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::form::Form;
use super::{Reply, ask_series, bad_data, encode};
use crate::model::metric::{Labels, Matcher, Metadata};
use crate::query::promql::source::SourceError;
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// `GET` and `POST /prometheus/api/v1/series`.
pub(crate) async fn list(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let (limit, range) = (form.limit()?, form.range()?);
    let selectors = form.selectors()?;
    if selectors.is_empty() {
        return Err(bad_data("no match[] parameter provided"));
    }
    let found = ask_series(&app, "series", move |source| {
        let mut found = BTreeSet::new();
        for matchers in &selectors {
            let selected = source.select(matchers, range)?;
            found.extend(selected.into_iter().map(|series| series.labels));
        }
        Ok(found.into_iter().collect::<Vec<Labels>>())
    });
    Ok(limited(found.await?, limit, |out, labels| {
        encode::labels(out, &labels)
    }))
}

/// `GET` and `POST /prometheus/api/v1/labels`.
pub(crate) async fn names(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let (limit, range) = (form.limit()?, form.range()?);
    let selectors = form.selectors()?;
    let found = ask_series(&app, "labels", move |source| {
        union(&selectors, |matchers| source.label_names(matchers, range))
    });
    Ok(limited(found.await?, limit, |out, name| {
        encode::string(out, &name)
    }))
}

/// `GET /prometheus/api/v1/label/{name}/values`.
pub(crate) async fn values(
    State(app): State<Shared>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    let name = unescaped(&name);
    if name.is_empty() {
        return Err(bad_data("invalid label name: \"\""));
    }
    let (limit, range) = (form.limit()?, form.range()?);
    let selectors = form.selectors()?;
    let found = ask_series(&app, "label values", move |source| {
        union(&selectors, |matchers| {
            source.label_values(&name, matchers, range)
        })
    });
    Ok(limited(found.await?, limit, |out, value| {
        encode::string(out, &value)
    }))
}

/// What the selectors find together, sorted; no selector finds everything.
fn union(
    selectors: &[Vec<Matcher>],
    find: impl Fn(&[Matcher]) -> Result<Vec<String>, SourceError>,
) -> Result<Vec<String>, SourceError> {
    let mut found = BTreeSet::new();
    for matchers in selectors {
        found.extend(find(matchers)?);
    }
    if selectors.is_empty() {
        found.extend(find(&[])?);
    }
    Ok(found.into_iter().collect())
}

fn limited<T>(
    mut found: Vec<T>,
    limit: Option<usize>,
    each: impl FnMut(&mut String, T),
) -> Response {
    let truncated = limit.is_some_and(|limit| found.len() > limit);
    found.truncate(limit.unwrap_or(usize::MAX));
    let mut data = String::new();
    encode::list(&mut data, found, each);
    Reply::of(data).truncated(truncated).into_response()
}

/// A name that is no identifier comes as `U__` with `_2e_` for a point and `__` for an underscore
/// (Prometheus' escaping scheme of values); what is not written so is taken as it is.
fn unescaped(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut plain = String::with_capacity(rest.len());
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '_' {
            plain.push(c);
        } else if let Some(after) = rest.strip_prefix('_') {
            plain.push('_');
            rest = after;
        } else {
            let code = rest.split_once('_');
            let escaped = code.and_then(|(code, after)| {
                let c = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                c.filter(|_| code.len() <= 6).map(|c| (c, after))
            });
            let Some((c, after)) = escaped else {
                return name.to_owned();
            };
            plain.push(c);
            rest = after;
        }
    }
    plain
}

/// `GET /prometheus/api/v1/metadata`.
pub(crate) async fn metadata(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let limit = form.count("limit")?.filter(|limit| *limit > 0);
    let each = form.count("limit_per_metric")?.filter(|limit| *limit > 0);
    let metric = form.text("metric").to_owned();
    let found = ask_series(&app, "metadata", move |source| {
        Ok(source.metadata(Some(metric.as_str()).filter(|metric| !metric.is_empty())))
    });
    let mut by_metric: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
    for one in found.await? {
        by_metric.entry(one.metric.clone()).or_default().push(one);
    }
    let mut data = String::from("{");
    let shown = by_metric.iter().take(limit.unwrap_or(usize::MAX));
    for (i, (metric, all)) in shown.enumerate() {
        if i > 0 {
            data.push(',');
        }
        encode::string(&mut data, metric);
        data.push(':');
        let all = all.iter().take(each.unwrap_or(usize::MAX));
        encode::list(&mut data, all, |out, one| {
            let fields = [
                ("type", one.kind.name()),
                ("help", &one.help),
                ("unit", &one.unit),
            ];
            let mut opening = '{';
            for (name, value) in fields {
                out.push(opening);
                opening = ',';
                encode::string(out, name);
                out.push(':');
                encode::string(out, value);
            }
            out.push('}');
        });
    }
    data.push('}');
    Ok(Reply::of(data).into_response())
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escaped_names_are_read() {
        let check = |name: &str, plain: &str| assert_eq!(unescaped(name), plain, "{name}");
        check("job", "job");
        check("U__http_2e_status", "http.status");
        check("U__a__b", "a_b");
        check("U___1f600_", "\u{1f600}");
        check("U__a_zz_", "U__a_zz_");
        check("U__a_", "U__a_");
    }
}
