//! Requests that found no idle connection, in the order in which they came.
//!
//! Each takes the connection that it dials or one that comes back meanwhile, whichever is there first: of
//! a burst to a quick upstream most are served over the connections of the first few. So only
//! [`DIALS`] are dialled at once. Whoever comes behind those waits, and dials later if too little comes back:
//! a slow upstream gets as many connections as there are requests, though not in one moment.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;

use super::link::{Http1, Return};

/// Dials under way beyond which a request waits before it dials, too. Each costs several times what a
/// request over a connection that is there does, so that a burst in which everyone dials is served last by dialling.
pub(super) const DIALS: usize = 64;

/// How long it is waited for connections that come back before more are dialled. Longer than a quick
/// upstream takes, short beside what a slow one does.
const LOOK: Duration = Duration::from_millis(10);

/// A dial that counts as one of those under way.
pub(super) struct UnderWay(Rc<Cell<usize>>);

impl UnderWay {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Who waits, and who of them may dial.
pub(super) struct Queue<B> {
    /// Whoever takes a connection that comes back; the front has waited longest. Those who have gone
    /// lie in it until it is looked through.
    seats: RefCell<VecDeque<Rc<Seat<B>>>>,
    /// Those of them who may not dial yet.
    held: RefCell<VecDeque<Rc<Seat<B>>>>,
    /// How many wait.
    waiting: Cell<usize>,
    under_way: Rc<Cell<usize>>,
    /// Connections that came back to somebody who waits, since the last look.
    handed: Cell<usize>,
    /// Whether there is a task that looks.
    paced: Cell<bool>,
}

impl<B> Default for Queue<B> {
    fn default() -> Self {
        Self {
            seats: RefCell::default(),
            held: RefCell::default(),
            waiting: Cell::new(0),
            under_way: Rc::default(),
            handed: Cell::new(0),
            paced: Cell::new(false),
        }
    }
}

/// One that waits.
struct Seat<B> {
    link: Cell<Option<Rc<Http1<B>>>>,
    /// The right to dial.
    dial: Cell<Option<UnderWay>>,
    /// Whether nobody sits here any more, or somebody who has what he waited for.
    vacant: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl<B> Seat<B> {
    fn poll<T>(&self, what: &Cell<Option<T>>, cx: &Context<'_>) -> Poll<T> {
        if let Some(it) = what.take() {
            return Poll::Ready(it);
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A request's seat, until it is dropped: what was handed to it by then goes on to the next.
pub(super) struct Place<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    seat: Rc<Seat<B>>,
    queue: Rc<Queue<B>>,
}

impl<B> Place<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection that came back.
    pub(super) async fn handed(&self) -> Rc<Http1<B>> {
        poll_fn(|cx| self.seat.poll(&self.seat.link, cx)).await
    }

    /// Leave to dial.
    pub(super) async fn may_dial(&self) -> UnderWay {
        poll_fn(|cx| self.seat.poll(&self.seat.dial, cx)).await
    }
}

impl<B> Drop for Place<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drop(&mut self) {
        if !self.seat.vacant.replace(true) {
            self.queue.waiting.set(self.queue.waiting.get() - 1);
        }
        // The seat itself may be in the queue for a while.
        drop(self.seat.dial.take());
        if let Some(link) = self.seat.link.take() {
            link.go_back();
        }
    }
}

impl<B> Queue<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// The last place. Needs a `LocalSet`.
    pub(super) fn join(self: &Rc<Self>) -> Place<B> {
        let seat = Rc::new(Seat {
            link: Cell::new(None),
            dial: Cell::new(None),
            vacant: Cell::new(false),
            waker: Cell::new(None),
        });
        self.waiting.set(self.waiting.get() + 1);
        self.seats.borrow_mut().push_back(Rc::clone(&seat));
        if self.under_way.get() < DIALS && !self.holds_any() {
            seat.dial.set(Some(self.begin_dial()));
        } else {
            self.held.borrow_mut().push_back(Rc::clone(&seat));
            if !self.paced.replace(true) {
                tokio::task::spawn_local(pace(Rc::clone(self)));
            }
        }
        Place { seat, queue: Rc::clone(self) }
    }

    /// Counts a dial.
    pub(super) fn begin_dial(&self) -> UnderWay {
        UnderWay::new(&self.under_way)
    }

    /// Gives a connection to whoever has waited longest; back where nobody waits.
    pub(super) fn hand(&self, link: Rc<Http1<B>>) -> Option<Rc<Http1<B>>> {
        loop {
            let Some(seat) = self.seats.borrow_mut().pop_front() else { return Some(link) };
            if !seat.vacant.replace(true) {
                self.waiting.set(self.waiting.get() - 1);
                self.handed.set(self.handed.get() + 1);
                seat.link.set(Some(link));
                seat.wake();
                return None;
            }
        }
    }

    /// A dial failed. Those who wait for others' dials are to learn it as soon as if they had dialled at once.
    pub(super) fn failed(&self) {
        self.let_dial(2);
    }

    /// Lets go of the seats that are vacant.
    pub(super) fn tidy(&self) {
        self.seats.borrow_mut().retain(|seat| !seat.vacant.get());
        self.held.borrow_mut().retain(|seat| !seat.vacant.get());
    }

    /// Places that are remembered, and those of them that may not dial.
    #[cfg(test)]
    pub(super) fn places(&self) -> (usize, usize) {
        (self.seats.borrow().len(), self.held.borrow().len())
    }

    fn holds_any(&self) -> bool {
        let mut held = self.held.borrow_mut();
        while held.front().is_some_and(|seat| seat.vacant.get()) {
            held.pop_front();
        }
        !held.is_empty()
    }

    /// Lets so many of those dial who have waited longest for it.
    fn let_dial(&self, most: usize) {
        for _ in 0..most {
            if !self.holds_any() {
                return;
            }
            let Some(seat) = self.held.borrow_mut().pop_front() else { return };
            seat.dial.set(Some(self.begin_dial()));
            seat.wake();
        }
    }
}

/// Looks from time to time whether enough connections come back, as long as somebody waits who may not
/// dial. Where it is not enough, more are dialled each time, so that also thousands are not kept for long.
async fn pace<B>(queue: Rc<Queue<B>>)
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    queue.handed.set(0);
    let mut more = DIALS;
    while queue.holds_any() {
        tokio::time::sleep(LOOK).await;
        if queue.handed.replace(0) >= DIALS {
            more = DIALS;
        } else {
            queue.let_dial(more);
            more *= 2;
        }
    }
    queue.paced.set(false);
}
