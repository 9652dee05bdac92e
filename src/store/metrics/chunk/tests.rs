//! Every codec gives back the bits it was given, is chosen where it should be, and no bytes make a
//! decoder panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::metric::{CounterReset, Histogram, NORMAL_NAN_BITS, STALE_NAN_BITS, Span};
use crate::store::segment::Grade;

const GRADES: [Grade; 2] = [Grade::Fresh, Grade::Final];

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Encodes and decodes; the bytes taken.
#[track_caller]
fn round_trip(values: &[f64], grade: Grade) -> Vec<u8> {
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    encode_floats(values, grade, &mut scratch, &mut out);
    let mut decoded = vec![7.5];
    decode_floats(&out, values.len(), &mut scratch, &mut decoded).expect("just encoded");
    assert_eq!(bits(&decoded[1..]), bits(values), "{grade:?}");
    out
}

/// A chunk of this codec (its byte on disk) and at most so many bytes.
#[track_caller]
fn check(values: &[f64], codec: u8, bytes_max: usize) {
    let out = round_trip(values, Grade::Fresh);
    assert_eq!(out[0] & 0x7f, codec, "codec of {values:?}");
    assert!(out.len() <= bytes_max, "{} bytes", out.len());
    round_trip(values, Grade::Final);
}

fn series(n: usize, value: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..n).map(value).collect()
}

/// Numbers without a pattern, as a hash gives them.
fn noise(i: usize) -> u64 {
    let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

#[test]
fn each_kind_of_series_gets_the_codec_that_is_made_for_it() {
    check(&series(240, |_| 0.1 + 0.2), 0, 9);
    // A gauge around a level, in hundredths.
    check(
        &series(240, |i| (5000 + noise(i) % 64) as f64 / 100.0),
        1,
        200,
    );
    // A counter: steps of four bits.
    check(
        &series(240, |i| {
            (1_000_000 + i * 100) as f64 + (noise(i) % 8) as f64
        }),
        2,
        140,
    );
    // Bytes in pages: what divides them is told once.
    check(
        &series(240, |i| (noise(i) % 16 * 4096 + (9 << 30)) as f64),
        1,
        140,
    );
    // A counter that starts again in the middle: one step is told apart.
    let reset = series(240, |i| ((i % 120) * 1000) as f64 + (noise(i) % 4) as f64);
    check(&reset, 2, 110);
    // The first value of another nature.
    let mut first = reset;
    first[0] = 9e14;
    check(&first, 2, 130);
    // Decimals that end: the marker is told apart.
    let mut ended = series(240, |i| i as f64 / 4.0);
    ended[239] = f64::from_bits(STALE_NAN_BITS);
    check(&ended, 2, 50);
    // Fractions that are no decimals, and repeat.
    check(&series(240, |i| 1.0 / ((i / 8) as f64 + 3.0)), 3, 360);
    check(&series(240, |i| f64::from_bits(noise(i) << 3)), 3, 2100);
}

#[test]
fn odd_values_come_back_to_the_bit() {
    let odd = [
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::from_bits(STALE_NAN_BITS),
        f64::from_bits(NORMAL_NAN_BITS),
        f64::from_bits(0xffff_ffff_ffff_ffff),
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_993.0,
        2f64.powi(51),
        -(2f64.powi(51)),
        2f64.powi(51) - 1.0,
        -1e-14,
        0.1,
        1e22,
    ];
    for grade in GRADES {
        round_trip(&odd, grade);
        round_trip(&odd[4..5], grade);
        for value in odd {
            // Alone, at each place among decimals, and before them.
            for place in [0, 1, 100, 199] {
                let mut values = series(200, |i| (i * i) as f64 / 10.0);
                values[place] = value;
                round_trip(&values, grade);
            }
            round_trip(&[value], grade);
            round_trip(&[value, 1.5], grade);
        }
    }
}

#[test]
fn the_last_level_takes_pco_where_it_is_smaller() {
    // A slow wave of full precision.
    let wave = series(1440, |i| (i as f64 / 100.0).sin());
    let out = round_trip(&wave, Grade::Final);
    assert_eq!(out[0], 4, "pco of floats");
    let fresh = round_trip(&wave, Grade::Fresh).len();
    assert!(out.len() < fresh, "{} of {fresh}", out.len());
}

/// Values as metrics have them: decimals that wander, with odd ones in between.
fn floats() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        8 => (-2000i64..2000).prop_map(|step| (step, None)),
        1 => any::<u64>().prop_map(|bits| (0, Some(f64::from_bits(bits)))),
        1 => any::<i64>().prop_map(|step| (step >> 12, None)),
    ];
    let exponent = prop_oneof![Just(0i32), 0..18i32];
    (proptest::collection::vec(value, 1..400), exponent).prop_map(|(steps, exponent)| {
        let mut sum = 0i64;
        let value = |(step, odd): (i64, Option<f64>)| {
            sum = sum.wrapping_add(step);
            odd.unwrap_or(sum as f64 / 10f64.powi(exponent))
        };
        steps.into_iter().map(value).collect()
    })
}

fn histogram(shape: u8, counts: &[u64]) -> Histogram {
    let span = |offset, length| Span { offset, length };
    let n = counts.len() as u32;
    let counts: Vec<f64> = counts.iter().map(|count| *count as f64 / 2.0).collect();
    Histogram {
        reset: [
            CounterReset::Unknown,
            CounterReset::Reset,
            CounterReset::NotReset,
            CounterReset::Gauge,
        ][usize::from(shape % 4)],
        schema: if shape & 4 == 0 { 3 } else { -53 },
        zero_threshold: f64::from(shape & 8) * 1e-128,
        zero_count: 3.0,
        count: counts.iter().sum(),
        sum: f64::from_bits(u64::from(shape) << 52 | 5),
        positive_spans: vec![span(-3, n), span(2, 0)],
        positive_counts: counts.clone(),
        negative_spans: if shape & 16 == 0 {
            Vec::new()
        } else {
            vec![span(i32::MIN, n)]
        },
        negative_counts: if shape & 16 == 0 { Vec::new() } else { counts },
        custom_bounds: if shape & 4 == 0 {
            Vec::new()
        } else {
            vec![0.5, f64::INFINITY]
        },
    }
}

fn histograms() -> impl Strategy<Value = Vec<Arc<Histogram>>> {
    let counts = proptest::collection::vec(0u64..1000, 0..6);
    let run = (any::<u8>(), counts, 1usize..9);
    let histograms = proptest::collection::vec(run, 1..6);
    histograms.prop_map(|runs| {
        let of_run = |(shape, counts, n): (u8, Vec<u64>, usize)| {
            (0..n as u64).map(move |i| {
                let counts: Vec<u64> = counts.iter().map(|count| count + i).collect();
                Arc::new(histogram(shape, &counts))
            })
        };
        runs.into_iter().flat_map(of_run).collect()
    })
}

/// Histograms by their bits: `sum` may be NaN.
fn told(histograms: &[Arc<Histogram>]) -> Vec<(u64, Histogram)> {
    let one = |histogram: &Arc<Histogram>| {
        let mut own = Histogram::clone(histogram);
        own.sum = 0.0;
        (histogram.sum.to_bits(), own)
    };
    histograms.iter().map(one).collect()
}

proptest! {
    #[test]
    fn floats_come_back(values in floats()) {
        for grade in GRADES {
            round_trip(&values, grade);
        }
    }

    #[test]
    fn any_bits_come_back(values in proptest::collection::vec(any::<u64>(), 1..200)) {
        let values: Vec<f64> = values.into_iter().map(f64::from_bits).collect();
        for grade in GRADES {
            round_trip(&values, grade);
        }
    }

    #[test]
    fn times_come_back(
        mut times in prop_oneof![
            proptest::collection::vec(any::<i64>(), 0..50),
            proptest::collection::vec(0i64..5_000_000, 0..300),
        ],
        even in any::<bool>(),
    ) {
        times.sort_unstable();
        times.dedup();
        if even {
            times = (0..times.len() as i64).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        }
        let mut out = Vec::new();
        encode_times(&times, &mut Vec::new(), &mut out);
        prop_assert!(!even || out.len() <= 12, "{} bytes", out.len());
        prop_assert_eq!(decode_times(&out, times.len()).expect("just encoded"), times);
    }

    #[test]
    fn histograms_come_back(histograms in histograms()) {
        for grade in GRADES {
            let (mut scratch, mut out) = (Scratch::default(), Vec::new());
            encode_histograms(&histograms, grade, &mut scratch, &mut out);
            let mut decoded = Vec::new();
            decode_histograms(&out, histograms.len(), &mut scratch, &mut decoded)
                .expect("just encoded");
            prop_assert_eq!(told(&decoded), told(&histograms));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        values in floats(),
        histograms in histograms(),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
        cut in any::<u16>(),
        wrong in 0usize..500,
    ) {
        let mut scratch = Scratch::default();
        for grade in GRADES {
            let mut chunks = [Vec::new(), Vec::new(), Vec::new()];
            encode_floats(&values, grade, &mut scratch, &mut chunks[0]);
            encode_histograms(&histograms, grade, &mut scratch, &mut chunks[1]);
            let times: Vec<i64> = (0..values.len() as i64).map(|i| i * i).collect();
            encode_times(&times, &mut Vec::new(), &mut chunks[2]);
            for chunk in &mut chunks {
                for (place, byte) in &changes {
                    let place = usize::from(*place) % chunk.len();
                    chunk[place] = *byte;
                }
                if cut % 3 == 0 {
                    chunk.truncate(usize::from(cut) % (chunk.len() + 1));
                }
                for n in [values.len(), histograms.len(), wrong] {
                    let _ = decode_floats(chunk, n, &mut scratch, &mut Vec::new());
                    let _ = decode_histograms(chunk, n, &mut scratch, &mut Vec::new());
                    let _ = decode_times(chunk, n);
                }
            }
        }
    }
}
