//! Axes of the charts above lists: round ticks for counts, times and durations. It must never
//! place anything by style: positions are numbers for SVG attributes.

use crate::serve::format::{self, Zone};
use crate::serve::page_url::PageUrl;
use crate::serve::range;

/// Labels along the time axis; at 1 280 px they stand 120 px apart.
const X_TICKS_MAX: u64 = 8;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
const HOUR_NS: u64 = 60 * MINUTE_NS;
const DAY_NS: u64 = 24 * HOUR_NS;

/// Steps between time labels that people count in.
const STEPS_NS: [u64; 19] = [
    1_000_000,
    10_000_000,
    100_000_000,
    SECOND_NS,
    5 * SECOND_NS,
    10 * SECOND_NS,
    30 * SECOND_NS,
    MINUTE_NS,
    2 * MINUTE_NS,
    5 * MINUTE_NS,
    10 * MINUTE_NS,
    30 * MINUTE_NS,
    HOUR_NS,
    3 * HOUR_NS,
    6 * HOUR_NS,
    12 * HOUR_NS,
    DAY_NS,
    7 * DAY_NS,
    30 * DAY_NS,
];

pub(crate) struct YTick {
    pub(crate) y: f64,
    pub(crate) label: String,
}

pub(crate) struct XTick {
    /// Percent of the width.
    pub(crate) x: String,
    pub(crate) label: String,
    /// `s` starts at its place, `e` ends there, `o` is one that narrow screens leave out.
    pub(crate) class: &'static str,
}

/// The smallest of 1, 2, 4, 5 times a power of ten that is not below `count`.
pub(crate) fn nice_above(count: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 4, 5] {
            let nice = power.saturating_mul(factor);
            if nice >= count {
                return nice;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Nothing, half and all of `top`; half only where it is whole.
pub(crate) fn y_ticks(top: u64, height: f64) -> Vec<YTick> {
    let tick = |count: u64| YTick {
        y: (height - count as f64 / top as f64 * height).round(),
        label: bare(format::count(count)),
    };
    match top.is_multiple_of(2) {
        true => vec![tick(top), tick(top / 2), tick(0)],
        false => vec![tick(top), tick(0)],
    }
}

/// Without the zeros behind the point, which an axis has no room for: `40 k`, not `40.0 k`.
fn bare(count: String) -> String {
    match count.split_once(' ') {
        Some((digits, unit)) if digits.contains('.') => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits} {unit}")
        }
        _ => count,
    }
}

/// The start, round times between, the end.
pub(crate) fn x_ticks(start_ns: u64, end_ns: u64, zone: &Zone) -> Vec<XTick> {
    let length = end_ns.saturating_sub(start_ns).max(1);
    let step = STEPS_NS
        .into_iter()
        .find(|step| length / step <= X_TICKS_MAX)
        .unwrap_or(length / X_TICKS_MAX);
    let pattern = match step {
        ..SECOND_NS => "%H:%M:%S%.3f",
        SECOND_NS..MINUTE_NS => "%H:%M:%S",
        MINUTE_NS..DAY_NS if length <= DAY_NS => "%H:%M",
        MINUTE_NS..DAY_NS => "%-d %b %H:%M",
        _ => "%-d %b",
    };
    let tick = |ns: u64, class| XTick {
        x: percent((ns - start_ns) as f64 / length as f64),
        label: zone.print(ns, pattern),
        class,
    };
    let mut ticks = vec![tick(start_ns, "s")];
    let mut at = first_round(start_ns, step, zone);
    // A label closer than half a step to an end would touch that end's label.
    while at.saturating_add(step / 2) <= end_ns && ticks.len() < STEPS_NS.len() {
        if at >= start_ns + step / 2 {
            ticks.push(tick(at, if ticks.len() % 2 == 1 { "o" } else { "" }));
        }
        at = at.saturating_add(step);
    }
    ticks.push(tick(end_ns, "e"));
    ticks
}

/// The first multiple of `step` in the viewer's own day, at or after `start_ns`.
fn first_round(start_ns: u64, step: u64, zone: &Zone) -> u64 {
    let shift = zone.offset_ns(start_ns).rem_euclid(step as i64) as u64;
    let into = (start_ns % step + shift) % step;
    if into == 0 {
        start_ns
    } else {
        start_ns.saturating_add(step - into)
    }
}

/// A bucket's width, which is a whole number of some unit: `30 s`, `5 m`.
pub(crate) fn whole(ns: u64) -> String {
    let units = [
        (DAY_NS, "d"),
        (HOUR_NS, "h"),
        (MINUTE_NS, "m"),
        (SECOND_NS, "s"),
        (1_000_000, "ms"),
    ];
    let unit = units
        .into_iter()
        .find(|(size, _)| ns >= *size && ns.is_multiple_of(*size));
    match unit {
        Some((size, unit)) => format!("{} {unit}", ns / size),
        None => format::duration(ns),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// The page over another time range, with both ends in the address.
pub(crate) fn zoomed(url: &PageUrl, start_ns: u64, end_ns: u64) -> PageUrl {
    range::pinned(&super::querybar::bare(url), start_ns, end_ns)
}

/// Width of the trace list's scale at 1 280 px, of a character in it, and the least gap.
const SCALE_PX: f64 = 140.0;
const LABEL_CHAR_PX: f64 = 6.6;
const LABEL_GAP_PX: f64 = 6.0;

/// Durations on a logarithmic scale of whole decades, shared by the rows of a list and its header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    /// Covers `durations_ns`; at least one decade.
    pub(crate) fn over(durations_ns: impl IntoIterator<Item = u64>) -> LogScale {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for ns in durations_ns {
            let log = log10(ns);
            low = low.min(log);
            high = high.max(log);
        }
        if low > high {
            (low, high) = (6.0, 9.0);
        }
        let low = low.floor();
        LogScale {
            low,
            high: high.ceil().max(low + 1.0),
        }
    }

    /// Where a duration stands, 0 to 1.
    pub(crate) fn share(self, ns: u64) -> f64 {
        ((log10(ns) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The duration at a place, in nanoseconds.
    #[cfg(test)]
    pub(crate) fn at(self, share: f64) -> u64 {
        10_f64.powf(self.low + share * (self.high - self.low)) as u64
    }

    /// Each decade with its place in percent; `o` where its label would touch another.
    pub(crate) fn ticks(self) -> Vec<XTick> {
        let (low, high) = (self.low as i32, self.high as i32);
        let width = |label: &str| label.chars().count() as f64 * LABEL_CHAR_PX + LABEL_GAP_PX;
        let end_px = SCALE_PX - width(&decade(high));
        let mut free_px = width(&decade(low));
        let mut tick = |power: i32| {
            let (share, label) = (
                f64::from(power - low) / f64::from(high - low),
                decade(power),
            );
            let from_px = share * SCALE_PX - width(&label) / 2.0;
            let class = match power {
                power if power == low => "s",
                power if power == high => "e",
                _ if from_px < free_px || from_px + width(&label) > end_px => "o",
                _ => {
                    free_px = from_px + width(&label);
                    ""
                }
            };
            XTick {
                x: percent(share),
                label,
                class,
            }
        };
        (low..=high).map(&mut tick).collect()
    }
}

fn log10(ns: u64) -> f64 {
    (ns.max(1) as f64).log10()
}

/// `1 ms`, `10 ms`, `100 s`: a power of ten nanoseconds without decimals.
pub(crate) fn decade(power: i32) -> String {
    let unit = ["ns", "µs", "ms", "s"][(power / 3).clamp(0, 3) as usize];
    format!(
        "{} {unit}",
        10_u64.pow((power - (power / 3).clamp(0, 3) * 3) as u32)
    )
}

#[cfg(test)]
mod tests {
    use super::{LogScale, nice_above, x_ticks, y_ticks};
    use crate::serve::format::Zone;

    #[track_caller]
    fn check(start_s: u64, end_s: u64, zone: &str, expect: &str) {
        let ticks = x_ticks(
            start_s * 1_000_000_000,
            end_s * 1_000_000_000,
            &Zone::named(zone),
        );
        let labels: Vec<_> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels.join(" "), expect);
    }

    #[test]
    fn count_labels_have_no_idle_zeros() {
        for (top, expect) in [
            (2, "2 1 0"),
            (2_000, "2\u{2009}000 1\u{2009}000 0"),
            (40_000, "40 k 20 k 0"),
            (25_000, "25 k 12.5 k 0"),
            (2_000_000, "2 M 1 M 0"),
        ] {
            let ticks = y_ticks(top, 56.0);
            let labels: Vec<_> = ticks.iter().map(|tick| tick.label.as_str()).collect();
            assert_eq!(labels.join(" "), expect);
        }
    }

    #[test]
    fn time_labels_are_round_in_the_viewers_zone() {
        check(
            1_795_179_840,
            1_795_183_440,
            "UTC",
            "13:04 13:10 13:20 13:30 13:40 13:50 14:04",
        );
        check(
            1_795_183_440,
            1_795_183_470,
            "UTC",
            "14:04:00 14:04:05 14:04:10 14:04:15 14:04:20 14:04:25 14:04:30",
        );
        // Half past in UTC is on the hour in India.
        check(
            1_795_176_000,
            1_795_197_600,
            "Asia/Kolkata",
            "17:30 18:00 19:00 20:00 21:00 22:00 23:00 23:30",
        );
    }

    #[test]
    fn counts_end_at_round_numbers() {
        for (count, top) in [(1, 1), (3, 4), (33, 40), (40, 40), (41, 50), (999, 1000)] {
            assert_eq!(nice_above(count), top);
        }
        assert_eq!(nice_above(u64::MAX), u64::MAX);
    }

    #[test]
    fn durations_share_a_scale_of_whole_decades() {
        let scale = LogScale::over([4_000_000, 812_000_000]);
        let labels: Vec<_> = scale.ticks().into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["1 ms", "10 ms", "100 ms", "1 s"]);
        let wide = LogScale::over([100_000, 5_000_000_000]).ticks();
        let shown: Vec<_> = wide
            .iter()
            .filter(|tick| tick.class != "o")
            .map(|t| t.label.as_str())
            .collect();
        assert_eq!(shown, ["100 µs", "100 ms", "10 s"]);
        assert_eq!(scale.share(1_000_000), 0.0);
        assert!((scale.share(100_000_000) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(scale.at(1.0), 1_000_000_000);
        let empty = LogScale::over([]);
        assert_eq!(empty.share(0), 0.0);
        assert_eq!(LogScale::over([0]).ticks().len(), 2);
    }
}
