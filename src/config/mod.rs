//! Reads TOML, environment and flags into typed settings, then into each module's own `Config`.
//!
//! Later layers win: file, then `WATCHPOST_SECTION__KEY`, then flags. Every problem of every layer
//! is reported at once, each with its setting and where it was written. Must never print a secret
//! and never guess: an unknown name is an error.

mod budget;
mod link;
mod memory;
mod read;
mod show;
mod table;
mod values;

use std::fmt;
use std::path::PathBuf;

use crate::scrape;

pub(crate) use budget::{Budget, User};
pub(crate) use table::{SETTINGS, Settings};
pub(crate) use values::{AccessMode, ClientHeader, IngestAccess};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(&'static str),
}

/// One thing wrong with the configuration; `main` prints all of them and exits with 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// None for settings that disagree with each other.
    pub(crate) origin: Option<Origin>,
    /// The setting's name as the file writes it, empty when the file itself does not parse.
    pub(crate) setting: String,
    pub(crate) message: String,
}

/// One value given for one setting, before it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) setting: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// Everything outside the program that settings come from.
pub(crate) struct Sources {
    /// `--config`; `WATCHPOST_CONFIG` is looked for in `environment`.
    pub(crate) config: Option<PathBuf>,
    pub(crate) environment: Vec<(String, String)>,
    /// Flags by setting name, in the order of the command line.
    pub(crate) flags: Vec<Given>,
}

/// Reads all layers. Returns every problem found, not only the first.
pub(crate) fn load(sources: &Sources) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut settings = Settings::default();
    let from_environment = sources
        .environment
        .iter()
        .find(|(name, _)| name == "WATCHPOST_CONFIG");
    let path = sources
        .config
        .clone()
        .or_else(|| from_environment.map(|(_, path)| PathBuf::from(path)));
    let mut given = Vec::new();
    if let Some(path) = path {
        read::file(&path, &mut given, &mut problems);
    }
    read::environment(&sources.environment, &mut given);
    given.extend(sources.flags.iter().cloned());
    for one in &given {
        apply(&mut settings, one, &mut problems);
    }
    read::secret_files(&given, &mut settings, &mut problems);
    disagreements(&settings, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(problems)
    }
}

impl Settings {
    /// `limits.memory`, or what the machine suggests.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.limits_memory
            .0
            .map_or_else(memory::memory_limit_default, |size| size.0)
    }

    /// `limits.active_series`, or what the memory budget allows: names, labels, the index and the head
    /// of a series take 1 KB, and four times as many are known as are active.
    pub(crate) fn active_series(&self) -> u64 {
        const MEMORY_BYTES_PER_SERIES: u64 = 5_120;
        let auto = || self.memory_bytes() / MEMORY_BYTES_PER_SERIES;
        self.limits_active_series
            .0
            .map_or_else(auto, |count| count.0 as u64)
    }

    /// What is scraped, and from where it is read again.
    pub(crate) fn scrape_source(&self) -> scrape::Source {
        scrape::Source::new(scrape::Config {
            file: self.scrape_config_file.0.clone(),
            targets: self.scrape_targets.clone(),
            reach: scrape::Reach::new(self.net_allow.clone()),
        })
    }

    /// The split of it; loading has checked that there is enough.
    pub(crate) fn memory_budget(&self) -> Budget {
        let memory = self.memory_bytes().max(budget::MEMORY_MIN);
        Budget::split(memory).expect("it is at least the minimum")
    }
}

fn apply(settings: &mut Settings, given: &Given, problems: &mut Vec<Problem>) {
    let name = given.setting.as_str();
    let outcome = match table::find(name) {
        Some(setting) => (setting.apply)(settings, &given.text),
        None if table::is_secret_file(name) => Ok(()),
        None => Err(table::unknown(name)),
    };
    if let Err(message) = outcome {
        let origin = Some(given.origin.clone());
        problems.push(Problem {
            origin,
            setting: name.to_owned(),
            message,
        });
    }
}

/// Settings that are right alone and wrong together.
fn disagreements(settings: &Settings, problems: &mut Vec<Problem>) {
    let mut disagree = |setting: &str, message: String| {
        problems.push(Problem {
            origin: None,
            setting: setting.to_owned(),
            message,
        });
    };
    let listeners = [
        ("listen", Some(settings.listen)),
        ("otlp_grpc_listen", settings.otlp_grpc_listen.0),
        ("otlp_http_listen", settings.otlp_http_listen.0),
    ];
    for (i, (name, addr)) in listeners.iter().enumerate() {
        let taken = listeners[..i]
            .iter()
            .find(|(_, other)| addr.is_some_and(|a| a.0.port() != 0) && other == addr);
        if let Some((other, _)) = taken {
            disagree(
                name,
                format!("is the same address as {other}; give each its own port, or \"off\""),
            );
        }
    }
    if settings.auth_mode == AccessMode::None && settings.auth_ingest == IngestAccess::Token {
        disagree(
            "auth.ingest",
            "\"token\" means nothing while auth.mode is \"none\"; remove one of them".to_owned(),
        );
    }
    if let Err(problem) = Budget::split(settings.memory_bytes()) {
        disagree("limits.memory", problem);
    }
    // A request of usual records and its index must fit the heads alone, and pass the door as it came,
    // decompressed, transcoded and masked.
    let budget = settings.memory_budget();
    let max = (budget.of(User::Heads) / 3 * 2).min(budget.of(User::Door) / 4);
    let wanted = settings.limits_request_bytes.0;
    if wanted.is_some_and(|size| size.0 > max) {
        disagree(
            "limits.request_bytes",
            format!("must be at most {max} bytes with this limits.memory; raise that first"),
        );
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(Origin::File { path, line }) => write!(f, "{}:{line}: ", path.display())?,
            Some(Origin::Environment(name)) => write!(f, "{name}: ")?,
            Some(Origin::Flag(name)) => write!(f, "{name}: ")?,
            None => {}
        }
        match self.setting.as_str() {
            "" => f.write_str(&self.message),
            setting => write!(f, "{setting}: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests;
