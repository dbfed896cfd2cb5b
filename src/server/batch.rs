//! What is written to an HTTP/2 connection in small pieces goes out together. Its library writes one frame of
//! DATA at a time and flushes behind each, so that the answers of many streams, though they are ready together, would
//! each cost a system call, a packet, and under TLS a record.
//!
//! What waits here is lost where a connection is dropped and not shut down, as after an error of its stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

/// Bytes that are put together at most: a record of TLS.
const MOST: usize = 16 * 1024;

/// What was written and has not been sent.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: BytesMut,
    /// Something was written since the last flush.
    grows: bool,
}

impl Batch {
    /// Takes all of this, or nothing where there is no room.
    pub(super) fn take(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        let length = bufs.iter().map(|part| part.len()).sum::<usize>();
        if self.bytes.len() + length > MOST {
            return None;
        }
        if self.bytes.is_empty() {
            self.bytes.reserve(MOST);
        }
        for part in bufs {
            self.bytes.extend_from_slice(part);
        }
        self.grows = true;
        Some(length)
    }

    /// Whether a flush may wait, since more may be written at once: the task is woken, and flushes again when those have
    /// run that are ready now. One before which nothing was written may not; so all is sent as soon as the connection
    /// has nothing to add, and when it is [`MOST`].
    pub(super) fn waits(&mut self, cx: &Context<'_>) -> bool {
        let waits = std::mem::take(&mut self.grows);
        if waits {
            cx.waker().wake_by_ref();
        }
        waits
    }

    /// Sends all there is.
    pub(super) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.bytes.advance(sent),
            }
        }
        // Whoever writes nothing for a while keeps no room for it.
        self.bytes = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    /// Takes so many bytes at a time, and is not ready behind each.
    #[derive(Default)]
    struct Slow {
        came: Vec<u8>,
        most: usize,
        ready: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.ready = !self.ready;
            if !self.ready {
                return Poll::Pending;
            }
            let length = bytes.len().min(self.most);
            self.came.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn slices(parts: &[Vec<u8>]) -> Vec<IoSlice<'_>> {
        parts.iter().map(|part| IoSlice::new(part)).collect()
    }

    #[test]
    fn it_takes_what_fits_and_sends_all_of_it() {
        let mut batch = Batch::default();
        let parts = [vec![1; 9], vec![2; 7000]];
        assert_eq!(batch.take(&slices(&parts)), Some(7009));
        assert_eq!(batch.take(&slices(&parts)), Some(7009));
        assert_eq!(batch.take(&slices(&parts)), None);
        assert_eq!(batch.take(&[IoSlice::new(&vec![3; MOST - 2 * 7009])]), Some(MOST - 2 * 7009));
        assert_eq!(batch.take(&[IoSlice::new(&[4])]), None);

        let mut cx = Context::from_waker(Waker::noop());
        let mut slow = Slow { most: 1000, ..Slow::default() };
        let mut polls = 0;
        while batch.poll_send(&mut slow, &mut cx).is_pending() {
            polls += 1;
        }
        assert_eq!(polls, MOST / 1000);
        let expected = [parts.concat(), parts.concat(), vec![3; MOST - 2 * 7009]].concat();
        assert!(slow.came == expected, "{} bytes", slow.came.len());
        assert_eq!(batch.bytes.capacity(), 0);
        assert_eq!(batch.take(&[IoSlice::new(&vec![0; MOST + 1])]), None);
        assert_eq!(batch.take(&[IoSlice::new(&vec![0; MOST])]), Some(MOST));
    }

    #[test]
    fn a_flush_waits_behind_a_write_and_the_next_one_does_not() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let mut batch = Batch::default();
        assert!(!batch.waits(&cx), "there is nothing");
        batch.take(&[IoSlice::new(b"a")]);
        assert!(batch.waits(&cx));
        batch.take(&[IoSlice::new(b"b")]);
        assert!(batch.waits(&cx));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(!batch.waits(&cx));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_stream_that_takes_nothing_is_an_error() {
        let mut batch = Batch::default();
        batch.take(&[IoSlice::new(b"a")]);
        let sent = batch.poll_send(&mut Slow::default(), &mut Context::from_waker(Waker::noop()));
        assert!(matches!(sent, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WriteZero));
    }
}
