//! How a target, or an address that lists targets, is asked: credentials, TLS, proxy, headers
//! (Prometheus' `HTTPClientConfig`). Files with secrets are named here and read at each use.

use std::fmt;
use std::path::{Path, PathBuf};

use super::section::Section;

/// Text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// A secret, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    Text(Hidden),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Basic {
        user: Secret,
        password: Secret,
    },
    /// The scheme, most often `Bearer`, and what follows it.
    Credentials {
        scheme: String,
        secret: Secret,
    },
}

/// PEM text, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pem {
    Text(Hidden),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsMin {
    #[default]
    V12,
    V13,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) authorities: Option<Pem>,
    /// Certificate chain and key of the client.
    pub(crate) client: Option<(Pem, Pem)>,
    pub(crate) server_name: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) min: TlsMin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpConfig {
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: Tls,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) follow_redirects: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    /// Hosts that are asked directly: names, `.suffixes`, addresses.
    pub(crate) direct: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            auth: None,
            tls: Tls::default(),
            proxy: None,
            headers: Vec::new(),
            follow_redirects: true,
        }
    }
}

/// Headers that are the client's own business (prometheus/common `ReservedHeaders`).
const RESERVED_HEADERS: [&str; 21] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "accept",
    "te",
    "transfer-encoding",
];

/// Ways to be let in that this program does not have: told, and the target says what it thinks.
const AUTH_NOT_HERE: [&str; 4] = ["oauth2", "sigv4", "azuread", "google_iam"];

/// Reads the keys that Prometheus inlines into a scrape configuration or a discovery. Relative files
/// are those beside the configuration file, in `dir`.
pub(super) fn read(section: &Section<'_>, dir: &Path) -> HttpConfig {
    let basic = section.section("basic_auth", "config.plain");
    let authorization = section.section("authorization", "config.plain");
    let token = section.text("bearer_token");
    let token_file = section.text("bearer_token_file");
    if token.is_some() && token_file.is_some() {
        section.problem(
            "bearer_token",
            "at most one of bearer_token & bearer_token_file must be configured",
        );
    }
    let bearer = token.is_some() || token_file.is_some();
    let oauth = AUTH_NOT_HERE
        .into_iter()
        .find(|key| section.take(key).is_some());
    if let Some(key) = oauth {
        let what = format!("{key} is not known here: requests go without it");
        section.notes.warning(section.at_of(key), what);
    }
    match (basic.is_some() || oauth.is_some(), bearer, authorization.is_some()) {
        (_, true, true) => section.problem(
            "authorization",
            "authorization is not compatible with bearer_token & bearer_token_file",
        ),
        (true, true, _) => section.problem(
            "basic_auth",
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
        ),
        (true, _, true) => section.problem(
            "authorization",
            "at most one of basic_auth, oauth2 & authorization must be configured",
        ),
        _ => {}
    }
    let auth = if let Some(basic) = &basic {
        Some(basic_auth(basic, dir))
    } else if let Some(authorization) = &authorization {
        credentials(authorization, dir)
    } else {
        let bearer = |secret| Auth::Credentials {
            scheme: "Bearer".to_owned(),
            secret,
        };
        secret(token, token_file, dir).map(bearer)
    };
    if section.flag("enable_http2") == Some(true) {
        let what = "enable_http2: HTTP/1.1 is spoken; every server of HTTP/2 understands it";
        section.notes.warning(section.at_of("enable_http2"), what);
    }
    HttpConfig {
        auth,
        tls: section
            .section("tls_config", "config.plain")
            .map(|s| tls(&s, dir))
            .unwrap_or_default(),
        proxy: proxy(section),
        headers: headers(section, dir),
        follow_redirects: section.flag("follow_redirects").unwrap_or(true),
    }
}

/// Where a path of the file stands, seen from where the program runs.
pub(super) fn beside(dir: &Path, path: &str) -> PathBuf {
    dir.join(path)
}

fn secret(text: Option<String>, file: Option<String>, dir: &Path) -> Option<Secret> {
    match (text, file) {
        (_, Some(file)) => Some(Secret::File(beside(dir, &file))),
        (Some(text), None) => Some(Secret::Text(Hidden(text))),
        (None, None) => None,
    }
}

fn one_of(section: &Section<'_>, what: &str, name: &str, dir: &Path) -> Option<Secret> {
    let file_name = format!("{name}_file");
    let (text, file) = (section.text(name), section.text(&file_name));
    if text.is_some() && file.is_some() {
        let message = format!("at most one of {what} {name} & {file_name} must be configured");
        section.problem(&file_name, message);
    }
    if section.take(&format!("{name}_ref")).is_some() {
        let message =
            format!("{name}_ref names a secret manager, which is not known here; use {file_name}");
        section.problem(&format!("{name}_ref"), message);
    }
    secret(text, file, dir)
}

fn basic_auth(section: &Section<'_>, dir: &Path) -> Auth {
    let empty = || Secret::Text(Hidden::default());
    let user = one_of(section, "basic_auth", "username", dir).unwrap_or_else(empty);
    let password = one_of(section, "basic_auth", "password", dir).unwrap_or_else(empty);
    section.close();
    Auth::Basic { user, password }
}

fn credentials(section: &Section<'_>, dir: &Path) -> Option<Auth> {
    let scheme = section.text("type").map(|scheme| scheme.trim().to_owned());
    let scheme = scheme
        .filter(|scheme| !scheme.is_empty())
        .unwrap_or_else(|| "Bearer".to_owned());
    if scheme.eq_ignore_ascii_case("basic") {
        section.problem(
            "type",
            "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
        );
    }
    let secret = one_of(section, "authorization", "credentials", dir);
    section.close();
    Some(Auth::Credentials {
        scheme,
        secret: secret?,
    })
}

fn tls(section: &Section<'_>, dir: &Path) -> Tls {
    let pem = |name: &str| {
        let file_name = format!("{name}_file");
        let (text, file) = (section.text(name), section.text(&file_name));
        if text.is_some() && file.is_some() {
            let message = format!("at most one of {name} and {file_name} must be configured");
            section.problem(&file_name, message);
        }
        match (text, file) {
            (_, Some(file)) => Some(Pem::File(beside(dir, &file))),
            (Some(text), None) => Some(Pem::Text(Hidden(text))),
            (None, None) => None,
        }
    };
    let authorities = pem("ca");
    let client = match (pem("cert"), pem("key")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (Some(_), None) => {
            let message = "exactly one of key or key_file must be configured when a client certificate is configured";
            section.notes.problem(section.at, message);
            None
        }
        (None, Some(_)) => {
            let message = "exactly one of cert or cert_file must be configured when a client key is configured";
            section.notes.problem(section.at, message);
            None
        }
        (None, None) => None,
    };
    let version = |text: &str| match text {
        "TLS10" | "TLS11" | "TLS12" => Ok(TlsMin::V12),
        "TLS13" => Ok(TlsMin::V13),
        _ => Err(format!("unknown TLS version: {text}")),
    };
    for old in ["min_version", "max_version"] {
        let text = section.take(old).and_then(|node| node.text());
        if text.is_some_and(|text| old == "max_version" || text == "TLS10" || text == "TLS11") {
            let what = format!("{old}: TLS 1.2 and 1.3 are spoken, whichever the target prefers");
            section.notes.warning(section.at_of(old), what);
        }
    }
    section.parsed("max_version", version);
    let tls = Tls {
        authorities,
        client,
        server_name: section.text("server_name"),
        insecure: section.flag("insecure_skip_verify").unwrap_or(false),
        min: section.parsed("min_version", version).unwrap_or_default(),
    };
    section.close();
    tls
}

fn proxy(section: &Section<'_>) -> Option<Proxy> {
    let url = section.text("proxy_url");
    let direct = section.text("no_proxy").unwrap_or_default();
    if url.is_none() && !direct.is_empty() {
        section.problem(
            "no_proxy",
            "if no_proxy is configured, proxy_url must also be configured",
        );
    }
    if section.flag("proxy_from_environment") == Some(true) {
        if url.is_some() {
            section.problem(
                "proxy_from_environment",
                "if proxy_from_environment is configured, proxy_url must not be configured",
            );
        } else {
            let what = "proxy_from_environment is not read here; write proxy_url";
            section
                .notes
                .warning(section.at_of("proxy_from_environment"), what);
        }
    }
    if section.take("proxy_connect_header").is_some() {
        let what = "proxy_connect_header is not sent";
        section
            .notes
            .warning(section.at_of("proxy_connect_header"), what);
    }
    let url = url?;
    if !url.starts_with("http://") {
        let what = format!("proxy_url {url:?} must begin with http://");
        section.problem("proxy_url", what);
    }
    let direct = direct
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty());
    Some(Proxy {
        url,
        direct: direct.map(str::to_owned).collect(),
    })
}

fn headers(section: &Section<'_>, dir: &Path) -> Vec<(String, Secret)> {
    let Some(all) = section.section("http_headers", "map[string]config.Header") else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, at, node) in all.rest() {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            section
                .notes
                .problem(at, format!("setting header {name:?} is not allowed"));
            continue;
        }
        let Some(one) = Section::open(node, "config.Header", section.notes) else {
            continue;
        };
        let values = one.texts("values").into_iter().chain(one.texts("secrets"));
        let texts = values.map(|text| Secret::Text(Hidden(text)));
        let files = one
            .texts("files")
            .into_iter()
            .map(|file| Secret::File(beside(dir, &file)));
        headers.extend(texts.chain(files).map(|value| (name.to_owned(), value)));
        one.close();
    }
    headers
}
