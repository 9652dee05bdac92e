//! Which `Host` may see pages and the own API (reliability S8), and whether a request that changes
//! something came from our own pages (S5).
//!
//! DNS rebinding makes a browser send a foreign name to our address. Names that public DNS cannot
//! carry are safe: loopback names, addresses, single labels, `.internal` and `.localhost`.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, header};

/// The allow-list; one per server.
#[derive(Debug)]
pub(crate) struct HostRule {
    external: Option<String>,
}

impl HostRule {
    /// `external_url` as the settings have it: scheme and host, no path.
    pub(crate) fn new(external_url: Option<&str>) -> HostRule {
        let external = external_url
            .and_then(|url| url.split_once("://"))
            .map(|(_, host)| name_of(host));
        HostRule { external }
    }

    /// Whether a Host header (with or without port) is one of ours.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let name = name_of(host);
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c))
        {
            return false;
        }
        self.external.as_deref() == Some(&name)
            || name.parse::<Ipv4Addr>().is_ok()
            || name.parse::<Ipv6Addr>().is_ok()
            || !name.contains(['.', ':'])
            || name.ends_with(".localhost")
            || name.ends_with(".internal")
    }
}

/// The host without port, brackets, trailing point and upper case.
fn name_of(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a browser says that a foreign page sent this. Clients that are not browsers send neither
/// header; a page cannot leave them out.
pub(super) fn is_cross_site(headers: &HeaderMap, host: &str, external_url: Option<&str>) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("?"))
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let ours = origin
        .split_once("://")
        .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    !ours && external_url != Some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let rule = HostRule::new(Some("https://watch.example.org"));
        for host in [
            "localhost:4300",
            "127.0.0.1:4300",
            "[::1]:4300",
            "192.168.1.5:4300",
            "watchpost:4318",
            "watchpost",
            "shop.internal:4300",
            "a.localhost",
            "watch.example.org",
            "WATCH.example.org.:443",
        ] {
            assert!(rule.allows(host), "{host}");
        }
        for host in [
            "evil.example.org",
            "watch.example.org.evil.com",
            "",
            "127.0.0.1.nip.io",
            "a.b",
            "ev il",
            "x.internal.com",
            "::::a.com",
        ] {
            assert!(!rule.allows(host), "{host}");
        }
    }

    #[track_caller]
    fn check_cross(headers: &[(&'static str, &'static str)], cross: bool) {
        let map = headers.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, axum::http::HeaderValue::from_static(value))
        });
        assert_eq!(
            is_cross_site(
                &map.collect(),
                "localhost:4300",
                Some("https://watch.example.org")
            ),
            cross
        );
    }

    #[test]
    fn foreign_pages_are_told_apart() {
        check_cross(&[], false);
        check_cross(
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://localhost:4300"),
            ],
            false,
        );
        check_cross(&[("sec-fetch-site", "cross-site")], true);
        check_cross(&[("sec-fetch-site", "same-site")], true);
        check_cross(&[("origin", "http://localhost:4300")], false);
        check_cross(&[("origin", "https://watch.example.org")], false);
        check_cross(&[("origin", "http://localhost:9999")], true);
        check_cross(&[("origin", "null")], true);
    }
}
