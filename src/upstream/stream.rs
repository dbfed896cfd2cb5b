//! One socket, plain or under TLS, and its share of `limits.connections`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::client::TlsStream;

use crate::limit::frames::Purse;

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How much may still be read, as the stream and whoever waits for an answer know it.
///
/// Interim answers (1xx) are skipped by hyper, however many come. They are bounded together with
/// the head that ends them, as Go's client bounds them.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicU64>);

/// Bytes up to the end of a final head: more than twice the longest head that hyper reads, which may
/// have read as much again of the body before it is known that the head has come.
const UNTIL_HEAD: u64 = 1 << 20;

/// No bound.
const ANY: u64 = u64::MAX;

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(ANY)))
    }
}

impl Allowance {
    /// An answer's head is waited for.
    pub(super) fn until_head(&self) {
        self.0.store(UNTIL_HEAD, Ordering::Relaxed);
    }

    /// The head has come: its body has other bounds.
    pub(super) fn lift(&self) {
        self.0.store(ANY, Ordering::Relaxed);
    }

    /// So much was read.
    fn spend(&self, read: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == ANY {
            return Ok(());
        }
        match left.checked_sub(read as u64) {
            Some(left) => {
                self.0.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "interim answers without end")),
        }
    }
}

/// The permit goes back when the socket is closed, whoever held it last: a pool, an answer that
/// was still streaming, a tunnel.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    open: Arc<AtomicUsize>,
    allowance: Allowance,
    /// Over HTTP/2, and since when.
    purse: Option<Box<(Purse, Instant)>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Stream {
    /// `open` counts it while it lives.
    pub(super) fn new(transport: Transport, open: &Arc<AtomicUsize>, permit: Option<OwnedSemaphorePermit>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { transport, open: Arc::clone(open), allowance: Allowance::default(), purse: None, _permit: permit }
    }

    /// HTTP/2 is spoken over it, in which much may come that is no answer.
    pub(super) fn speaks_http2(&mut self) {
        self.purse = Some(Box::new((Purse::of_upstream(0), Instant::now())));
    }

    /// Counts what was just read.
    fn spend(&mut self, read: &[u8]) -> io::Result<()> {
        if let Some((purse, since)) = self.purse.as_deref_mut() {
            let now = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let useless = |_| io::Error::new(io::ErrorKind::InvalidData, "HTTP/2 frames that bring no answer");
            purse.pay(read, now).map_err(useless)?;
        }
        self.allowance.spend(read.len())
    }

    fn credit(&mut self, written: Poll<io::Result<usize>>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let (Some((purse, _)), Poll::Ready(Ok(written))) = (self.purse.as_deref_mut(), &written) {
            purse.credit(*written, bufs);
        }
        written
    }

    /// How much may be read from it.
    pub(super) fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }

    /// The other end's address: an egress proxy's, where there is one.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let tcp = match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Tls(tls) => tls.get_ref().0,
        };
        // A connection that is gone already has none.
        tcp.peer_addr().ok()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        })?;
        Poll::Ready(self.spend(buf.filled().get(before..).unwrap_or_default()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        self.credit(polled, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match (&mut self.transport, bufs) {
            // `send` costs less than `writev`.
            (Transport::Plain(tcp), [whole]) => Pin::new(tcp).poll_write(cx, whole),
            (Transport::Plain(tcp), _) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            (Transport::Tls(tls), _) => Pin::new(tls).poll_write_vectored(cx, bufs),
        };
        self.credit(polled, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(tcp) => tcp.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
