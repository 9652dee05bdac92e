//! Targets from files that others write. A file that cannot be read keeps the targets it had.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{flat, json_groups};
use crate::model::metric::Labels;
use crate::scrape::config;

/// Files of one discovery.
const FILES_MAX: usize = 1_000;

/// How often files are looked at: their dates, and their text when those have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What each file held.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    files: BTreeMap<PathBuf, One>,
}

#[derive(Clone, Debug)]
struct One {
    stamp: Option<(SystemTime, u64)>,
    targets: Vec<Labels>,
    problem: Option<String>,
}

/// Until the next look: a change is picked up soon, whatever `refresh_interval` says.
pub(super) fn pause(refresh: Duration) -> Duration {
    refresh.min(LOOK_EVERY)
}

/// Reads what has changed; the targets of all files.
///
/// # Errors
/// A file is wrong and there never was a good one.
pub(super) async fn look(patterns: &[PathBuf], seen: &mut Seen) -> Result<Vec<Labels>, String> {
    let (patterns, known) = (patterns.to_vec(), std::mem::take(seen));
    let read = tokio::task::spawn_blocking(move || refreshed(&patterns, known)).await;
    *seen = read.map_err(|error| error.to_string())?;
    let problem = seen.files.values().find_map(|one| one.problem.clone());
    let targets: Vec<Labels> = seen
        .files
        .values()
        .flat_map(|one| one.targets.clone())
        .collect();
    match problem {
        Some(problem) if targets.is_empty() => Err(problem),
        Some(problem) => {
            tracing::warn!(%problem, "a file of targets is wrong; what it held before stays");
            Ok(targets)
        }
        None => Ok(targets),
    }
}

fn refreshed(patterns: &[PathBuf], known: Seen) -> Seen {
    let mut known = known.files;
    let mut files = BTreeMap::new();
    for pattern in patterns {
        let paths = config::matching(pattern).unwrap_or_default();
        for path in paths.into_iter().take(FILES_MAX) {
            let stamp = std::fs::metadata(&path)
                .and_then(|about| Ok((about.modified()?, about.len())))
                .ok();
            let one = match known.remove(&path) {
                Some(one) if one.stamp == stamp && stamp.is_some() => one,
                before => {
                    let before = before.map(|one| one.targets).unwrap_or_default();
                    let (targets, problem) = match read(&path) {
                        Ok(targets) => (targets, None),
                        Err(problem) => (before, Some(problem)),
                    };
                    One {
                        stamp,
                        targets,
                        problem,
                    }
                }
            };
            files.insert(path, one);
        }
    }
    Seen { files }
}

fn read(path: &Path) -> Result<Vec<Labels>, String> {
    let place = path.to_string_lossy();
    let text = config::read_bounded(path).map_err(|error| format!("{place}: {error}"))?;
    let is_json = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let groups = if is_json {
        json_groups(text.as_bytes()).map_err(|error| format!("{place}: {error}"))?
    } else {
        config::target_groups(path, &text).map_err(|problems| problems[0].to_string())?
    };
    Ok(flat(&groups, &[("__meta_filepath", &place)]))
}
