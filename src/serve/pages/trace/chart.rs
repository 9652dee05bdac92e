//! The pictures of a trace page as numbers for SVG attributes: time axis, bars of a row, minimap,
//! self-time breakdown. Positions are percent of the column, so that the picture fits any width
//! without script; nothing here writes a style (the Content-Security-Policy forbids it inline).

use std::fmt::Write as _;
use std::ops::Range;

use crate::query::Layout;
use crate::query::layout::{FoldGroup, Minimap, MinimapRun};
use crate::serve::format;

use super::fold::{Folds, Place};

/// Room right of the last bar, so that it does not touch the durations.
const HEADROOM: f64 = 1.01;
/// Lines of the minimap: 44 px at a pitch of 3.
pub(crate) const MAP_LANES: u32 = 14;
/// Pixels of the minimap: a 1280-px window has 850 to 1200; finer is not seen.
pub(crate) const MAP_COLUMNS: u32 = 800;
/// Spans up to which the minimap draws every span that has a line.
const MAP_OUTLINE_ROWS_MAX: usize = 2_000;
/// Steps of the time column in which self time is told from that of children.
const CELLS: usize = 1000;
/// Steps that the fence of a group is drawn in; members closer together than this fall into one.
const FENCE_STEPS: f64 = 400.0;
/// Narrowest bar in percent of the column (about 2 px).
const BAR_MIN: f64 = 0.4;

/// The part of the trace that is in view, in ns from its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Zoom {
    from: f64,
    to: f64,
}

/// A rectangle of a row: percent where it says so, else pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rect {
    pub(crate) class: &'static str,
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) y: u32,
    pub(crate) height: u32,
}

/// What is drawn in the time column of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bars {
    pub(crate) rects: Vec<Rect>,
    /// Path over 0..[`CELLS`]: a group's members, or the parts of a span without its children.
    pub(crate) path: String,
    pub(crate) path_class: &'static str,
    /// Text at the bar and its place.
    pub(crate) note: Option<(String, String)>,
}

/// A tick of the time axis.
pub(crate) struct Tick {
    pub(crate) x: String,
    pub(crate) label: String,
}

impl Zoom {
    pub(crate) fn whole(duration_ns: u64) -> Zoom {
        Zoom {
            from: 0.0,
            to: (duration_ns.max(1) as f64) * HEADROOM,
        }
    }

    /// `880000000-1138000000`: ns from the start of the trace; the whole trace where it is not
    /// that.
    pub(crate) fn parse(text: &str, duration_ns: u64) -> Zoom {
        let ends = text.split_once('-').and_then(|(from, to)| {
            let (from, to) = (from.parse::<u64>().ok()?, to.parse::<u64>().ok()?);
            (from < to).then_some(Zoom {
                from: from as f64,
                to: to as f64,
            })
        });
        ends.unwrap_or(Zoom::whole(duration_ns))
    }

    fn percent(self, ns: f64) -> f64 {
        (ns - self.from) / (self.to - self.from) * 100.0
    }

    fn rect(self, class: &'static str, ns: Range<u64>, y: u32, height: u32) -> Option<Rect> {
        let x = self.percent(ns.start as f64).max(-1.0);
        let end = self.percent(ns.end as f64).min(101.0);
        (x <= 100.0 && end >= 0.0).then(|| Rect {
            class,
            x: percent(x),
            width: percent((end - x).max(BAR_MIN)),
            y,
            height,
        })
    }

    /// Round steps, at most six, in the unit of the whole; the last label carries the unit.
    pub(crate) fn ticks(self) -> Vec<Tick> {
        let raw = (self.to - self.from) / 5.5;
        let ten = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|s| s * ten)
            .find(|step| *step >= raw)
            .unwrap_or(raw);
        let (unit, size) = match self.to {
            to if to < 1e4 => ("ns", 1.0),
            to if to < 1e7 => ("µs", 1e3),
            to if to < 1e10 => ("ms", 1e6),
            _ => ("s", 1e9),
        };
        let first = (self.from / step).ceil() as u64;
        let at = |n: u64| n as f64 * step;
        let last = (first..first + 12)
            .take_while(|n| self.percent(at(*n)) < 94.0)
            .last();
        (first..=last.unwrap_or(first))
            .map(|n| {
                let value = at(n) / size;
                let text = if value.fract().abs() < 1e-9 {
                    format::exact(value as u64)
                } else {
                    let text = format!("{value:.3}");
                    text.trim_end_matches('0').to_owned()
                };
                Tick {
                    x: percent(self.percent(at(n))),
                    label: if Some(n) == last {
                        format!("{text} {unit}")
                    } else {
                        text
                    },
                }
            })
            .collect()
    }
}

/// Enough digits for a wide screen, none to spare: `12.35%`.
fn percent(value: f64) -> String {
    let mut text = format!("{value:.2}");
    let kept = text.trim_end_matches('0').trim_end_matches('.').len();
    text.truncate(kept);
    text.push('%');
    text
}

/// The bar of a span: hatched where it failed, darker where no child runs, a thin tail where it
/// outlives its parent.
pub(crate) fn span_bars(layout: &Layout, row: u32, folded: bool, zoom: Zoom) -> Bars {
    let facts = &layout.rows[row as usize];
    let (start, end) = (facts.start_ns, facts.start_ns + facts.duration_ns);
    let limit = facts.parent.map_or(end, |parent| {
        let parent = &layout.rows[parent as usize];
        parent.start_ns + parent.duration_ns
    });
    // What starts after its parent's end still shows a stub of a bar before the tail.
    let least = start + ((zoom.to - zoom.from) * 0.015) as u64;
    let cut = if facts.error {
        end
    } else {
        limit.max(least).min(end)
    };
    let mut bars = Bars::default();
    if facts.descendants > 0 {
        bars.path = own_time(layout, row, start..cut, zoom);
        bars.path_class = "own";
    }
    let base = match (facts.error, facts.descendants > 0) {
        (true, _) => "b tint",
        (false, true) => "b kids",
        (false, false) => "b",
    };
    bars.rects.extend(zoom.rect(base, start..cut, 8, 10));
    if facts.error {
        bars.rects.extend(zoom.rect("x", start..end, 8, 10));
        if let Some(mut cap) = zoom.rect("b", start..end, 8, 10) {
            "4".clone_into(&mut cap.width);
            bars.rects.push(cap);
        }
    }
    if cut < end {
        bars.rects.extend(zoom.rect("b", cut..end, 12, 2));
    }
    let below = if folded { facts.descendants } else { 0 };
    bars.rects
        .extend(critical(layout, row..row + 1 + below, zoom));
    bars
}

/// The parts of a bar in which no child runs, as a path. Children need not stand in the order of
/// their start, so they are painted into cells first.
fn own_time(layout: &Layout, row: u32, bar: Range<u64>, zoom: Zoom) -> String {
    let cell = |ns: u64| {
        let place = zoom.percent(ns as f64) / 100.0 * CELLS as f64;
        place.round().clamp(0.0, CELLS as f64) as usize
    };
    let below = row + 1..row + 1 + layout.rows[row as usize].descendants;
    let (from, to) = (cell(bar.start), cell(bar.end));
    let mut covered = vec![false; CELLS];
    for child in siblings(layout, below) {
        let facts = &layout.rows[child as usize];
        let (a, b) = (
            cell(facts.start_ns),
            cell(facts.start_ns + facts.duration_ns),
        );
        covered[a..b].fill(true);
    }
    let mut path = String::new();
    let mut at = from;
    for run in covered[from..to].chunk_by(|a, b| a == b) {
        if !run[0] {
            let _ = write!(path, "M{at} 13h{}", run.len());
        }
        at += run.len();
    }
    path
}

/// The picket fence of repeated siblings.
pub(crate) fn group_bars(layout: &Layout, group: &FoldGroup, zoom: Zoom) -> Bars {
    let whole = extent(layout, group.rows.clone());
    let mut bars = Bars::default();
    bars.rects.extend(zoom.rect("b soft", whole.clone(), 8, 10));
    bars.path_class = "fence";
    let mut edge = f64::MIN;
    for row in siblings(layout, group.rows.clone()) {
        let facts = &layout.rows[row as usize];
        let x = zoom.percent(facts.start_ns as f64) * 10.0;
        let end = zoom.percent((facts.start_ns + facts.duration_ns) as f64) * 10.0;
        let width = (end - x).max(1.4);
        if x >= edge + 1000.0 / FENCE_STEPS / 2.0 && x <= 1000.0 && end >= 0.0 {
            let _ = write!(bars.path, "M{x:.1} 13h{width:.1}");
            edge = x + width;
        }
    }
    bars.rects
        .extend(critical(layout, group.rows.clone(), zoom));
    let at = zoom.percent(whole.end as f64);
    if at < 60.0 {
        let note = format!("▲ N+1 · p95 {} each", format::duration(group.p95_ns));
        bars.note = Some((percent(at.max(0.0)), note));
    }
    bars
}

/// The grey stub of spans left out.
pub(crate) fn rest_bars(layout: &Layout, rows: Range<u32>, zoom: Zoom) -> Bars {
    let mut bars = Bars::default();
    bars.rects
        .extend(zoom.rect("b rest", extent(layout, rows.clone()), 8, 10));
    bars.rects.extend(critical(layout, rows, zoom));
    bars
}

/// The rows at the top level of a run of siblings.
fn siblings(layout: &Layout, rows: Range<u32>) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(rows.start), move |row| {
        let next = row + 1 + layout.rows[*row as usize].descendants;
        (next < rows.end).then_some(next)
    })
}

/// From the first start to the last end of a run of siblings.
pub(crate) fn extent(layout: &Layout, rows: Range<u32>) -> Range<u64> {
    let (mut start, mut end) = (u64::MAX, 0);
    for row in siblings(layout, rows) {
        let facts = &layout.rows[row as usize];
        start = start.min(facts.start_ns);
        end = end.max(facts.start_ns + facts.duration_ns);
    }
    start.min(end)..end
}

/// The critical path inside some rows, joined where the gap would not be seen.
fn critical(layout: &Layout, rows: Range<u32>, zoom: Zoom) -> Vec<Rect> {
    let gap = ((zoom.to - zoom.from) * 0.002) as u64;
    let mut joined: Vec<Range<u64>> = Vec::new();
    for segment in layout.critical.iter().filter(|s| rows.contains(&s.row)) {
        match joined.last_mut() {
            Some(last) if segment.start_ns <= last.end + gap => {
                last.end = last.end.max(segment.end_ns);
            }
            _ => joined.push(segment.start_ns..segment.end_ns),
        }
    }
    joined
        .into_iter()
        .filter_map(|ns| zoom.rect("cp", ns, 19, 2))
        .collect()
}

/// Paths of the minimap by service, over `MAP_COLUMNS` x 44.
pub(crate) struct MapView {
    /// Colour class and path.
    pub(crate) lanes: Vec<(&'static str, String)>,
    /// Places of errors in percent.
    pub(crate) errors: Vec<String>,
    pub(crate) columns: u32,
}

impl MapView {
    /// A trace of up to [`MAP_OUTLINE_ROWS_MAX`] spans looks like its waterfall, bundles as one
    /// line each; a larger one is aggregated per pixel.
    pub(crate) fn new(layout: &Layout, folds: &Folds, hues: &[&'static str]) -> MapView {
        let map = match layout.rows.len() {
            ..=MAP_OUTLINE_ROWS_MAX => like_waterfall(layout, folds),
            _ => layout.minimap(MAP_COLUMNS, MAP_LANES),
        };
        let mut paths = vec![String::new(); hues.len()];
        for run in &map.runs {
            let y = 2 + run.lane * 3;
            let width = run.to.saturating_sub(run.from).max(2);
            let _ = write!(paths[run.service as usize], "M{} {y}h{width}", run.from);
        }
        let failed = layout.rows.iter().filter(|row| row.error);
        let mut marks: Vec<u32> = failed.map(|row| column(layout, row.start_ns)).collect();
        marks.sort_unstable();
        // Squares are 5 px: closer ones would be one blot.
        marks.dedup_by(|next, kept| *next < *kept + 6);
        MapView {
            lanes: hues
                .iter()
                .copied()
                .zip(paths)
                .filter(|(_, path)| !path.is_empty())
                .collect(),
            errors: marks
                .into_iter()
                .map(|column| percent(f64::from(column) * 100.0 / f64::from(MAP_COLUMNS)))
                .collect(),
            columns: MAP_COLUMNS,
        }
    }
}

fn column(layout: &Layout, ns: u64) -> u32 {
    (ns as f64 / layout.duration_ns.max(1) as f64 * f64::from(MAP_COLUMNS)) as u32
}

/// One run per line, in the order of the lines; members of a bundle on the line of the bundle.
fn like_waterfall(layout: &Layout, folds: &Folds) -> Minimap {
    let lines = folds.lines(layout);
    let mut runs = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let lane = (at * MAP_LANES as usize / lines.len().max(MAP_LANES as usize)) as u32;
        let rows = match line.place {
            Place::Row(row) => row..row + 1,
            Place::Bundle(bundle) => folds.bundles[bundle as usize].rows.clone(),
        };
        for row in siblings(layout, rows) {
            let facts = &layout.rows[row as usize];
            let from = column(layout, facts.start_ns);
            let to = column(layout, facts.start_ns + facts.duration_ns);
            runs.push(MinimapRun {
                lane,
                from,
                to,
                service: facts.service,
            });
        }
    }
    Minimap {
        columns: MAP_COLUMNS,
        lanes: MAP_LANES,
        runs,
        errors: Vec::new(),
    }
}

/// A service's part of all self time: the breakdown bar and its legend in one.
pub(crate) struct Share {
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) time: String,
}

/// Services by self time, longest first; those under a pixel have a legend and no bar.
pub(crate) fn shares(layout: &Layout, hues: &[&'static str]) -> Vec<Share> {
    let total: u64 = layout
        .services
        .iter()
        .map(|s| s.self_ns)
        .sum::<u64>()
        .max(1);
    let mut from = 0;
    let mut out = Vec::with_capacity(layout.services.len());
    for (service, class) in layout.services.iter().zip(hues) {
        let at = |ns: u64| ns as f64 * 100.0 / total as f64;
        out.push(Share {
            class,
            name: service.name.clone(),
            x: percent(at(from)),
            width: percent((at(service.self_ns) - 0.1).max(0.0)),
            time: format::duration(service.self_ns),
        });
        from += service.self_ns;
    }
    out
}
