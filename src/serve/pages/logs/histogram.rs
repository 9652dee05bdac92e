//! The histogram above the lines: counts per bucket stacked by level, as SVG paths that stretch to
//! the page's width, one link per bucket. Positions are SVG attributes: the
//! Content-Security-Policy forbids inline style. It must never count anything itself.

use std::fmt::Write as _;

use crate::model::Level;
use crate::query;
use crate::serve::format::{self, Zone};
use crate::serve::page_url::PageUrl;
use crate::serve::pages::axis;

/// Height of the plot in pixels and in units of its view box.
const HEIGHT: f64 = 56.0;
/// Width of one bucket in units of the view box; a bar leaves one of them empty.
const PITCH: usize = 10;

/// Counts of one bucket, indexed by `Level as usize`.
type ByLevel = [u64; Level::ALL.len()];

/// View of `logs/histogram.html`.
pub(crate) struct Histogram {
    pub(crate) width: usize,
    pub(crate) stacks: Vec<Stack>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) y_ticks: Vec<axis::YTick>,
    pub(crate) x_ticks: Vec<axis::XTick>,
    pub(crate) per_bar: String,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

/// One colour of the stack with its share of the legend.
pub(crate) struct Stack {
    pub(crate) class: &'static str,
    pub(crate) words: &'static str,
    pub(crate) count: String,
    pub(crate) path: String,
}

/// The place of one bucket: a link that zooms into it.
pub(crate) struct Slot {
    pub(crate) x: usize,
    pub(crate) href: String,
    pub(crate) label: String,
}

/// Bottom to top. Error and fatal share a colour, as they share a meaning here.
const STACKS: [(&str, &str, &[Level]); 4] = [
    (
        "f-low",
        "other",
        &[Level::Unset, Level::Trace, Level::Debug],
    ),
    ("f-inf", "INF", &[Level::Info]),
    ("f-wrn", "WRN", &[Level::Warn]),
    ("f-err", "ERR, FTL", &[Level::Error, Level::Fatal]),
];

impl Histogram {
    /// `None` where there is nothing to draw.
    pub(crate) fn new(answer: &query::Histogram, url: &PageUrl, zone: &Zone) -> Option<Histogram> {
        let (first, last) = (answer.buckets.first()?, answer.buckets.last()?);
        let most = answer
            .buckets
            .iter()
            .map(|bucket| bucket.count)
            .max()
            .filter(|most| *most > 0)?;
        let top = axis::nice_above(most);
        let (start_ns, end_ns) = (first.start.0, last.end.0);
        Some(Histogram {
            width: answer.buckets.len() * PITCH,
            stacks: stacks(&by_level(answer), top),
            slots: slots(answer, url, zone),
            y_ticks: axis::y_ticks(top, HEIGHT),
            x_ticks: axis::x_ticks(start_ns, end_ns, zone),
            per_bar: axis::whole(answer.bucket_ns),
            start_ns,
            end_ns,
        })
    }
}

/// The answer's series, which are only the levels that occur, under their fixed numbers.
fn by_level(answer: &query::Histogram) -> Vec<ByLevel> {
    let levels: Vec<_> = answer
        .series
        .iter()
        .map(|name| Level::from_text(name))
        .collect();
    let counts = |bucket: &query::Bucket| {
        let mut counts = [0; Level::ALL.len()];
        for (level, count) in levels.iter().zip(&bucket.by) {
            counts[level.unwrap_or(Level::Unset) as usize] += count;
        }
        counts
    };
    answer.buckets.iter().map(counts).collect()
}

fn stacks(buckets: &[ByLevel], top: u64) -> Vec<Stack> {
    let mut floors = vec![0_u64; buckets.len()];
    let mut stacks = Vec::with_capacity(STACKS.len());
    for (class, words, levels) in STACKS {
        let (mut path, mut total) = (String::new(), 0_u64);
        for (at, (bucket, floor)) in buckets.iter().zip(&mut floors).enumerate() {
            let count: u64 = levels.iter().map(|level| bucket[*level as usize]).sum();
            if count == 0 {
                continue;
            }
            let y = |count: u64| HEIGHT - count as f64 / top as f64 * HEIGHT;
            let (low, high) = (y(*floor), y(*floor + count));
            // A single error among thousands of lines keeps one pixel.
            let high = high.min(low - 1.0).max(0.0);
            let low = low.max(high + 1.0);
            let (x, w) = (at * PITCH, PITCH - 1);
            write!(path, "M{x} {low:.1}V{high:.1}h{w}V{low:.1}z").expect("writing to a string");
            *floor += count;
            total += count;
        }
        if total > 0 {
            let count = format::count(total);
            stacks.push(Stack {
                class,
                words,
                count,
                path,
            });
        }
    }
    // The legend reads from the worst down.
    stacks.reverse();
    stacks
}

fn slots(answer: &query::Histogram, url: &PageUrl, zone: &Zone) -> Vec<Slot> {
    let pattern = if answer.bucket_ns < 1_000_000_000 {
        "%H:%M:%S%.3f"
    } else {
        "%-d %b %H:%M:%S"
    };
    let slot = |(at, bucket): (usize, &query::Bucket)| Slot {
        x: at * PITCH,
        href: axis::zoomed(url, bucket.start.0, bucket.end.0).to_string(),
        label: format!(
            "{}, {} lines",
            zone.print(bucket.start.0, pattern),
            bucket.count
        ),
    };
    answer
        .buckets
        .iter()
        .enumerate()
        .filter(|(_, bucket)| bucket.count > 0)
        .map(slot)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;
    use crate::model::Timestamp;
    use crate::query;
    use crate::serve::format::Zone;
    use crate::serve::page_url::PageUrl;

    const MINUTE_NS: u64 = 60_000_000_000;

    /// One bucket a minute with so many INFO and ERROR records.
    fn draw(counts: &[(u64, u64)]) -> Option<Histogram> {
        let bucket = |(at, (info, errors)): (usize, &(u64, u64))| query::Bucket {
            start: Timestamp(at as u64 * MINUTE_NS),
            end: Timestamp((at as u64 + 1) * MINUTE_NS),
            count: info + errors,
            by: vec![*info, *errors],
        };
        let answer = query::Histogram {
            bucket_ns: MINUTE_NS,
            series: vec!["INFO".to_owned(), "ERROR".to_owned()],
            buckets: counts.iter().enumerate().map(bucket).collect(),
            total: counts.iter().map(|(info, errors)| info + errors).sum(),
            stats: query::Stats {
                scanned_records: 0,
                scanned_bytes: 0,
                elapsed: Duration::ZERO,
                partial: None,
                searched: 1.0,
            },
        };
        Histogram::new(
            &answer,
            &PageUrl::new("/logs", "query=x&cursor=9"),
            &Zone::utc(),
        )
    }

    #[test]
    fn levels_are_stacked_and_errors_stay_visible() {
        let drawn = draw(&[(10, 0), (0, 0), (3999, 1)]).expect("there are lines");
        assert_eq!(drawn.width, 30);
        let classes: Vec<_> = drawn.stacks.iter().map(|stack| stack.class).collect();
        assert_eq!(classes, ["f-err", "f-inf"], "only what occurs");
        assert_eq!(drawn.stacks[0].path, "M20 1.0V0.0h9V1.0z");
        assert_eq!(drawn.slots.len(), 2, "an empty bucket is no link");
        assert_eq!(drawn.slots[1].label, "1 Jan 00:02:00, 4000 lines");
        let href = &drawn.slots[1].href;
        assert_eq!(
            href,
            "/logs?query=x&start=1970-01-01T00%3A02%3A00Z&end=1970-01-01T00%3A03%3A00Z"
        );
        assert_eq!(drawn.per_bar, "1 m");
    }

    #[test]
    fn nothing_is_drawn_for_nothing() {
        assert!(draw(&[(0, 0)]).is_none() && draw(&[]).is_none());
    }
}
