//! Small charts as SVG paths: sparklines of tables and the time ribbon. Positions are attributes of
//! SVG, never inline style, which the Content-Security-Policy forbids.

use std::fmt::Write as _;

use crate::serve::format::Zone;

/// Bars of a sparkline (ui.md, decision 5): 2 px and 1 px gap each, 72 px together.
pub(crate) const SPARK_BARS: usize = 24;
const SPARK_HEIGHT: f64 = 16.0;

/// Bars of the time ribbon: a 3-px pitch on a 1280-px window.
pub(crate) const RIBBON_BARS: usize = 396;
const RIBBON_HEIGHT: f64 = 12.0;

/// A tail counts as unusual from twice what came before it.
const UNUSUAL_FACTOR: f64 = 2.0;

/// How an unusual tail is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Calm,
    Warm,
    Hot,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Tone::Calm => "",
            Tone::Warm => "warm",
            Tone::Hot => "hot",
        }
    }
}

/// A 72 x 16 sparkline; `calm` and `tail` are path data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spark {
    pub(crate) calm: String,
    pub(crate) tail: String,
    pub(crate) tone: Tone,
}

impl Spark {
    /// The last [`SPARK_BARS`] values; `tone` colours the unusual tail, if there is one.
    pub(crate) fn new(values: &[f64], tone: Tone) -> Spark {
        let values = &values[values.len().saturating_sub(SPARK_BARS)..];
        let max = values.iter().copied().fold(0.0, f64::max);
        let tail_from = match tone {
            Tone::Calm => values.len(),
            Tone::Warm | Tone::Hot => unusual_from(values),
        };
        let (mut calm, mut tail) = (String::new(), String::new());
        for (at, value) in values.iter().enumerate() {
            let path = if at < tail_from { &mut calm } else { &mut tail };
            // An empty bucket keeps a 1-px foot: the row shows that it was measured.
            let height = if max > 0.0 {
                (value / max * SPARK_HEIGHT).round().max(1.0)
            } else {
                1.0
            };
            let x = (SPARK_BARS - values.len() + at) * 3;
            write!(path, "M{x} 16v-{height}h2v{height}z").expect("writing to a string");
        }
        Spark { calm, tail, tone }
    }
}

/// The time ribbon's two paths, drawn by stroke so that bars stay 2 px wide at any width:
/// view box `0 0 BARS 12`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ribbon {
    pub(crate) bars: usize,
    pub(crate) calm: String,
    pub(crate) hot: String,
    /// Place in percent of the width, and words.
    pub(crate) ticks: Vec<(String, String)>,
    pub(crate) total: String,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

/// Fewer errors in one bucket than this are chance.
const HOT_MIN: u64 = 3;

/// Paths of [`Ribbon`]: buckets well above the median of the range are hot.
pub(crate) fn ribbon_paths(counts: &[u64]) -> (String, String) {
    let max = counts.iter().copied().max().unwrap_or(0);
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let (mut calm, mut hot) = (String::new(), String::new());
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let share = *count as f64 / max as f64;
        let height = (share * RIBBON_HEIGHT).max(1.0);
        let path = if *count >= HOT_MIN && *count > usual.saturating_mul(3) {
            &mut hot
        } else {
            &mut calm
        };
        write!(path, "M{at}.5 12v-{height:.1}").expect("writing to a string");
    }
    (calm, hot)
}

/// Steps between ticks in seconds, with the pattern of their words.
const TICK_STEPS: [(u64, &str); 17] = [
    (1, "%H:%M:%S"),
    (5, "%H:%M:%S"),
    (15, "%H:%M:%S"),
    (30, "%H:%M:%S"),
    (60, "%H:%M"),
    (120, "%H:%M"),
    (300, "%H:%M"),
    (600, "%H:%M"),
    (1_800, "%H:%M"),
    (3_600, "%H:%M"),
    (7_200, "%H:%M"),
    (10_800, "%H:%M"),
    (21_600, "%-d %b %H:%M"),
    (43_200, "%-d %b %H:%M"),
    (86_400, "%-d %b"),
    (2 * 86_400, "%-d %b"),
    (7 * 86_400, "%-d %b"),
];

/// Most ticks on one axis: labels of 90 px never touch on a 1280-px window.
const TICKS_MAX: u64 = 8;

/// Round times of the viewer's zone for an axis: place in percent of the range, and words. None
/// stand so near the end that their words would be cut off.
pub(crate) fn ticks(start_ns: u64, end_ns: u64, zone: &Zone) -> Vec<(String, String)> {
    const SECOND_NS: u64 = 1_000_000_000;
    let length_ns = end_ns.saturating_sub(start_ns);
    if length_ns < SECOND_NS {
        return Vec::new();
    }
    let fits = |(step_s, _): &&(u64, &str)| length_ns / (step_s * SECOND_NS) <= TICKS_MAX;
    let (mut step_s, pattern) = TICK_STEPS
        .iter()
        .find(fits)
        .copied()
        .unwrap_or(TICK_STEPS[16]);
    // Ranges of months: whole weeks until they fit.
    step_s *= (length_ns / SECOND_NS / step_s).div_ceil(TICKS_MAX).max(1);
    let step_ns = step_s * SECOND_NS;
    let offset_ns = zone.offset_s(start_ns).rem_euclid(step_s as i64) as u64 * SECOND_NS;
    let first = (start_ns + offset_ns).next_multiple_of(step_ns) - offset_ns;
    (0..=TICKS_MAX)
        .map(|n| first + n * step_ns)
        .take_while(|at| *at < end_ns)
        .map(|at| {
            (
                (at - start_ns) as f64 / length_ns as f64 * 100.0,
                zone.print(at, pattern),
            )
        })
        .filter(|(place, _)| *place < 95.0)
        .map(|(place, words)| (format!("{place:.2}"), words))
        .collect()
}

/// Where the run of values at the end starts that are all above [`UNUSUAL_FACTOR`] times the mean
/// of the first half; the length of `values` where there is none.
fn unusual_from(values: &[f64]) -> usize {
    let half = &values[..values.len() / 2];
    let mean = half.iter().sum::<f64>() / half.len().max(1) as f64;
    let unusual = |value: &&f64| **value > UNUSUAL_FACTOR * mean && **value > 0.0;
    values.len() - values.iter().rev().take_while(unusual).count()
}

#[cfg(test)]
mod tests {
    use super::{Spark, Tone, ribbon_paths, ticks, unusual_from};
    use crate::serve::format::Zone;

    #[test]
    fn only_the_unusual_tail_is_coloured() {
        let mut values = vec![1.0; 20];
        values.extend([4.0, 5.0, 8.0, 6.0]);
        assert_eq!(unusual_from(&values), 20);
        let spark = Spark::new(&values, Tone::Hot);
        assert_eq!(spark.calm.matches('M').count(), 20);
        assert!(spark.tail.starts_with("M60 16v-8h2v8z"), "{}", spark.tail);
        assert!(Spark::new(&values, Tone::Calm).tail.is_empty());
        assert!(Spark::new(&[1.0; 24], Tone::Hot).tail.is_empty());
        assert_eq!(Spark::new(&[0.0], Tone::Hot).calm, "M69 16v-1h2v1z");
    }

    #[test]
    fn ticks_stand_at_round_times_of_the_viewer() {
        const MINUTE_NS: u64 = 60_000_000_000;
        let now = 1_795_183_471_000_000_000; // Fri 2026-11-20 14:04:31 UTC
        let hour = ticks(now - 60 * MINUTE_NS, now, &Zone::utc());
        let words: Vec<_> = hour.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(
            words,
            ["13:10", "13:20", "13:30", "13:40", "13:50", "14:00"]
        );
        assert_eq!(hour[0].0, "9.14");
        let week = ticks(
            now - 7 * 1_440 * MINUTE_NS,
            now,
            &Zone::named("Asia/Kolkata"),
        );
        assert_eq!(week[0].1, "14 Nov");
        let years = ticks(now / 2, now, &Zone::utc());
        assert!(years.len() <= 9 && years.len() >= 3, "{years:?}");
        assert!(ticks(now, now, &Zone::utc()).is_empty());
    }

    #[test]
    fn the_ribbon_marks_what_stands_out() {
        let (calm, hot) = ribbon_paths(&[0, 1, 2, 1, 12]);
        assert_eq!(calm, "M1.5 12v-1.0M2.5 12v-2.0M3.5 12v-1.0");
        assert_eq!(hot, "M4.5 12v-12.0");
        let (calm, hot) = ribbon_paths(&[0, 0, 0, 0, 2, 9]);
        assert_eq!(
            (calm.matches('M').count(), hot.matches('M').count()),
            (1, 1)
        );
        assert_eq!(ribbon_paths(&[0, 0]), (String::new(), String::new()));
    }
}
