//! Small charts as SVG paths: sparklines of tables and the time ribbon. Positions are attributes of
//! SVG, never inline style, which the Content-Security-Policy forbids.

use std::fmt::Write as _;

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
    pub(crate) ticks: Vec<String>,
    pub(crate) total: String,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

/// Paths of [`Ribbon`]: buckets well above what is usual in the range are hot.
pub(crate) fn ribbon_paths(counts: &[u64]) -> (String, String) {
    let max = counts.iter().copied().max().unwrap_or(0);
    let mut sorted: Vec<u64> = counts.iter().copied().filter(|count| *count > 0).collect();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let (mut calm, mut hot) = (String::new(), String::new());
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let share = *count as f64 / max as f64;
        let height = (share * RIBBON_HEIGHT).max(1.0);
        let path = if *count > usual.saturating_mul(3) {
            &mut hot
        } else {
            &mut calm
        };
        write!(path, "M{at}.5 12v-{height:.1}").expect("writing to a string");
    }
    (calm, hot)
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
    use super::{Spark, Tone, ribbon_paths, unusual_from};

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
    fn the_ribbon_marks_what_stands_out() {
        let (calm, hot) = ribbon_paths(&[0, 1, 2, 1, 12]);
        assert_eq!(calm, "M1.5 12v-1.0M2.5 12v-2.0M3.5 12v-1.0");
        assert_eq!(hot, "M4.5 12v-12.0");
        assert_eq!(ribbon_paths(&[0, 0]), (String::new(), String::new()));
    }
}
