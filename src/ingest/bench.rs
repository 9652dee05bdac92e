//! The steps of admission for benches; see `internals`.

use super::admit::{Terms, admit as admit_request};
use super::redact::{self, Redact};
use super::{Limits, dedup};
use crate::model::{ProjectId, Signal, Timestamp};

const CREDENTIALS: Redact = Redact {
    credentials: true,
    ..Redact::OFF
};

const ALL: Redact = Redact {
    credentials: true,
    cards: true,
    emails: true,
};

/// The key of dedup.
pub(crate) fn hash(bytes: &[u8], signal: Signal) -> usize {
    dedup::key(bytes, signal, ProjectId::DEFAULT) as usize
}

/// Masked values, with the default rules or all of them.
pub(crate) fn redact(mut bytes: Vec<u8>, signal: Signal, all: bool) -> usize {
    let rules = if all { ALL } else { CREDENTIALS };
    redact::redact(&mut bytes, signal, rules)
        .values()
        .sum::<u64>() as usize
}

/// 0: admitted as it is, 1: rewritten.
pub(crate) fn admit(bytes: Vec<u8>, signal: Signal, redact: bool) -> usize {
    let terms = Terms {
        signal,
        project: ProjectId::DEFAULT,
        received: Timestamp(u64::MAX),
        oldest: Timestamp(0),
        of_services: &[],
        limits: &Limits::default(),
        redact: if redact { CREDENTIALS } else { Redact::OFF },
    };
    match admit_request(bytes, terms) {
        Ok(admitted) => usize::from(admitted.rewritten.is_some()),
        Err(_) => usize::MAX,
    }
}
