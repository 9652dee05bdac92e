//! Answers that wait for their readers: how many bytes of them there may be, and for how long one
//! stream of HTTP/2 may leave its own unread.
//!
//! [`super::patient`] sees a socket that takes nothing. A client of HTTP/2 can read its socket and still
//! give a stream no window (RFC 9113 section 5.2); only the body of that answer knows, because nobody
//! asks it for more. Such a stream is reset; the others of its connection go on, as a proxy has those of
//! many people on one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::patient::{READ_BYTES_MIN, READ_TIME_MAX};

/// Smaller answers are not counted: there are as many as requests, and most are read at once.
const COUNTED_BYTES_MIN: u64 = 64 << 10;

/// How long an answer waits for those before it to be read.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Answers that wait so at once: they are in memory already.
const WAITING_MAX: usize = 8;

/// One answer takes at most one part in so many of the room, so that no slow reader of a large one
/// has it alone.
const PART: u32 = 4;

/// Handed over at a time, as much as a usual frame of HTTP/2 (RFC 9113 section 4.2): what was handed
/// over is out of our sight.
pub(super) const FRAME_BYTES: usize = 16 << 10;

/// Bytes of large answers that are not handed to their connections yet.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    /// In KiB.
    room: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    total: u32,
}

/// No room for a large answer.
#[derive(Debug)]
pub(super) struct Crowded;

impl Unread {
    /// Room for so many bytes.
    pub(super) fn new(bytes: u64) -> Unread {
        let total = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(PART);
        let total = total.min(Semaphore::MAX_PERMITS as u32);
        Unread {
            room: Arc::new(Semaphore::new(total as usize)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            total,
        }
    }

    /// Bytes of answers under way.
    pub(super) fn bytes(&self) -> u64 {
        (u64::from(self.total) - self.room.available_permits() as u64) << 10
    }

    /// The answer, counted until its connection has it. Its body is not compressed yet: then nobody
    /// would know its length.
    ///
    /// # Errors
    /// There was no room for it within [`WAIT_MAX`], or [`WAITING_MAX`] others wait.
    pub(super) async fn hold(&self, answer: Response<Body>) -> Result<Response<Body>, Crowded> {
        let left = answer.body().size_hint().exact().unwrap_or(0);
        if left < COUNTED_BYTES_MIN {
            return Ok(answer);
        }
        let n = kib(left).min(self.total / PART);
        let held = match self.room.clone().try_acquire_many_owned(n) {
            Ok(held) => held,
            Err(_) => {
                let _waits = self.waiting.try_acquire().map_err(|_| Crowded)?;
                let room = self.room.clone().acquire_many_owned(n);
                let held = tokio::time::timeout(WAIT_MAX, room).await;
                held.map_err(|_| Crowded)?.map_err(|_| Crowded)?
            }
        };
        Ok(answer.map(|body| {
            let frames = Frames::of(body);
            Body::new(Counted { frames, left, held })
        }))
    }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

/// A body that hands itself over in frames of at most [`FRAME_BYTES`].
struct Frames {
    body: Body,
    /// Of a frame that was longer.
    rest: Bytes,
}

impl Frames {
    fn of(body: Body) -> Frames {
        let rest = Bytes::new();
        Frames { body, rest }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let n = self.rest.len().min(FRAME_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(n)))))
    }

    fn is_end(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all.set_lower(hint.lower() + rest);
        all
    }
}

/// A large answer; gives its room back as it is handed over.
struct Counted {
    frames: Frames,
    left: u64,
    held: OwnedSemaphorePermit,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = ready!(self.frames.poll(cx));
        if let Some(Ok(frame)) = &next {
            let handed = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.left = self.left.saturating_sub(handed);
            let still = kib(self.left) as usize;
            let free = self.held.num_permits().saturating_sub(still);
            drop(self.held.split(free));
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.frames.size()
    }
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
    /// Streams of its connection, which share what the client reads.
    streams: Arc<AtomicUsize>,
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

    /// Ends when less than its share of [`READ_BYTES_MIN`] was read in [`READ_TIME_MAX`] although there
    /// was more.
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
            let share = READ_BYTES_MIN / self.streams.load(Ordering::Relaxed).max(1);
            let slow = now[0] - before[0] < share as u64 && now[1] == before[1];
            if slow && self.waited_for.load(Ordering::Relaxed) {
                return;
            }
            before = now;
        }
    }
}

/// Spawns the streams of one connection, each with an eye on its reader.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    running: Arc<AtomicUsize>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let running = self.running.clone();
        let reader = Arc::new(Reader {
            streams: running.clone(),
            ..Reader::default()
        });
        let watched = reader.clone();
        running.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let _one_less = OneLess(running);
            tokio::select! {
                () = READER.scope(reader, stream) => {}
                // Dropped before its end, the stream is reset.
                () = watched.leaves() => {}
            }
        });
    }
}

struct OneLess(Arc<AtomicUsize>);

impl Drop for OneLess {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answer of a stream of HTTP/2, told to its [`Reader`]; any other as it is.
pub(super) fn watched(answer: Response<Body>) -> Response<Body> {
    match READER.try_with(Clone::clone) {
        Ok(reader) => answer.map(|body| {
            let frames = Frames::of(body);
            Body::new(Watched { frames, reader })
        }),
        Err(_) => answer,
    }
}

struct Watched {
    frames: Frames,
    reader: Arc<Reader>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = self.frames.poll(cx);
        match &next {
            Poll::Ready(Some(Ok(frame))) => {
                self.reader.handed(frame.data_ref().map_or(0, Bytes::len));
            }
            Poll::Ready(_) | Poll::Pending => self.reader.has_nothing(),
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.frames.size()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt;
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
                let held = unread.hold(answer).await.expect("there is room");
                Ok::<_, std::convert::Infallible>(watched(held))
            }
        });
        let mut server = hyper::server::conn::http2::Builder::new(Streams::default());
        server.max_send_buf_size(FRAME_BYTES);
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

    fn answer(bytes: usize) -> Response<Body> {
        Response::new(Body::from(vec![b'x'; bytes]))
    }

    #[tokio::test(start_paused = true)]
    async fn large_answers_wait_for_room_and_are_refused_in_time() {
        let unread = Unread::new(400 << 10);
        let mut held = Vec::new();
        for _ in 0..4 {
            // Each takes a quarter at most, however large it is.
            held.push(unread.hold(answer(1 << 20)).await.expect("room"));
        }
        assert_eq!(unread.bytes(), 400 << 10);
        unread
            .hold(answer(1 << 10))
            .await
            .expect("small: not counted");
        let started = Instant::now();
        let refused = unread.hold(answer(70 << 10)).await;
        assert!(refused.is_err() && started.elapsed() == WAIT_MAX);
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let unread = unread.clone();
                tokio::spawn(async move { unread.hold(answer(70 << 10)).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        let started = Instant::now();
        let one_more = unread.hold(answer(70 << 10)).await;
        assert!(one_more.is_err() && started.elapsed() == Duration::ZERO);
        drop(held);
        let mut served = 0;
        for waiter in waiting {
            served += usize::from(waiter.await.expect("no panic"));
        }
        assert_eq!((served, unread.bytes()), (WAITING_MAX, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn room_comes_back_as_an_answer_is_handed_over() {
        let unread = Unread::new(1 << 20);
        let held = unread.hold(answer(160 << 10)).await.expect("room");
        assert_eq!(unread.bytes(), 160 << 10);
        let mut body = held.into_body();
        let mut left = 160 << 10;
        while let Some(frame) = body.frame().await {
            left -= frame.expect("whole").into_data().expect("data").len() as u64;
            assert_eq!(unread.bytes(), left);
        }
        assert_eq!(left, 0);
    }
}
