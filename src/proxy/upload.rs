//! A request's body on its way up: streamed, counted, and kept for sending again while it is small.
//!
//! The client's body is read once. Each sending of the request gets an [`Outbound`]; the first part
//! of a later one comes from what was kept, the rest from the client again, so a request that the
//! upstream refused early can be sent again before the client has finished.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderName;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::headers::clean_trailers;
use crate::model::Limits;
use crate::token::Slot;

/// The bound on all bodies kept for replay together, shared by all workers.
#[derive(Debug)]
pub struct ReplayBudget {
    total: AtomicU64,
    used: AtomicU64,
}

impl ReplayBudget {
    /// A budget of this many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { total: AtomicU64::new(bytes), used: AtomicU64::new(0) }
    }

    /// A reload's word. What is kept already stays.
    pub fn resize(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> bool {
        let total = self.total.load(Ordering::Relaxed);
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= total);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why a body went no further; looked at by the walk when the sending failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum UploadFault {
    /// More than `limits.body`.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// The client broke off, or its framing is wrong.
    #[error("the client broke off its body")]
    Broken,
    /// Another sending of this request reads on instead.
    #[error("this sending was given up")]
    Superseded,
}

/// A request's body as it comes from the client.
#[derive(Debug)]
pub(super) struct Upload {
    state: RefCell<State>,
    /// When the last byte came, or the body was made.
    progress: Cell<Instant>,
    /// Whether the client is being waited for (else the upstream is).
    starved: Cell<bool>,
    /// How long the client has been waited for in all, and since when it is now.
    waited: Cell<Duration>,
    waiting: Cell<Option<Instant>>,
    /// When the last sending had sent it whole.
    finished: Cell<Option<Instant>>,
    fault: Cell<Option<UploadFault>>,
    budget: Arc<ReplayBudget>,
    /// The request as one under way: rested while its client is waited for, since nobody should wait
    /// for a client whom nobody can hurry.
    slot: RefCell<Option<Rc<Slot>>>,
}

#[derive(Debug)]
struct State {
    source: Incoming,
    kept: Vec<Frame<Bytes>>,
    kept_bytes: u64,
    /// What was taken out of the budget for `kept`.
    cost: u64,
    keeping: bool,
    /// The source has ended.
    ended: bool,
    read: u64,
    limits: Limits,
    /// Names that no trailer may carry.
    barred: Vec<HeaderName>,
    /// The sending that may read from the source.
    sending: u32,
}

impl Upload {
    /// Takes the client's body, without the trailers that are `barred`. It is kept for replay unless it says
    /// itself that it is too long.
    pub(super) fn new(
        source: Incoming,
        limits: Limits,
        barred: Vec<HeaderName>,
        budget: Arc<ReplayBudget>,
    ) -> Rc<Self> {
        let keeping = source.size_hint().lower() <= limits.replay;
        Rc::new(Self {
            state: RefCell::new(State {
                source,
                kept: Vec::new(),
                kept_bytes: 0,
                cost: 0,
                keeping,
                ended: false,
                read: 0,
                limits,
                barred,
                sending: 0,
            }),
            progress: Cell::new(Instant::now()),
            starved: Cell::new(false),
            waited: Cell::default(),
            waiting: Cell::default(),
            finished: Cell::new(None),
            fault: Cell::new(None),
            budget,
            slot: RefCell::default(),
        })
    }

    /// Counts the current sending as under way; `None` ends that.
    pub(super) fn count(&self, slot: Option<Rc<Slot>>) {
        if let Some(slot) = slot.as_ref().filter(|_| self.starved.get()) {
            slot.rest();
        }
        self.slot.replace(slot);
    }

    fn starve(&self, starved: bool) {
        self.starved.set(starved);
        match (self.waiting.get(), starved) {
            (None, true) => self.waiting.set(Some(Instant::now())),
            (Some(since), false) => {
                self.waited.set(self.waited.get() + since.elapsed());
                self.waiting.set(None);
            }
            _ => {}
        }
        if let Some(slot) = &*self.slot.borrow() {
            if starved {
                slot.rest();
            } else {
                slot.resume();
            }
        }
    }

    /// Whether everything that was read so far can be sent again.
    pub(super) fn replayable(&self) -> bool {
        self.state.borrow().keeping && self.fault.get().is_none()
    }

    /// When the body had been handed to the upstream whole, by the current sending.
    pub(super) fn finished(&self) -> Option<Instant> {
        self.finished.get()
    }

    /// Bytes that have come of it.
    pub(super) fn read(&self) -> u64 {
        self.state.borrow().read
    }

    /// When a byte last moved.
    pub(super) fn progress(&self) -> Instant {
        self.progress.get()
    }

    /// Whether the client, not the upstream, is the one that is waited for.
    pub(super) fn starved(&self) -> bool {
        self.starved.get()
    }

    /// How much longer the client may be waited for before it is slower than the limits allow.
    pub(super) fn pace_left(&self) -> Duration {
        let waited = self.waited.get() + self.waiting.get().map_or(Duration::ZERO, |since| since.elapsed());
        let state = self.state.borrow();
        state.limits.body_pace.left(waited, state.read)
    }

    /// Why it went no further.
    pub(super) fn fault(&self) -> Option<UploadFault> {
        self.fault.get()
    }

    /// The body of a further sending. An earlier one can read no further.
    pub(super) fn outbound(self: &Rc<Self>) -> Outbound {
        let mut state = self.state.borrow_mut();
        state.sending += 1;
        self.finished.set(None);
        Outbound::Stream(Sending { upload: Rc::clone(self), number: state.sending, at: 0 })
    }

    /// The next frame for the sending `number`, which has had `at` frames.
    fn poll(&self, number: u32, at: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let mut state = self.state.borrow_mut();
        if state.sending != number {
            return Poll::Ready(Some(Err(UploadFault::Superseded)));
        }
        if state.keeping && at < state.kept.len() {
            let now = Instant::now();
            self.progress.set(now);
            // Whoever sends asks no further once `is_end_stream` says that this was all.
            if state.ended && at + 1 == state.kept.len() {
                self.finished.set(Some(now));
            }
            return Poll::Ready(state.kept.get(at).map(copy_frame).map(Ok));
        }
        if let Some(fault) = self.fault.get() {
            return Poll::Ready(Some(Err(fault)));
        }
        if state.ended {
            self.finished.set(Some(Instant::now()));
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut state.source).poll_frame(cx) {
            Poll::Pending => {
                self.starve(true);
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame,
        };
        let now = Instant::now();
        self.starve(false);
        self.progress.set(now);
        match frame {
            None => {
                state.ended = true;
                self.finished.set(Some(now));
                Poll::Ready(None)
            }
            Some(Err(_)) => Poll::Ready(Some(Err(self.fail(UploadFault::Broken)))),
            Some(Ok(frame)) => match state.take_in(frame, &self.budget) {
                Ok(frame) => {
                    if state.source.is_end_stream() {
                        state.ended = true;
                        self.finished.set(Some(now));
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Err(fault) => Poll::Ready(Some(Err(self.fail(fault)))),
            },
        }
    }

    fn fail(&self, fault: UploadFault) -> UploadFault {
        self.fault.set(Some(fault));
        fault
    }
}

impl State {
    fn take_in(&mut self, frame: Frame<Bytes>, budget: &ReplayBudget) -> Result<Frame<Bytes>, UploadFault> {
        let frame = match frame.into_data() {
            Ok(data) => {
                self.read = self.read.saturating_add(data.len() as u64);
                if self.read > self.limits.body {
                    return Err(UploadFault::TooLarge);
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    clean_trailers(&mut trailers, &self.barred);
                    Frame::trailers(trailers)
                }
                Err(other) => other,
            },
        };
        if self.keeping {
            self.keep(copy_frame(&frame), budget);
        }
        Ok(frame)
    }

    fn keep(&mut self, frame: Frame<Bytes>, budget: &ReplayBudget) {
        let bytes = frame.data_ref().map_or(0, |d| d.len() as u64);
        let cost = cost(&frame);
        if self.kept_bytes + bytes > self.limits.replay || !budget.take(cost) {
            self.keeping = false;
            self.kept = Vec::new();
            self.kept_bytes = 0;
            budget.give_back(std::mem::take(&mut self.cost));
            return;
        }
        self.kept_bytes += bytes;
        self.cost += cost;
        self.kept.push(frame);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let cost = self.state.get_mut().cost;
        if cost > 0 {
            self.budget.give_back(cost);
        }
    }
}

/// What a kept frame takes of the budget. A body may come in chunks of one byte, and each is kept as
/// a frame of about a hundred.
fn cost(frame: &Frame<Bytes>) -> u64 {
    (size_of::<Frame<Bytes>>() + frame.data_ref().map_or(0, Bytes::len)) as u64
}

/// `Frame` is not `Clone`, though both of its contents are.
fn copy_frame(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}

/// A request's body as it goes to the upstream, once.
#[derive(Debug)]
pub(super) enum Outbound {
    /// None.
    Empty,
    /// Known whole.
    Whole(Option<Bytes>),
    /// From the client.
    Stream(Sending),
}

/// One sending of an [`Upload`].
#[derive(Debug)]
pub(super) struct Sending {
    upload: Rc<Upload>,
    number: u32,
    at: usize,
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(sending) => {
                let polled = sending.upload.poll(sending.number, sending.at, cx);
                if let Poll::Ready(Some(Ok(_))) = &polled {
                    sending.at += 1;
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(sending) => {
                let state = sending.upload.state.borrow();
                state.ended && (!state.keeping || sending.at >= state.kept.len())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(sending) => {
                let state = sending.upload.state.borrow();
                let ahead: u64 = state
                    .kept
                    .get(sending.at..)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|frame| frame.data_ref().map(|d| d.len() as u64))
                    .sum();
                let rest = state.source.size_hint();
                let mut hint = SizeHint::new();
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + ahead);
                }
                hint.set_lower(rest.lower() + ahead);
                hint
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_one_byte_costs_the_budget_what_it_takes() {
        let byte = Frame::data(Bytes::from_static(b"x"));
        assert!(cost(&byte) > size_of::<Frame<Bytes>>() as u64);
        let budget = ReplayBudget::new(64 << 10);
        let kept = (0..64 << 10).take_while(|_| budget.take(cost(&byte))).count();
        assert!((100..1000).contains(&kept), "{kept} frames of {} bytes in 64 KiB", size_of::<Frame<Bytes>>());
    }

    #[test]
    fn a_budget_is_resized_under_what_is_kept() {
        let budget = ReplayBudget::new(10);
        assert!(budget.take(8) && !budget.take(3));
        budget.resize(4);
        budget.give_back(6);
        assert!(budget.take(2) && !budget.take(1));
        budget.resize(5);
        assert!(budget.take(1));
    }
}
