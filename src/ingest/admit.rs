//! Admission of one request: masks secrets, checks every record, indexes it. A clean request is
//! decoded once and not copied; anything else takes the slow path of [`super::rewrite`].

use std::sync::Arc;

use super::limits::Limits;
use super::redact::{self, Masked, Redact};
use super::rewrite::{self, Rewritten, Rules};
use super::schema::{RESOURCE, SCOPE};
use super::spare::Spare;
use crate::model::chunk::Request;
use crate::model::wire::WireError;
use crate::model::{LogChunk, ProjectId, ResourceView, ScopeView, Signal, SpanChunk, Timestamp};
use crate::store::BatchChunk;

/// What admission needs to know about a request besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) signal: Signal,
    pub(super) project: ProjectId,
    pub(super) received: Timestamp,
    /// Records placed before this are past their retention.
    pub(super) oldest: Timestamp,
    /// The same for services with a retention of their own.
    pub(super) of_services: &'a [(String, Timestamp)],
    pub(super) limits: &'a Limits,
    pub(super) redact: Redact,
}

/// What records of a service must not be older than.
pub(super) fn oldest_of(
    service: impl FnOnce() -> String,
    of_services: &[(String, Timestamp)],
    oldest: Timestamp,
) -> Timestamp {
    if of_services.is_empty() {
        return oldest;
    }
    let service = service();
    let own = of_services.iter().find(|(name, _)| *name == service);
    own.map_or(oldest, |(_, own)| *own)
}

/// An admitted request.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) chunk: BatchChunk,
    /// The newest stamp of a record as sent; 0: none had one.
    pub(super) newest: Timestamp,
    pub(super) masked: Masked,
    /// What the slow path did; `None`: nothing had to be done. Its bytes are in `chunk`.
    pub(super) rewritten: Option<Rewritten>,
}

/// What a first look at a request found.
#[derive(Debug)]
pub(super) enum Look {
    Clean(Admitted),
    /// Something in it is not as it must be: it has to be written anew, and memory for that asked
    /// for first.
    Dirty(Dirty),
}

/// A masked request that is not clean.
#[derive(Debug)]
pub(super) struct Dirty {
    bytes: bytes::Bytes,
    masked: Masked,
}

/// Masks and indexes a request; its buffer goes to `spare` in the end.
pub(super) fn look(mut bytes: Vec<u8>, terms: Terms<'_>, spare: &Arc<Spare>) -> Look {
    let masked = redact::redact(&mut bytes, terms.signal, terms.redact);
    let bytes = spare.lend(bytes);
    let (newest, clean) = index(bytes.clone(), terms);
    match clean {
        Some(chunk) => Look::Clean(Admitted {
            chunk,
            newest,
            masked,
            rewritten: None,
        }),
        None => Look::Dirty(Dirty { bytes, masked }),
    }
}

impl Dirty {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Leaves out and cuts what breaks a rule.
    ///
    /// # Errors
    /// The frame around the records is malformed, so that they cannot be told apart.
    pub(super) fn rewrite(self, terms: Terms<'_>) -> Result<Admitted, WireError> {
        let rules = Rules {
            limits: terms.limits,
            signal: terms.signal,
            received: terms.received,
            oldest: terms.oldest,
            of_services: terms.of_services,
        };
        let mut rewritten = rewrite::rewrite(&self.bytes, rules)?;
        let bytes = std::mem::take(&mut rewritten.bytes).into();
        let (newest, clean) = index(bytes, terms);
        Ok(Admitted {
            chunk: clean.expect("what rewriting produces is clean (property test)"),
            newest,
            masked: self.masked,
            rewritten: Some(rewritten),
        })
    }
}

/// Both steps without a budget between them.
///
/// # Errors
/// As [`Dirty::rewrite`].
#[cfg(any(test, feature = "internals"))]
pub(super) fn admit(bytes: Vec<u8>, terms: Terms<'_>) -> Result<Admitted, WireError> {
    match look(bytes, terms, &Spare::new(0)) {
        Look::Clean(admitted) => Ok(admitted),
        Look::Dirty(dirty) => dirty.rewrite(terms),
    }
}

/// Indexes a request; `None` when anything in it is not as it must be.
fn index(bytes: bytes::Bytes, terms: Terms<'_>) -> (Timestamp, Option<BatchChunk>) {
    let request = Request {
        bytes,
        project: terms.project,
        received: terms.received,
    };
    let mut check = Check {
        terms,
        clean: true,
        newest: Timestamp(0),
        group: None,
        oldest: terms.oldest,
    };
    let chunk = match terms.signal {
        Signal::Logs => LogChunk::inspect(request, |log, bytes| {
            check.record(log.at, log.time, log.resource, log.scope, |limits| {
                limits.log_is_clean(log, bytes)
            });
        })
        .map(BatchChunk::Logs),
        Signal::Traces => SpanChunk::inspect(request, |span, bytes| {
            check.record(span.at, span.start, span.resource, span.scope, |limits| {
                limits.span_is_clean(span, bytes)
            });
        })
        .map(BatchChunk::Traces),
        Signal::Metrics => unreachable!("metrics have a door of their own"),
    };
    (check.newest, chunk.ok().filter(|_| check.clean))
}

struct Check<'t> {
    terms: Terms<'t>,
    clean: bool,
    newest: Timestamp,
    /// Addresses of the resource and scope last checked: consecutive records share them.
    group: Option<[usize; 2]>,
    /// Of that resource.
    oldest: Timestamp,
}

impl Check<'_> {
    #[inline]
    fn record(
        &mut self,
        at: Timestamp,
        sent: Timestamp,
        resource: &ResourceView<'_>,
        scope: &ScopeView<'_>,
        is_clean: impl FnOnce(&Limits) -> bool,
    ) {
        if !self.clean {
            return;
        }
        let limits = self.terms.limits;
        self.newest = self.newest.max(sent);
        let group = [resource.raw.as_ptr().addr(), scope.raw.as_ptr().addr()];
        if self.group != Some(group) {
            self.group = Some(group);
            let service = || resource.service().to_owned();
            self.oldest = oldest_of(service, self.terms.of_services, self.terms.oldest);
            self.clean = limits.is_clean(&RESOURCE, resource.raw)
                && limits.is_clean(&SCOPE, scope.raw)
                && resource.schema_url.len() <= limits.name_bytes
                && scope.schema_url.len() <= limits.name_bytes;
        }
        self.clean = self.clean && at >= self.oldest && is_clean(limits);
    }
}
