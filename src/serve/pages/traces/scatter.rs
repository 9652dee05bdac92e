//! The scatter above the trace list: duration over time of all matching traces, drawn from the
//! engine's grid of counts. Each column is a link into its time; dragging a box is `logs.js`.

use std::fmt::Write as _;

use crate::query;
use crate::serve::format::Zone;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::axis::{self, XTick, YTick};

/// Height of the plot in pixels and in units of its view box.
const HEIGHT: f64 = 112.0;
/// Width of one column in units of the view box; a cell leaves a tenth of it empty.
const PITCH: u32 = 10;

/// View of `traces/scatter.html`.
pub(crate) struct ScatterView {
    pub(crate) width: u32,
    /// Cells by how many traces they hold, and those with errors above them.
    pub(crate) layers: Vec<Layer>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) y_ticks: Vec<YTick>,
    pub(crate) x_ticks: Vec<XTick>,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// Decimal logarithms of the durations at the bottom and the top.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(crate) struct Layer {
    pub(crate) class: &'static str,
    pub(crate) path: String,
}

/// One column that has traces.
pub(crate) struct Slot {
    pub(crate) x: u32,
    pub(crate) href: String,
    pub(crate) label: String,
}

/// Shades by count; most cells hold one trace, a busy one stands out.
const SHADES: [(u64, &str); 4] = [(1, "q1"), (3, "q2"), (10, "q3"), (u64::MAX, "q4")];

impl ScatterView {
    /// `None` where there is nothing to draw.
    pub(crate) fn new(
        scatter: &query::Scatter,
        range: crate::model::TimeRange,
        url: &PageUrl,
        zone: &Zone,
    ) -> Option<ScatterView> {
        if scatter.cells.is_empty() || scatter.columns == 0 || scatter.rows == 0 {
            return None;
        }
        let (start_ns, end_ns) = (range.start().0, range.end().0);
        let log = |ns: u64| (ns.max(1) as f64).log10();
        let low = log(scatter.duration_min_ns);
        let high = log(scatter.duration_max_ns).max(low + 0.01);
        Some(ScatterView {
            width: scatter.columns * PITCH,
            layers: layers(scatter),
            slots: slots(scatter, range, url, zone),
            y_ticks: y_ticks(low, high),
            x_ticks: axis::x_ticks(start_ns, end_ns, zone),
            start_ns,
            end_ns,
            low,
            high,
        })
    }
}

fn layers(scatter: &query::Scatter) -> Vec<Layer> {
    let mut paths = SHADES.map(|(_, class)| (class, String::new()));
    let mut errors = String::new();
    let cell_height = HEIGHT / f64::from(scatter.rows);
    for cell in &scatter.cells {
        let shade = SHADES.iter().position(|(most, _)| cell.count <= *most);
        let path = match cell.errors {
            0 => &mut paths[shade.expect("the last shade has no bound")].1,
            _ => &mut errors,
        };
        let x = cell.column * PITCH;
        let y = HEIGHT - f64::from(cell.row + 1) * cell_height;
        let (w, h) = (PITCH - 1, (cell_height - 1.0).max(1.0));
        write!(path, "M{x} {y:.1}h{w}v{h:.1}h-{w}z").expect("writing to a string");
    }
    let drawn = paths
        .into_iter()
        .chain([("f-err", errors)])
        .filter(|(_, path)| !path.is_empty());
    drawn.map(|(class, path)| Layer { class, path }).collect()
}

fn slots(
    scatter: &query::Scatter,
    range: crate::model::TimeRange,
    url: &PageUrl,
    zone: &Zone,
) -> Vec<Slot> {
    let columns = scatter.columns as usize;
    let mut counts = vec![(0_u64, 0_u64); columns];
    for cell in &scatter.cells {
        let (count, errors) = &mut counts[cell.column as usize % columns];
        *count += cell.count;
        *errors += cell.errors;
    }
    // Columns divide the range evenly, whatever its length.
    let at = |column: usize| {
        let into = u128::from(range.duration_ns()) * column as u128 / columns as u128;
        range.start().0 + into as u64
    };
    let slot = |(column, (count, errors)): (usize, (u64, u64))| Slot {
        x: column as u32 * PITCH,
        href: axis::zoomed(url, at(column), at(column + 1)).to_string(),
        label: format!(
            "{}, {count} traces, {errors} with errors",
            zone.print(at(column), "%-d %b %H:%M:%S")
        ),
    };
    counts
        .into_iter()
        .enumerate()
        .filter(|(_, (count, _))| *count > 0)
        .map(slot)
        .collect()
}

/// Labels of durations that do not touch each other: 16 of the picture's 112 pixels each.
const Y_TICKS_MAX: usize = 7;

/// Whole decades between the ends, not all of them where they are many; the ends themselves where there is none.
fn y_ticks(low: f64, high: f64) -> Vec<YTick> {
    let y = |power: f64| (HEIGHT - (power - low) / (high - low) * HEIGHT).round();
    let decades = low.ceil() as i32..=high.floor() as i32;
    // From one nanosecond to ten seconds are more decades than the height has lines of text.
    let step = decades.clone().count().div_ceil(Y_TICKS_MAX).max(1);
    let ticks: Vec<_> = decades
        .step_by(step)
        .map(|power| YTick {
            y: y(f64::from(power)),
            label: axis::decade(power),
        })
        .collect();
    if !ticks.is_empty() {
        return ticks;
    }
    let end = |power: f64| YTick {
        y: y(power),
        label: crate::serve::format::duration(10_f64.powf(power) as u64),
    };
    vec![end(high), end(low)]
}

#[cfg(test)]
mod tests {
    use super::ScatterView;
    use crate::model::{TimeRange, Timestamp, TraceId};
    use crate::query::{Scatter, ScatterCell};
    use crate::serve::format::Zone;
    use crate::serve::page_url::PageUrl;

    #[test]
    fn every_match_is_in_the_picture() {
        let trace_id = TraceId([1; 16]);
        let cell = |column, row, count, errors| ScatterCell {
            column,
            row,
            count,
            errors,
            trace_id,
        };
        let scatter = Scatter {
            columns: 4,
            rows: 2,
            duration_min_ns: 500_000,
            duration_max_ns: 2_000_000_000,
            cells: vec![cell(0, 0, 1, 0), cell(0, 1, 40, 0), cell(3, 1, 2, 1)],
        };
        let range = TimeRange::new(Timestamp(0), Timestamp(4_000_000_000)).expect("a range");
        let url = PageUrl::new("/traces", "query=x");
        let view = ScatterView::new(&scatter, range, &url, &Zone::utc()).expect("a picture");
        let layers: Vec<_> = view
            .layers
            .iter()
            .map(|layer| (layer.class, layer.path.as_str()))
            .collect();
        let expect = [
            ("q1", "M0 56.0h9v55.0h-9z"),
            ("q4", "M0 0.0h9v55.0h-9z"),
            ("f-err", "M30 0.0h9v55.0h-9z"),
        ];
        assert_eq!(layers, expect);
        assert_eq!(
            view.slots[0].label,
            "1 Jan 00:00:00, 41 traces, 0 with errors"
        );
        assert!(
            view.slots[1]
                .href
                .contains("start=1970-01-01T00%3A00%3A03Z"),
            "{}",
            view.slots[1].href
        );
        let labels: Vec<_> = view
            .y_ticks
            .iter()
            .map(|tick| tick.label.as_str())
            .collect();
        assert_eq!(labels, ["1 ms", "10 ms", "100 ms", "1 s"]);
        let none = Scatter::default();
        assert!(ScatterView::new(&none, range, &url, &Zone::utc()).is_none());
    }
}
