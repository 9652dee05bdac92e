//! `/settings`: what is kept and for how long, what was left out and why, who sends, who may, and
//! the configuration in force. Must never show a secret, but a token once, when it is made.

use askama::Template;

use crate::serve::format::TimeText;
use crate::serve::shell::Shell;

#[derive(Template)]
#[template(path = "settings.html")]
pub(crate) struct SettingsPage {
    pub(crate) shell: Shell,
    pub(crate) signals: Vec<SignalRow>,
    pub(crate) disk: Vec<(&'static str, String)>,
    /// Used share of the volume in percent, and its class (`warm`, `hot` or none).
    pub(crate) disk_used: Option<(u8, &'static str)>,
    pub(crate) health: Vec<(&'static str, String)>,
    pub(crate) losses: Vec<LossRow>,
    pub(crate) sources: Vec<SourceRow>,
    pub(crate) access: AccessView,
    pub(crate) configuration: Vec<ConfigurationRow>,
    pub(crate) vendored: Vec<Vendored>,
}

/// One signal's storage.
pub(crate) struct SignalRow {
    pub(crate) name: &'static str,
    pub(crate) records: String,
    pub(crate) bytes: String,
    pub(crate) per_record: String,
    pub(crate) partitions: String,
    pub(crate) segments: String,
    pub(crate) head: String,
    pub(crate) oldest: Option<TimeText>,
    pub(crate) newest: Option<TimeText>,
    pub(crate) retention: String,
}

/// Records or requests that were not kept as they came.
pub(crate) struct LossRow {
    pub(crate) what: &'static str,
    pub(crate) signal: String,
    pub(crate) service: String,
    pub(crate) reason: String,
    pub(crate) count: String,
    /// Severity class of the row.
    pub(crate) class: &'static str,
}

pub(crate) struct SourceRow {
    pub(crate) service: String,
    pub(crate) class: &'static str,
    pub(crate) instance: String,
    pub(crate) sdk: String,
    pub(crate) version: String,
    pub(crate) transport: &'static str,
    pub(crate) spans: String,
    pub(crate) logs: String,
    pub(crate) bytes: String,
    pub(crate) last_seen: TimeText,
    /// Rejections by reason and a wrong clock; empty when all is well.
    pub(crate) trouble: String,
}

pub(crate) struct AccessView {
    /// One sentence: who may do what on this address.
    pub(crate) sentence: String,
    pub(crate) open: bool,
    pub(crate) tokens: Vec<TokenView>,
    /// Just made; shown once.
    pub(crate) fresh: Option<String>,
    pub(crate) problem: Option<String>,
}

pub(crate) struct TokenView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) created: TimeText,
}

pub(crate) struct ConfigurationRow {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// It differs from the default.
    pub(crate) set: bool,
    pub(crate) default: &'static str,
    pub(crate) what: String,
}

/// One row of `web/vendor.lock`.
pub(crate) struct Vendored {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) licence: String,
}

/// What others wrote and we serve, one row per package.
pub(crate) fn vendored() -> Vec<Vendored> {
    let lock: toml::Table = include_str!("../../../web/vendor.lock")
        .parse()
        .expect("a test reads vendor.lock");
    let files = lock["file"].as_array().expect("a test reads vendor.lock");
    let text = |file: &toml::Value, key: &str| file[key].as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<Vendored> = files
        .iter()
        .map(|file| Vendored {
            package: text(file, "package"),
            version: text(file, "version"),
            licence: text(file, "licence"),
        })
        .collect();
    rows.dedup_by(|a, b| a.package == b.package);
    rows
}

#[cfg(test)]
mod tests {
    use super::vendored;

    #[test]
    fn every_vendored_package_is_listed_once_with_its_licence() {
        let rows = vendored();
        let names: Vec<&str> = rows.iter().map(|row| row.package.as_str()).collect();
        assert_eq!(
            names,
            [
                "htmx.org",
                "@tabler/icons",
                "@fontsource/ibm-plex-sans",
                "@fontsource/ibm-plex-mono"
            ]
        );
        assert!(
            rows.iter()
                .all(|row| !row.licence.is_empty() && !row.version.is_empty())
        );
    }
}
