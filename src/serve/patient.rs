//! A connection whose reader has to keep up: an answer waits in memory until it is read, and whoever
//! reads a byte a minute would hold it for days.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Within this time a reader that lets us wait takes at least [`READ_BYTES_MIN`].
pub(super) const READ_TIME_MAX: Duration = Duration::from_secs(30);
/// 64 KiB in 30 s is 17 kbit/s: slower than any telephone.
pub(super) const READ_BYTES_MIN: usize = 64 << 10;

/// The stream, and since when its reader lets us wait.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Pin<Box<Sleep>>,
    written: usize,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Patient<S> {
        Patient {
            stream,
            waiting: None,
        }
    }

    /// Looks at the outcome of a write.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match (&mut self.waiting, &outcome) {
            (_, Poll::Ready(Err(_))) | (None, Poll::Ready(Ok(_))) => return outcome,
            (Some(waiting), Poll::Ready(Ok(n))) => {
                waiting.written += n;
                if waiting.written >= READ_BYTES_MIN {
                    self.waiting = None;
                }
                return outcome;
            }
            (_, Poll::Pending) => {}
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            until: Box::pin(sleep(READ_TIME_MAX)),
            written: 0,
        });
        ready!(waiting.until.as_mut().poll(cx));
        let slow = "the answer is not read: the connection is closed";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// HTTP flushes when it has nothing more to write, so nobody lets us wait.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const ANSWER_BYTES: usize = 300 << 10;

    /// An answer to a reader that takes `bytes` a second: how it ended, and after how many seconds.
    async fn written_to(bytes: usize) -> (Result<(), io::ErrorKind>, u64) {
        let (ours, mut theirs) = duplex(1 << 10);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; bytes.max(1)];
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if bytes > 0 && theirs.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
        let started = Instant::now();
        let mut stream = Patient::new(ours);
        let wrote = stream.write_all(&vec![b'x'; ANSWER_BYTES]).await;
        reader.abort();
        (wrote.map_err(|e| e.kind()), started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_keep_up_is_left() {
        assert_eq!(written_to(0).await, (Err(io::ErrorKind::TimedOut), 30));
        assert_eq!(written_to(1).await, (Err(io::ErrorKind::TimedOut), 30));
        let (wrote, seconds) = written_to(4 << 10).await;
        assert_eq!(wrote, Ok(()), "slow, but fast enough");
        assert!(seconds > 60, "{seconds}");
    }

    /// A quiet connection with an answer now and then, as a live tail is.
    #[tokio::test(start_paused = true)]
    async fn pauses_between_answers_are_no_waiting() {
        let (ours, mut theirs) = duplex(1 << 10);
        let mut stream = Patient::new(ours);
        for _ in 0..5 {
            let answer = vec![b'x'; 3 << 10];
            let (wrote, read) = tokio::join!(
                async {
                    stream.write_all(&answer).await?;
                    stream.flush().await
                },
                async {
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    theirs.read_exact(&mut vec![0; 3 << 10]).await
                }
            );
            wrote.expect("read within 30 s");
            read.expect("written");
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
    }
}
