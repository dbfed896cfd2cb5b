//! One connection, as the pool holds it, and one request's way over it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Instant;

use bytes::Bytes;
use http::header::TE;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};

use super::answer::Lease;
use super::sending::Answering;
use super::{Answer, Pool, SendError};
use crate::upstream::stream::Allowance;
use crate::upstream::{EgressError, Target, Upstream, egress, wire};

/// A way over which a request can be sent.
pub(super) enum Link<B> {
    /// A connection that is ours alone until its answer has been read.
    Http1(Rc<Http1<B>>),
    /// A connection shared with others.
    Http2(Http2<B>),
    /// A connection dialled for an upgrade.
    Upgrade(Upgrade<B>),
}

/// A connection for one request, which may become a tunnel.
pub(super) struct Upgrade<B> {
    pub(super) sender: http1::SendRequest<B>,
    pub(super) upstream: std::sync::Arc<Upstream>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) allowance: Allowance,
}

/// Why a link has no answer's head.
pub(super) enum Failure<B> {
    /// Nothing was sent; here it is again, as HTTP/1 wants it.
    Unsent(Box<Request<B>>, hyper::Error),
    /// That was it.
    Over(SendError<B>),
}

impl<B> Failure<B>
where
    B: Body<Data = Bytes>,
{
    fn new(mut error: TrySendError<Request<B>>, reused: bool, upstream: &Upstream) -> Self {
        match error.take_message() {
            Some(mut request) => {
                wire::as_http1(&mut request, &upstream.target.origin);
                if upstream.forwarder().is_some() {
                    egress::take_back(&mut request);
                }
                Self::Unsent(Box::new(request), error.into_error())
            }
            None => Self::Over(SendError::Broken { cause: error.into_error(), reused }),
        }
    }
}

impl<B> Link<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Nothing is sent over it after all.
    pub(super) fn give_back(self) {
        match self {
            Self::Http1(link) => link.go_back(),
            // The pool has it; one for an upgrade is of no use to anybody else.
            Self::Http2(_) | Self::Upgrade(..) => {}
        }
    }

    pub(super) async fn send(self, request: Request<B>) -> Result<Response<Answer>, Failure<B>> {
        match self {
            Self::Http1(link) => link.begin(request).await,
            Self::Http2(link) => link.send(request).await,
            Self::Upgrade(Upgrade { mut sender, upstream, peer, allowance }) => {
                let mut request = request;
                wire::as_http1(&mut request, &upstream.target.origin);
                // It was for HTTP/2, which was not agreed on.
                request.headers_mut().remove(TE);
                allowance.until_head();
                let response =
                    sender.try_send_request(request).await.map_err(|error| Failure::new(error, false, &upstream))?;
                allowance.lift();
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    sound(&response)?;
                }
                // The sender goes here: without an upgrade the connection ends with its answer.
                Ok(response.map(|incoming| Answer::new(incoming, Lease::None, peer)))
            }
        }
    }
}

fn sound<B>(response: &Response<Incoming>) -> Result<(), Failure<B>> {
    wire::framing(response).map_err(|fault| Failure::Over(SendError::Malformed(fault)))
}

/// An HTTP/1 connection: one allocation for all its requests, in which also answers find it.
pub(super) struct Http1<B> {
    sender: RefCell<http1::SendRequest<B>>,
    pool: Weak<Pool<B>>,
    upstream: std::sync::Arc<Upstream>,
    peer: Option<SocketAddr>,
    allowance: Allowance,
    born: Instant,
    idle_since: Cell<Instant>,
    used: Cell<bool>,
}

/// A connection as an answer knows it: something to give back.
pub(super) trait Return {
    /// The answer has been read to its end.
    fn go_back(self: Rc<Self>);
}

impl<B> Http1<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(
        sender: http1::SendRequest<B>,
        peer: Option<SocketAddr>,
        allowance: Allowance,
        pool: &Rc<Pool<B>>,
    ) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            sender: RefCell::new(sender),
            pool: Rc::downgrade(pool),
            upstream: std::sync::Arc::clone(&pool.upstream),
            peer,
            allowance,
            born: now,
            idle_since: Cell::new(now),
            used: Cell::new(false),
        })
    }

    /// Hands a request to the connection; what is returned waits for its answer.
    pub(super) fn begin(
        self: Rc<Self>,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<Answer>, Failure<B>>> {
        wire::as_http1(&mut request, &self.upstream.target.origin);
        // It was for HTTP/2, which was not agreed on: over HTTP/1.1 it would have to be nominated.
        request.headers_mut().remove(TE);
        if let Some(proxy) = self.upstream.forwarder() {
            egress::absolute(&mut request, &self.upstream.target.origin, proxy);
        }
        let reused = self.used.replace(true);
        self.allowance.until_head();
        let answering = self.sender.borrow_mut().try_send_request(request);
        Answering::new(answering, self, reused)
    }

    /// What the connection answered.
    pub(super) fn answer(
        self: Rc<Self>,
        answered: Result<Response<Incoming>, TrySendError<Request<B>>>,
        reused: bool,
    ) -> Result<Response<Answer>, Failure<B>> {
        let response = answered.map_err(|error| Failure::new(error, reused, &self.upstream))?;
        self.allowance.lift();
        if self.upstream.forwarder().is_some() && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            // It is not the upstream that asks, and not the client that could answer.
            return Err(Failure::Over(SendError::Egress(EgressError::Refused(response.status()))));
        }
        sound(&response)?;
        let peer = self.peer;
        if !wire::may_be_reused(&response) {
            return Ok(response.map(|incoming| Answer::new(incoming, Lease::None, peer)));
        }
        // Ready for the next request means that hyper has sent the request and read this answer's last
        // byte, also where it has not been handed on yet: most small answers come in one piece.
        if self.is_ready() {
            self.go_back();
            return Ok(response.map(|incoming| Answer::new(incoming, Lease::None, peer)));
        }
        Ok(response.map(|incoming| Answer::new(incoming, Lease::Http1(self), peer)))
    }

    fn is_ready(&self) -> bool {
        self.sender.borrow().is_ready()
    }

    pub(super) fn is_old(&self, now: Instant, target: &Target) -> bool {
        now.saturating_duration_since(self.born) >= target.age
    }

    /// Whether it may carry another request. That it is ready is a hint: the upstream's close may
    /// be on its way, and hyper then gives the request back.
    pub(super) fn may_be_used(&self, now: Instant, target: &Target) -> bool {
        self.is_ready()
            && !self.is_old(now, target)
            && now.saturating_duration_since(self.idle_since.get()) < target.idle
    }

    pub(super) fn rest(&self, now: Instant) {
        self.idle_since.set(now);
    }
}

impl<B> Return for Http1<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn go_back(self: Rc<Self>) {
        let Some(pool) = self.pool.upgrade() else { return };
        if self.is_ready() {
            pool.check_in(self);
        } else if !self.sender.borrow().is_closed() {
            // Rare: the upstream answered before the request's body was sent, or the connection
            // is being closed. Which of the two shows later.
            tokio::task::spawn_local(async move {
                if poll_fn(|cx| self.sender.borrow_mut().poll_ready(cx)).await.is_ok()
                    && let Some(pool) = self.pool.upgrade()
                {
                    pool.check_in(self);
                }
            });
        }
    }
}

/// An HTTP/2 connection, shared: a clone is one request's handle.
pub(super) struct Http2<B> {
    sender: http2::SendRequest<B>,
    upstream: std::sync::Arc<Upstream>,
    peer: Option<SocketAddr>,
    born: Instant,
    streams: Rc<Streams>,
}

impl<B> Clone for Http2<B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            upstream: std::sync::Arc::clone(&self.upstream),
            peer: self.peer,
            born: self.born,
            streams: Rc::clone(&self.streams),
        }
    }
}

/// What makes an HTTP/2 connection idle or not.
struct Streams {
    open: Cell<usize>,
    idle_since: Cell<Instant>,
    answered: Cell<bool>,
}

/// One stream that is not done.
pub(super) struct Busy(Rc<Streams>);

impl Busy {
    fn new(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

impl<B> Http2<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(sender: http2::SendRequest<B>, peer: Option<SocketAddr>, pool: &Rc<Pool<B>>) -> Self {
        let now = Instant::now();
        let streams = Streams { open: Cell::new(0), idle_since: Cell::new(now), answered: Cell::new(false) };
        Self { sender, upstream: std::sync::Arc::clone(&pool.upstream), peer, born: now, streams: Rc::new(streams) }
    }

    async fn send(mut self, mut request: Request<B>) -> Result<Response<Answer>, Failure<B>> {
        wire::as_http2(&mut request, &self.upstream.target.origin);
        let busy = Busy::new(&self.streams);
        let answering = self.sender.try_send_request(request);
        let response =
            answering.await.map_err(|error| Failure::new(error, self.streams.answered.get(), &self.upstream))?;
        self.streams.answered.set(true);
        sound(&response)?;
        let lease = if response.body().is_end_stream() { Lease::None } else { Lease::Http2(busy) };
        Ok(response.map(|incoming| Answer::new(incoming, lease, self.peer)))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it may carry another request.
    pub(super) fn may_be_used(&self, now: Instant, target: &Target) -> bool {
        !self.is_closed()
            && now.saturating_duration_since(self.born) < target.age
            && (!self.is_idle() || now.saturating_duration_since(self.streams.idle_since.get()) < target.idle)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.open.get() == 0
    }
}
