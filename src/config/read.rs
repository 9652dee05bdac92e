//! From a TOML file, the environment and secret files to (setting, text, origin).

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Given, Origin, Problem, Settings, apply, table};

/// A configuration file of a small deployment has under 100 lines; more is a wrong path.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The setting of names and values, which a file may also write as a table.
const PAIRS: &str = "retention.services";

/// What Kubernetes and Docker's links put into the environment next to a service named `watchpost`.
/// They are not ours and must not stop the start.
const FOREIGN_PREFIXES: [&str; 3] = ["WATCHPOST_SERVICE_", "WATCHPOST_PORT", "WATCHPOST_ENV_"];

/// Adds what the file says, and what is wrong with it as a file.
pub(super) fn file(path: &Path, given: &mut Vec<Given>, problems: &mut Vec<Problem>) {
    let at = |line| {
        Some(Origin::File {
            path: path.to_owned(),
            line,
        })
    };
    let text = match read_bounded(path) {
        Ok(text) => text,
        Err(message) => {
            problems.push(Problem {
                origin: at(0),
                setting: String::new(),
                message,
            });
            return;
        }
    };
    let (document, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        let line = line_of(&text, error.span().map_or(0, |span| span.start));
        let message = error.message().replace('\n', ", ");
        problems.push(Problem {
            origin: at(line),
            setting: String::new(),
            message,
        });
    }
    table(path, &text, "", document.get_ref(), given, problems);
}

/// Sections nest at most as deep as the parser allows; names are joined by points.
fn table(
    path: &Path,
    text: &str,
    prefix: &str,
    entries: &DeTable<'_>,
    given: &mut Vec<Given>,
    problems: &mut Vec<Problem>,
) {
    for (key, value) in entries {
        let setting = format!("{prefix}{}", key.get_ref());
        let origin = Origin::File {
            path: path.to_owned(),
            line: line_of(text, key.span().start),
        };
        match value.get_ref() {
            DeValue::Table(inner) if setting == PAIRS => match pairs("", inner) {
                Ok(pairs) => given.push(Given {
                    setting,
                    text: pairs.join(","),
                    origin,
                }),
                Err(message) => problems.push(Problem {
                    origin: Some(origin),
                    setting,
                    message,
                }),
            },
            DeValue::Table(inner) => {
                table(path, text, &format!("{setting}."), inner, given, problems)
            }
            other => match scalar(other) {
                Ok(text) => given.push(Given {
                    setting,
                    text,
                    origin,
                }),
                Err(message) => problems.push(Problem {
                    origin: Some(origin),
                    setting,
                    message,
                }),
            },
        }
    }
}

/// The entries of a setting of pairs as the environment would carry them. An unquoted name with
/// points arrives as tables.
fn pairs(prefix: &str, entries: &DeTable<'_>) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for (key, value) in entries {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            _ if name.contains(',') => return Err(format!("{name:?} has a comma")),
            DeValue::Table(inner) => all.extend(pairs(&format!("{name}."), inner)?),
            other => all.push(format!("{name}={}", scalar(other)?)),
        }
    }
    Ok(all)
}

/// A TOML value as the text the environment would carry; lists are joined by commas.
fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => Ok(number.to_string().replace('_', "")),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Array(items) => {
            let texts: Result<Vec<_>, _> =
                items.iter().map(|item| scalar(item.get_ref())).collect();
            Ok(texts?.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("expected a text, a number or a list".to_owned())
        }
    }
}

/// `WATCHPOST_RETENTION__TRACES` is `retention.traces`, `WATCHPOST_DATA_DIR` is `data_dir`.
pub(super) fn environment(variables: &[(String, String)], given: &mut Vec<Given>) {
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix("WATCHPOST_") else {
            continue;
        };
        let foreign = FOREIGN_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if rest == "CONFIG" || foreign {
            continue;
        }
        let setting = rest.to_ascii_lowercase().replace("__", ".");
        given.push(Given {
            setting,
            text: text.clone(),
            origin: Origin::Environment(name.clone()),
        });
    }
}

/// Reads `*_file` settings after all layers, so that the last layer's path wins.
pub(super) fn secret_files(given: &[Given], settings: &mut Settings, problems: &mut Vec<Problem>) {
    for setting in table::SETTINGS.iter().filter(|setting| setting.secret) {
        let file_name = format!("{}_file", setting.name);
        let Some(file) = given.iter().rev().find(|one| one.setting == file_name) else {
            continue;
        };
        let mut wrong = |message: String| {
            let origin = Some(file.origin.clone());
            problems.push(Problem {
                origin,
                setting: file_name.clone(),
                message,
            });
        };
        if given
            .iter()
            .any(|one| one.setting == setting.name && !one.text.is_empty())
        {
            wrong(format!("{} is set too; give one of them", setting.name));
            continue;
        }
        match read_bounded(&PathBuf::from(&file.text)) {
            Ok(text) if text.trim().is_empty() => wrong(format!("{} is empty", file.text)),
            Ok(text) => {
                let one = Given {
                    setting: setting.name.to_owned(),
                    text,
                    origin: file.origin.clone(),
                };
                apply(settings, &one, problems);
            }
            Err(message) => wrong(message),
        }
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let cannot = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    let bytes = fs::metadata(path).map_err(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "{} has {bytes} bytes, at most {FILE_BYTES_MAX} are read",
            path.display()
        ));
    }
    fs::read_to_string(path).map_err(cannot)
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
