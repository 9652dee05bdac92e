//! One page from a target: what is asked for, what is taken for an answer, and how much of it.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::write::GzDecoder;
use http::StatusCode;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT,
};

use super::client::{Answer, Client, Live};
use super::config::{Escaping, Job, Protocol};
use super::target::Target;
use crate::ingest::{Door, Permit, Refusal};
use crate::receive::exposition::{self, Format};

/// Memory asked for before the first byte of a page: most pages fit.
const FIRST_BYTES: usize = 64 << 10;

/// Compressed bytes inflated between two looks at the limit: at most 1,032 times as many come out.
const INFLATE_BYTES: usize = 1 << 10;

/// Lines and bytes that "scrape now" shows.
const PREVIEW_LINES: usize = 50;
const PREVIEW_BYTES: usize = 32 << 10;

/// A page in memory.
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    pub(super) format: Format,
    pub(super) permit: Permit,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum NoPage {
    /// What the target did; it is down.
    Failed(String),
    /// The body is longer than allowed.
    TooLarge(String),
    /// There is no memory for it here, or the server stops.
    NoRoom(Refusal),
}

impl From<String> for NoPage {
    fn from(error: String) -> NoPage {
        NoPage::Failed(error)
    }
}

/// Asks a target for its page. The caller limits the time.
pub(super) async fn page(
    client: &Client,
    connection: &mut Option<Live>,
    job: &Job,
    target: &Target,
    door: &Door,
) -> Result<Page, NoPage> {
    let mut permit = door.reserve(FIRST_BYTES).await.map_err(NoPage::NoRoom)?;
    let mut answer = client
        .get(connection, &target.url, &headers(job, target))
        .await?;
    check_status(&answer)?;
    let own_max = door.config().request_bytes;
    let limit = match usize::try_from(job.limits.body_bytes).unwrap_or(usize::MAX) {
        0 => own_max,
        limit => limit.min(own_max),
    };
    let mut body = Body::new(&answer, permit.buffer(FIRST_BYTES), limit);
    while let Some(chunk) = answer.chunk().await? {
        for piece in chunk.chunks(INFLATE_BYTES) {
            body.take(piece).map_err(|()| too_large(job, own_max))?;
            let capacity = body.capacity();
            if capacity > permit.bytes() {
                let more = capacity - permit.bytes();
                permit.grow(more).await.map_err(NoPage::NoRoom)?;
            }
        }
    }
    let format = format(&answer, job)?;
    let bytes = body.finish()?;
    Ok(Page {
        bytes,
        format,
        permit,
    })
}

fn check_status(answer: &Answer<'_>) -> Result<(), String> {
    match answer.status {
        StatusCode::OK => Ok(()),
        _ => Err(format!(
            "server returned HTTP status {}",
            answer.status_line()
        )),
    }
}

fn format(answer: &Answer<'_>, job: &Job) -> Result<Format, String> {
    let fallback = job.fallback.and_then(|protocol| match protocol {
        Protocol::Text004 | Protocol::Text100 => Some(Format::Prometheus),
        Protocol::OpenMetrics001 | Protocol::OpenMetrics100 => Some(Format::OpenMetrics),
        Protocol::Protobuf => None,
    });
    exposition::negotiate(answer.header(CONTENT_TYPE), fallback)
}

fn too_large(job: &Job, own_max: usize) -> NoPage {
    let own = job.limits.body_bytes == 0 || job.limits.body_bytes > own_max as u64;
    NoPage::TooLarge(match own {
        true => format!(
            "the page has more than {own_max} bytes, the largest that limits.request_bytes allows"
        ),
        false => "body size limit exceeded".to_owned(),
    })
}

/// A body as it grows.
enum Body {
    Plain {
        bytes: Vec<u8>,
        limit: usize,
    },
    Gzip {
        decoder: Box<GzDecoder<Vec<u8>>>,
        limit: usize,
    },
}

impl Body {
    fn new(answer: &Answer<'_>, buffer: Vec<u8>, limit: usize) -> Body {
        match answer.header(CONTENT_ENCODING) {
            Some(coding) if coding.eq_ignore_ascii_case("gzip") => Body::Gzip {
                decoder: Box::new(GzDecoder::new(buffer)),
                limit,
            },
            _ => Body::Plain {
                bytes: buffer,
                limit,
            },
        }
    }

    /// `Err`: it is longer than allowed. What is no gzip is told at the end.
    fn take(&mut self, piece: &[u8]) -> Result<(), ()> {
        let (length, limit) = match self {
            Body::Plain { bytes, limit } => {
                bytes.extend_from_slice(piece);
                (bytes.len(), *limit)
            }
            Body::Gzip { decoder, limit } => {
                _ = decoder.write_all(piece);
                (decoder.get_ref().len(), *limit)
            }
        };
        if length > limit { Err(()) } else { Ok(()) }
    }

    fn capacity(&self) -> usize {
        match self {
            Body::Plain { bytes, .. } => bytes.capacity(),
            Body::Gzip { decoder, .. } => decoder.get_ref().capacity(),
        }
    }

    fn finish(self) -> Result<Vec<u8>, NoPage> {
        match self {
            Body::Plain { bytes, .. } => Ok(bytes),
            Body::Gzip { decoder, limit } => {
                let bytes = decoder.finish().map_err(|error| format!("gzip: {error}"))?;
                match bytes.len() > limit {
                    true => Err(NoPage::TooLarge("body size limit exceeded".to_owned())),
                    false => Ok(bytes),
                }
            }
        }
    }
}

fn headers(job: &Job, target: &Target) -> Vec<(HeaderName, HeaderValue)> {
    let text = |text: &str| HeaderValue::from_str(text).expect("words and numbers are a header");
    let coding = if job.compression { "gzip" } else { "identity" };
    vec![
        (ACCEPT, text(&accept(&job.protocols, job.escaping))),
        (ACCEPT_ENCODING, text(coding)),
        (
            USER_AGENT,
            text(concat!("watchpost/", env!("CARGO_PKG_VERSION"))),
        ),
        (
            HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
            text(&target.timeout.as_secs_f64().to_string()),
        ),
    ]
}

/// Prometheus' `Accept` for these protocols. Protobuf is left out: it is not read here, and every
/// target that speaks it has a text form.
fn accept(protocols: &[Protocol], escaping: Escaping) -> String {
    let mut all = String::new();
    let mut weight = 6;
    for protocol in protocols {
        let (kind, escaped) = match protocol {
            Protocol::Protobuf => continue,
            Protocol::OpenMetrics001 => ("application/openmetrics-text;version=0.0.1", false),
            Protocol::OpenMetrics100 => ("application/openmetrics-text;version=1.0.0", true),
            Protocol::Text004 => ("text/plain;version=0.0.4", false),
            Protocol::Text100 => ("text/plain;version=1.0.0", true),
        };
        all.push_str(kind);
        if escaped {
            _ = write!(all, ";escaping={}", escaping.name());
        }
        _ = write!(all, ";q=0.{weight},");
        weight -= 1;
    }
    _ = write!(all, "*/*;q=0.{weight}");
    all
}

/// What "scrape now" shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preview {
    pub(crate) status: String,
    pub(crate) content_type: String,
    pub(crate) took_ms: u64,
    /// The first lines.
    pub(crate) text: String,
    /// There is more than is shown.
    pub(crate) cut: bool,
    pub(crate) error: Option<String>,
}

/// Asks a target and keeps nothing of it.
pub(super) async fn preview(client: &Client, job: &Job, target: &Target) -> Preview {
    let started = tokio::time::Instant::now();
    let mut preview = Preview::default();
    let look = look(client, job, target, &mut preview);
    let outcome = tokio::time::timeout(target.timeout, look).await;
    let outcome = outcome.unwrap_or_else(|_| Err(late(target)));
    preview.error = outcome.err();
    preview.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    preview
}

async fn look(
    client: &Client,
    job: &Job,
    target: &Target,
    preview: &mut Preview,
) -> Result<(), String> {
    let mut connection = None;
    let mut answer = client
        .get(&mut connection, &target.url, &headers(job, target))
        .await?;
    preview.status = answer.status_line();
    preview.content_type = answer.header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let mut body = Body::new(&answer, Vec::new(), PREVIEW_BYTES);
    let mut whole = true;
    'all: while let Some(chunk) = answer.chunk().await? {
        for piece in chunk.chunks(INFLATE_BYTES) {
            if body.take(piece).is_err() {
                whole = false;
                break 'all;
            }
        }
    }
    let bytes = match body {
        Body::Plain { bytes, .. } => bytes,
        Body::Gzip { mut decoder, .. } => {
            _ = decoder.flush();
            decoder.get_ref().clone()
        }
    };
    let shown = &bytes[..bytes.len().min(PREVIEW_BYTES)];
    let text = String::from_utf8_lossy(shown);
    preview.text = text
        .lines()
        .take(PREVIEW_LINES)
        .collect::<Vec<_>>()
        .join("\n");
    preview.cut = !whole || text.lines().count() > PREVIEW_LINES;
    check_status(&answer)?;
    format(&answer, job)?;
    Ok(())
}

/// Go's words for a time that is over.
pub(super) fn late(target: &Target) -> String {
    let timeout = super::config::show_duration(target.timeout);
    format!(
        "Get \"{}\": context deadline exceeded (scrape_timeout {timeout})",
        target.url
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_bomb_is_put_out_while_it_inflates() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..64 {
            packed.write_all(&vec![b'a'; 1 << 20]).expect("memory");
        }
        let packed = packed.finish().expect("memory");
        let decoder = Box::new(GzDecoder::new(Vec::new()));
        let mut body = Body::Gzip {
            decoder,
            limit: 1 << 20,
        };
        let taken = packed
            .chunks(INFLATE_BYTES)
            .position(|piece| body.take(piece).is_err());
        assert!(taken.is_some_and(|pieces| pieces < 32), "{taken:?}");
        assert!(body.capacity() < 8 << 20, "{}", body.capacity());
    }

    #[test]
    fn what_is_asked_for_is_what_prometheus_asks_for() {
        assert_eq!(
            accept(&Protocol::DEFAULT, Escaping::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept(
                &[Protocol::Protobuf, Protocol::Text004],
                Escaping::Underscores
            ),
            "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
        );
    }
}
