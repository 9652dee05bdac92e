//! The chart as SVG, drawn by the server: the first paint, and all there is without JavaScript.
//! Positions are attributes; colours are classes.

use std::fmt::Write as _;

use crate::query::explore::plot::{Line, Plot};
use crate::query::explore::thin;
use crate::query::explore::unit::Unit;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::axis::{self, XTick, YTick};
use crate::serve::range;
use crate::serve::request::PageRequest;

use super::ask::Asked;
use super::legend::Legend;
use super::value;

/// Size of the plot in units of its view box; the height is also its height in pixels.
pub(crate) const WIDTH: f64 = 1000.0;
pub(crate) const HEIGHT: f64 = 280.0;

/// Points of one line; fewer where there are many lines, so that the page stays light.
const POINTS_MAX: usize = 240;
const POINTS_ALL_MAX: usize = 4_000;

/// Columns of the links that zoom without a script.
const ZOOMS: u64 = 12;

/// View of `explore/chart.html`.
pub(crate) struct Chart {
    pub(crate) paths: Vec<Path>,
    pub(crate) y_ticks: Vec<YTick>,
    pub(crate) x_ticks: Vec<XTick>,
    pub(crate) diamonds: Vec<Diamond>,
    pub(crate) zooms: Vec<Zoom>,
    pub(crate) unit: String,
    pub(crate) label: String,
}

pub(crate) struct Path {
    pub(crate) class: String,
    pub(crate) d: String,
    /// Under a line of a stack.
    pub(crate) area: String,
    pub(crate) title: String,
}

/// A link from an exemplar to its trace; places in percent of the plot.
pub(crate) struct Diamond {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) href: String,
    pub(crate) title: String,
}

pub(crate) struct Zoom {
    pub(crate) x: f64,
    pub(crate) width: f64,
    pub(crate) href: String,
    pub(crate) label: String,
}

/// From values to places: 0 at the top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) log: bool,
}

impl Scale {
    /// Covers all values; from zero where that costs little of the height.
    pub(crate) fn over(values: impl Iterator<Item = f64>, log: bool) -> Option<Scale> {
        let fits = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(fits) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return None;
        }
        if log {
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            let high = if high > low { high } else { low + 1.0 };
            return Some(Scale { low, high, log });
        }
        if low >= 0.0 && low <= 0.6 * high {
            low = 0.0;
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (
                if low > 0.0 {
                    0.0_f64.max(low - room)
                } else {
                    low - room
                },
                high + room,
            );
        }
        let room = (high - low) * 0.04;
        Some(Scale {
            low: if low == 0.0 { 0.0 } else { low - room },
            high: if high == 0.0 { 0.0 } else { high + room },
            log,
        })
    }

    /// 0 is the top, 1 the bottom.
    pub(crate) fn share(self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        1.0 - (value - self.low) / (self.high - self.low)
    }

    pub(crate) fn ticks(self, unit: &Unit, height: f64) -> Vec<YTick> {
        let values: Vec<f64> = if self.log {
            let step = ((self.high - self.low) / 6.0).ceil().max(1.0) as usize;
            let powers = (self.low as i32..=self.high as i32).step_by(step);
            powers.map(|power| 10_f64.powi(power)).collect()
        } else {
            value::ticks(self.low, self.high, height / 56.0, unit)
        };
        let tick = |at: f64| YTick {
            y: (self.share(at) * height).round(),
            label: value::tick(at, unit),
        };
        values.into_iter().map(tick).collect()
    }
}

impl Chart {
    /// `None` where there is nothing to draw.
    pub(crate) fn new(
        plot: &Plot,
        asked: &Asked,
        legend: &Legend,
        request: &PageRequest,
    ) -> Option<Chart> {
        let shown: Vec<(usize, &Line)> = plot
            .lines
            .iter()
            .enumerate()
            .filter(|(at, _)| legend.rows[*at].on)
            .collect();
        let points = (POINTS_ALL_MAX / shown.len().max(1)).clamp(24, POINTS_MAX);
        let bucket = thin::bucket(plot.grid.steps, points);
        let mut columns: Vec<Vec<f64>> = shown
            .iter()
            .map(|(_, line)| thin::extremes(&line.values, bucket))
            .collect();
        if asked.stack {
            stacked(&mut columns);
        }
        let scale = Scale::over(columns.iter().flatten().copied(), asked.log)?;
        let times = thin::times(plot.grid.first, plot.grid.step, plot.grid.steps, bucket);
        let length = (asked.range.last - asked.range.first).max(1) as f64;
        let share = |at: i64| (at - asked.range.first) as f64 / length;
        let xs: Vec<f64> = times.iter().map(|at| share(*at) * WIDTH).collect();
        let mut paths: Vec<Path> = Vec::with_capacity(shown.len());
        for (n, (at, _)) in shown.iter().enumerate() {
            let entry = &legend.rows[*at];
            let below = n.checked_sub(1).map(|below| columns[below].as_slice());
            paths.push(Path {
                class: entry.class.clone(),
                d: path(&xs, &columns[n], scale, (WIDTH, HEIGHT)),
                area: match asked.stack {
                    true => area(&xs, &columns[n], below, scale),
                    false => String::new(),
                },
                title: entry.name.clone(),
            });
        }
        let unit = plot.unit();
        Some(Chart {
            paths,
            y_ticks: scale.ticks(&unit, HEIGHT),
            x_ticks: axis::x_ticks(request.range.start_ns, request.range.end_ns, &request.zone),
            diamonds: diamonds(plot, scale, &share, &request.url),
            zooms: zooms(request),
            unit: unit.key(),
            label: format!("{} lines", shown.len()),
        })
    }
}

/// Each column on top of those before it; a gap adds nothing.
pub(crate) fn stacked(columns: &mut [Vec<f64>]) {
    let mut sums: Vec<f64> = Vec::new();
    for column in columns {
        sums.resize(column.len(), 0.0);
        for (value, sum) in column.iter_mut().zip(&mut sums) {
            if value.is_finite() {
                *sum += *value;
            }
            *value = *sum;
        }
    }
}

/// A line with gaps where values are missing; a lone point is a short dash.
pub(crate) fn path(xs: &[f64], values: &[f64], scale: Scale, (_, height): (f64, f64)) -> String {
    let mut d = String::with_capacity(values.len() * 10);
    let mut is_drawing = false;
    for (at, (x, value)) in xs.iter().zip(values).enumerate() {
        let y = scale.share(*value) * height;
        if !y.is_finite() {
            is_drawing = false;
            continue;
        }
        let is_alone = !is_drawing && values.get(at + 1).is_none_or(|next| !next.is_finite());
        let command = if is_drawing { 'L' } else { 'M' };
        write!(d, "{command}{x:.1} {y:.1}").expect("writing to a string");
        if is_alone {
            d.push_str("h2");
        }
        is_drawing = true;
    }
    d
}

fn area(xs: &[f64], top: &[f64], below: Option<&[f64]>, scale: Scale) -> String {
    let y = |value: f64| (scale.share(value) * HEIGHT).clamp(0.0, HEIGHT);
    let mut d = String::new();
    for (at, (x, value)) in xs.iter().zip(top).enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        write!(d, "{command}{x:.1} {:.1}", y(*value)).expect("writing to a string");
    }
    for (at, x) in xs.iter().enumerate().rev() {
        let floor = below.map_or(HEIGHT, |below| y(below[at]));
        write!(d, "L{x:.1} {floor:.1}").expect("writing to a string");
    }
    d
}

fn diamonds(plot: &Plot, scale: Scale, share: &dyn Fn(i64) -> f64, url: &PageUrl) -> Vec<Diamond> {
    let one = |example: &crate::query::explore::plot::Example| {
        let trace = super::table::trace_of(&example.exemplar)?;
        Some(Diamond {
            x: axis::percent(share(example.exemplar.at).clamp(0.0, 1.0)),
            y: axis::percent(scale.share(example.exemplar.value).clamp(0.0, 1.0)),
            href: url.carry_to(&format!("/trace/{trace}")).to_string(),
            title: format!(
                "{}, trace {}",
                value::text(example.exemplar.value, &example.unit),
                &trace[..8]
            ),
        })
    };
    plot.examples.iter().filter_map(one).collect()
}

fn zooms(request: &PageRequest) -> Vec<Zoom> {
    let (start, length) = (request.range.start_ns, request.range.length_ns());
    let one = |n: u64| {
        let (from, to) = (start + length / ZOOMS * n, start + length / ZOOMS * (n + 1));
        let text = |ns| request.zone.print(ns, "%-d %b %H:%M:%S");
        Zoom {
            x: WIDTH / ZOOMS as f64 * n as f64,
            width: WIDTH / ZOOMS as f64,
            href: range::pinned(&request.url, from, to).to_string(),
            label: format!("Zoom into {} to {}", text(from), text(to)),
        }
    };
    (0..ZOOMS).map(one).collect()
}
