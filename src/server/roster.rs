//! Keeps time over all of a worker's connections. One look a tick at all of them replaces a timer a
//! request: a request only notes, in its connection's own memory, that it began or ended.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::cut::{self, Cut};
use super::turnstile::Ticket;
use crate::live::Patience;
use crate::proxy::{Alarm, OnIdle, STALL};

/// How often connections are looked at: the precision of the client's timeouts.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// How long a connection may be silent in a gentle drain before it is closed: a client that has not
/// asked for so long is hardly about to.
const LULL: Duration = Duration::from_secs(5);

/// How long nobody uses an HTTP/1 connection before it is parked, in milliseconds. Longer than any
/// that is in use stands still between two requests; its next request costs a few microseconds more.
const UNUSED: u64 = 1_000;

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Phase {
    /// The rest of a request's head (also the first one's, and the TLS handshake's).
    Head = 0,
    /// The next request.
    Idle = 1,
    /// A request is under way.
    Busy = 2,
}

/// One connection's state. Written by its own worker only; atomics since hyper wants its streams to
/// be `Send`, and free of charge on one thread.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Watch {
    phase: AtomicU8,
    /// Since when, in milliseconds of the worker's clock.
    since: AtomicU64,
    active: AtomicU32,
    /// HTTP/2 reads frames that are no heads.
    http2: AtomicU8,
    /// Whether a request was answered before its body had come whole.
    early: AtomicU8,
    /// Whether it ends in peace: its client was told before, and had what it asked for.
    finishing: AtomicU8,
    clock: Arc<AtomicU64>,
    /// How long a write may stand still over HTTP/1, in milliseconds; the largest number is for ever.
    stall: AtomicU64,
    /// When a part of an answer was last taken, in milliseconds of the worker's clock.
    taken: AtomicU64,
    /// Whether bytes wait to be written.
    unsent: AtomicU8,
}

fn millis(patience: Option<Duration>) -> u64 {
    patience.map_or(u64::MAX, |patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX))
}

impl Watch {
    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Bytes came: on an idle HTTP/1 connection a head has begun.
    pub(super) fn heard(&self) {
        if self.phase.load(Ordering::Relaxed) == Phase::Idle as u8 && !self.is_http2() {
            self.set(Phase::Head);
        }
    }

    /// The worker's clock, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// The client takes its answers.
    pub(super) fn taken(&self) {
        self.taken.store(self.now(), Ordering::Relaxed);
    }

    /// How long a write may stand still. Over HTTP/2, where it may be any stream's, each has its own
    /// bound ([`Member::cut_unread`]), and a connection without streams that of an idle one.
    pub(super) fn stall(&self) -> Option<Duration> {
        if self.is_http2() {
            return None;
        }
        Some(self.stall.load(Ordering::Relaxed)).filter(|millis| *millis != u64::MAX).map(Duration::from_millis)
    }

    /// The connection speaks HTTP/2 and waits for its first stream.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(1, Ordering::Relaxed);
        self.set(Phase::Idle);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed) != 0
    }

    /// Whether the client may still be sending what nobody reads: the body of a request that is
    /// answered; over HTTP/2, whatever it sends until it hears that the connection is no good any more.
    /// Closing then would reset the connection, and the client might lose our last word.
    pub(super) fn may_send_on(&self) -> bool {
        if self.is_http2() {
            return self.finishing.load(Ordering::Relaxed) == 0;
        }
        self.early.load(Ordering::Relaxed) != 0
    }

    /// Nothing of an earlier request is on its way any more.
    fn sent_all(&self) {
        self.early.store(0, Ordering::Relaxed);
    }

    /// Whether bytes wait to be written.
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) != 0
    }

    /// Says so.
    pub(super) fn set_unsent(&self, some: bool) {
        self.unsent.store(u8::from(some), Ordering::Relaxed);
    }

    /// Whether an HTTP/1 connection is between two requests, and has been for a while. A request that
    /// was answered before its body had come whole is not over: what follows would be taken for the next one's head.
    fn is_unused(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Idle as u8
            && !self.is_http2()
            && self.early.load(Ordering::Relaxed) == 0
            && !self.is_unsent()
            && self.now().saturating_sub(self.since.load(Ordering::Relaxed)) >= UNUSED
    }

    fn overdue(&self, patience: &Patience) -> bool {
        let waited = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        let bound = match self.phase.load(Ordering::Relaxed) {
            p if p == Phase::Head as u8 => patience.header,
            p if p == Phase::Idle as u8 => patience.idle,
            _ => return false,
        };
        Duration::from_millis(waited) > bound
    }

    /// Whether it has been waiting for its client since this moment of the worker's clock.
    fn silent_since(&self, moment: u64) -> bool {
        self.phase.load(Ordering::Relaxed) != Phase::Busy as u8 && self.since.load(Ordering::Relaxed) <= moment
    }
}

/// An HTTP/2 stream with a part of an answer that its client has not taken.
#[derive(Debug)]
struct Held {
    /// Since when, and for how long it may, in milliseconds.
    since: u64,
    patience: u64,
    cut: Cut,
}

/// What a connection is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Verdict {
    /// Nothing.
    #[default]
    GoOn,
    /// Let go of what an idle connection does not need, until there is something to read.
    Park,
    /// Finish what is under way and close.
    Finish,
    /// Close now.
    Close,
}

/// A connection's place on the roster; off it when the last of driver, requests and tunnels is gone.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) watch: Arc<Watch>,
    verdict: Cell<Verdict>,
    waker: RefCell<Option<Waker>>,
    /// Its streams that wait for their client, over HTTP/2; free places among them.
    held: RefCell<Vec<Option<Held>>>,
    load: Arc<AtomicUsize>,
    /// When its worker's gentle drain began, by the worker's clock.
    leaving: Rc<Cell<Option<u64>>>,
    /// Over HTTP/1, for its requests.
    alarm: Alarm,
    /// Its place among the connections that may be open.
    _ticket: Ticket,
}

impl Member {
    /// Whether its next answer over HTTP/1 is its last.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get().is_some()
    }

    /// What it is told; it will be woken when that changes.
    pub(super) fn verdict(&self, waker: &Waker) -> Verdict {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.verdict.get()
    }

    /// Whether it may be parked, now that its driver has heard of it: no request has begun meanwhile.
    pub(super) fn parks(&self) -> bool {
        let parks = self.watch.is_unused();
        if parks {
            self.alarm.rest();
        } else {
            self.goes_on();
        }
        parks
    }

    /// It is driven again, unless it has been told something else since it was parked.
    pub(super) fn goes_on(&self) {
        if self.verdict.get() == Verdict::Park {
            self.verdict.set(Verdict::GoOn);
        }
    }

    /// Ends each stream for which its HTTP/2 client has opened no window for too long: the socket is
    /// written to all the same, so that no write stands still.
    ///
    /// Any part of an answer that is taken counts for all of the connection's, as any byte written
    /// does over HTTP/1; how long is each stream's own.
    fn cut_unread(&self) {
        let (now, taken) = (self.watch.now(), self.watch.taken.load(Ordering::Relaxed));
        for held in self.held.borrow().iter().flatten() {
            if now.saturating_sub(held.since.max(taken)) > held.patience {
                tracing::debug!("stream reset: its client does not take the answer");
                held.cut.cut();
            }
        }
    }

    /// Whether it is to end.
    fn is_told(&self) -> bool {
        matches!(self.verdict.get(), Verdict::Finish | Verdict::Close)
    }

    fn tell(&self, verdict: Verdict) {
        if verdict == Verdict::Finish {
            self.watch.finishing.store(1, Ordering::Relaxed);
        }
        if self.verdict.replace(verdict) != verdict
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }
}

impl OnIdle for Member {
    fn begin(&self) {
        if self.watch.active.fetch_add(1, Ordering::Relaxed) == 0 {
            self.watch.phase.store(Phase::Busy as u8, Ordering::Relaxed);
            self.watch.sent_all();
        }
    }

    fn end(&self) {
        if self.watch.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.watch.set(Phase::Idle);
        }
    }

    fn answered_early(&self) {
        self.watch.early.store(1, Ordering::Relaxed);
    }

    fn stall_after(&self, patience: Option<Duration>) {
        self.watch.stall.store(millis(patience), Ordering::Relaxed);
    }

    fn holds(&self, patience: Option<Duration>) -> usize {
        // Over HTTP/1 a write stands still.
        if !self.watch.is_http2() {
            return 0;
        }
        let (since, patience) = (self.watch.now(), millis(patience));
        let one = Some(Held { since, patience, cut: cut::this_stream() });
        let mut held = self.held.borrow_mut();
        let free = held.iter().position(Option::is_none);
        match free.and_then(|place| held.get_mut(place)) {
            Some(place) => *place = one,
            None => held.push(one),
        }
        free.unwrap_or(held.len() - 1)
    }

    fn releases(&self, place: usize) {
        if let Some(place) = self.held.borrow_mut().get_mut(place) {
            *place = None;
        }
        self.watch.taken();
    }

    fn alarm(&self) -> Option<&Alarm> {
        (!self.watch.is_http2()).then_some(&self.alarm)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All of a worker's connections.
#[derive(Debug)]
pub(super) struct Roster {
    members: RefCell<Vec<std::rc::Weak<Member>>>,
    clock: Arc<AtomicU64>,
    epoch: Instant,
    draining: Cell<bool>,
    leaving: Rc<Cell<Option<u64>>>,
    /// How long a gentle drain waits for a silent client, in milliseconds.
    lull: Cell<u64>,
    /// Connections of this worker, counted up by the acceptor and down by the last of `Member`.
    load: Arc<AtomicUsize>,
    /// Those on which a request was under way at the last look.
    busy: Arc<AtomicUsize>,
}

impl Roster {
    pub(super) fn new(load: Arc<AtomicUsize>, busy: Arc<AtomicUsize>) -> Self {
        Self {
            members: RefCell::default(),
            clock: Arc::default(),
            epoch: Instant::now(),
            draining: Cell::new(false),
            leaving: Rc::default(),
            lull: Cell::new(millis(Some(LULL))),
            load,
            busy,
        }
    }

    /// Puts a connection on the roster; the acceptor has counted it already.
    pub(super) fn join(&self, ticket: Ticket) -> Rc<Member> {
        let watch = Arc::new(Watch {
            phase: AtomicU8::new(Phase::Head as u8),
            since: AtomicU64::new(self.clock.load(Ordering::Relaxed)),
            active: AtomicU32::new(0),
            http2: AtomicU8::new(0),
            early: AtomicU8::new(0),
            finishing: AtomicU8::new(0),
            clock: Arc::clone(&self.clock),
            stall: AtomicU64::new(millis(Some(STALL))),
            taken: AtomicU64::new(0),
            unsent: AtomicU8::new(0),
        });
        let verdict = Cell::new(if self.draining.get() { Verdict::Finish } else { Verdict::GoOn });
        let (load, leaving) = (Arc::clone(&self.load), Rc::clone(&self.leaving));
        let (waker, held, alarm) = (RefCell::default(), RefCell::default(), Alarm::default());
        let member = Rc::new(Member { watch, verdict, waker, held, load, leaving, alarm, _ticket: ticket });
        self.members.borrow_mut().push(Rc::downgrade(&member));
        member
    }

    /// One look at all connections.
    pub(super) fn tick(&self, now: Instant, patience: &Patience) {
        let millis = u64::try_from(now.duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
        self.clock.store(millis, Ordering::Relaxed);
        let mut busy = 0;
        self.members.borrow_mut().retain(|member| {
            let Some(member) = member.upgrade() else { return false };
            member.cut_unread();
            busy += usize::from(member.watch.active.load(Ordering::Relaxed) != 0);
            if member.watch.overdue(patience) {
                let again = member.verdict.get() == Verdict::Finish;
                let http2 = member.watch.is_http2();
                // HTTP/2 clients are told first (GOAWAY); at the next look they are overdue again.
                member.tell(if http2 && !again { Verdict::Finish } else { Verdict::Close });
            } else if let Some(began) = self.leaving.get() {
                self.part(&member, began, millis);
            } else if member.verdict.get() == Verdict::GoOn && member.watch.is_unused() {
                member.tell(Verdict::Park);
            }
            true
        });
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// A gentle drain's look at one connection.
    fn part(&self, member: &Member, began: u64, now: u64) {
        // GOAWAY loses nothing: what crosses it is still answered (RFC 9113 section 6.8).
        let http2 = member.watch.is_http2();
        let lull = self.lull.get();
        let silent = now.saturating_sub(began) > lull && member.watch.silent_since(now.saturating_sub(lull));
        if (http2 || silent) && !member.is_told() {
            member.tell(Verdict::Finish);
        }
    }

    /// Tells every connection, and those that still come, to finish.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        for member in self.members.borrow().iter().filter_map(std::rc::Weak::upgrade) {
            if !member.is_told() {
                // Kept alive behind its answer, so the body had come whole. One whose body had not
                // was closed with the answer, and lingers already.
                if member.watch.phase.load(Ordering::Relaxed) == Phase::Idle as u8 {
                    member.watch.sent_all();
                }
                member.tell(Verdict::Finish);
            }
        }
    }

    /// Lets every connection ask once more, and closes it with the answer, or when it was silent for
    /// a while (never longer than `most`).
    pub(super) fn drain_gently(&self, most: Duration) {
        self.lull.set(millis(Some(most)).min(self.lull.get()));
        self.leaving.set(Some(self.clock.load(Ordering::Relaxed)));
    }

    /// Connections, requests and tunnels that are left.
    pub(super) fn left(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}
