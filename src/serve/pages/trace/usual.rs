//! How long a span took beside the others of its service and operation: a percentile and a small
//! histogram, from the durations that are counted at ingest. It must never rank against a handful.

use std::fmt::Write as _;

use crate::model::red::Sketch;
use crate::model::{TimeRange, Timestamp};
use crate::serve::format;

const DAY_NS: u64 = 24 * 3_600_000_000_000;
/// A percentile of fewer spans would say more than is known.
const SPANS_MIN: u64 = 20;
/// Durations that differ by less than this share of the longest fill one or two steps of what is
/// counted (16 for each doubling): an order among them would be made up.
const ALIKE_SHARE: u64 = 10;
/// Bars of the histogram: 4 px each in the drawer.
const BARS: usize = 96;
/// Height of the highest bar.
const HEIGHT: u64 = 24;

/// The durations of an operation over a day.
#[derive(Debug)]
pub(crate) struct Durations {
    pub(crate) sketch: Sketch,
    /// Nothing of the range was left out.
    pub(crate) whole: bool,
    /// The day ends now, and not with the trace.
    pub(crate) now: bool,
}

/// The last 24 h; for an older trace, the 24 h up to its end.
pub(crate) fn day(now_ns: u64, trace_end: Timestamp) -> (TimeRange, bool) {
    let now = Timestamp(now_ns);
    let recent = trace_end >= now.saturating_sub(DAY_NS);
    let end = if recent { now } else { trace_end };
    let range = TimeRange::new(end.saturating_sub(DAY_NS), end);
    (range.expect("it ends after it starts"), recent)
}

/// View of the part of the drawer.
pub(crate) struct UsualView {
    pub(crate) title: &'static str,
    pub(crate) spans: String,
    /// Why there is no picture.
    pub(crate) too_few: Option<String>,
    /// Path over [`BARS`] x [`HEIGHT`].
    pub(crate) bars: String,
    /// Place of this span in percent, and the same for its label, which stays inside.
    pub(crate) at: String,
    pub(crate) before: bool,
    pub(crate) rank: String,
    pub(crate) low: String,
    pub(crate) middle: String,
    pub(crate) high: String,
}

impl UsualView {
    pub(crate) fn new(durations: &Durations, duration_ns: u64) -> UsualView {
        let sketch = &durations.sketch;
        let count = sketch.count();
        let mut view = UsualView {
            title: if durations.now {
                "This operation, last 24 h"
            } else {
                "This operation, 24 h up to this trace"
            },
            spans: format::counted(count, "span"),
            too_few: None,
            bars: String::new(),
            at: String::new(),
            before: false,
            rank: String::new(),
            low: String::new(),
            middle: String::new(),
            high: String::new(),
        };
        if count < SPANS_MIN {
            let kept = if durations.whole {
                ""
            } else {
                "; a part of the data could not be read"
            };
            view.too_few = Some(format!(
                "Not enough data: {count} spans to compare with, {SPANS_MIN} are needed{kept}."
            ));
            return view;
        }
        let quantile = |q| sketch.quantile(q).unwrap_or_default();
        // Counted durations are rounded: this one is never outside of them, nor beside its like.
        let low = quantile(0.0).min(duration_ns);
        let high = quantile(1.0).max(duration_ns);
        let alike = high - low <= high / ALIKE_SHARE;
        let middle = if alike { duration_ns } else { quantile(0.5) };
        view.low = format::duration(low);
        view.middle = format!("p50 {}", format::duration(middle));
        view.high = format::duration(high);
        let own = format::duration(duration_ns);
        let rank = sketch.rank(duration_ns) * 100.0;
        let part = if durations.whole { "" } else { "about " };
        view.rank = match alike {
            true => format!("{own}, as all of them"),
            false => format!("{own} is {part}p{rank:.1}"),
        };
        let scale = Scale::over(low, high);
        view.bars = bars(sketch, &scale);
        let at = (scale.place(duration_ns) * 100.0).clamp(0.0, 100.0);
        view.at = format!("{at:.1}%");
        view.before = at > 50.0;
        view
    }
}

/// A log scale over the durations that were seen.
struct Scale {
    low: f64,
    length: f64,
}

impl Scale {
    fn over(low: u64, high: u64) -> Scale {
        let edge = |ns: u64| (ns.max(1) as f64).ln();
        let (low, high) = (edge(low), edge(high));
        // One duration only would have no length.
        Scale {
            low: low - 0.05,
            length: high - low + 0.1,
        }
    }

    /// 0 to 1.
    fn place(&self, ns: u64) -> f64 {
        ((ns.max(1) as f64).ln() - self.low) / self.length
    }
}

fn bars(sketch: &Sketch, scale: &Scale) -> String {
    let mut counts = [0u64; BARS];
    for (ns, count) in sketch.buckets() {
        let at = (scale.place(ns) * BARS as f64) as usize;
        counts[at.min(BARS - 1)] += count;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut path = String::new();
    for (x, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // What is there is seen, however little it is.
        let height = (count * HEIGHT / most).max(1);
        let _ = write!(path, "M{x} {HEIGHT}v-{height}h.8v{height}z");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(durations_ms: impl Iterator<Item = u64>, ms: u64) -> UsualView {
        let mut sketch = Sketch::default();
        durations_ms.for_each(|ms| sketch.add(ms * 1_000_000, 1));
        let (_, now) = day(2 * DAY_NS, Timestamp(2 * DAY_NS - 1));
        let durations = Durations {
            sketch,
            whole: true,
            now,
        };
        UsualView::new(&durations, ms * 1_000_000)
    }

    #[test]
    fn a_span_is_ranked_among_the_others_and_never_among_a_few() {
        let usual = view(1..=1_000, 990);
        assert!(usual.rank.starts_with("990 ms is p9"), "{}", usual.rank);
        assert!(usual.before && usual.too_few.is_none());
        assert_eq!(
            usual.bars.matches('M').count(),
            usual.bars.matches('z').count()
        );
        assert!(
            view(1..=1_000, 500).rank.contains("is p50")
                || view(1..=1_000, 500).rank.contains("is p49")
        );
        let few = view(1..=19, 5);
        assert!(few.too_few.expect("too few").contains("19 spans"));
        assert!(few.bars.is_empty());
        // Where hardly any differ, the labels agree with the span, and nothing is ranked.
        let same = view(std::iter::repeat_n(7, 20), 7);
        assert!(same.bars.starts_with('M'));
        assert_eq!(same.rank, "7.00 ms, as all of them");
        assert_eq!(same.middle, "p50 7.00 ms");
        let slowest = view(1..=1_000, 1_005);
        assert_eq!(slowest.high, "1.00 s");
    }

    #[test]
    fn the_day_of_an_old_trace_ends_with_it() {
        let now = 10 * DAY_NS;
        assert_eq!(day(now, Timestamp(now - 5)).0.end(), Timestamp(now));
        let (range, recent) = day(now, Timestamp(3 * DAY_NS));
        assert_eq!((range.end(), recent), (Timestamp(3 * DAY_NS), false));
    }
}
