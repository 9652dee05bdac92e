//! The types of settings: each is parsed once, at the edge, into a value that cannot be wrong.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::ingest::{Durability, Redact};
use crate::units::{OrOff, Period};

/// A listening address: `"127.0.0.1:4300"`, `"[::]:4300"`, `"localhost:0"`; port 0 lets the system
/// choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addr(pub(crate) SocketAddr);

/// `"auto"` is None: the value is worked out from the machine at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Auto<T>(pub(crate) Option<T>);

/// A whole number from 1 to a million: no count among the settings means anything outside that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

/// Free text: a path, a log filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

/// The path of a file; empty is "not set".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) Option<PathBuf>);

/// A secret; empty is "not set". `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) Option<String>);

/// An `http://` or `https://` address without path; empty is "not set".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url(pub(crate) Option<String>);

/// `auth.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessMode {
    /// Open on loopback, login and tokens on any other address.
    Auto,
    /// Open everywhere (`--insecure`).
    None,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

/// `auth.ingest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IngestAccess {
    /// As `auth.mode` says: open on loopback, a token elsewhere.
    Auto,
    /// No token needed on any address.
    Open,
    /// A token needed also on loopback.
    Token,
}

/// Services with a retention of their own. Each has partitions of its own, so they are few.
const SERVICES_MAX: usize = 32;

/// `retention.services`: names with how long they are kept, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServicePeriods(pub(crate) Vec<(String, OrOff<Period>)>);

impl FromStr for ServicePeriods {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut services: Vec<(String, OrOff<Period>)> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let (name, kept) = entry.rsplit_once('=').ok_or_else(|| {
                format!("{entry:?} is not a service and a duration, such as \"checkout=30d\"")
            })?;
            let name = name.trim();
            if name.is_empty() || services.iter().any(|(known, _)| known == name) {
                return Err(format!("{entry:?} names no service, or one named before"));
            }
            services.push((name.to_owned(), kept.trim().parse()?));
        }
        if services.len() > SERVICES_MAX {
            let n = services.len();
            return Err(format!("{n} services, at most {SERVICES_MAX} may be"));
        }
        Ok(ServicePeriods(services))
    }
}

impl fmt::Display for ServicePeriods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, kept)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{name}={kept}")?;
        }
        Ok(())
    }
}

/// `net.client_ip_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientHeader {
    /// `X-Forwarded-For`: a list to which each proxy adds.
    ForwardedFor,
    /// `Fly-Client-IP`: one address, which Fly's proxy writes anew.
    FlyClientIp,
}

/// A closed set of words, for one error text and one place that prints.
macro_rules! words {
    ($type:ty, $($word:literal => $value:expr),+) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!("{text:?} is not one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(Durability, "fast" => Durability::Fast, "sync" => Durability::Sync);
words!(Switch, "true" => Switch(true), "false" => Switch(false));
words!(AccessMode, "auto" => AccessMode::Auto, "none" => AccessMode::None);
words!(ClientHeader, "x-forwarded-for" => ClientHeader::ForwardedFor, "fly-client-ip" => ClientHeader::FlyClientIp);
words!(IngestAccess, "auto" => IngestAccess::Auto, "open" => IngestAccess::Open, "token" => IngestAccess::Token);

impl FromStr for Addr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().map(Addr).map_err(|_| {
            format!("{text:?} is not an address; write IP:PORT, such as \"127.0.0.1:4300\" or \"0.0.0.0:4300\"")
        })
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: FromStr<Err = String>> FromStr for Auto<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Auto(None));
        }
        text.parse()
            .map(|value| Auto(Some(value)))
            .map_err(|e: String| format!("{e}, or \"auto\""))
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count @ 1..=1_000_000) => Ok(Count(count)),
            _ => Err(format!("{text:?} is not a whole number from 1 to 1000000")),
        }
    }
}

impl FromStr for Text {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("must not be empty".to_owned()),
            _ => Ok(Text(text.to_owned())),
        }
    }
}

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        Ok(FilePath((!text.is_empty()).then(|| PathBuf::from(text))))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "{}", path.display()),
            None => Ok(()),
        }
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        Ok(Secret((!text.is_empty()).then(|| text.to_owned())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Secret(set)"
        } else {
            "Secret(not set)"
        })
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Url(None));
        }
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let host = host.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        match host {
            Some(host) if !host.is_empty() && host.chars().all(plain) => {
                Ok(Url(Some(text.trim_end_matches('/').to_owned())))
            }
            _ => Err(format!(
                "{text:?} is not an address such as \"https://watch.example.org\" (no path)"
            )),
        }
    }
}

impl FromStr for Redact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut redact = Redact::OFF;
        if text == "off" {
            return Ok(redact);
        }
        for word in text.split(',').map(str::trim) {
            match word {
                "credentials" => redact.credentials = true,
                "cards" => redact.cards = true,
                "emails" => redact.emails = true,
                _ => {
                    return Err(format!(
                        "{word:?} is not one of credentials, cards, emails (a list), or \"off\""
                    ));
                }
            }
        }
        Ok(redact)
    }
}
