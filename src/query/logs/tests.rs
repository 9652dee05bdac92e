//! What is left of a page whose second pass is cut short.

use std::time::{Duration, Instant};

use super::*;
use crate::query::control::Partial;
use crate::query::lang::Expr;
use crate::store::fixture::{SECOND, START, batch, config, sim};
use crate::store::{disk, open};

/// Requests in as many units.
const UNITS: u64 = 6;

/// A page over several units whose reading is cancelled after `reads` records.
fn cut_after(reads: usize, cursor: Option<LogCursor>) -> (Vec<RecordId>, Option<LogCursor>, Stats) {
    let world = disk::sim::World::new();
    let mut opened = open(config(), sim(&world), START).expect("an empty directory");
    for number in 0..UNITS {
        let at = START.saturating_sub((UNITS - number) * SECOND);
        let batch = batch(crate::model::Signal::Logs, number, 3, at);
        opened.writer.append(batch).expect("accepted");
        let later = START.saturating_add(3600 * SECOND);
        opened.writer.tick(later).expect("sealed");
        while opened.sealer.step().expect("published") {}
    }
    let control = Control::new(1, Instant::now(), Duration::from_secs(60), u64::MAX);
    let request = LogRequest {
        query: Expr::All,
        range: TimeRange::ALL,
        limit: 100,
        direction: Direction::NewestFirst,
        cursor,
    };
    let mut left = reads;
    let mut make = |log: &LogView<'_>| {
        left = left.saturating_sub(1);
        if left == 0 {
            control.cancel();
        }
        RecordId::of(log)
    };
    search(&opened.store.snapshot(), &request, &control, &mut make).expect("a good query")
}

#[test]
fn a_page_that_is_cut_has_no_gap_and_goes_on_behind_its_last_record() {
    let (all, next, stats) = cut_after(usize::MAX, None);
    assert_eq!((all.len(), next, stats.partial), (18, None, None));
    // The unit that is being read when the word comes is read to its end.
    for (reads, kept) in [(1, 3), (4, 6), (9, 9), (18, 18)] {
        let (some, next, stats) = cut_after(reads, None);
        assert_eq!(some, all[..kept], "after {reads}");
        if kept == all.len() {
            assert_eq!((next, stats.partial), (None, None));
            continue;
        }
        assert_eq!(stats.partial, Some(Partial::Cancelled));
        let (rest, _, _) = cut_after(usize::MAX, next);
        assert_eq!(rest, all[kept..], "after {reads}");
    }
}
