//! Fresh connections: when one is dialled, and when a request waits instead.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::link::{Http1, Http2, Link, Upgrade};
use super::{Plan, Pool};
use crate::model::{Protocol, Scheme};
use crate::telemetry::metrics::Side;
use crate::upstream::connect::{Purpose, Spoken, connect};
use crate::upstream::permit::Limit;
use crate::upstream::{ConnectError, wire};

/// A dial under way that may end in HTTP/2, and serve everyone who waits for it.
#[derive(Default)]
pub(super) struct Dialling {
    done: Notify,
    failed: Cell<bool>,
}

/// Wakes the waiters when the dial is over, also when whoever dialled has gone away.
struct Flight<'a, B> {
    pool: &'a Pool<B>,
    dialling: Rc<Dialling>,
}

impl<'a, B> Flight<'a, B> {
    fn begin(pool: &'a Pool<B>) -> Self {
        let dialling = Rc::new(Dialling::default());
        *pool.dialling.borrow_mut() = Some(Rc::clone(&dialling));
        Self { pool, dialling }
    }
}

impl<B> Drop for Flight<'_, B> {
    fn drop(&mut self) {
        *self.pool.dialling.borrow_mut() = None;
        self.dialling.done.notify_waiters();
    }
}

/// One that waits below `limits.connections`, and takes what it is handed.
struct Waiter<'a>(&'a Cell<usize>);

impl<'a> Waiter<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

enum Turn<B> {
    Permit(Option<OwnedSemaphorePermit>),
    Handed(Rc<Http1<B>>),
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection that another request has not used, or, if the plan allows, one that came
    /// idle meanwhile.
    ///
    /// Where the answer to the dial may be HTTP/2, requests wait for one dial: its connection
    /// serves all of them. Once an origin is known to speak HTTP/1.1 everyone dials at once.
    pub(super) async fn dial(self: &Rc<Self>, plan: Plan<'_>) -> Result<Link<B>, ConnectError> {
        let deadline = Instant::now() + plan.connect;
        let mut joined = false;
        while self.may_be_shared() {
            // A connection that was dialled while we waited is as good as one of our own.
            if (plan.reuse || joined)
                && let Some(link) = self.check_out()
            {
                return Ok(link);
            }
            let Some(dialling) = self.dialling.borrow().clone() else {
                let flight = Flight::begin(self);
                let link = self.dial_alone(deadline, plan.reuse).await;
                flight.dialling.failed.set(link.is_err());
                return link;
            };
            timeout_at(deadline, dialling.done.notified()).await.map_err(|_| ConnectError::Timeout)?;
            if dialling.failed.get() {
                // Each finds out for itself, but all at the same time.
                break;
            }
            joined = true;
        }
        if plan.reuse
            && joined
            && let Some(link) = self.check_out()
        {
            return Ok(link);
        }
        self.dial_alone(deadline, plan.reuse).await
    }

    pub(super) fn may_be_shared(&self) -> bool {
        let target = self.upstream.target();
        match target.protocol {
            Protocol::Http1 => false,
            Protocol::H2 | Protocol::H2c => true,
            Protocol::Auto => target.origin.scheme() == Scheme::Https && self.spoken.get() != Some(Spoken::Http1),
        }
    }

    async fn dial_alone(self: &Rc<Self>, deadline: Instant, reuse: bool) -> Result<Link<B>, ConnectError> {
        let permit = match self.turn(deadline, reuse).await? {
            Turn::Permit(permit) => permit,
            Turn::Handed(link) => return Ok(Link::Http1(link)),
        };
        let (mut stream, spoken) = connect(&self.upstream, Purpose::Pool, permit, deadline).await?;
        self.spoken.set(Some(spoken));
        let (peer, allowance) = (stream.peer(), stream.allowance());
        if spoken == Spoken::Http2 {
            stream.speaks_http2();
        }
        let io = TokioIo::new(stream);
        match spoken {
            Spoken::Http1 => {
                let builder = wire::http1_builder(self.upstream.target());
                let (sender, connection) = builder.handshake(io).await.map_err(ConnectError::Http)?;
                self.drive(connection);
                Ok(Link::Http1(Http1::new(sender, peer, allowance, self)))
            }
            Spoken::Http2 => {
                let handshake = wire::http2_builder().handshake(io);
                let dialled = timeout_at(deadline, handshake).await;
                let (sender, connection) = dialled.map_err(|_| ConnectError::Timeout)?.map_err(ConnectError::Http)?;
                self.drive(connection);
                let link = Http2::new(sender, peer, self);
                *self.shared.borrow_mut() = Some(link.clone());
                Ok(Link::Http2(link))
            }
        }
    }

    /// Always a fresh connection, and always HTTP/1.1.
    pub(super) async fn dial_upgrade(self: &Rc<Self>, patience: Duration) -> Result<Link<B>, ConnectError> {
        let deadline = Instant::now() + patience;
        let permit = match self.turn(deadline, false).await? {
            Turn::Permit(permit) => permit,
            // Never handed to one who does not ask for it.
            Turn::Handed(_) => return Err(ConnectError::Limit),
        };
        let (stream, _) = connect(&self.upstream, Purpose::Upgrade, permit, deadline).await?;
        let (peer, allowance) = (stream.peer(), stream.allowance());
        let builder = wire::http1_builder(self.upstream.target());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(ConnectError::Http)?;
        self.drive(connection.with_upgrades());
        Ok(Link::Upgrade(Upgrade { sender, upstream: Arc::clone(&self.upstream), peer, allowance }))
    }

    /// The only task a connection has. What it ends with has been told to whoever waited.
    fn drive(&self, connection: impl Future<Output = hyper::Result<()>> + 'static) {
        let upstream = Arc::clone(&self.upstream);
        let counted = self.sheet.as_ref().map(|sheet| sheet.connected(Side::Upstream));
        tokio::task::spawn_local(async move {
            let _counted = counted;
            if let Err(error) = connection.await {
                tracing::debug!(upstream = %upstream.target.origin, %error, "upstream connection ended");
            }
        });
    }

    /// The right to one more connection; or, where there is none to be had, a connection of ours
    /// that came idle.
    async fn turn(&self, deadline: Instant, reuse: bool) -> Result<Turn<B>, ConnectError> {
        let Some(limit) = &self.upstream.limit else { return Ok(Turn::Permit(None)) };
        match limit.try_take() {
            Some(permit) => Ok(Turn::Permit(Some(permit))),
            None => self.wait(limit, deadline, reuse).await,
        }
    }

    async fn wait(&self, limit: &Limit, deadline: Instant, reuse: bool) -> Result<Turn<B>, ConnectError> {
        let (waiter, handed) = oneshot::channel();
        // Only those count as ours that would take a connection of ours; for the others one is
        // closed, as for those on other threads.
        let _waiting = if reuse {
            self.queue.borrow_mut().push_back(waiter);
            Some(Waiter::new(&self.waiting))
        } else {
            if self.idle.borrow_mut().pop().is_none() {
                self.shared.borrow_mut().take_if(|link| link.is_idle());
            }
            None
        };
        tokio::select! {
            biased;
            Ok(link) = handed, if reuse => Ok(Turn::Handed(link)),
            permit = limit.take() => Ok(Turn::Permit(permit)),
            () = sleep_until(deadline) => Err(ConnectError::Limit),
        }
    }
}
