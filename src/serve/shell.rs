//! The frame around every page: rail, top bar, time range, scope, time ribbon, health dot.
//! It must never run a query of its own: what it shows is handed in as [`ShellData`].

use std::collections::BTreeSet;

use crate::serve::format;
use crate::serve::page_url::PageUrl;
use crate::serve::range::{self, PageRange};
use crate::serve::request::{PageRequest, Theme};
use crate::serve::spark::{RIBBON_BARS, Ribbon, ribbon_paths, ticks};

/// Shown in settings and `/metrics`.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Services in the scope menu; more are found by typing `service:` in the query bar.
pub(crate) const SERVICES_LISTED_MAX: usize = 60;

/// The items of the rail, top to bottom. Issues and alerts join when they have pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Traces,
    Logs,
    Metrics,
    Start,
    Settings,
    /// Pages outside the rail: login and errors.
    None,
}

/// What the server knows that the frame shows. `Default` is a server that has received nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShellData {
    /// Names with the persisted index of their colour.
    pub(crate) services: Vec<(String, u32)>,
    /// Those of them that have no record any more: menus leave them out.
    pub(crate) gone: BTreeSet<String>,
    /// Environments that senders named.
    pub(crate) environments: Vec<String>,
    /// Errors per bucket over the page's range, oldest first, at best [`RIBBON_BARS`] of them;
    /// empty where nothing was counted.
    pub(crate) errors: Vec<u64>,
    pub(crate) health: Health,
    /// Who is signed in; `None` where access is open.
    pub(crate) account: Option<String>,
}

/// The dot at the foot of the rail.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) tone: HealthTone,
    /// Records received per second.
    pub(crate) per_second: f64,
    /// The one sentence behind the colour, and the facts after it.
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthTone {
    Ok,
    /// Something needs a look: open access, disk filling up.
    Warn,
    /// Records are refused or dropped now.
    Bad,
    /// Nothing has come in yet.
    Idle,
}

impl Default for Health {
    fn default() -> Health {
        let reason = "nothing received yet".to_owned();
        Health {
            tone: HealthTone::Idle,
            per_second: 0.0,
            reason,
        }
    }
}

/// View of `base.html`; every page template has a field `shell` of this type.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) theme: &'static str,
    pub(crate) other_theme: &'static str,
    pub(crate) zone: String,
    pub(crate) utc: bool,
    /// This page's path and parameters, for forms that come back here.
    pub(crate) here: String,
    pub(crate) rail: Vec<RailItem>,
    pub(crate) carried: Vec<(String, String)>,
    pub(crate) range: RangeView,
    pub(crate) environments: Option<ScopeView>,
    pub(crate) scope: ScopeView,
    pub(crate) refresh: RefreshView,
    pub(crate) ribbon: Ribbon,
    pub(crate) health: HealthView,
    pub(crate) account: Option<String>,
}

pub(crate) struct RailItem {
    pub(crate) href: String,
    pub(crate) icon: &'static str,
    pub(crate) word: &'static str,
    pub(crate) key: &'static str,
    pub(crate) active: bool,
    /// First of the group at the foot of the rail.
    pub(crate) push: bool,
}

pub(crate) struct RangeView {
    pub(crate) label: String,
    /// The same within a sentence.
    pub(crate) words: String,
    pub(crate) ends: String,
    pub(crate) start_text: String,
    pub(crate) end_text: String,
    pub(crate) error: Option<String>,
    pub(crate) presets: Vec<MenuLink>,
    pub(crate) previous: String,
    pub(crate) next: Option<String>,
    pub(crate) wider: String,
    pub(crate) pinned: String,
    pub(crate) until_now: Option<String>,
    /// The other parameters of this page, as hidden fields of the form.
    pub(crate) fields: Vec<(String, String)>,
}

pub(crate) struct ScopeView {
    pub(crate) chosen: String,
    pub(crate) all: MenuLink,
    pub(crate) choices: Vec<MenuLink>,
}

pub(crate) struct RefreshView {
    pub(crate) label: String,
    pub(crate) seconds: u32,
    pub(crate) reload: String,
    pub(crate) choices: Vec<MenuLink>,
}

pub(crate) struct MenuLink {
    pub(crate) href: String,
    pub(crate) text: String,
    pub(crate) current: bool,
    /// Colour class of a service; empty elsewhere.
    pub(crate) class: &'static str,
}

pub(crate) struct HealthView {
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
    pub(crate) rate: String,
    pub(crate) reason: String,
}

impl Shell {
    pub(crate) fn new(page: &PageRequest, section: Section, title: &str, data: ShellData) -> Shell {
        Shell {
            title: title.to_owned(),
            theme: page.theme.name(),
            other_theme: match page.theme {
                Theme::Dark => "light",
                Theme::Auto | Theme::Light => "dark",
            },
            zone: page.zone.name.clone(),
            utc: page.utc,
            here: page.url.to_string(),
            rail: rail(&page.url, section),
            carried: carried_fields(&page.url),
            range: range_view(page),
            environments: environment_view(&page.url, &data.environments),
            scope: scope_view(&page.url, &data),
            refresh: refresh_view(&page.url),
            ribbon: ribbon(page, &data.errors),
            health: health_view(data.health),
            account: data.account,
        }
    }
}

impl Shell {
    /// Whether some sender named this environment.
    pub(crate) fn knows_environment(&self, name: &str) -> bool {
        let scope = self.environments.as_ref();
        scope.is_some_and(|scope| scope.choices.iter().any(|choice| choice.text == name))
    }
}

fn rail(url: &PageUrl, section: Section) -> Vec<RailItem> {
    let item = |of: Section, path: &str, icon, word, key| RailItem {
        href: url.carry_to(path).to_string(),
        icon,
        word,
        key,
        active: of == section,
        push: of == Section::Start,
    };
    vec![
        item(Section::Overview, "/", "layout-dashboard", "Overview", "o"),
        item(Section::Traces, "/traces", "waterfall", "Traces", "t"),
        item(Section::Logs, "/logs", "align-left", "Logs", "l"),
        item(Section::Metrics, "/explore", "chart-line", "Metrics", "m"),
        item(Section::Start, "/start", "plug-connected", "Send", "n"),
        item(
            Section::Settings,
            "/settings",
            "adjustments-horizontal",
            "Settings",
            "s",
        ),
    ]
}

fn carried_fields(url: &PageUrl) -> Vec<(String, String)> {
    owned(url.carry_to("/search").fields_but(&[]))
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn range_view(page: &PageRequest) -> RangeView {
    let (url, range) = (&page.url, &page.range);
    let bare = url.without("range").without("end").without("cursor");
    let current = |start: &str| {
        let said = if range.start_text.is_empty() {
            "1h"
        } else {
            &range.start_text
        };
        range.end_text.is_empty() && said == start
    };
    let preset = |(start, words): (&str, &str)| MenuLink {
        href: bare.with("start", start).to_string(),
        text: words.to_owned(),
        current: current(start),
        class: "",
    };
    RangeView {
        label: range.label(&page.zone),
        words: range.in_words(&page.zone),
        ends: range.ends(&page.zone),
        start_text: range.start_text.clone(),
        end_text: range.end_text.clone(),
        error: page.range_error.as_ref().map(ToString::to_string),
        presets: range::PRESETS.into_iter().map(preset).collect(),
        previous: range.previous(url).to_string(),
        next: range.next(url, page.now_ns).map(|url| url.to_string()),
        wider: range.wider(url, page.now_ns).to_string(),
        pinned: range.pin(url).to_string(),
        until_now: (!range.live).then(|| until_now(range, url, page.now_ns)),
        fields: owned(url.fields_but(&["start", "end", "range", "cursor"])),
    }
}

/// The same length, ending now and moving with the clock.
fn until_now(range: &PageRange, url: &PageUrl, now_ns: u64) -> String {
    let seconds = (range.length_ns() / 1_000_000_000).clamp(1, now_ns / 1_000_000_000);
    let bare = url.without("range").without("end").without("cursor");
    bare.with("start", &format!("{seconds}s")).to_string()
}

fn scope_view(url: &PageUrl, data: &ShellData) -> ScopeView {
    let chosen = url.get("svc").unwrap_or_default();
    let bare = url.without("cursor");
    let link = |(name, colour): &(String, u32)| MenuLink {
        href: bare.with("svc", name).to_string(),
        text: name.clone(),
        current: name == chosen,
        class: crate::serve::palette::service_class(*colour),
    };
    ScopeView {
        chosen: if chosen.is_empty() { "all" } else { chosen }.to_owned(),
        all: MenuLink {
            href: bare.without("svc").to_string(),
            text: "all services".to_owned(),
            current: chosen.is_empty(),
            class: "",
        },
        choices: data
            .services
            .iter()
            .filter(|(name, _)| name == chosen || !data.gone.contains(name))
            .take(SERVICES_LISTED_MAX)
            .map(link)
            .collect(),
    }
}

/// `None` where nobody names an environment and none is asked for.
fn environment_view(url: &PageUrl, known: &[String]) -> Option<ScopeView> {
    let chosen = url.get("env");
    if known.is_empty() && chosen.is_none() {
        return None;
    }
    let bare = url.without("cursor");
    let link = |name: &str| MenuLink {
        href: bare.with("env", name).to_string(),
        text: name.to_owned(),
        current: chosen == Some(name),
        class: "",
    };
    // The one in the address is listed also when its records are gone.
    let foreign = chosen.filter(|name| !known.iter().any(|listed| listed == name));
    let names = known.iter().map(String::as_str).chain(foreign);
    Some(ScopeView {
        chosen: chosen.unwrap_or("all").to_owned(),
        all: MenuLink {
            href: bare.without("env").to_string(),
            text: "all environments".to_owned(),
            current: chosen.is_none(),
            class: "",
        },
        choices: names.map(link).collect(),
    })
}

fn refresh_view(url: &PageUrl) -> RefreshView {
    const CHOICES: [(u32, &str); 4] = [(0, "off"), (5, "5 s"), (10, "10 s"), (60, "1 m")];
    let asked = url
        .get("refresh")
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(0);
    let (seconds, words) = CHOICES
        .into_iter()
        .find(|(s, _)| *s == asked)
        .unwrap_or(CHOICES[0]);
    let choice = |(value, words): (u32, &str)| MenuLink {
        href: match value {
            0 => url.without("refresh").to_string(),
            value => url.with("refresh", &value.to_string()).to_string(),
        },
        text: words.to_owned(),
        current: value == seconds,
        class: "",
    };
    RefreshView {
        label: words.to_owned(),
        seconds,
        reload: url.to_string(),
        choices: CHOICES.into_iter().map(choice).collect(),
    }
}

fn ribbon(page: &PageRequest, errors: &[u64]) -> Ribbon {
    let errors = &errors[errors.len().saturating_sub(RIBBON_BARS)..];
    let (calm, hot) = ribbon_paths(errors);
    let range = &page.range;
    Ribbon {
        bars: errors.len(),
        calm,
        hot,
        ticks: ticks(range.start_ns, range.end_ns, &page.zone),
        total: format::exact(errors.iter().sum()),
        start_ns: range.start_ns,
        end_ns: range.end_ns,
    }
}

fn health_view(health: Health) -> HealthView {
    let (class, word) = match health.tone {
        HealthTone::Ok => ("", "healthy"),
        HealthTone::Warn => ("warn", "look"),
        HealthTone::Bad => ("err", "refusing"),
        HealthTone::Idle => ("idle", "idle"),
    };
    let rate = format!("{}/s", format::short_rate(health.per_second));
    HealthView {
        class,
        word,
        rate,
        reason: health.reason,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::{Section, Shell, ShellData};
    use crate::serve::page_url::PageUrl;
    use crate::serve::request::PageRequest;

    const NOW_NS: u64 = 1_795_183_471_000_000_000;

    fn shell(query: &str) -> Shell {
        let page = PageRequest::new(PageUrl::new("/logs", query), &HeaderMap::new(), NOW_NS);
        let data = ShellData {
            services: vec![("shop".to_owned(), 1)],
            environments: vec!["prod".to_owned()],
            ..ShellData::default()
        };
        Shell::new(&page, Section::Logs, "Logs", data)
    }

    #[test]
    fn range_and_scope_follow_to_every_page() {
        let shell = shell("query=x&start=6h&svc=shop&env=prod&cursor=9");
        let hrefs: Vec<_> = shell.rail.iter().map(|item| item.href.as_str()).collect();
        assert_eq!(hrefs[1], "/traces?start=6h&svc=shop&env=prod");
        assert!(shell.rail[2].active);
        assert_eq!(
            shell.scope.choices[0].href,
            "/logs?query=x&start=6h&svc=shop&env=prod"
        );
        assert_eq!(shell.scope.all.href, "/logs?query=x&start=6h&env=prod");
        let environments = shell.environments.expect("one is known");
        assert_eq!(environments.all.href, "/logs?query=x&start=6h&svc=shop");
        assert!(environments.choices[0].current && environments.choices.len() == 1);
        assert!(
            shell
                .range
                .presets
                .iter()
                .any(|link| link.current && link.text == "6 hours")
        );
        assert_eq!(
            shell.range.fields,
            [
                ("query".into(), "x".into()),
                ("svc".into(), "shop".into()),
                ("env".into(), "prod".into())
            ]
        );
    }

    #[test]
    fn an_unreadable_range_is_said_and_the_default_is_shown() {
        let shell = shell("start=banana");
        assert_eq!(shell.range.label, "Last 1 h");
        assert!(
            shell
                .range
                .error
                .is_some_and(|text| text.contains("banana"))
        );
    }
}
