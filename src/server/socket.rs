//! The byte stream of a client, plain or TLS, under watch.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::batch::Batch;
use super::fresh::{FIRST, Fresh, delegate_write};
use super::roster::Watch;
use crate::limit::frames::{PREFACE, Purse, THE_END};

/// The longest HTTP/2 frame that we take: what everybody must (RFC 9113 section 6.5.2).
const LONGEST: usize = 16 * 1024;

#[derive(Debug)]
enum Transport {
    Plain(Fresh),
    Tls(Box<TlsStream<Fresh>>),
}

/// A client's stream under watch.
#[derive(Debug)]
pub(super) struct Socket {
    transport: Transport,
    watch: Arc<Watch>,
    stall: Option<Pin<Box<Sleep>>>,
    /// When a connection that is closed on our side is read no longer, and how much of it is at most.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
    /// Over HTTP/2, until it is overdrawn.
    purse: Option<Box<Purse>>,
    /// Over HTTP/2, once its client was heard: one may wait for our first words before it says anything.
    batch: Option<Box<Batch>>,
    /// What is read in place of anything that its client still sends.
    end: Option<Bytes>,
    /// What was read and given back: it is read again first.
    again: Bytes,
}

/// How long a client that was answered before it had sent its body may go on sending it: less than
/// nginx's `lingering_time` of 30 s, since what is sent is for nothing.
const LINGER: Duration = Duration::from_secs(10);
/// How long, and for how many bytes, an HTTP/2 client may go on that has not heard yet that this is the
/// end: a way there and back, and what may be on it. One that floods us hears it no sooner if it may go on for longer.
const LAST_WORD: (Duration, usize) = (Duration::from_millis(500), 4 << 20);

impl Socket {
    /// A plain stream, and whether it begins with HTTP/2's preface.
    pub(super) async fn plain(mut stream: Fresh, watch: Arc<Watch>) -> io::Result<(Self, bool)> {
        let http2 = loop {
            let known = stream.early().len().min(PREFACE.len());
            if stream.early()[..known] != PREFACE[..known] {
                break false;
            }
            // Mostly all of a first head, so that it is read once.
            if known == PREFACE.len() || !stream.look(FIRST).await? {
                break known == PREFACE.len();
            }
        };
        Ok((Self::new(Transport::Plain(stream), watch, http2), http2))
    }

    /// What of a plain stream has been looked at.
    pub(super) fn early(&self) -> &[u8] {
        match &self.transport {
            Transport::Plain(stream) => stream.early(),
            Transport::Tls(_) => &[],
        }
    }

    /// A TLS stream whose handshake is over, and whether HTTP/2 was agreed on.
    pub(super) fn tls(stream: TlsStream<Fresh>, watch: Arc<Watch>) -> (Self, bool) {
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        (Self::new(Transport::Tls(Box::new(stream)), watch, http2), http2)
    }

    fn new(transport: Transport, watch: Arc<Watch>, http2: bool) -> Self {
        let purse = http2.then(|| Box::new(Purse::of_client(watch.now())));
        Self { transport, watch, stall: None, linger: None, purse, batch: None, end: None, again: Bytes::new() }
    }

    /// Takes back what was read of it, to be read again. Copied: an empty rest holds all of its buffer.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.again = Bytes::copy_from_slice(bytes);
    }

    /// Whether there is something to read; an end and an error are something, too.
    pub(super) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.again.is_empty() {
            return Poll::Ready(());
        }
        let stream = match &self.transport {
            Transport::Plain(fresh) => fresh,
            Transport::Tls(stream) => {
                let (fresh, session) = stream.get_ref();
                // What has been decrypted already is not in the socket any more.
                if !session.wants_read() {
                    return Poll::Ready(());
                }
                fresh
            }
        };
        stream.poll_heard(cx)
    }

    /// Counts the bytes that were just read. Where they cost too much, the rest of them goes, and
    /// the reader is shown an end.
    fn mind_cost(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(purse) = &mut self.purse else { return };
        // It has said something: what is written to it may wait from here on.
        self.batch.get_or_insert_default();
        let read = buf.filled().get(before..).unwrap_or_default();
        if let Err(length) = purse.pay(read, self.watch.now()) {
            tracing::debug!("connection closed: HTTP/2 frames without requests");
            self.purse = None;
            // The rest of a frame that has not come whole is made up; one that is longer than what
            // we said we take is refused by its length.
            let missing = length.saturating_sub(read.len()).min(LONGEST);
            buf.set_filled(before + length.min(read.len()));
            let mut end = BytesMut::zeroed(missing);
            end.extend_from_slice(THE_END);
            let end = self.end.insert(end.freeze());
            if buf.filled().len() == before {
                give(end, buf);
            }
        }
    }

    fn credit(&mut self, written: &Poll<io::Result<usize>>, bufs: &[IoSlice<'_>]) {
        let (Some(purse), Poll::Ready(Ok(written))) = (&mut self.purse, written) else { return };
        if purse.credit(*written, bufs) {
            self.watch.taken();
        }
    }

    /// A write that stands still for too long ends the connection: its client reads nothing.
    fn mind_stall<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.watch.is_unsent() {
                self.stall = None;
                self.watch.set_unsent(false);
            }
            return polled;
        }
        self.watch.set_unsent(true);
        let Some(patience) = self.watch.stall() else {
            self.stall = None;
            return Poll::Pending;
        };
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if stall.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        Poll::Pending
    }
}

/// Gives as much as there is room for.
fn give(bytes: &mut Bytes, buf: &mut ReadBuf<'_>) {
    let part = bytes.split_to(bytes.len().min(buf.remaining()));
    buf.put_slice(&part);
}

impl Socket {
    /// Reads and drops what still comes, until the client closes. Closed with bytes unread, the
    /// connection would be reset, and the answer perhaps be lost on its way (RFC 9112 section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (time, bytes) = if self.watch.is_http2() { LAST_WORD } else { (LINGER, usize::MAX) };
        let (end, left) = self.linger.get_or_insert_with(|| (Box::pin(tokio::time::sleep(time)), bytes));
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut dropped = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut dropped);
            let polled = match &mut self.transport {
                Transport::Plain(s) => Pin::new(s).poll_read(cx, &mut buf),
                Transport::Tls(s) => Pin::new(s).poll_read(cx, &mut buf),
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && *left > 0 => {
                    *left = left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

delegate_write!(Transport, Self::Plain, Self::Tls);

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Some(end) = &mut self.end {
            give(end, buf);
            return Poll::Ready(Ok(()));
        }
        if !self.again.is_empty() {
            give(&mut self.again, buf);
            self.watch.heard();
            return Poll::Ready(Ok(()));
        }
        let polled = match &mut self.transport {
            Transport::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Transport::Tls(s) => Pin::new(s).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.watch.heard();
            self.mind_cost(buf, before);
        }
        polled
    }
}

impl Socket {
    /// Puts a small piece to those that are sent together. `None` where it is sent by itself, for which there is nothing
    /// in its way any more.
    fn poll_batch(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<Option<usize>>> {
        let Some(batch) = &mut self.batch else { return Poll::Ready(Ok(None)) };
        let mut taken = batch.take(bufs);
        if taken.is_none() {
            let sent = batch.poll_send(&mut self.transport, cx);
            ready!(self.mind_stall(cx, sent))?;
            taken = self.batch.as_mut().and_then(|batch| batch.take(bufs));
        }
        if let Some(length) = taken {
            self.credit(&Poll::Ready(Ok(length)), bufs);
        }
        Poll::Ready(Ok(taken))
    }

    /// Sends what was put together.
    fn poll_batched(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.batch {
            Some(batch) => batch.poll_send(&mut self.transport, cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(taken) = ready!(self.poll_batch(cx, bufs))? {
            return Poll::Ready(Ok(taken));
        }
        let polled = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.credit(&polled, bufs);
        self.mind_stall(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.batch.as_mut().is_some_and(|batch| batch.waits(cx)) {
            return Poll::Ready(Ok(()));
        }
        let polled = match self.poll_batched(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.transport).poll_flush(cx),
            unsent => unsent,
        };
        self.mind_stall(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(self.poll_batched(cx))?;
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            if !self.watch.may_send_on() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::super::fresh::Plain;
    use super::*;

    /// Over HTTP/2, and its client.
    fn pair() -> (Socket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let transport = Transport::Plain(Fresh::new(Plain::Unix(ours)));
        (Socket::new(transport, Arc::default(), true), theirs)
    }

    /// What has come and not been read.
    fn came(client: &UnixStream) -> Vec<u8> {
        let mut bytes = vec![0; 100_000];
        let length = client.try_read(&mut bytes).unwrap_or_default();
        bytes.truncate(length);
        bytes
    }

    /// The next that comes.
    async fn comes(client: &UnixStream) -> Vec<u8> {
        let patience = Duration::from_secs(5);
        tokio::time::timeout(patience, client.readable()).await.unwrap().unwrap();
        came(client)
    }

    async fn hear(socket: &mut Socket, client: &mut UnixStream) {
        client.write_all(PREFACE).await.unwrap();
        let mut heard = vec![0; PREFACE.len()];
        socket.read_exact(&mut heard).await.unwrap();
    }

    #[tokio::test]
    async fn the_first_words_wait_for_nothing_and_later_ones_for_each_other() {
        let (mut socket, mut client) = pair();
        socket.write_all(b"settings").await.unwrap();
        socket.flush().await.unwrap();
        assert_eq!(comes(&client).await, b"settings", "before it has said anything");

        hear(&mut socket, &mut client).await;
        for piece in [&b"head"[..], b"data", b"head"] {
            socket.write_all(piece).await.unwrap();
            socket.flush().await.unwrap();
            assert_eq!(came(&client), b"");
        }
        socket.flush().await.unwrap();
        assert_eq!(comes(&client).await, b"headdatahead");
    }

    #[tokio::test]
    async fn what_waits_goes_before_a_piece_that_does_not_and_before_the_end() {
        let (mut socket, mut client) = pair();
        hear(&mut socket, &mut client).await;
        let large = vec![b'x'; 50_000];
        socket.write_all(b"small").await.unwrap();
        socket.write_all(&large).await.unwrap();
        socket.write_all(b"last").await.unwrap();
        let mut read = vec![0; 5 + large.len()];
        client.read_exact(&mut read).await.unwrap();
        assert!(read == [&b"small"[..], &large].concat());
        assert_eq!(came(&client), b"");
        poll_fn(|cx| {
            // Its end waits for the client's; what is sent before does not.
            let _ = Pin::new(&mut socket).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(comes(&client).await, b"last");
    }
}
