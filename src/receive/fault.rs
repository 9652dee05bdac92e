//! Why a request gets no receipt, and how HTTP and gRPC say so (OTLP specification 1.10, "Failures").

use axum::http::StatusCode;
use tonic::Code;

use crate::ingest::Refusal;

/// One variant per answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The door's word.
    Refused(Refusal),
    /// Content-Type is missing or none of ours.
    ContentType(String),
    /// Content-Encoding or grpc-encoding is unknown, or more than one.
    Coding(String),
    /// A type or encoding that this way in does not take; the text says which ones it does.
    Unsupported(String),
    /// The bytes do not decompress.
    Compression(&'static str),
    /// Not the JSON, protobuf, Loki or gRPC message it claims to be.
    Malformed(String),
    /// Small state could not be written; the text is the database's.
    Unkept(String),
    /// The body did not arrive in time.
    Slow,
    /// The sender broke off.
    Gone,
    /// Another protocol than this port's.
    WrongPort(&'static str),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::Refused(refusal)
    }
}

/// What a sender whose body came too slowly is told to wait.
const SLOW_RETRY_S: u32 = 5;

impl Fault {
    /// A body over the limit.
    pub(crate) const fn too_large(bytes: u64, max: usize) -> Fault {
        Fault::Refused(Refusal::TooLarge {
            bytes,
            max: max as u64,
        })
    }

    pub(crate) const fn http_status(&self) -> StatusCode {
        match self {
            Fault::Refused(Refusal::Malformed(_))
            | Fault::Compression(_)
            | Fault::Malformed(_)
            | Fault::Gone
            | Fault::WrongPort(_) => StatusCode::BAD_REQUEST,
            Fault::Refused(Refusal::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Refused(Refusal::Overloaded { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Fault::Refused(Refusal::DiskFull | Refusal::Poisoned | Refusal::Closing) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Fault::ContentType(_) | Fault::Coding(_) | Fault::Unsupported(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            // Not 408: OTLP clients try again after 429, 502, 503 and 504 only.
            Fault::Slow | Fault::Unkept(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn grpc_code(&self) -> Code {
        match self {
            Fault::Refused(Refusal::Malformed(_)) | Fault::Compression(_) | Fault::Malformed(_) => {
                Code::InvalidArgument
            }
            Fault::Refused(Refusal::TooLarge { .. } | Refusal::Overloaded { .. }) => {
                Code::ResourceExhausted
            }
            Fault::Refused(Refusal::DiskFull | Refusal::Poisoned | Refusal::Closing) => {
                Code::Unavailable
            }
            Fault::ContentType(_)
            | Fault::Coding(_)
            | Fault::Unsupported(_)
            | Fault::WrongPort(_) => Code::Unimplemented,
            Fault::Unkept(_) => Code::Unavailable,
            Fault::Slow => Code::DeadlineExceeded,
            Fault::Gone => Code::Cancelled,
        }
    }

    /// Seconds after which the sender may try again; `None`: the same request will never do.
    pub(crate) const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Fault::Refused(refusal) => refusal.retry_after_s(),
            Fault::ContentType(_)
            | Fault::Coding(_)
            | Fault::Unsupported(_)
            | Fault::Compression(_)
            | Fault::Malformed(_)
            | Fault::Gone
            | Fault::WrongPort(_) => None,
            Fault::Slow | Fault::Unkept(_) => Some(SLOW_RETRY_S),
        }
    }

    /// A label of the metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Fault::Refused(refusal) => refusal.reason(),
            Fault::ContentType(_) => "content_type",
            Fault::Coding(_) => "content_encoding",
            Fault::Unsupported(_) => "unsupported",
            Fault::Compression(_) => "compression",
            Fault::Malformed(_) => "malformed",
            Fault::Unkept(_) => "unkept",
            Fault::Slow => "slow",
            Fault::Gone => "gone",
            Fault::WrongPort(_) => "wrong_port",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Refused(refusal) => refusal.fmt(f),
            Fault::ContentType(found) if found.is_empty() => f.write_str(
                "the request has no Content-Type: send application/x-protobuf or application/json",
            ),
            Fault::ContentType(found) => write!(
                f,
                "Content-Type {found:?} is not taken: send application/x-protobuf or application/json"
            ),
            Fault::Coding(found) => write!(
                f,
                "encoding {found:?} is not taken: send gzip, zstd or deflate, one of them, or none"
            ),
            Fault::Compression(coding) => write!(f, "the body is not valid {coding}"),
            Fault::Malformed(what) | Fault::Unsupported(what) | Fault::Unkept(what) => {
                f.write_str(what)
            }
            Fault::Slow => f.write_str("the body did not arrive within 30 s"),
            Fault::Gone => f.write_str("the sender broke off before the body was complete"),
            Fault::WrongPort(hint) => f.write_str(hint),
        }
    }
}
