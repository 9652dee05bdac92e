//! Tidy as a test: holds the module imports, sizes and banned words of ARCHITECTURE.md.
//! Reads the sources as text; a rule that needs a compiler belongs to clippy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its `#[cfg(test)]` tail.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, signature and braces included.
const FUNCTION_LINES_MAX: usize = 70;

/// Which top modules a top module may import (design: imports go one way). `app` and `internals`
/// may import everything and are not listed.
const IMPORTS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("units", &[]),
    ("observe", &["model"]),
    ("store", &["model", "units", "observe"]),
    ("ingest", &["model", "units", "observe", "store"]),
    ("receive", &["model", "units", "observe", "ingest"]),
    (
        "scrape",
        &["model", "units", "observe", "ingest", "receive"],
    ),
    ("query", &["model", "units", "observe", "store"]),
    ("red", &["model", "observe", "store"]),
    (
        "serve",
        &[
            "model", "units", "observe", "store", "ingest", "receive", "scrape", "query", "red",
            "config",
        ],
    ),
    (
        "config",
        &[
            "units", "observe", "store", "ingest", "receive", "scrape", "query", "red", "serve",
        ],
    ),
];

/// Crates that a synchronous module must never name: async, HTTP and JSON belong above it.
const SYNCHRONOUS: &[&str] = &["model", "units", "store", "query", "red"];
const ASYNC_OR_HTTP: &[&str] = &[
    "tokio::",
    "axum::",
    "hyper::",
    "tonic::",
    "http::",
    "serde_json::",
];

/// Words that mean unfinished work, debugging left behind, or a rule broken.
const BANNED: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("#[ign", "ore"),
    concat!("unsafe", " {"),
    concat!("allow(dead", "_code)"),
];

const VAGUE_NAMES: &[&str] = &["util", "utils", "common", "helpers", "manager", "misc"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `dir` whose name ends in one of `endings`, with its text.
fn files(dir: &str, endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(dir)];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable directory entry").path();
            if path
                .file_name()
                .is_some_and(|name| name == "node_modules" || name == "target")
            {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                found.push((
                    path.strip_prefix(root())
                        .expect("under the root")
                        .to_owned(),
                    text,
                ));
            }
        }
    }
    found.sort();
    found
}

/// A file's text before its test module.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// Tests, and what only tests use: generators of random data and fixtures.
fn is_test_file(path: &Path) -> bool {
    const NAMES: &[&str] = &["tests.rs", "random.rs", "fixture.rs"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    NAMES.iter().any(|end| name.ends_with(end))
        || path.components().any(|part| part.as_os_str() == "tests")
}

#[track_caller]
fn check(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// The top module a source file belongs to: `src/store/wal.rs` -> `store`.
fn top_module(path: &Path) -> Option<String> {
    let part = path
        .components()
        .nth(1)?
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    Some(part.trim_end_matches(".rs").to_owned())
}

/// The names after `crate::` in a line, `crate::{a, b::c}` included.
fn crate_paths(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let group = rest
            .strip_prefix('{')
            .map(|inner| inner.split('}').next().unwrap_or(inner));
        for part in
            group
                .unwrap_or(rest)
                .split(',')
                .take(if group.is_some() { usize::MAX } else { 1 })
        {
            let name: String = part
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

#[test]
fn imports_go_one_way() {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut broken = Vec::new();
    for (path, text) in files("src", &[".rs"]) {
        let Some(module) = top_module(&path) else {
            continue;
        };
        let Some(allowed) = table.get(module.as_str()) else {
            continue;
        };
        if is_test_file(&path) {
            continue;
        }
        for (n, line) in without_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for name in crate_paths(line) {
                if table.contains_key(name.as_str())
                    && name != module
                    && !allowed.contains(&name.as_str())
                {
                    broken.push(format!(
                        "{}:{}: {module} imports {name}",
                        path.display(),
                        n + 1
                    ));
                }
            }
        }
    }
    check("a module imports against the table", broken);
}

#[test]
fn synchronous_modules_stay_synchronous() {
    let mut broken = Vec::new();
    for (path, text) in files("src", &[".rs"]) {
        if is_test_file(&path)
            || !top_module(&path).is_some_and(|m| SYNCHRONOUS.contains(&m.as_str()))
        {
            continue;
        }
        for (n, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            if ASYNC_OR_HTTP
                .iter()
                .any(|name| code.contains(name) && !code.contains(&format!("_{name}")))
            {
                broken.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    check("async, HTTP or JSON below its layer", broken);
}

#[test]
fn files_are_short_and_named_and_say_what_they_are_for() {
    let mut broken = Vec::new();
    for (path, text) in files("src", &[".rs"]) {
        let lines = without_tests(&text).lines().count();
        if lines > FILE_LINES_MAX && !is_test_file(&path) {
            broken.push(format!(
                "{}: {lines} lines, at most {FILE_LINES_MAX}",
                path.display()
            ));
        }
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if VAGUE_NAMES.contains(&stem.as_str()) {
            broken.push(format!("{}: the name says nothing", path.display()));
        }
        if !is_test_file(&path) && !text.starts_with("//!") && !text.starts_with("#!") {
            broken.push(format!("{}: does not open with //!", path.display()));
        }
    }
    check(
        "a file is too long, vaguely named or without a header",
        broken,
    );
}

#[test]
fn functions_are_short() {
    let mut broken = Vec::new();
    let sources = files("src", &[".rs"])
        .into_iter()
        .chain(files("tests", &[".rs"]));
    for (path, text) in sources {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split_whitespace().take(6).collect();
            let Some(at) = words.iter().position(|word| *word == "fn") else {
                continue;
            };
            if line.trim_start().starts_with("//") || line.trim_end().ends_with(';') {
                continue;
            }
            let close = format!("{}}}", " ".repeat(indent));
            let Some(len) = lines[start..]
                .iter()
                .position(|l| *l == close)
                .map(|end| end + 1)
            else {
                continue;
            };
            if len > FUNCTION_LINES_MAX {
                let name = words.get(at + 1).unwrap_or(&"?");
                broken.push(format!(
                    "{}:{}: {name} has {len} lines",
                    path.display(),
                    start + 1
                ));
            }
        }
    }
    check("a function is longer than 70 lines", broken);
}

#[test]
fn nothing_unfinished_is_left() {
    let mut broken = Vec::new();
    for (path, text) in files("src", &[".rs"]) {
        for (n, line) in text.lines().enumerate() {
            let found = BANNED.iter().find(|word| line.contains(**word));
            let glob = line.trim_start().starts_with("use crate::") && line.contains("::*");
            if let Some(word) = found
                .copied()
                .or(glob.then_some("a glob import across modules"))
            {
                broken.push(format!("{}:{}: {word}", path.display(), n + 1));
            }
        }
    }
    check("a banned word", broken);
}

#[test]
fn public_items_are_documented() {
    let kinds = [
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "type ",
        "const fn ",
        "async fn ",
    ];
    let mut broken = Vec::new();
    for (path, text) in files("src", &[".rs"]) {
        let documented = top_module(&path)
            .is_some_and(|m| ["model", "store", "query", "ingest"].contains(&m.as_str()));
        if !documented || is_test_file(&path) {
            continue;
        }
        let lines: Vec<&str> = without_tests(&text).lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let Some(rest) = line.strip_prefix("pub(crate) ") else {
                continue;
            };
            if !kinds.iter().any(|kind| rest.starts_with(kind)) {
                continue;
            }
            let above = lines[..n]
                .iter()
                .rev()
                .find(|l| !l.trim_start().starts_with("#["));
            if !above.is_some_and(|l| {
                l.trim_start().starts_with("///") || l.trim_start().starts_with(")]")
            }) {
                broken.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    n + 1,
                    rest.split('(').next().unwrap_or(rest)
                ));
            }
        }
    }
    check("a public item without a doc comment", broken);
}

#[test]
fn pages_obey_the_content_security_policy() {
    let mut broken = Vec::new();
    for (path, text) in files("web/templates", &[".html", ".svg", ".xml"]) {
        for (n, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let handler = lower.match_indices(" on").any(|(i, _)| {
                let word: String = lower[i + 1..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric())
                    .collect();
                lower[i + 1 + word.len()..].starts_with("=\"")
            });
            if lower.contains(" style=")
                || handler
                || lower.contains("javascript:")
                || lower.contains("<script>")
            {
                broken.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    check("inline style, script or handler in a template", broken);
}

/// What a committed text must never name: the machine it was written on.
#[test]
fn no_text_names_a_machine() {
    let mut broken = Vec::new();
    for dir in [
        "src",
        "docs",
        "scripts",
        "tests",
        "web/templates",
        "examples",
    ] {
        for (path, text) in files(
            dir,
            &[".rs", ".md", ".html", ".sh", ".toml", ".mjs", ".py", ".js"],
        ) {
            if path.ends_with("tidy.rs") {
                continue;
            }
            for (n, line) in text.lines().enumerate() {
                if ["/root/", "/home/"]
                    .iter()
                    .any(|place| line.contains(place))
                {
                    broken.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
                }
            }
        }
    }
    check("a path of a machine in a committed text", broken);
}
