//! The sidebar: counts of values per field, each a link that lets records with it in or out.

use crate::model::Level;
use crate::query;
use crate::serve::format;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::axis;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::logs::line::{Badge, badge};
use crate::serve::pages::querybar::bare;
use crate::serve::pages::querybar::terms::{Standing, Terms};

/// Values listed per field; the rest is found by searching.
const VALUES_MAX: usize = 8;
/// Fields listed before "more fields".
const FIELDS_MAX: usize = 6;
/// Fields listed at all.
const ALL_FIELDS_MAX: usize = 100;
/// Longest value shown in the sidebar, in characters; the whole one is in the title.
const VALUE_CHARS_MAX: usize = 200;

/// View of `logs/facets.html`.
pub(crate) struct FacetList {
    pub(crate) fields: Vec<FacetView>,
    /// The page with every field listed, and how many those are more.
    pub(crate) more: Option<(usize, String)>,
    /// What the reader searches for among fields and values.
    pub(crate) find: String,
    pub(crate) hidden: Vec<(String, String)>,
    pub(crate) approximate: bool,
}

pub(crate) struct FacetView {
    pub(crate) name: String,
    pub(crate) distinct: String,
    pub(crate) coverage: Option<String>,
    pub(crate) values: Vec<ValueView>,
    pub(crate) more: u64,
    /// Smallest and largest of a numeric field.
    pub(crate) numbers: Option<(String, String)>,
}

pub(crate) struct ValueView {
    pub(crate) text: String,
    pub(crate) badge: Option<Badge>,
    /// Colour class where the value is a service.
    pub(crate) service: Option<&'static str>,
    pub(crate) count: String,
    pub(crate) share: String,
    pub(crate) standing: Standing,
    pub(crate) toggle: String,
    pub(crate) exclude: String,
}

impl ValueView {
    pub(crate) fn included(&self) -> bool {
        self.standing == Standing::Included
    }

    pub(crate) fn excluded(&self) -> bool {
        self.standing == Standing::Excluded
    }
}

/// The fields of the form that searches in the sidebar.
pub(crate) fn hidden(url: &PageUrl) -> Vec<(String, String)> {
    url.fields_but(&["find", "fields", "cursor", "direction", "open", "around"])
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

impl FacetList {
    /// Fields in the order of the sidebar; a field of the query was counted without its own term.
    pub(crate) fn new(facets: &query::Facets, url: &PageUrl, colours: &Colours) -> FacetList {
        let terms = &Terms::split(url.get("query").unwrap_or_default());
        let find = url.get("find").unwrap_or_default().to_lowercase();
        let all = url.get("fields") == Some("all") || !find.is_empty();
        let wanted = |facet: &&query::Facet| {
            let value_found = || {
                facet
                    .values
                    .iter()
                    .any(|v| v.value.to_lowercase().contains(&find))
            };
            find.is_empty() || facet.name.to_lowercase().contains(&find) || value_found()
        };
        let found: Vec<_> = facets.fields.iter().filter(wanted).collect();
        let shown = if all { ALL_FIELDS_MAX } else { FIELDS_MAX };
        let view = |facet: &&query::Facet| view(facet, &find, terms, url, colours);
        FacetList {
            fields: found.iter().take(shown).map(view).collect(),
            more: (!all && found.len() > shown)
                .then(|| (found.len() - shown, url.with("fields", "all").to_string())),
            find: url.get("find").unwrap_or_default().to_owned(),
            hidden: hidden(url),
            approximate: facets.approximate,
        }
    }
}

fn view(
    facet: &query::Facet,
    find: &str,
    terms: &Terms,
    url: &PageUrl,
    colours: &Colours,
) -> FacetView {
    let name = if facet.name == "severity" {
        "level"
    } else {
        &facet.name
    };
    let mut values = facet.values.clone();
    if name == "level" {
        values = levels(&facet.values);
    } else if !find.is_empty() && !name.to_lowercase().contains(find) {
        values.retain(|value| value.value.to_lowercase().contains(find));
    }
    let most = values
        .iter()
        .map(|value| value.count)
        .max()
        .unwrap_or(0)
        .max(1);
    // Chosen values stay in sight, wherever they come in the order of counts.
    values.sort_by_key(|value| match name {
        "level" => Standing::Free as u8,
        _ => u8::from(terms.standing(name, &value.value) == Standing::Free),
    });
    let hidden = values.len().saturating_sub(VALUES_MAX) as u64;
    let value = |value: &query::FacetValue| value_view(name, value, most, terms, url, colours);
    FacetView {
        distinct: format::count(facet.values.len() as u64 + facet.more),
        coverage: (facet.coverage < 0.995).then(|| format::percent(facet.coverage)),
        values: values.iter().take(VALUES_MAX).map(value).collect(),
        more: facet.more + hidden,
        numbers: facet
            .numbers
            .filter(|_| hidden > 0 || facet.more > 0 || facet.values.is_empty())
            .map(|(low, high)| (low.to_string(), high.to_string())),
        name: name.to_owned(),
    }
}

fn value_view(
    name: &str,
    value: &query::FacetValue,
    most: u64,
    terms: &Terms,
    url: &PageUrl,
    colours: &Colours,
) -> ValueView {
    let level = (name == "level")
        .then(|| Level::from_text(&value.value))
        .flatten();
    let text = match level {
        Some(level) => level.name().to_ascii_lowercase(),
        None => value.value.clone(),
    };
    let bare = bare(url);
    let page = |terms: Terms| bare.with("query", &terms.to_string()).to_string();
    ValueView {
        badge: level.map(badge),
        service: (name == "service").then(|| colours.class(&value.value)),
        count: format::count(value.count),
        share: axis::percent(value.count as f64 / most as f64),
        standing: terms.standing(name, &text),
        toggle: page(terms.toggled(name, &text)),
        exclude: page(terms.excluded(name, &text)),
        text: text.chars().take(VALUE_CHARS_MAX).collect(),
    }
}

/// Every level from the worst down, also where none of them occurs: a row that is not there cannot
/// be switched on.
fn levels(values: &[query::FacetValue]) -> Vec<query::FacetValue> {
    let count = |level: Level| {
        let of_level = values
            .iter()
            .filter(|value| Level::from_text(&value.value) == Some(level));
        of_level.map(|value| value.count).sum()
    };
    let rows = Level::ALL
        .into_iter()
        .rev()
        .map(|level| (level, count(level)));
    rows.filter(|(level, count)| *count > 0 || *level >= Level::Debug)
        .map(|(level, count)| query::FacetValue {
            value: level.name().to_owned(),
            count,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::FacetList;
    use crate::query::{Facet, FacetValue, Facets};
    use crate::serve::page_url::PageUrl;
    use crate::serve::pages::colours::Colours;

    fn facet(name: &str, values: &[(&str, u64)]) -> Facet {
        let value = |(value, count): &(&str, u64)| FacetValue {
            value: (*value).to_owned(),
            count: *count,
        };
        Facet {
            name: name.to_owned(),
            coverage: 1.0,
            values: values.iter().map(value).collect(),
            more: 0,
            numbers: None,
        }
    }

    fn list(query: &str, address: &str, fields: &[Facet]) -> FacetList {
        let url = PageUrl::new("/logs", address).with("query", query);
        let facets = Facets {
            fields: fields.to_vec(),
            ..Facets::default()
        };
        FacetList::new(&facets, &url, &Colours::default())
    }

    #[test]
    fn levels_are_listed_from_the_worst_with_their_standing() {
        let list = list(
            "level:>=error",
            "",
            &[facet("severity", &[("INFO", 90), ("ERROR", 3)])],
        );
        let level = &list.fields[0];
        assert_eq!(level.name, "level");
        let rows: Vec<_> = level
            .values
            .iter()
            .map(|v| {
                (
                    v.badge.expect("a badge").word,
                    v.count.as_str(),
                    v.included(),
                )
            })
            .collect();
        let expect = [
            ("FTL", "0", true),
            ("ERR", "3", true),
            ("WRN", "0", false),
            ("INF", "90", false),
            ("DBG", "0", false),
        ];
        assert_eq!(rows, expect);
        assert_eq!(
            level.values[3].toggle,
            "/logs?query=level%3Aerror%2Cfatal%2Cinfo"
        );
        assert_eq!(level.values[3].share, "100.00%");
    }

    #[test]
    fn chosen_values_come_first_and_search_narrows() {
        let fields = [
            facet("service", &[("a", 9), ("b", 1)]),
            facet("host", &[("h1", 1), ("h2", 1)]),
        ];
        let all = list("-service:b", "", &fields);
        assert_eq!(all.fields[0].values[0].text, "b");
        assert!(all.fields[0].values[0].excluded());
        let found = list("", "find=H2", &fields);
        assert_eq!(found.fields.len(), 1);
        assert_eq!(found.fields[0].values.len(), 1);
    }

    #[test]
    fn many_fields_are_one_link_away() {
        let fields: Vec<_> = (0..20)
            .map(|n| facet(&format!("f{n}"), &[("x", 1)]))
            .collect();
        let list = list("", "", &fields);
        assert_eq!((list.fields.len(), list.more.expect("more").0), (6, 14));
    }
}
