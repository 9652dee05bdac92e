//! Sockets: accepts connections, speaks HTTP/1.1 and h2c on the same port, and ends both in order.
//!
//! Bounded in connections, in header bytes and in the time a client may take to say something or to
//! read an answer.
//! Must never read a body: that is the handlers' business.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::access::Through;
use super::patient::Patient;
use crate::observe::{Metric, Metrics};

/// From accepting a connection, or from the end of a request, to the end of the next headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in flight may take when the server stops.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers of one request: SDKs send under 1 KiB, browsers with cookies under 8.
const HEADER_BYTES_MAX: u32 = 32 << 10;
/// Requests at a time on one HTTP/2 connection. A Collector uses tens; each holds a window.
const STREAMS_MAX: u32 = 128;
/// HTTP/2 flow control: enough for a typical batch without a round trip, bounded per connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// Pause after a failed accept (out of file descriptors): long enough for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Room for connections, shared by all listeners.
#[derive(Clone)]
pub(crate) struct Room {
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Room {
    /// `connections` is the setting `limits.connections`.
    pub(crate) fn new(connections: usize, metrics: Arc<Metrics>) -> Room {
        Room {
            slots: Arc::new(Semaphore::new(connections)),
            metrics,
        }
    }

    fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let slot = self.slots.clone().try_acquire_owned().ok();
        if slot.is_none() {
            self.metrics.add(Metric::ConnectionsRefused, &[], 1);
        }
        slot
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
                let Some(slot) = room.enter() else { continue };
                let through = Through { peer, bound };
                connections.spawn(connection(
                    stream,
                    through,
                    router.clone(),
                    slot,
                    stop.clone(),
                ));
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

async fn connection(
    stream: TcpStream,
    through: Through,
    router: Router,
    _slot: OwnedSemaphorePermit,
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
            Box::pin(router.clone().oneshot(request))
        }
    });
    let protocols = protocols();
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

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX as usize * 4);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    protocols
}
