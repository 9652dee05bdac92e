//! What every page needs from a request: address, time range, zone, theme, scope. Reads the clock
//! once per request; it must never fail, a page is shown whatever the cookies say.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::model;
use crate::model::record::ENVIRONMENT_KEYS;
use crate::serve::format::Zone;
use crate::serve::page_url::PageUrl;
use crate::serve::range::{PageRange, RangeError};

/// The cookie with the viewer's IANA zone, set by `app.js`.
pub(crate) const ZONE_COOKIE: &str = "tz";
/// `1` where the viewer chose UTC.
pub(crate) const UTC_COOKIE: &str = "utc";
pub(crate) const THEME_COOKIE: &str = "theme";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// The browser's preference.
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub(crate) fn parse(text: &str) -> Theme {
        match text {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        }
    }

    /// The value of `data-theme` and of the cookie; empty for the browser's preference.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Theme::Auto => "",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
}

/// An axum extractor; every page handler takes one.
#[derive(Clone, Debug)]
pub(crate) struct PageRequest {
    pub(crate) url: PageUrl,
    pub(crate) now_ns: u64,
    pub(crate) zone: Zone,
    pub(crate) utc: bool,
    pub(crate) theme: Theme,
    pub(crate) range: PageRange,
    pub(crate) range_error: Option<RangeError>,
    /// `https://watch.example`: how the browser reached us, for snippets and copied links.
    pub(crate) origin: String,
    /// htmx asks for a part of the page: answer with a fragment, without the shell.
    pub(crate) fragment: bool,
}

impl PageRequest {
    pub(crate) fn new(url: PageUrl, headers: &HeaderMap, now_ns: u64) -> PageRequest {
        let utc = cookie(headers, UTC_COOKIE) == Some("1");
        let zone = match cookie(headers, ZONE_COOKIE) {
            Some(name) if !utc => Zone::named(&name.replace("%2F", "/")),
            _ => Zone::utc(),
        };
        let (range, range_error) = match PageRange::from_url(&url, now_ns, &zone) {
            Ok(range) => (range, None),
            Err(error) => (PageRange::default_at(now_ns), Some(error)),
        };
        PageRequest {
            now_ns,
            zone,
            utc,
            theme: Theme::parse(cookie(headers, THEME_COOKIE).unwrap_or_default()),
            range,
            range_error,
            origin: origin(headers),
            fragment: text(headers, "hx-request-type") == Some("partial"),
            url,
        }
    }

    /// The range as queries take it.
    pub(crate) fn window(&self) -> model::TimeRange {
        let (start, end) = (self.range.start_ns, self.range.end_ns);
        model::TimeRange::new(model::Timestamp(start), model::Timestamp(end))
            .expect("a page range starts before it ends")
    }

    /// The one service the reader looks at, if any.
    pub(crate) fn service(&self) -> Option<&str> {
        self.url.get("svc")
    }

    /// The one environment the reader looks at, if any.
    pub(crate) fn environment(&self) -> Option<&str> {
        self.url.get("env")
    }

    /// The scope as text of the query language, to be ANDed before the page's own query.
    pub(crate) fn scope_query(&self) -> Option<String> {
        let quoted =
            |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let mut terms = Vec::new();
        if let Some(name) = self.environment() {
            let name = quoted(name);
            let either = ENVIRONMENT_KEYS.map(|key| format!("resource.{key}:{name}"));
            terms.push(format!("({})", either.join(" OR ")));
        }
        terms.extend(
            self.service()
                .map(|name| format!("service:{}", quoted(name))),
        );
        (!terms.is_empty()).then(|| terms.join(" "))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<PageRequest, Infallible> {
        let url = PageUrl::new(parts.uri.path(), parts.uri.query().unwrap_or_default());
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Ok(PageRequest::new(url, &parts.headers, now_ns))
    }
}

/// The value of the first cookie of that name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Scheme and host as the outermost proxy saw them. Only shown and copied, never trusted: a value
/// with anything but host characters is replaced.
fn origin(headers: &HeaderMap) -> String {
    let first = |name| {
        text(headers, name)
            .and_then(|value| value.split(',').next())
            .map(str::trim)
    };
    let host = first("x-forwarded-host")
        .or_else(|| first("host"))
        .unwrap_or("localhost:4300");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let host = match !host.is_empty() && host.bytes().all(allowed) {
        true => host,
        false => "localhost:4300",
    };
    let scheme = if first("x-forwarded-proto") == Some("https") {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::{PageRequest, Theme};
    use crate::serve::page_url::PageUrl;

    fn request(headers: &[(&'static str, &str)], query: &str) -> PageRequest {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        PageRequest::new(
            PageUrl::new("/logs", query),
            &map,
            1_795_183_471_000_000_000,
        )
    }

    #[test]
    fn cookies_choose_theme_and_zone() {
        let cookies = "a=b; theme=dark; tz=Europe%2FBerlin";
        let page = request(&[("cookie", cookies)], "");
        assert_eq!(
            (page.theme, page.zone.name.as_str()),
            (Theme::Dark, "Europe/Berlin")
        );
        let page = request(&[("cookie", cookies), ("cookie", "utc=1")], "");
        assert_eq!(page.zone.name, "UTC");
        assert_eq!(
            request(&[("cookie", "theme=\"><script>; tz=../../etc")], "").theme,
            Theme::Auto
        );
    }

    #[test]
    fn the_address_is_the_one_the_browser_used() {
        let proxied = [
            ("host", "10.0.0.1"),
            ("x-forwarded-host", "w.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(request(&proxied, "").origin, "https://w.example");
        assert_eq!(
            request(&[("host", "[::1]:4300")], "").origin,
            "http://[::1]:4300"
        );
        assert_eq!(
            request(&[("host", "\"><b>")], "").origin,
            "http://localhost:4300"
        );
    }

    #[test]
    fn scope_and_range_come_from_the_address() {
        let page = request(&[], "svc=a%22b&start=nonsense");
        assert_eq!(page.scope_query().as_deref(), Some(r#"service:"a\"b""#));
        assert!(page.range_error.is_some());
        assert_eq!(page.window().duration_ns(), 3_600_000_000_000);
    }
}
