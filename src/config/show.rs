//! Settings as text again, for the page that shows the configuration in force. What is printed
//! parses back to the same value, but for secrets, which are never printed.

use std::fmt;

use super::values::{
    AccessMode, Auto, ClientHeader, Count, IngestAccess, Secret, Switch, Text, Url,
};
use crate::ingest::{Durability, Redact};

impl<T: fmt::Display> fmt::Display for Auto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("auto"),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "(set)" } else { "" })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Fast => "fast",
            Durability::Sync => "sync",
        })
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessMode::Auto => "auto",
            AccessMode::None => "none",
        })
    }
}

impl fmt::Display for ClientHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientHeader::ForwardedFor => "x-forwarded-for",
            ClientHeader::FlyClientIp => "fly-client-ip",
        })
    }
}

impl fmt::Display for IngestAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IngestAccess::Auto => "auto",
            IngestAccess::Open => "open",
            IngestAccess::Token => "token",
        })
    }
}

impl fmt::Display for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.credentials, "credentials"),
            (self.cards, "cards"),
            (self.emails, "emails"),
        ];
        let on: Vec<&str> = words
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| *word)
            .collect();
        f.write_str(if on.is_empty() { "off" } else { "" })?;
        f.write_str(&on.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{SETTINGS, Settings};

    #[test]
    fn what_is_shown_parses_back() {
        let defaults = Settings::default();
        for setting in SETTINGS.iter().filter(|setting| !setting.secret) {
            let mut settings = Settings::default();
            (setting.apply)(&mut settings, &(setting.show)(&defaults)).expect(setting.name);
            assert_eq!(settings, defaults, "{}", setting.name);
        }
    }

    #[test]
    fn changed_values_are_shown_and_secrets_are_not() {
        for (name, text, shown) in [
            ("ingest.redact", "cards, credentials", "credentials,cards"),
            ("ingest.redact", "off", "off"),
            ("limits.memory", "256MiB", "256MiB"),
            ("auth.ingest", "token", "token"),
            ("otlp_grpc_listen", "off", "off"),
            ("auth.admin_password", "correct horse battery", "(set)"),
        ] {
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.name == name)
                .expect(name);
            let mut settings = Settings::default();
            (setting.apply)(&mut settings, text).expect(name);
            assert_eq!((setting.show)(&settings), shown, "{name}");
        }
    }
}
