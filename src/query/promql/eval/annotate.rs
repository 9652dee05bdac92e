//! Annotations: what an answer tells beside its values, in the words of Prometheus 3.5
//! (`util/annotations`).

use std::cell::RefCell;
use std::fmt;

use crate::model::metric::go_general;

use super::super::ast::Place;

/// Annotations that one answer keeps; a query that makes more has the same trouble many times.
const NOTES_MAX: usize = 1_000;

/// What there is to tell. Texts with a metric's name get it beside this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Note {
    InvalidQuantile(f64),
    InvalidRatio(f64, f64),
    MixedFloatsHistograms,
    MixedFloatsHistogramsAggregation,
    MixedClassicNative,
    NotCounter,
    NotGauge,
    MixedSchemas,
    IncompatibleBounds,
    IncompatibleLayout(&'static str),
    PossibleNonCounter,
    ForcedMonotonicity,
    IncompatibleTypes(&'static str, &'static str, &'static str),
    IgnoredInAggregation(&'static str),
    IgnoredInMixedRange,
    QuantileNan,
    QuantileSkewed,
    FractionNans,
}

/// What a note says of a metric's name.
enum Naming {
    None,
    /// `... "name"`.
    Bare,
    /// `... for metric name "name"`, also where no name is left.
    Told,
}

impl Note {
    fn is_warning(self) -> bool {
        match self {
            Note::InvalidQuantile(_)
            | Note::InvalidRatio(..)
            | Note::MixedFloatsHistograms
            | Note::MixedFloatsHistogramsAggregation
            | Note::MixedClassicNative
            | Note::NotCounter
            | Note::NotGauge
            | Note::MixedSchemas
            | Note::IncompatibleBounds
            | Note::IncompatibleLayout(_) => true,
            Note::PossibleNonCounter
            | Note::ForcedMonotonicity
            | Note::IncompatibleTypes(..)
            | Note::IgnoredInAggregation(_)
            | Note::IgnoredInMixedRange
            | Note::QuantileNan
            | Note::QuantileSkewed
            | Note::FractionNans => false,
        }
    }

    fn naming(self) -> Naming {
        match self {
            Note::MixedFloatsHistograms
            | Note::NotCounter
            | Note::NotGauge
            | Note::MixedSchemas
            | Note::IncompatibleBounds
            | Note::PossibleNonCounter
            | Note::IgnoredInMixedRange => Naming::Bare,
            Note::MixedClassicNative
            | Note::ForcedMonotonicity
            | Note::QuantileNan
            | Note::QuantileSkewed
            | Note::FractionNans => Naming::Told,
            Note::InvalidQuantile(_)
            | Note::InvalidRatio(..)
            | Note::MixedFloatsHistogramsAggregation
            | Note::IncompatibleLayout(_)
            | Note::IncompatibleTypes(..)
            | Note::IgnoredInAggregation(_) => Naming::None,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Note::InvalidQuantile(q) => {
                let q = go_general(q);
                return write!(f, "quantile value should be between 0 and 1, got {q}");
            }
            Note::InvalidRatio(ratio, to) => {
                let [ratio, to] = [ratio, to].map(go_general);
                let text = "ratio value should be between -1 and 1";
                return write!(f, "{text}, got {ratio}, capping to {to}");
            }
            Note::IncompatibleLayout(op) => {
                let text = "incompatible bucket layout encountered for binary operator";
                return write!(f, "{text} {op}");
            }
            Note::IncompatibleTypes(left, op, right) => {
                let text = "incompatible sample types encountered for binary operator";
                return write!(f, "{text} \"{op}\": {left} {op} {right}");
            }
            Note::IgnoredInAggregation(op) => {
                return write!(f, "ignored histogram in {op} aggregation");
            }
            Note::MixedFloatsHistograms => {
                "encountered a mix of histograms and floats for metric name"
            }
            Note::MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation"
            }
            Note::MixedClassicNative => "vector contains a mix of classic and native histograms",
            Note::NotCounter => "this native histogram metric is not a counter:",
            Note::NotGauge => "this native histogram metric is not a gauge:",
            Note::MixedSchemas => {
                "vector contains a mix of histograms with exponential and custom buckets schemas \
                 for metric name"
            }
            Note::IncompatibleBounds => {
                "vector contains histograms with incompatible custom buckets for metric name"
            }
            Note::PossibleNonCounter => {
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"
            }
            Note::ForcedMonotonicity => {
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            }
            Note::IgnoredInMixedRange => {
                "ignored histograms in a range containing both floats and histograms for metric \
                 name"
            }
            Note::QuantileNan => "input to histogram_quantile has NaN observations, result is NaN",
            Note::QuantileSkewed => {
                "input to histogram_quantile has NaN observations, result is skewed higher"
            }
            Note::FractionNans => {
                "input to histogram_fraction has NaN observations, which are excluded from all \
                 fractions"
            }
        };
        f.write_str(text)
    }
}

#[derive(Clone, Debug)]
struct Told {
    warning: bool,
    text: String,
    start: usize,
}

/// The annotations of one answer; each text once, however often it comes up.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What was told last: most notes repeat themselves step by step, and need not be written again.
    last: RefCell<Option<(Note, String, usize)>>,
    told: RefCell<Vec<Told>>,
}

impl Notes {
    pub(super) fn add(&self, note: Note, place: &Place) {
        self.add_named(note, "", place);
    }

    pub(super) fn add_named(&self, note: Note, metric: &str, place: &Place) {
        let mut last = self.last.borrow_mut();
        let repeated = last.as_ref().is_some_and(|(known, name, start)| {
            *known == note && name == metric && *start == place.start
        });
        if repeated {
            return;
        }
        *last = Some((note, metric.to_owned(), place.start));
        let text = match note.naming() {
            Naming::None => note.to_string(),
            Naming::Bare => format!("{note} {metric:?}"),
            Naming::Told => format!("{note} for metric name {metric:?}"),
        };
        self.push(note.is_warning(), text, place.start);
    }

    /// A bucket of a classic histogram whose `le` is no number.
    pub(super) fn bad_bucket(&self, label: &str, metric: &str, place: &Place) {
        let text = "bucket label \"le\" is missing or has a malformed value of";
        let text = format!("{text} {label:?} for metric name {metric:?}");
        self.push(true, text, place.start);
    }

    fn push(&self, warning: bool, text: String, start: usize) {
        let mut told = self.told.borrow_mut();
        if let Some(same) = told.iter_mut().find(|known| known.text == text) {
            same.start = start;
        } else if told.len() < NOTES_MAX {
            told.push(Told {
                warning,
                text,
                start,
            });
        }
    }

    /// Warnings and infos with their place as line and byte, both from one.
    pub(super) fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for note in self.told.borrow().iter() {
            let before = query.as_bytes().get(..note.start).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let line_start = before.iter().rposition(|byte| *byte == b'\n');
            let column = note.start - line_start.map_or(0, |at| at + 1) + 1;
            let (list, kind) = match note.warning {
                true => (&mut warnings, "warning"),
                false => (&mut infos, "info"),
            };
            list.push(format!("PromQL {kind}: {} ({line}:{column})", note.text));
        }
        warnings.sort_unstable();
        infos.sort_unstable();
        (warnings, infos)
    }
}
