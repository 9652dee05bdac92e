//! Answers that wait for their readers: how many bytes of them there may be, and for how long one
//! stream of HTTP/2 may leave its own unread.
//!
//! [`super::patient`] sees a socket that takes nothing. A client of HTTP/2 can read its socket and still
//! give a stream no window (RFC 9113 section 5.2); only the body of that answer knows, because nobody
//! asks it for more. Such a stream is reset; the others of its connection go on, as a proxy has those of
//! many people on one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::patient::{READ_BYTES_MIN, READ_TIME_MAX};

/// Smaller answers are not counted: there are as many as requests, and most are read at once.
const COUNTED_BYTES_MIN: u64 = 64 << 10;

/// How long an answer waits for those before it to be read.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Told to whoever waited in vain.
const RETRY_AFTER_S: u32 = 5;

/// Handed to HTTP/2 at a time, as much as a usual frame (RFC 9113 section 4.2). What was handed over is
/// out of our sight: that much of an answer can stay unread.
const FRAME_BYTES: usize = 16 << 10;

/// Bytes of large answers that are not sent yet.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    /// In KiB.
    room: Arc<Semaphore>,
    total: u32,
}

impl Unread {
    /// Room for so many bytes. An answer that is larger than all of it goes alone.
    pub(super) fn new(bytes: u64) -> Unread {
        let total = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        let total = total.min(Semaphore::MAX_PERMITS as u32);
        Unread {
            room: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Bytes of answers under way.
    pub(super) fn bytes(&self) -> u64 {
        (u64::from(self.total) - self.room.available_permits() as u64) << 10
    }

    /// The answer, counted until it is sent; a refusal if there is no room for it in time.
    pub(super) async fn hold(&self, answer: Response<Body>, version: Version) -> Response<Body> {
        let bytes = answer.body().size_hint().exact().unwrap_or(0);
        let mut held = None;
        if bytes >= COUNTED_BYTES_MIN {
            let n = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
            let room = self.room.clone().acquire_many_owned(n.min(self.total));
            match tokio::time::timeout(WAIT_MAX, room).await {
                Ok(Ok(permit)) => held = Some(permit),
                Ok(Err(_)) | Err(_) => return refusal(),
            }
        }
        let reader = match version {
            Version::HTTP_2 => READER.try_with(Clone::clone).ok(),
            _ => None,
        };
        if held.is_none() && reader.is_none() {
            return answer;
        }
        answer.map(|body| {
            Body::new(Paced {
                body,
                rest: Bytes::new(),
                reader,
                _held: held,
            })
        })
    }
}

fn refusal() -> Response<Body> {
    let why = "too many large answers wait for their readers; try again, or ask for less\n";
    let mut answer = Response::new(Body::from(why));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = answer.headers_mut();
    headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

tokio::task_local! {
    /// Of the stream that is being served.
    static READER: Arc<Reader>;
}

/// How far the reader of one answer is.
#[derive(Debug, Default)]
struct Reader {
    first: Notify,
    handed: AtomicU64,
    /// How often the answer had nothing to hand over: then nobody waits for its reader.
    idle: AtomicU64,
    waited_for: AtomicBool,
}

impl Reader {
    fn handed(&self, bytes: usize) {
        if self.handed.fetch_add(bytes as u64, Ordering::Relaxed) == 0 {
            self.first.notify_one();
        }
        self.waited_for.store(true, Ordering::Relaxed);
    }

    fn has_nothing(&self) {
        self.waited_for.store(false, Ordering::Relaxed);
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends when less than [`READ_BYTES_MIN`] were read in [`READ_TIME_MAX`] although there was more.
    async fn leaves(&self) {
        self.first.notified().await;
        let seen = || {
            let counts = [&self.handed, &self.idle];
            counts.map(|count| count.load(Ordering::Relaxed))
        };
        let mut before = seen();
        loop {
            tokio::time::sleep(READ_TIME_MAX).await;
            let now = seen();
            let slow = now[0] - before[0] < READ_BYTES_MIN as u64 && now[1] == before[1];
            if slow && self.waited_for.load(Ordering::Relaxed) {
                return;
            }
            before = now;
        }
    }
}

/// Spawns the streams of a connection, each with an eye on its reader.
#[derive(Clone, Debug)]
pub(super) struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let reader = Arc::new(Reader::default());
        let watched = reader.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = READER.scope(reader, stream) => {}
                // Dropped before its end, the stream is reset.
                () = watched.leaves() => {}
            }
        });
    }
}

/// A body that hands itself over in frames and tells its stream's [`Reader`].
struct Paced {
    body: Body,
    /// Of a frame that was longer than [`FRAME_BYTES`].
    rest: Bytes,
    reader: Option<Arc<Reader>>,
    _held: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(reader) = self.reader.clone() else {
            return Pin::new(&mut self.body).poll_frame(cx);
        };
        if self.rest.is_empty() {
            let next = Pin::new(&mut self.body).poll_frame(cx);
            if !matches!(next, Poll::Ready(Some(_))) {
                reader.has_nothing();
            }
            match ready!(next) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let n = self.rest.len().min(FRAME_BYTES);
        reader.handed(n);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(n)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all.set_lower(hint.lower() + rest);
        all
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use hyper_util::rt::TokioIo;
    use tokio::time::Instant;

    use super::*;

    const ANSWER_BYTES: usize = 300 << 10;

    /// One answer over HTTP/2 to a client that reads `bytes` a second: whether it came whole, and
    /// after how many seconds.
    async fn read_by(bytes: u32) -> (bool, u64) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let unread = Unread::new(1 << 20);
        let counted = unread.clone();
        let service = hyper::service::service_fn(move |_| {
            let unread = counted.clone();
            async move {
                let answer = Response::new(Body::from(vec![b'x'; ANSWER_BYTES]));
                Ok::<_, std::convert::Infallible>(unread.hold(answer, Version::HTTP_2).await)
            }
        });
        let server = hyper::server::conn::http2::Builder::new(Streams);
        tokio::spawn(server.serve_connection(TokioIo::new(ours), service));
        let mut settings = h2::client::Builder::new();
        settings.initial_window_size(bytes);
        let (mut client, connection) = settings
            .handshake::<_, Bytes>(theirs)
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::get("http://localhost/").body(());
        let request = request.expect("a request");
        let (answer, _) = client.send_request(request, true).expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        assert!(unread.bytes() > 0, "it is under way");
        let started = Instant::now();
        let (mut read, mut second) = (0, tokio::time::interval(Duration::from_secs(1)));
        let whole = loop {
            let chunk = tokio::select! {
                chunk = body.data() => chunk,
                _ = second.tick() => {
                    let flow = body.flow_control();
                    let used = flow.used_capacity();
                    flow.release_capacity(used).expect("it was used");
                    continue;
                }
            };
            match chunk {
                Some(Ok(chunk)) => read += chunk.len(),
                Some(Err(_)) => break false,
                None => break read == ANSWER_BYTES,
            }
        };
        tokio::task::yield_now().await;
        assert_eq!(unread.bytes(), 0, "sent or given up, it is not held");
        (whole, started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_is_reset() {
        assert_eq!(read_by(0).await, (false, 30));
        assert_eq!(read_by(1).await, (false, 30));
        let (whole, seconds) = read_by(4 << 10).await;
        assert!(whole && seconds > 60, "slow, but fast enough: {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn large_answers_wait_for_room_and_are_refused_in_time() {
        let unread = Unread::new(100 << 10);
        let answer = |bytes: usize| Response::new(Body::from(vec![b'x'; bytes]));
        let first = unread.hold(answer(200 << 10), Version::HTTP_11).await;
        assert_eq!(first.status(), 200, "larger than all room, it goes alone");
        let small = unread.hold(answer(1 << 10), Version::HTTP_11).await;
        assert_eq!(small.status(), 200, "small ones are not counted");
        let started = Instant::now();
        let second = unread.hold(answer(70 << 10), Version::HTTP_11).await;
        assert_eq!(
            (second.status().as_u16(), started.elapsed()),
            (503, WAIT_MAX)
        );
        assert_eq!(second.headers()[header::RETRY_AFTER], "5");
        drop(first);
        let third = unread.hold(answer(70 << 10), Version::HTTP_11).await;
        assert_eq!((third.status().as_u16(), unread.bytes()), (200, 70 << 10));
    }
}
