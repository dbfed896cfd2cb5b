//! A worker's own connections to one upstream.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{SendError, Upstream};

/// How one request is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The patience for a fresh connection.
    pub connect: Duration,
    /// Whether a pooled connection will do; `false` dials.
    pub reuse: bool,
    /// Whether the request asks for an upgrade: dialled, as HTTP/1.1, and never pooled.
    pub upgrade: bool,
}

/// One worker's connections to one upstream. `B` is the body that is sent.
#[derive(Debug)]
pub struct Pool<B> {
    upstream: Arc<Upstream>,
    body: std::marker::PhantomData<B>,
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool.
    pub fn new(upstream: Arc<Upstream>) -> Rc<Self> {
        Rc::new(Self { upstream, body: std::marker::PhantomData })
    }

    /// What it connects to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Sends on a pooled connection, or on a fresh one. A request that a pooled connection gives
    /// back unsent goes out on a fresh one. The connection returns to the pool when the answer's
    /// body has been read to its end.
    pub async fn send(self: &Rc<Self>, request: Request<B>, plan: Plan) -> Result<Response<Answer>, SendError<B>> {
        let _ = (request, plan);
        todo!()
    }

    /// Closes what has been idle or alive for too long; called by the worker's tick.
    pub fn reap(&self, now: Instant) {
        let _ = now;
        todo!()
    }
}

/// An answer's body; holds its connection until it has been read.
#[derive(Debug)]
pub struct Answer {
    incoming: Incoming,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
