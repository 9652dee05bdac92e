//! What admission did with a request: told to its sender, and counted where the request becomes
//! durable, whether or not the sender is still there. Must never count a request twice.

use std::collections::BTreeMap;

use super::Receipt;
use super::redact::Masked;
use super::rewrite::{Reason, Rewritten};
use super::writer::{Outcome, Stored};
use crate::model::Signal;
use crate::model::record::SERVICE_UNKNOWN;
use crate::observe::sources::{Seen, Sources};
use crate::observe::{Metric, Metrics};
use crate::store::BatchChunk;

/// What admission did, for the sender and the counters.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) signal: Signal,
    accepted: u64,
    masked: BTreeMap<&'static str, u64>,
    rewritten: Rewritten,
    seen: Vec<Seen>,
    /// Records that never reached admission.
    pub(super) left_out: u64,
}

impl Report {
    pub(super) fn new(
        signal: Signal,
        chunk: &BatchChunk,
        masked: &Masked,
        rewritten: Rewritten,
        seen: Vec<Seen>,
    ) -> Report {
        Report {
            signal,
            accepted: match chunk {
                BatchChunk::Logs(chunk) => chunk.entries.len() as u64,
                BatchChunk::Traces(chunk) => chunk.entries.len() as u64,
                BatchChunk::Metrics(chunk) => chunk.samples,
            },
            masked: masked.iter().map(|(rule, n)| (rule.name(), *n)).collect(),
            rewritten,
            seen,
            left_out: 0,
        }
    }

    /// Rejections are told one by one up to a few; what was cut or mended is told too, because the
    /// sender can do something about it.
    pub(super) fn receipt(&self) -> Receipt {
        let (accepted, noun) = (self.accepted, self.noun());
        let Rewritten {
            rejected,
            truncated,
            mended,
            told,
            ..
        } = &self.rewritten;
        let mut parts = Vec::new();
        if *rejected > 0 {
            let more = match *rejected as usize - told.len() {
                0 => String::new(),
                n => format!("; {n} more"),
            };
            let all = accepted + rejected;
            let told = told.join("; ");
            parts.push(format!("{rejected} of {all} {noun} rejected: {told}{more}"));
        }
        if *truncated > 0 {
            parts.push(format!(
                "{truncated} {} over a limit were cut and marked with {} (limits.*)",
                noun,
                super::TRUNCATED
            ));
        }
        if *mended > 0 {
            parts.push(format!("{mended} strings were not UTF-8 and got U+FFFD"));
        }
        Receipt {
            accepted,
            rejected: *rejected,
            message: (!parts.is_empty()).then(|| parts.join(". ")),
            deduplicated: false,
        }
    }

    const fn noun(&self) -> &'static str {
        match self.signal {
            Signal::Traces => "spans",
            Signal::Logs => "log records",
            Signal::Metrics => "samples",
        }
    }

    /// Counts what became of the request: kept now, known from before, or refused by the writer.
    pub(super) fn count(self, outcome: &Outcome, metrics: &Metrics, sources: &Sources) {
        let signal = self.signal.name();
        match outcome {
            Ok(Stored::Now) => {}
            Ok(Stored::Before) => return metrics.add(Metric::Deduplicated, &[signal], 1),
            Err(refusal) => return metrics.add(Metric::Refused, &[signal, refusal.reason()], 1),
        }
        for (rule, n) in &self.masked {
            metrics.add(Metric::Redacted, &[signal, rule], *n);
        }
        metrics.add(Metric::Mended, &[signal], self.rewritten.mended);
        let malformed = [signal, SERVICE_UNKNOWN, Reason::Malformed.name()];
        metrics.add(Metric::Rejected, &malformed, self.left_out);
        for (service, tally) in &self.rewritten.services {
            for (reason, n) in &tally.rejected {
                metrics.add(Metric::Rejected, &[signal, service, reason.name()], *n);
            }
            for (cut, n) in &tally.truncated {
                metrics.add(Metric::Truncated, &[signal, service, cut.name()], *n);
            }
        }
        for seen in self.seen {
            metrics.add(Metric::Accepted, &[signal, &seen.key.service], seen.records);
            sources.seen(seen);
        }
    }
}
