use proptest::prelude::*;

use super::bounds::exponential_bound;
use super::buckets::{encode, entries};
use super::*;

fn exponential(schema: i32, sum: f64, buckets: &[(i32, f64)]) -> Histogram {
    let (positive_spans, positive_counts) = encode(buckets.iter().copied());
    Histogram {
        schema,
        sum,
        count: positive_counts.iter().sum(),
        positive_spans,
        positive_counts,
        ..Histogram::default()
    }
}

/// Histograms of small integers: sums of them are exact in any order.
fn any_histogram() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::btree_map(-20..20i32, 0..50u32, 0..12);
    (-2..4i32, side(), side(), 0..9u32, 0..3usize).prop_map(|(schema, up, down, zero, width)| {
        let zero_threshold = [0.0, 0.001, 0.25][width];
        let floats = |side: std::collections::BTreeMap<i32, u32>| {
            let outside = side
                .into_iter()
                .filter(|(index, _)| exponential_bound(index - 1, schema) >= zero_threshold);
            encode(outside.map(|(index, count)| (index, f64::from(count))))
        };
        let (positive_spans, positive_counts) = floats(up);
        let (negative_spans, negative_counts) = floats(down);
        let counted: f64 = positive_counts.iter().chain(&negative_counts).sum();
        Histogram {
            schema,
            zero_threshold,
            zero_count: f64::from(zero),
            count: counted + f64::from(zero),
            sum: counted,
            positive_spans,
            positive_counts,
            negative_spans,
            negative_counts,
            ..Histogram::default()
        }
    })
}

/// Where both the resolution and the zero bucket differ, Prometheus widens the zero bucket at the finer
/// resolution, and a coarse bucket then overlaps it: nothing exact can be said.
fn comparable(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema || a.zero_threshold == b.zero_threshold
}

fn total(h: &Histogram) -> f64 {
    h.positive_counts
        .iter()
        .chain(&h.negative_counts)
        .sum::<f64>()
        + h.zero_count
}

proptest! {
    #[test]
    fn spans_have_an_inverse(buckets in prop::collection::btree_map(-1000..1000i32, 0..9u32, 0..40)) {
        let buckets: Vec<(i32, f64)> = buckets.into_iter().map(|(i, c)| (i, f64::from(c))).collect();
        let (spans, counts) = encode(buckets.iter().copied());
        prop_assert_eq!(entries(&spans, &counts).collect::<Vec<_>>(), buckets);
    }

    #[test]
    fn a_sum_counts_every_observation_once_and_in_either_order(a in any_histogram(), b in any_histogram()) {
        prop_assume!(comparable(&a, &b));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        prop_assert_eq!(ab.add(&b), Ok(()));
        prop_assert_eq!(ba.add(&a), Ok(()));
        ab.compact();
        ba.compact();
        prop_assert!(ab.equals(&ba), "{} {}", ab, ba);
        prop_assert_eq!(total(&ab), total(&a) + total(&b));
    }

    #[test]
    fn what_was_added_can_be_taken_away(a in any_histogram(), b in any_histogram()) {
        prop_assume!(comparable(&a, &b));
        let mut sum = a.clone();
        prop_assert_eq!(sum.add(&b), Ok(()));
        prop_assert!(!sum.is_reset_from(&a) || sum.schema != a.schema || sum.zero_threshold != a.zero_threshold);
        prop_assert_eq!(sum.subtract(&b), Ok(()));
        let mut expected = a.clone();
        expected.reduce(sum.schema);
        let (count, threshold) = expected.zero_count_at(sum.zero_threshold);
        prop_assert_eq!((sum.zero_count, sum.zero_threshold), (count, threshold));
        prop_assert_eq!(total(&sum), total(&a));
    }

    #[test]
    fn compacting_keeps_what_is_counted(a in any_histogram()) {
        let mut compact = a.clone();
        compact.compact();
        let filled = |h: &Histogram| h.all_buckets().into_iter().filter(|b| b.count != 0.0).collect::<Vec<_>>();
        prop_assert_eq!(filled(&compact), filled(&a));
        prop_assert!(!compact.positive_counts.contains(&0.0));
    }
}

#[test]
fn a_counter_that_lost_something_was_reset() {
    let check = |before: &Histogram, now: &Histogram, reset: bool| {
        assert_eq!(now.is_reset_from(before), reset, "{before} {now}");
    };
    let first = exponential(1, 3.0, &[(0, 1.0), (4, 2.0)]);
    check(&first, &first, false);
    check(
        &first,
        &exponential(1, 9.0, &[(0, 2.0), (2, 1.0), (4, 2.0)]),
        false,
    );
    check(&first, &exponential(1, 9.0, &[(0, 3.0), (4, 1.0)]), true);
    check(&first, &exponential(1, 9.0, &[(0, 5.0)]), true);
    check(&first, &exponential(0, 9.0, &[(0, 1.0), (2, 2.0)]), false);
    check(&first, &exponential(2, 9.0, &[(0, 5.0), (8, 9.0)]), true);
    let mut told = exponential(1, 0.0, &[]);
    told.reset = CounterReset::NotReset;
    check(&first, &told, false);
}

#[test]
fn a_histogram_is_written_with_its_buckets() {
    let mut h = exponential(0, 5.0, &[(0, 1.0), (1, 2.0)]);
    assert_eq!(h.to_string(), "{count:3, sum:5, (0.5,1]:1, (1,2]:2}");
    h.schema = CUSTOM_BUCKETS_SCHEMA;
    h.custom_bounds = vec![5.0];
    assert_eq!(h.to_string(), "{count:3, sum:5, [-Inf,5]:1, (5,+Inf]:2}");
    let bounds = Histogram {
        custom_bounds: vec![6.0],
        ..h.clone()
    };
    assert_eq!(h.add(&bounds), Err(Incompatible::Bounds));
    assert_eq!(h.add(&Histogram::default()), Err(Incompatible::Schema));
}
