//! How much memory the process may use: the tightest of the cgroup's limit and the machine's RAM.

use std::fs;
use std::path::Path;

use super::budget::MEMORY_MIN;

/// The default of `limits.memory` on a large machine: a log store for a small team needs no more.
const MEMORY_DEFAULT_MAX: u64 = 1 << 30;
/// The rest is left to the page cache, the allocator's slack and the container's other processes.
const MEMORY_SHARE_PERCENT: u64 = 60;
/// Taken when neither the cgroup nor /proc tells anything.
const MEMORY_UNKNOWN: u64 = 512 << 20;

/// The most that is taken where the usual share would be less than the minimum.
const MEMORY_SHARE_PERCENT_MAX: u64 = 80;

/// 60 % of the cgroup's or the machine's memory in bytes, at most 1 GiB. A small container gives up
/// to 80 % for the minimum; below that, starting fails with the setting's name.
pub(crate) fn memory_limit_default() -> u64 {
    default_of(available(Path::new("/")).unwrap_or(MEMORY_UNKNOWN))
}

fn default_of(available: u64) -> u64 {
    let usual = available / 100 * MEMORY_SHARE_PERCENT;
    let least = MEMORY_MIN.min(available / 100 * MEMORY_SHARE_PERCENT_MAX);
    usual.max(least).min(MEMORY_DEFAULT_MAX)
}

/// Bytes this process may use, reading the files below `root` ("/" outside tests).
fn available(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| group_limits(root, line));
    limits.chain(ram(root)).min()
}

/// The limits along one line of /proc/self/cgroup: the group's own and those of all its parents,
/// because a parent's limit holds too. In a container's own namespace the path is just `/`.
fn group_limits(root: &Path, line: &str) -> Vec<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (mount, file) = match controllers {
        "" => (root.join("sys/fs/cgroup"), "memory.max"),
        _ if controllers.split(',').any(|c| c == "memory") => {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = mount.join(path.trim_start_matches('/'));
    let chain = group.ancestors().take_while(|dir| dir.starts_with(&mount));
    // "max" does not parse: no limit there. Version 1 writes a huge number, which RAM undercuts.
    chain
        .filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok())
        .collect()
}

fn ram(root: &Path) -> Option<u64> {
    let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `files` into an empty root and compares what is found to be available.
    #[track_caller]
    fn check(files: &[(&str, &str)], expect: Option<u64>) {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("files lie in directories")).expect("mkdir");
            fs::write(path, text).expect("write");
        }
        assert_eq!(available(root.path()), expect);
    }

    const RAM_8G: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
    );

    #[test]
    fn version_2_takes_the_tightest_of_the_chain() {
        check(
            &[
                RAM_8G,
                ("proc/self/cgroup", "0::/system.slice/watchpost.service\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "268435456\n"),
                (
                    "sys/fs/cgroup/system.slice/watchpost.service/memory.max",
                    "max\n",
                ),
            ],
            Some(256 << 20),
        );
    }

    #[test]
    fn version_1_has_its_own_mount() {
        check(
            &[
                RAM_8G,
                ("proc/self/cgroup", "4:cpu:/x\n9:memory:/docker/abc\n"),
                (
                    "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
                    "134217728\n",
                ),
                (
                    "sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
            Some(128 << 20),
        );
    }

    #[test]
    fn without_a_limit_it_is_the_ram() {
        check(&[RAM_8G, ("proc/self/cgroup", "0::/\n")], Some(8 << 30));
        check(&[], None);
    }

    #[test]
    fn a_small_container_gives_more_of_itself_up_to_a_point() {
        assert_eq!(default_of(256 << 20), (256 << 20) / 100 * 60);
        assert_eq!(default_of(100_000_000), MEMORY_MIN);
        assert_eq!(default_of(50_000_000), 40_000_000, "which is refused");
        assert_eq!(default_of(64 << 30), MEMORY_DEFAULT_MAX);
    }

    #[test]
    fn the_default_is_bounded() {
        assert!(memory_limit_default() <= MEMORY_DEFAULT_MAX);
    }
}
