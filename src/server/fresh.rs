//! A client's plain byte stream: TCP or a Unix socket, with its first bytes looked at.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection's beginning: about what a client's first flight of TLS is, and more than most heads.
pub(super) const FIRST: usize = 2048;

/// Bytes of an answer, head and all, that are put together to be sent.
const SMALL: usize = 2048;

/// A plain stream.
#[derive(Debug)]
pub enum Plain {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A plain stream of which the first bytes may have been looked at: they are read again.
#[derive(Debug)]
pub(super) struct Fresh {
    plain: Plain,
    early: BytesMut,
}

impl Plain {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }
}

impl Fresh {
    /// A stream of which nothing has been read.
    pub(super) fn new(plain: Plain) -> Self {
        Self { plain, early: BytesMut::new() }
    }

    /// What has been looked at.
    pub(super) fn early(&self) -> &[u8] {
        &self.early
    }

    /// Looks at more, until it is this much at most. Says whether there was any.
    pub(super) async fn look(&mut self, most: usize) -> io::Result<bool> {
        let left = most.saturating_sub(self.early.len());
        if left == 0 {
            return Ok(false);
        }
        // Whoever says nothing takes no room.
        self.plain.readable().await?;
        self.early.reserve(left.min(FIRST));
        let mut room = bytes::BufMut::limit(&mut self.early, left);
        Ok(self.plain.read_buf(&mut room).await? > 0)
    }

    /// Whether there is something to read; an end and an error are something, too.
    pub(super) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.early.is_empty() {
            return Poll::Ready(());
        }
        match &self.plain {
            Plain::Tcp(stream) => stream.poll_read_ready(cx).map(drop),
            Plain::Unix(stream) => stream.poll_read_ready(cx).map(drop),
        }
    }

    /// Takes away what was looked at and is not for whoever reads on.
    pub(super) fn skip(&mut self, length: usize) {
        self.early.advance(length.min(self.early.len()));
    }
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for Fresh {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.plain).poll_read(cx, buf);
        }
        let take = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..take]);
        self.early.advance(take);
        if self.early.is_empty() {
            // Connections live long, and this was for their first moment.
            self.early = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Fresh {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.plain).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // `send` costs less than `writev`, by more than copying a small answer does.
        if let [whole] = bufs {
            return self.poll_write(cx, whole);
        }
        let length = bufs.iter().map(|part| part.len()).sum::<usize>();
        if length > SMALL {
            return Pin::new(&mut self.plain).poll_write_vectored(cx, bufs);
        }
        let mut together = [0; SMALL];
        let mut end = 0;
        for part in bufs {
            together[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        self.poll_write(cx, &together[..length])
    }

    fn is_write_vectored(&self) -> bool {
        self.plain.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.plain).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.plain).poll_shutdown(cx)
    }
}

/// Delegates the write half to whichever stream it is.
macro_rules! delegate_write {
    ($type:ty, $($variant:path),+) => {
        impl AsyncWrite for $type {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match &mut *self { $($variant(s) => Pin::new(s).poll_write(cx, buf),)+ }
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match &mut *self { $($variant(s) => Pin::new(s).poll_write_vectored(cx, bufs),)+ }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($variant(s) => s.is_write_vectored(),)+ }
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut *self { $($variant(s) => Pin::new(s).poll_flush(cx),)+ }
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut *self { $($variant(s) => Pin::new(s).poll_shutdown(cx),)+ }
            }
        }
    };
}

pub(super) use delegate_write;

delegate_write!(Plain, Self::Tcp, Self::Unix);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_all_parts_one_behind_the_other() {
        for lengths in [&[][..], &[5], &[126, 0, 1024], &[1, SMALL - 1], &[1, SMALL], &[SMALL + 1, 7, 9000]] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut stream = Fresh::new(Plain::Unix(ours));
            let parts: Vec<Vec<u8>> =
                lengths.iter().zip(b'a'..).map(|(length, letter)| vec![letter; *length]).collect();
            let bufs: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let sent = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &bufs)).await.unwrap();
            drop(stream);
            let mut came = Vec::new();
            theirs.read_to_end(&mut came).await.unwrap();
            assert_eq!((sent, came), (parts.concat().len(), parts.concat()), "{lengths:?}");
        }
    }
}
