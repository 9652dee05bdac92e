//! Reads Prometheus' configuration file, unchanged: which jobs there are, and everything that is
//! wrong with it, each with file, line and column. Sections without a meaning here are named in a
//! warning; nothing is ignored silently. Must never change a value that Prometheus would keep.

mod discovery;
mod http;
mod job;
mod section;
mod values;
mod yaml;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use discovery::{Discovery, Docker, Group, RecordType};
pub(crate) use http::{Auth, HttpConfig, Pem, Secret, Tls, TlsMin};
#[cfg(test)]
pub(crate) use http::{Hidden, Proxy};
pub(crate) use job::{Escaping, Global, Job, Limits, Protocol};
pub(crate) use section::Finding;
pub(crate) use values::{duration, show_duration};

use section::{Notes, Section};
use yaml::{At, Node};

/// The largest file that is read: 20,000 targets with labels fit.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files that `scrape_config_files` may bring in, and jobs of all of them.
const FILES_MAX: usize = 100;
const JOBS_MAX: usize = 1_000;

/// What a configuration file asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScrapeFile {
    pub(crate) global: Global,
    pub(crate) jobs: Vec<Job>,
    /// Patterns of `rule_files`, seen from where the program runs, for the alerts. The file itself is
    /// among them when `groups` stand in it.
    pub(crate) rule_files: Vec<PathBuf>,
    /// What was read but has no effect here.
    pub(crate) warnings: Vec<Finding>,
}

/// Sections of Prometheus' file that mean nothing here, and what does their work.
const NOT_HERE: [(&str, &str); 6] = [
    ("alerting", "alerts are sent by watchpost itself"),
    ("remote_read", "nothing is read from other stores"),
    ("remote_write", "nothing is forwarded from here yet"),
    ("storage", "retention.metrics and limits.* say what is kept"),
    ("tracing", "watchpost does not send its own traces"),
    ("runtime", "there is no garbage collector to tune"),
];

/// Reads a file with everything it brings in.
///
/// # Errors
/// Every problem found, by file and place.
pub(crate) fn load(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<ScrapeFile, Vec<Finding>> {
    let text = read_bounded(path).map_err(|message| vec![whole(path, message)])?;
    parse(path, &text, environment)
}

/// As [`load`], of a text.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<ScrapeFile, Vec<Finding>> {
    let notes = Notes::new(path);
    let mut file = ScrapeFile::default();
    let mut patterns = Vec::new();
    let root = root(text, &notes);
    if let Some(section) = root
        .as_ref()
        .and_then(|root| Section::open(root, "config.plain", &notes))
    {
        patterns = main_file(&section, path, environment, &mut file);
    }
    let (mut problems, warnings) = notes.into_parts();
    file.warnings = warnings;
    let main_jobs = file.jobs.len();
    for (at, pattern) in patterns {
        more_jobs(path, at, &pattern, &mut file, &mut problems, main_jobs);
    }
    if file.jobs.len() > JOBS_MAX {
        let message = format!(
            "{} scrape configs, at most {JOBS_MAX} may be",
            file.jobs.len()
        );
        problems.push(whole(path, message));
    }
    if problems.is_empty() {
        Ok(file)
    } else {
        Err(problems)
    }
}

fn main_file(
    section: &Section<'_>,
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    file: &mut ScrapeFile,
) -> Vec<(At, PathBuf)> {
    let dir = path.parent().unwrap_or(Path::new(""));
    if let Some(global) = section.section("global", "config.plain") {
        file.global = job::global(&global, environment);
    }
    for name in section.texts("rule_files") {
        check_pattern(section, "rule_files", "rule", &name);
        file.rule_files.push(http::beside(dir, &name));
    }
    let mut patterns = Vec::new();
    for name in section.texts("scrape_config_files") {
        check_pattern(section, "scrape_config_files", "scrape config", &name);
        patterns.push((
            section.at_of("scrape_config_files"),
            http::beside(dir, &name),
        ));
    }
    file.jobs = jobs(section, &file.global, dir, &[]);
    for (key, instead) in NOT_HERE {
        if section.has(key) {
            section.take(key);
            let what = format!("{key} has no effect here: {instead}");
            section.notes.warning(section.at_of(key), what);
        }
    }
    if section.take("otlp").is_some() {
        let what = "otlp has no effect here: names of OTLP metrics follow the default strategy";
        section.notes.warning(section.at_of("otlp"), what);
    }
    if section.take("groups").is_some() {
        let what = "groups belong into a file of their own, named under rule_files; they are taken as rules from here";
        section.notes.warning(section.at_of("groups"), what);
        file.rule_files.push(path.to_owned());
    }
    section.close();
    patterns
}

/// `^[^*]*(\*[^/]*)?$`: a star only in the last part of a path.
fn check_pattern(section: &Section<'_>, key: &str, what: &str, pattern: &str) {
    let fits = pattern
        .split_once('*')
        .is_none_or(|(_, tail)| !tail.contains('/'));
    if !fits {
        section.problem(key, format!("invalid {what} file path {pattern:?}"));
    }
}

fn jobs(section: &Section<'_>, global: &Global, dir: &Path, known: &[Job]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for item in section.list("scrape_configs", "[]*config.ScrapeConfig") {
        if item.is_null() {
            section
                .notes
                .problem(item.at, "empty or null scrape config section");
            continue;
        }
        let Some(one) = Section::open(item, "config.ScrapeConfig", section.notes) else {
            continue;
        };
        let job = job::job(&one, global, dir);
        if known
            .iter()
            .chain(&jobs)
            .any(|other| other.name == job.name)
            && !job.name.is_empty()
        {
            let message = format!("found multiple scrape configs with job name {:?}", job.name);
            one.problem("job_name", message);
        }
        jobs.push(job);
    }
    jobs
}

/// Jobs of the files that a pattern of `scrape_config_files` names.
fn more_jobs(
    main: &Path,
    at: At,
    pattern: &Path,
    file: &mut ScrapeFile,
    problems: &mut Vec<Finding>,
    main_jobs: usize,
) {
    let mut complain = |message| {
        let path = main.to_owned();
        problems.push(Finding { path, at, message });
    };
    let paths = match matching(pattern) {
        Ok(paths) => paths,
        Err(error) => {
            return complain(format!("cannot list {}: {error}", pattern.display()));
        }
    };
    if paths.len() > FILES_MAX {
        let message = format!(
            "{} names {} files, at most {FILES_MAX} are read",
            pattern.display(),
            paths.len()
        );
        return complain(message);
    }
    debug_assert!(main_jobs <= file.jobs.len());
    for path in paths {
        let notes = Notes::new(&path);
        match read_bounded(&path) {
            Ok(text) => {
                let root = root(&text, &notes);
                let section = root
                    .as_ref()
                    .and_then(|root| Section::open(root, "config.plain", &notes));
                if let Some(section) = section {
                    let dir = path.parent().unwrap_or(Path::new(""));
                    let more = jobs(&section, &file.global, dir, &file.jobs);
                    file.jobs.extend(more);
                    section.close();
                }
            }
            Err(message) => notes.problem(At::default(), message),
        }
        let (more_problems, warnings) = notes.into_parts();
        problems.extend(more_problems);
        file.warnings.extend(warnings);
    }
}

/// Groups of targets from a file or an answer, YAML or JSON, which is YAML too.
///
/// # Errors
/// What is wrong, all of it.
pub(crate) fn target_groups(path: &Path, text: &str) -> Result<Vec<Group>, Vec<Finding>> {
    let notes = Notes::new(path);
    let root = root(text, &notes);
    let groups = root.as_ref().map(|root| discovery::groups(root, &notes));
    let (problems, _) = notes.into_parts();
    if problems.is_empty() {
        Ok(groups.unwrap_or_default())
    } else {
        Err(problems)
    }
}

/// Files whose path fits a pattern with `*`, `?` and `[...]` in its last part, by name.
///
/// # Errors
/// The directory cannot be listed; that it does not exist is no error.
pub(crate) fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let name = pattern
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if !name.contains(['*', '?', '[']) {
        return Ok(if pattern.exists() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        });
    }
    let dir = match pattern.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let file_name = file_name.to_string_lossy();
        // As Go's `filepath.Glob`, a star also takes names that begin with a point.
        if fits(name.as_bytes(), file_name.as_bytes()) {
            paths.push(dir.join(file_name.as_ref()));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a name fits a pattern (Go's `filepath.Match`). Each star is tried at each place at most
/// once, because only the last one is ever gone back to.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], name[n]),
            Some(b'\\') => (pattern.get(p + 1) == Some(&name[n])).then_some(2),
            Some(byte) => (*byte == name[n]).then_some(1),
            None => None,
        };
        match (step, back) {
            (Some(step), _) => {
                p += step;
                n += 1;
            }
            (None, Some((star, from))) => {
                back = Some((star, from + 1));
                p = star + 1;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The length of the bracket at the start of `pattern` when it takes the byte.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
    let (negated, mut inner) = match &pattern[1..end] {
        [b'^', inner @ ..] => (true, inner),
        inner => (false, inner),
    };
    let mut found = false;
    while let Some((&first, rest)) = inner.split_first() {
        inner = rest;
        if let [b'-', last, rest @ ..] = rest {
            found |= (first..=*last).contains(&byte);
            inner = rest;
        } else {
            found |= first == byte;
        }
    }
    (found != negated).then_some(end + 1)
}

fn root(text: &str, notes: &Notes) -> Option<Node> {
    yaml::parse(text).unwrap_or_else(|error| {
        notes.problem(error.at, error.message);
        None
    })
}

fn whole(path: &Path, message: String) -> Finding {
    Finding {
        path: path.to_owned(),
        at: At::default(),
        message,
    }
}

/// A file of text, unless it is too large to be what it should be.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read_bounded(path: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| format!("cannot read it: {error}");
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "has {bytes} bytes, at most {FILE_BYTES_MAX} are read"
        ));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

#[cfg(test)]
mod tests;
