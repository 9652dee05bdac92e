//! What the layers say together, and how mistakes are told.

use std::fs;
use std::time::Duration;

use super::table::SETTINGS;
use super::*;
use crate::units::{OrOff, Period};

/// Loads a file's text, an environment and flags; returns the settings or all problems as text,
/// the file's directory cut off.
fn read(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, Vec<String>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("watchpost.toml");
    fs::write(&path, file).expect("write");
    let flag = |(setting, text): &(&str, &str)| Given {
        setting: (*setting).to_owned(),
        text: (*text).to_owned(),
        origin: Origin::Flag("--flag"),
    };
    let sources = Sources {
        config: Some(path),
        environment: environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        flags: flags.iter().map(flag).collect(),
    };
    let cut = format!("{}/", dir.path().display());
    load(&sources).map_err(|problems| {
        problems
            .iter()
            .map(|p| p.to_string().replace(&cut, ""))
            .collect()
    })
}

#[track_caller]
fn check_problems(file: &str, environment: &[(&str, &str)], expect: &[&str]) {
    assert_eq!(read(file, environment, &[]).expect_err("problems"), expect);
}

#[test]
fn defaults_need_nothing() {
    let settings = read("", &[], &[]).expect("an empty file is fine");
    assert_eq!(settings, Settings::default());
    assert_eq!(
        settings.retention_traces,
        OrOff(Some(Period(Duration::from_secs(7 * 86_400))))
    );
    assert!(
        SETTINGS.len() <= 40,
        "{} settings are too many",
        SETTINGS.len()
    );
}

#[test]
fn every_default_parses() {
    let mut settings = Settings::default();
    for setting in SETTINGS {
        (setting.apply)(&mut settings, setting.default).expect(setting.name);
    }
    assert_eq!(settings, Settings::default());
}

#[test]
fn later_layers_win() {
    let file = "listen = \"127.0.0.1:1\"\notlp_http_listen = \"off\"\n[retention]\nlogs = \"1d\"\ntraces = \"1d\"\n";
    let environment = [
        ("WATCHPOST_RETENTION__LOGS", "2d"),
        ("WATCHPOST_LISTEN", "127.0.0.1:2"),
    ];
    let settings = read(file, &environment, &[("listen", "127.0.0.1:3")]).expect("valid");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:3");
    assert_eq!(settings.retention_logs.to_string(), "2d");
    assert_eq!(settings.retention_traces.to_string(), "1d");
    assert_eq!(settings.otlp_http_listen, OrOff(None));
}

#[test]
fn all_problems_are_reported_at_once() {
    check_problems(
        "listen = \"nowhere\"\n\n[retention]\ntraces = \"7x\"\ntrace = \"7d\"\nissues = \"90d\"\n[alert]\nrule_files = [\"a\", \"b\"]\n",
        &[
            ("WATCHPOST_LIMITS__MEMORY", "much"),
            ("WATCHPOST_SERVICE_HOST", "10.0.0.1"),
        ],
        &[
            "watchpost.toml:8: alert.rule_files: takes effect with alerts, which this version does not have; remove it",
            "watchpost.toml:1: listen: \"nowhere\" is not an address; write IP:PORT, such as \"127.0.0.1:4300\" or \"0.0.0.0:4300\"",
            "watchpost.toml:6: retention.issues: takes effect with issues, which this version does not have; remove it",
            "watchpost.toml:5: retention.trace: unknown setting; did you mean retention.traces?",
            "watchpost.toml:4: retention.traces: \"7x\" is not a duration; write a number and a unit, such as \"7d\", \"5m\" or \"250ms\", or \"off\"",
            "WATCHPOST_LIMITS__MEMORY: limits.memory: \"much\" is not a size; write bytes or a unit, such as \"256MB\" or \"1GiB\", or \"auto\"",
        ],
    );
}

#[test]
fn services_with_a_retention_of_their_own_are_a_text_or_a_table() {
    let services = |file: &str| {
        let settings = read(file, &[], &[]).expect("settings");
        settings.retention_services.to_string()
    };
    let text = "[retention]\nservices = \"checkout=30d,batch=off\"\n";
    assert_eq!(services(text), "checkout=30d,batch=off");
    let table =
        "[retention]\nlogs = \"2d\"\n[retention.services]\nshop.eu = \"1d\"\n\"a b\" = \"off\"\n";
    assert_eq!(services(table), "a b=off,shop.eu=1d");
    check_problems(
        "[retention.services]\ncheckout = \"7x\"\n",
        &[],
        &[
            "watchpost.toml:1: retention.services: \"7x\" is not a duration; write a number and a unit, such as \"7d\", \"5m\" or \"250ms\", or \"off\"",
        ],
    );
}

#[test]
fn a_broken_file_says_where() {
    let problems = read("listen = \n[retention\nlogs = \"x\"\n", &[], &[]).expect_err("broken");
    assert!(
        problems.iter().any(|p| p.starts_with("watchpost.toml:1: ")),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|p| p.starts_with("watchpost.toml:2: ")),
        "{problems:?}"
    );
}

#[test]
fn settings_that_disagree() {
    check_problems(
        "otlp_grpc_listen = \"127.0.0.1:4300\"\n[auth]\nmode = \"none\"\ningest = \"token\"\n",
        &[],
        &[
            "otlp_grpc_listen: is the same address as listen; give each its own port, or \"off\"",
            "auth.ingest: \"token\" means nothing while auth.mode is \"none\"; remove one of them",
        ],
    );
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("password");
    fs::write(&path, "hunter2 and more\n").expect("write");
    let path = path.to_str().expect("temporary paths are text");
    let settings = read("", &[("WATCHPOST_AUTH__ADMIN_PASSWORD_FILE", path)], &[]).expect("valid");
    assert_eq!(
        settings.auth_admin_password.0.as_deref(),
        Some("hunter2 and more")
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
    check_problems(
        "",
        &[
            ("WATCHPOST_AUTH__ADMIN_PASSWORD_FILE", path),
            ("WATCHPOST_AUTH__ADMIN_PASSWORD", "x"),
        ],
        &[
            "WATCHPOST_AUTH__ADMIN_PASSWORD_FILE: auth.admin_password_file: auth.admin_password is set too; give one of them",
        ],
    );
    check_problems(
        "",
        &[("WATCHPOST_DATA_DIR_FILE", "x")],
        &[
            "WATCHPOST_DATA_DIR_FILE: data_dir_file: unknown setting; docs/configuration.md has the list",
        ],
    );
}

/// `docs/configuration.md` as the table makes it.
fn documentation() -> String {
    let mut text = String::from(include_str!("head.md"));
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "not set".to_owned(),
            default => format!("`\"{default}\"`"),
        };
        let variable = setting.name.to_ascii_uppercase().replace('.', "__");
        let what: Vec<&str> = setting.what.iter().map(|line| line.trim()).collect();
        let file = if setting.secret {
            format!(" Also `{}_file`.", setting.name)
        } else {
            String::new()
        };
        text.push_str(&format!(
            "| `{}` | {default} | `WATCHPOST_{variable}` | {}{file} |\n",
            setting.name,
            what.join(" "),
        ));
    }
    text
}

/// Run with `UPDATE=1` to write the file.
#[test]
fn documentation_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let made = documentation();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, &made).expect("write");
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/configuration.md is not what the settings say: UPDATE=1 cargo test documentation"
    );
}
