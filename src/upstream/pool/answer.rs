//! An answer's body, and what it keeps from others while it is read.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::link::{Busy, Return};

/// An answer's body; holds its connection until it has been read. Dropped half-read, it closes an
/// HTTP/1 connection and resets an HTTP/2 stream.
pub struct Answer {
    incoming: Incoming,
    lease: Lease,
    peer: Option<SocketAddr>,
}

/// What goes back when the body's end has been read.
pub(super) enum Lease {
    /// Nothing, or it went back already.
    None,
    /// The connection.
    Http1(Rc<dyn Return>),
    /// The stream's place among those that keep a connection from being idle.
    Http2(#[expect(dead_code, reason = "held for its drop")] Busy),
}

impl Answer {
    pub(super) fn new(incoming: Incoming, lease: Lease, peer: Option<SocketAddr>) -> Self {
        Self { incoming, lease, peer }
    }

    /// The address that it comes from: an egress proxy's, where there is one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Its connection carries no other request. For an answer that came before its request had been
    /// sent whole: who answers so may not read the rest, or read it as the next request.
    pub fn keep_to_itself(&mut self) {
        if let Lease::Http1(_) = self.lease {
            self.lease = Lease::None;
        }
    }

    fn read_to_end(&mut self) {
        if let Lease::Http1(link) = std::mem::replace(&mut self.lease, Lease::None) {
            link.go_back();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            // Whoever reads stops at the last byte or at the trailers, and does not ask for the end.
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.read_to_end();
                }
            }
            Poll::Ready(Some(Err(_))) => self.lease = Lease::None,
            Poll::Ready(None) => self.read_to_end(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    /// Who reads a body that is empty from the start does not ask for its end.
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.read_to_end();
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}
