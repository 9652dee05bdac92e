//! Requests seen lately, so that a retry is acknowledged again and not stored twice.

use std::collections::{HashSet, VecDeque};

use crate::model::{ProjectId, Signal, Timestamp};

/// Requests remembered. 65,536 in 5 minutes are 218 requests a second; at 56 B each the window costs
/// 3.7 MB at most. Older ones are forgotten first.
const KEYS_MAX: usize = 65_536;

/// What makes two requests the same: their decompressed bytes, signal and project.
pub(crate) fn key(bytes: &[u8], signal: Signal, project: ProjectId) -> u128 {
    let seed = u64::from(project.0) << 8 | signal as u64;
    xxhash_rust::xxh3::xxh3_128_with_seed(bytes, seed)
}

/// The window; owned by the writer, so that two copies in flight at once meet it in order.
#[derive(Debug)]
pub(super) struct Window {
    /// 0 turns it off.
    window_ns: u64,
    keys: HashSet<u128>,
    /// Oldest first.
    order: VecDeque<(Timestamp, u128)>,
}

impl Window {
    /// `recovered` are the keys of the WAL at start, in any order.
    pub(super) fn new(window_ns: u64, recovered: Vec<(u128, Timestamp)>) -> Window {
        let mut window = Window {
            window_ns,
            keys: HashSet::new(),
            order: VecDeque::new(),
        };
        let mut recovered = recovered;
        recovered.sort_by_key(|(_, at)| *at);
        for (key, at) in recovered {
            window.remember(key, at);
        }
        window
    }

    /// Whether a request came before within the window.
    pub(super) fn contains(&mut self, key: u128, now: Timestamp) -> bool {
        let oldest = now.saturating_sub(self.window_ns);
        while let Some((at, key)) = self.order.front()
            && *at < oldest
        {
            self.keys.remove(key);
            self.order.pop_front();
        }
        self.keys.contains(&key)
    }

    pub(super) fn remember(&mut self, key: u128, now: Timestamp) {
        if self.window_ns == 0 || !self.keys.insert(key) {
            return;
        }
        self.order.push_back((now, key));
        if self.order.len() > KEYS_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_for_the_window_and_no_longer() {
        let mut window = Window::new(100, vec![(7, Timestamp(1_000)), (6, Timestamp(900))]);
        assert!(window.contains(6, Timestamp(1_000)));
        assert!(!window.contains(6, Timestamp(1_001)));
        assert!(window.contains(7, Timestamp(1_001)));
        window.remember(8, Timestamp(1_050));
        assert!(!window.contains(7, Timestamp(1_101)) && window.contains(8, Timestamp(1_150)));
        let mut off = Window::new(0, Vec::new());
        off.remember(1, Timestamp(5));
        assert!(!off.contains(1, Timestamp(5)));
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = Window::new(u64::MAX, Vec::new());
        for i in 0..KEYS_MAX as u128 + 10 {
            window.remember(i, Timestamp(1));
        }
        assert_eq!(
            (window.keys.len(), window.order.len()),
            (KEYS_MAX, KEYS_MAX)
        );
        assert!(!window.contains(9, Timestamp(1)) && window.contains(10, Timestamp(1)));
    }

    #[test]
    fn signal_and_project_are_part_of_the_key() {
        let logs = key(b"x", Signal::Logs, ProjectId(1));
        assert_ne!(logs, key(b"x", Signal::Traces, ProjectId(1)));
        assert_ne!(logs, key(b"x", Signal::Logs, ProjectId(2)));
    }
}
