//! The minimap: the whole trace aggregated per pixel, so that its size depends on the screen and
//! not on the trace.

use super::{Layout, Minimap, MinimapRun, Row};

/// Widest and highest strip anybody has a screen for.
pub(crate) const COLUMNS_MAX: u32 = 4096;
const LANES_MAX: u32 = 64;

impl Layout {
    /// Aggregates the trace per pixel: at most `columns * lanes` runs whatever its size. Rows are
    /// spread evenly over the lanes.
    pub(crate) fn minimap(&self, columns: u32, lanes: u32) -> Minimap {
        let columns = columns.clamp(1, COLUMNS_MAX);
        let lanes = lanes.clamp(1, LANES_MAX).min(self.rows.len().max(1) as u32);
        let mut map = Minimap {
            columns,
            lanes,
            ..Minimap::default()
        };
        for lane in 0..lanes {
            let edge =
                |lane: u32| (u64::from(lane) * self.rows.len() as u64 / u64::from(lanes)) as usize;
            let rows = &self.rows[edge(lane)..edge(lane + 1)];
            self.lane(lane, rows, &mut map);
        }
        map
    }

    /// The columns that a row covers, at least one.
    fn columns(&self, row: &Row, columns: u32) -> (u32, u32) {
        let scale = |ns: u64| u128::from(ns) * u128::from(columns);
        let whole = u128::from(self.duration_ns.max(1));
        let from = (scale(row.start_ns) / whole).min(u128::from(columns - 1)) as u32;
        let to = scale(row.start_ns + row.duration_ns).div_ceil(whole) as u32;
        (from, to.clamp(from + 1, columns))
    }

    fn lane(&self, lane: u32, rows: &[Row], map: &mut Minimap) {
        let mut errors: Vec<(u32, u32)> = rows
            .iter()
            .filter(|row| row.error)
            .map(|row| (self.columns(row, map.columns).0, lane))
            .collect();
        errors.sort_unstable();
        errors.dedup();
        map.errors.append(&mut errors);
        // Where spans begin and end, by service; the running counts then tell who fills a column.
        let mut edges: Vec<(u32, u32, i32)> = Vec::with_capacity(rows.len() * 2);
        for row in rows {
            let (from, to) = self.columns(row, map.columns);
            edges.extend([(from, row.service, 1), (to, row.service, -1)]);
        }
        edges.sort_unstable();
        let mut active: Vec<(u32, i32)> = Vec::new();
        let mut at = 0;
        for same_column in edges.chunk_by(|a, b| a.0 == b.0) {
            let column = same_column[0].0;
            let most = active
                .iter()
                .max_by_key(|(service, n)| (*n, std::cmp::Reverse(*service)));
            if let Some(&(service, n)) = most
                && n > 0
                && at < column
            {
                extend_run(&mut map.runs, lane, at..column, service);
            }
            for &(_, service, step) in same_column {
                match active.iter_mut().find(|(known, _)| *known == service) {
                    Some((_, n)) => *n += step,
                    None => active.push((service, step)),
                }
            }
            at = column;
        }
    }
}

/// Appends to the run before when it goes on.
fn extend_run(runs: &mut Vec<MinimapRun>, lane: u32, columns: std::ops::Range<u32>, service: u32) {
    if let Some(last) = runs.last_mut()
        && (last.lane, last.service, last.to) == (lane, service, columns.start)
    {
        last.to = columns.end;
        return;
    }
    runs.push(MinimapRun {
        lane,
        from: columns.start,
        to: columns.end,
        service,
    });
}
