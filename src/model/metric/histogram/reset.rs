//! Whether two histograms are the same, and whether a counter began anew between them.

use super::arithmetic::same_bits;
use super::bounds::exponential_bound;
use super::buckets::{entries, reduced};
use super::{CounterReset, Histogram, Span};

impl Histogram {
    /// The same data, bit by bit, in the same buckets, empty ones included. What is known of resets
    /// does not count.
    pub(crate) fn equals(&self, other: &Histogram) -> bool {
        let bits = |h: &Histogram| [h.count, h.sum, h.zero_count].map(f64::to_bits);
        self.schema == other.schema
            && bits(self) == bits(other)
            && (!self.has_custom_bounds() || same_bits(&self.custom_bounds, &other.custom_bounds))
            && self.zero_threshold == other.zero_threshold
            && same_layout(&self.negative_spans, &other.negative_spans)
            && same_bits(&self.negative_counts, &other.negative_counts)
            && same_layout(&self.positive_spans, &other.positive_spans)
            && same_bits(&self.positive_counts, &other.positive_counts)
    }

    /// Whether the counter began anew since `previous`: something that was counted is missing, or the
    /// layout changed as only a restart can (Prometheus `FloatHistogram.DetectReset`).
    pub(crate) fn is_reset_from(&self, previous: &Histogram) -> bool {
        match self.reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count
            || self.has_custom_bounds() != previous.has_custom_bounds()
            || (self.has_custom_bounds()
                && !same_bits(&self.custom_bounds, &previous.custom_bounds))
            || self.schema > previous.schema
            || self.zero_threshold < previous.zero_threshold
        {
            return true;
        }
        let (zero_count, threshold) = previous.zero_count_at(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        let positive = (&self.positive_spans, &self.positive_counts);
        let negative = (&self.negative_spans, &self.negative_counts);
        self.has_lost(
            positive,
            (&previous.positive_spans, &previous.positive_counts),
            previous,
        ) || self.has_lost(
            negative,
            (&previous.negative_spans, &previous.negative_counts),
            previous,
        )
    }

    /// Whether a bucket of one side counts less than before.
    fn has_lost(
        &self,
        now: (&Vec<Span>, &Vec<f64>),
        before: (&Vec<Span>, &Vec<f64>),
        previous: &Histogram,
    ) -> bool {
        let hidden = |&(index, _): &(i32, f64)| {
            !self.has_custom_bounds()
                && exponential_bound(index, self.schema) <= self.zero_threshold
        };
        let now = entries(now.0, now.1).skip_while(hidden);
        if self.schema == previous.schema {
            return lost(now, entries(before.0, before.1).skip_while(hidden));
        }
        let before = reduced(before.0, before.1, previous.schema, self.schema);
        lost(now, before.into_iter().skip_while(hidden))
    }
}

fn lost(now: impl Iterator<Item = (i32, f64)>, before: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|bucket| bucket.0 < index).is_some() {}
        match now.peek() {
            Some(&(at, current)) if at == index => {
                if current < count {
                    return true;
                }
            }
            _ => {
                if count != 0.0 {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether spans describe the same buckets; spans of no length only move the next.
fn same_layout(a: &[Span], b: &[Span]) -> bool {
    let filled = |spans: &[Span]| {
        let mut offset = 0;
        let mut filled = Vec::with_capacity(spans.len());
        for span in spans {
            offset += span.offset;
            if span.length > 0 {
                filled.push((std::mem::take(&mut offset), span.length));
            }
        }
        filled
    };
    a == b || filled(a) == filled(b)
}
