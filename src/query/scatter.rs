//! Duration over time for all matching traces, as a grid of counts: its size does not depend on
//! how many match.

use super::answer::{Scatter, ScatterCell};
use super::sums::{Sum, Sums};
use crate::model::TimeRange;

/// Cells of 10 px on a wide screen, of 5 px in height.
const COLUMNS: u32 = 120;
const ROWS: u32 = 24;

/// Lays all traces out over `range` and their own durations.
pub(super) fn scatter(range: TimeRange, sums: &Sums) -> Scatter {
    let durations = || sums.known().map(|sum| sum.duration_ns().max(1));
    let (Some(fastest), Some(slowest)) = (durations().min(), durations().max()) else {
        return Scatter {
            columns: COLUMNS,
            rows: ROWS,
            ..Scatter::default()
        };
    };
    let grid = Grid::new(range, fastest, slowest, sums.known());
    let mut cells: Vec<Option<(ScatterCell, u64)>> = vec![None; (COLUMNS * ROWS) as usize];
    for sum in sums.known() {
        let (column, row) = grid.cell(sum);
        let empty = ScatterCell {
            column,
            row,
            count: 0,
            errors: 0,
            trace_id: sum.trace_id,
        };
        let place = &mut cells[(column * ROWS + row) as usize];
        let (cell, slowest_ns) = place.get_or_insert((empty, 0));
        cell.count += 1;
        cell.errors += u64::from(sum.errors > 0);
        // Ties go to the larger id, so that the same data gives the same picture.
        if (sum.duration_ns(), sum.trace_id) >= (*slowest_ns, cell.trace_id) {
            (*slowest_ns, cell.trace_id) = (sum.duration_ns(), sum.trace_id);
        }
    }
    Scatter {
        columns: COLUMNS,
        rows: ROWS,
        duration_min_ns: fastest,
        duration_max_ns: grid.slowest,
        cells: cells.into_iter().flatten().map(|(cell, _)| cell).collect(),
    }
}

struct Grid {
    start: u64,
    length: u64,
    fastest: u64,
    slowest: u64,
}

impl Grid {
    fn new<'s>(
        range: TimeRange,
        fastest: u64,
        slowest: u64,
        sums: impl Iterator<Item = &'s Sum>,
    ) -> Grid {
        // An open range would put all of them into one column.
        let (mut first, mut last) = (u64::MAX, 0);
        for sum in sums {
            (first, last) = (first.min(sum.start.0), last.max(sum.start.0));
        }
        let open_start = range.start().0 == 0;
        let open_end = range.end().0 == u64::MAX;
        let start = if open_start { first } else { range.start().0 };
        let end = if open_end {
            last.saturating_add(1)
        } else {
            range.end().0
        };
        Grid {
            start,
            length: end.saturating_sub(start).max(1),
            fastest,
            slowest: slowest.max(fastest + 1),
        }
    }

    fn cell(&self, sum: &Sum) -> (u32, u32) {
        let offset = u128::from(sum.start.0.saturating_sub(self.start));
        let column = offset * u128::from(COLUMNS) / u128::from(self.length);
        let ratio = |ns: u64| (ns as f64 / self.fastest as f64).ln();
        let height = ratio(sum.duration_ns().max(1)) / ratio(self.slowest);
        let row = (height * f64::from(ROWS)) as u32;
        (
            column.min(u128::from(COLUMNS - 1)) as u32,
            row.min(ROWS - 1),
        )
    }
}
