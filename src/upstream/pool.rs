//! A worker's own connections to one upstream.
//!
//! Everything here runs on one thread: no lock, no atomic but those of `limits.connections`. On a
//! warm request nothing is allocated or spawned: HTTP/1 connections lie on a stack and are taken
//! from its top, so that a burst's surplus grows idle at the bottom.

mod answer;
mod dial;
mod link;
mod sending;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::sync::oneshot;

use super::connect::Spoken;
use super::{ConnectError, Elsewhere, Envelope, Returned, SendError, Upstream};
use crate::telemetry::metrics::Sheet;
use dial::Dialling;
use link::{Failure, Http1, Http2, Link};
use sending::{Sending, Way};

pub use answer::Answer;

/// Fresh connections that may give one request back before it is given back to the caller: an
/// upstream that accepts and closes at once may be restarting, one that does so twice is not well.
const FRESH_TRIES: u32 = 2;

/// How one request is to be sent.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The patience for a fresh connection.
    pub connect: Duration,
    /// Whether a pooled connection will do; `false` dials.
    pub reuse: bool,
    /// Whether the request asks for an upgrade: dialled, as HTTP/1.1, and never pooled.
    pub upgrade: bool,
    /// Asked right before a request leaves that had to wait for its connection: a no keeps it here.
    pub still: Option<&'a dyn Fn() -> bool>,
}

/// One worker's connections to one upstream. `B` is the body that is sent.
///
/// Dropping it closes the idle connections; answers that are still streaming finish.
pub struct Pool<B> {
    upstream: Arc<Upstream>,
    /// Where its connections are counted.
    sheet: Option<Arc<Sheet>>,
    /// The top of the stack was used last.
    idle: RefCell<Vec<Rc<Http1<B>>>>,
    /// Where HTTP/2 is spoken: the one connection that all requests share.
    shared: RefCell<Option<Http2<B>>>,
    /// A dial under way that may end in HTTP/2.
    dialling: RefCell<Option<Rc<Dialling>>>,
    /// What the last connection spoke.
    spoken: Cell<Option<Spoken>>,
    /// Requests of this worker that wait below `limits.connections`, and their order.
    waiting: Cell<usize>,
    queue: RefCell<VecDeque<oneshot::Sender<Rc<Http1<B>>>>>,
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool, whose connections nobody counts.
    pub fn new(upstream: Arc<Upstream>) -> Rc<Self> {
        Self::empty(upstream, None)
    }

    /// An empty pool, whose connections are counted on this worker's sheet.
    pub fn counted(upstream: Arc<Upstream>, sheet: Arc<Sheet>) -> Rc<Self> {
        Self::empty(upstream, Some(sheet))
    }

    fn empty(upstream: Arc<Upstream>, sheet: Option<Arc<Sheet>>) -> Rc<Self> {
        Rc::new(Self {
            upstream,
            sheet,
            idle: RefCell::default(),
            shared: RefCell::new(None),
            dialling: RefCell::new(None),
            spoken: Cell::new(None),
            waiting: Cell::new(0),
            queue: RefCell::default(),
        })
    }

    /// What it connects to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Sends what is in an envelope to this pool's upstream: another one is not opened.
    ///
    /// It goes on a pooled connection, or on a fresh one. A request that a pooled connection gives
    /// back unsent goes out on a fresh one. The connection returns to the pool when the answer's
    /// body has been read to its end.
    ///
    /// The request's target is in origin form, with a `Host`; for HTTP/2 both are put as HTTP/2
    /// wants them. Its extensions go along: hyper writes header names as recorded there, if they
    /// are. Must run where tasks may be local (`spawn_local`). Dropping the future closes an HTTP/1
    /// connection and resets an HTTP/2 stream.
    pub fn deliver<'p>(
        self: &'p Rc<Self>,
        envelope: Envelope<'_, B>,
        plan: Plan<'p>,
    ) -> impl Future<Output = Result<Response<Answer>, SendError<B>>> + use<'p, B> {
        self.begin(envelope.open(&self.upstream), plan)
    }

    #[cfg(test)]
    fn send<'p>(
        self: &'p Rc<Self>,
        request: Request<B>,
        plan: Plan<'p>,
    ) -> impl Future<Output = Result<Response<Answer>, SendError<B>>> + use<'p, B> {
        self.begin(Ok(request), plan)
    }

    fn begin<'p>(
        self: &'p Rc<Self>,
        request: Result<Request<B>, Elsewhere>,
        plan: Plan<'p>,
    ) -> impl Future<Output = Result<Response<Answer>, SendError<B>>> + use<'p, B> {
        let cold = move |request| Box::pin(self.send_cold(request, plan));
        // A warm request is handed to its connection at once, and carries no room about for what others need.
        let pooled = || if plan.reuse && !plan.upgrade { self.pop_idle() } else { None };
        let way = match request {
            Err(Elsewhere) => Way::None,
            Ok(request) => match pooled() {
                Some(link) => Way::Warm { answer: link.begin(request) },
                None => Way::Cold { answer: cold(request) },
            },
        };
        Sending::new(way, move |back| plan.still.is_none_or(|still| still()).then(|| cold(back)))
    }

    async fn send_cold(
        self: &Rc<Self>,
        mut request: Request<B>,
        plan: Plan<'_>,
    ) -> Result<Response<Answer>, SendError<B>> {
        if plan.reuse && !plan.upgrade {
            while let Some(link) = self.check_out() {
                match link.send(request).await {
                    Ok(response) => return Ok(response),
                    Err(Failure::Over(error)) => return Err(error),
                    Err(Failure::Unsent(back, _)) => {
                        self.forget_closed();
                        request = *back;
                        if plan.still.is_some_and(|still| !still()) {
                            return Err(SendError::Unwanted);
                        }
                    }
                }
            }
        }
        // Boxed, so that a request over HTTP/2 does not carry the dial's state about.
        Box::pin(self.send_fresh(request, plan)).await
    }

    async fn send_fresh(
        self: &Rc<Self>,
        mut request: Request<B>,
        plan: Plan<'_>,
    ) -> Result<Response<Answer>, SendError<B>> {
        let mut tries = FRESH_TRIES;
        loop {
            let link = if plan.upgrade { self.dial_upgrade(plan.connect).await } else { self.dial(plan).await };
            let link = match link {
                Ok(link) => link,
                Err(cause) => return Err(SendError::Unsent { request: Returned(Box::new(request)), cause }),
            };
            if plan.still.is_some_and(|still| !still()) {
                link.give_back();
                return Err(SendError::Unwanted);
            }
            match link.send(request).await {
                Ok(response) => return Ok(response),
                Err(Failure::Over(error)) => return Err(error),
                Err(Failure::Unsent(back, error)) => {
                    self.forget_closed();
                    tries -= 1;
                    if tries == 0 {
                        return Err(SendError::Unsent { request: Returned(back), cause: ConnectError::Http(error) });
                    }
                    request = *back;
                }
            }
        }
    }

    /// Closes what has been idle or alive for too long; called by the worker's tick.
    pub fn reap(&self, now: Instant) {
        let target = self.upstream.target();
        let foreign = self.waiting_elsewhere();
        {
            let mut idle = self.idle.borrow_mut();
            idle.retain(|link| link.may_be_used(now, target));
            let given_up = foreign.min(idle.len());
            idle.drain(..given_up);
        }
        {
            // A busy connection is given up for others, too: it ends when its streams do, and the
            // next request here waits its turn like everyone's.
            let mut shared = self.shared.borrow_mut();
            shared.take_if(|link| foreign > 0 || !link.may_be_used(now, target));
        }
        self.queue.borrow_mut().retain(|waiter| !waiter.is_closed());
    }

    /// The HTTP/1 connection that was used last, if it still may be.
    fn pop_idle(&self) -> Option<Rc<Http1<B>>> {
        let mut idle = self.idle.borrow_mut();
        let mut link = idle.pop()?;
        let (now, target) = (Instant::now(), self.upstream.target());
        while !link.may_be_used(now, target) {
            link = idle.pop()?;
        }
        Some(link)
    }

    /// The connection that was used last, if it still may be.
    fn check_out(&self) -> Option<Link<B>> {
        if let Some(link) = self.pop_idle() {
            return Some(Link::Http1(link));
        }
        let target = self.upstream.target();
        let mut shared = self.shared.borrow_mut();
        let link = shared.as_ref()?;
        if link.may_be_used(Instant::now(), target) {
            return Some(Link::Http2(link.clone()));
        }
        *shared = None;
        None
    }

    /// Takes a connection back that is ready for another request.
    fn check_in(&self, mut link: Rc<Http1<B>>) {
        let now = Instant::now();
        if link.is_old(now, self.upstream.target()) {
            return;
        }
        if self.upstream.limit.is_some() {
            // Whoever has waited longest gets its permit, on whichever thread that is.
            if self.waiting_elsewhere() > 0 {
                return;
            }
            loop {
                let Some(waiter) = self.queue.borrow_mut().pop_front() else { break };
                match waiter.send(link) {
                    Ok(()) => return,
                    Err(back) => link = back,
                }
            }
        }
        link.rest(now);
        self.idle.borrow_mut().push(link);
    }

    /// Lets go of a shared connection that takes no more requests.
    fn forget_closed(&self) {
        self.shared.borrow_mut().take_if(|link| link.is_closed());
    }

    /// Requests on other threads that wait below `limits.connections`.
    fn waiting_elsewhere(&self) -> usize {
        match &self.upstream.limit {
            Some(limit) => limit.waiting().saturating_sub(self.waiting.get()),
            None => 0,
        }
    }
}

impl<B> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("upstream", &self.upstream)
            .field("idle", &self.idle.borrow().len())
            .finish_non_exhaustive()
    }
}
