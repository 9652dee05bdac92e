//! Sockets: accepts connections, speaks HTTP/1.1 and h2c on the same port, and ends both in order.
//!
//! Bounded in connections, in header bytes and in the time a client may take to say something or to
//! read an answer.
//! Must never read a body: that is the handlers' business.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::access::Through;
use super::patient::Patient;
use super::unread::{self, Crowded, FRAME_BYTES, Streams, Unread};
use crate::observe::{Metric, Metrics};

/// From accepting a connection, or from the end of a request, to the end of the next headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in flight may take when the server stops.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers of one request: SDKs send under 1 KiB, browsers with cookies under 8.
const HEADER_BYTES_MAX: u32 = 32 << 10;
/// Requests at a time on one HTTP/2 connection. A Collector uses tens; each holds a window.
const STREAMS_MAX: u32 = 128;
/// What a connection may buffer before its handler has taken it: how much of a body is read ahead
/// over HTTP/1.1, and the flow-control windows of HTTP/2.
#[derive(Clone, Copy, Debug)]
struct Buffers {
    http1: usize,
    stream: u32,
    connection: u32,
}

/// A typical batch without a round trip.
const LARGE: Buffers = Buffers {
    http1: 128 << 10,
    stream: 256 << 10,
    connection: 512 << 10,
};
/// When the budget's share for connections is used up: the smallest window that HTTP/2 knows for a
/// connection (RFC 9113 section 6.9.2). `limits.connections` bounds how many there are.
const SMALL: Buffers = Buffers {
    http1: HEADER_BYTES_MAX as usize,
    stream: 65_535,
    connection: 65_535,
};
/// Pause after a failed accept (out of file descriptors): long enough for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Room for connections, shared by all listeners.
#[derive(Clone)]
pub(crate) struct Room {
    slots: Arc<Semaphore>,
    /// Large buffers.
    buffers: Arc<Semaphore>,
    buffers_max: usize,
    unread: Unread,
    metrics: Arc<Metrics>,
}

/// A connection's place, and its large buffers if there were any left.
struct Place {
    _slot: OwnedSemaphorePermit,
    large: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// `connections` is the setting `limits.connections`, `buffer_bytes` what large buffers may take,
    /// `answer_bytes` what answers may that are not read yet.
    pub(crate) fn new(
        connections: usize,
        buffer_bytes: u64,
        answer_bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Room {
        let buffers_max = (buffer_bytes / u64::from(LARGE.connection)) as usize;
        Room {
            slots: Arc::new(Semaphore::new(connections)),
            buffers: Arc::new(Semaphore::new(buffers_max)),
            buffers_max,
            unread: Unread::new(answer_bytes),
            metrics,
        }
    }

    fn enter(&self) -> Option<Place> {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            self.metrics.add(Metric::ConnectionsRefused, &[], 1);
            return None;
        };
        Some(Place {
            _slot: slot,
            large: self.buffers.clone().try_acquire_owned().ok(),
        })
    }

    /// A large answer, counted until its connection has it.
    ///
    /// # Errors
    /// Too many wait for their readers.
    pub(super) async fn hold(&self, answer: Response<Body>) -> Result<Response<Body>, Crowded> {
        self.unread.hold(answer).await
    }

    /// Bytes of large answers that are not read yet.
    pub(crate) fn answer_bytes(&self) -> u64 {
        self.unread.bytes()
    }

    /// What connections with large buffers may have buffered.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        let large = self.buffers_max - self.buffers.available_permits();
        large as u64 * u64::from(LARGE.connection)
    }
}

/// Binds; the error names the setting.
pub(crate) async fn bind(setting: &str, addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr)
        .await
        .map_err(|e| format!("cannot listen on {addr}: {e}; change {setting}"))
}

/// Accepts until `stop`, then waits for the connections to finish, at most [`DRAIN_TIMEOUT`].
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    room: Room,
    stop: CancellationToken,
) {
    let bound = listener
        .local_addr()
        .map_or(IpAddr::from([0, 0, 0, 0]), |addr| addr.ip());
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Over the limit the connection is closed at once: the client sees it and retries.
                let Some(place) = room.enter() else { continue };
                let through = Through { peer, bound };
                let router = router.clone();
                connections.spawn(connection(stream, through, router, place, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    Ok(unread::watched(router.oneshot(request).await?))
}

async fn connection(
    stream: TcpStream,
    through: Through,
    router: Router,
    place: Place,
    stop: CancellationToken,
) {
    // Answers are written whole; waiting for more to send only delays them.
    _ = stream.set_nodelay(true);
    let spoken = Arc::new(AtomicBool::new(false));
    let service = hyper::service::service_fn({
        let spoken = spoken.clone();
        move |mut request: hyper::Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(through);
            // Boxed, so that a connection without a request does not hold room for one.
            Box::pin(answer(router.clone(), request))
        }
    });
    let protocols = protocols(if place.large.is_some() { LARGE } else { SMALL });
    let mut serving =
        std::pin::pin!(protocols.serve_connection(TokioIo::new(Patient::new(stream)), service));
    // Covers what the header timeout cannot see: a client that does not even finish the first
    // bytes by which HTTP/1.1 and HTTP/2 are told apart, or an HTTP/2 client without a request.
    let silence = tokio::time::sleep(HEADER_TIMEOUT);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => {}
        () = silent(silence, &spoken) => {}
    }
    serving.as_mut().graceful_shutdown();
    _ = tokio::time::timeout(DRAIN_TIMEOUT, serving).await;
}

/// Ends when the time is over and nothing was asked; never ends otherwise.
async fn silent(time: tokio::time::Sleep, spoken: &AtomicBool) {
    time.await;
    if spoken.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn protocols(buffers: Buffers) -> auto::Builder<Streams> {
    let mut protocols = auto::Builder::new(Streams::default());
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(buffers.http1);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(FRAME_BYTES)
        .initial_stream_window_size(buffers.stream)
        .initial_connection_window_size(buffers.connection);
    protocols
}
