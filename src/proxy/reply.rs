//! An answer's body on its way back: streamed as it comes, with a bound on silence.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderName;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::alarm::Alarm;
use super::caught::{Panicked, caught_now};
use super::headers::clean_trailers;
use super::record::Record;
use super::upload::Upload;
use crate::limit::Present;
use crate::upstream::Answer;

/// Why an answer's body broke off; the client sees its connection or stream end early.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The upstream broke off.
    #[error("the upstream broke off its answer")]
    Upstream(#[source] hyper::Error),
    /// No byte moved for `timeouts.body`.
    #[error("no byte of the answer for too long")]
    Silent,
    /// A fault of the proxy.
    #[error("a fault of the proxy")]
    Panicked,
}

/// An answer's body. It goes through many hands, and so by its address.
#[derive(Debug)]
pub struct Reply(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    /// Told when the body is done with.
    record: Option<Record>,
    /// Told when the body is done with: the client's connection is idle again.
    busy: Option<Busy>,
    /// The request as one of those that are under way on its route.
    present: Option<Present>,
}

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Stream(Streamed),
}

#[derive(Debug)]
struct Streamed {
    /// What a look ahead has read already.
    ahead: VecDeque<Frame<Bytes>>,
    answer: Answer,
    /// No bound for event streams.
    silence: Option<Duration>,
    /// The silence that is being timed, if one is: since when.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The request's body, while it may still be on its way: its bytes count as a sign of life.
    upload: Option<Rc<Upload>>,
    /// Names that no trailer may carry.
    barred: Vec<HeaderName>,
}

/// How long the proxy's own answers may wait for their client. Others have their route's
/// `timeouts.body`.
pub const STALL: Duration = Duration::from_secs(60);

/// Counts a request as under way on its client's connection until dropped.
#[derive(Debug)]
pub struct Busy {
    connection: Rc<dyn OnIdle>,
    /// How long the client may take for a part of the answer; `None` for ever.
    patience: Option<Duration>,
    /// While it is the client's turn, to take what there is of the answer: its place among those
    /// that wait.
    waits: Option<usize>,
}

/// What is told when a request is done with.
pub trait OnIdle: std::fmt::Debug {
    /// One more request is under way.
    fn begin(&self);
    /// One less.
    fn end(&self);
    /// A request was answered before its body had come whole: the client may still be sending.
    fn answered_early(&self);
    /// An answer begins: writing to the client may stand still for this long; `None` for ever.
    fn stall_after(&self, patience: Option<Duration>);
    /// There is a part of an answer that the client has not taken, and may take for this long.
    /// Asked in the task that would send it; gives its place among those that wait.
    fn holds(&self, patience: Option<Duration>) -> usize;
    /// It has.
    fn releases(&self, place: usize);
    /// A timer that its requests share, where they come one after another.
    fn alarm(&self) -> Option<&Alarm> {
        None
    }
}

impl Busy {
    /// Counts one request.
    pub fn new(connection: Rc<dyn OnIdle>) -> Self {
        connection.begin();
        Self { connection, patience: Some(STALL), waits: None }
    }

    /// Says whose turn it is.
    fn hold(&mut self, holds: bool) {
        match self.waits {
            None if holds => self.waits = Some(self.connection.holds(self.patience)),
            Some(place) if !holds => {
                self.connection.releases(place);
                self.waits = None;
            }
            _ => {}
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.hold(false);
        self.connection.end();
    }
}

impl Reply {
    /// No body.
    pub fn empty() -> Self {
        Self::of(Kind::Whole(None))
    }

    /// A body known whole.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Whole(Some(bytes.into())))
    }

    /// An upstream's answer. `ahead` was read from it already; `silence` is how long no byte may move.
    pub(super) fn stream(
        answer: Answer,
        ahead: VecDeque<Frame<Bytes>>,
        silence: Option<Duration>,
        upload: Option<Rc<Upload>>,
    ) -> Self {
        let (since, timer, barred) = (None, None, Vec::new());
        Self::of(Kind::Stream(Streamed { ahead, answer, silence, since, timer, upload, barred }))
    }

    /// Keeps these names out of an upstream's trailers: what the operator says of the head is not undone
    /// behind the body.
    pub(super) fn without_trailers(mut self, barred: Vec<HeaderName>) -> Self {
        if let Kind::Stream(streamed) = &mut self.0.kind {
            streamed.barred = barred;
        }
        self
    }

    fn of(kind: Kind) -> Self {
        Self(Box::new(Inner { kind, record: None, busy: None, present: None }))
    }

    /// Whether the request's body may still be on its way while this goes out.
    pub(super) fn is_early(&self) -> bool {
        matches!(&self.0.kind, Kind::Stream(streamed) if streamed.upload.is_some())
    }

    /// Keeps the request counted as under way on its route until the body is done with.
    pub(super) fn with_present(mut self, present: Option<Present>) -> Self {
        self.0.present = present;
        self
    }

    /// Tells this record when the body is done with, and until then keeps the client's connection counted as busy.
    pub(super) fn accompany(&mut self, record: Record, mut busy: Busy) {
        if let Kind::Stream(streamed) = &self.0.kind {
            busy.patience = streamed.silence;
        }
        // Over HTTP/2 nobody asks for the body before the client has opened a window for it.
        busy.hold(true);
        self.0.record = Some(record);
        self.0.busy = Some(busy);
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        self.poll_raw(cx).map(|polled| match polled {
            Some(Ok(frame)) => self.cleaned(frame).map(Ok),
            other => other,
        })
    }

    /// A frame as the client may see it; `None` where nothing is left of trailers, which are the end.
    fn cleaned(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                clean_trailers(&mut trailers, &self.barred);
                (!trailers.is_empty()).then(|| Frame::trailers(trailers))
            }
            Err(data) => Some(data),
        }
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.answer).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // A timer that is running is left to run; when it fires it sees the new time.
                if self.timer.is_some() {
                    self.since = Some(Instant::now());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(ReplyError::Upstream(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_silence(cx),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let Some(silence) = self.silence else { return Poll::Pending };
        let since = *self.since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        while timer.as_mut().poll(cx).is_ready() {
            let moved = self.upload.as_ref().map_or(since, |upload| upload.progress().max(since));
            let Some(left) = silence.checked_sub(moved.elapsed()).filter(|left| !left.is_zero()) else {
                return Poll::Ready(Some(Err(ReplyError::Silent)));
            };
            timer.as_mut().reset(tokio::time::Instant::now() + left);
        }
        Poll::Pending
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The rest of the request's body may have come beside the answer.
        if let (Some(record), Kind::Stream(Streamed { upload: Some(upload), .. })) = (&mut self.record, &self.kind) {
            record.came_along(upload);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let this = &mut *self.0;
        if let Some(busy) = &mut this.busy {
            // Who asks for more has taken what there was.
            busy.hold(false);
        }
        let polled = match &mut this.kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Stream(streamed) => {
                caught_now(|| streamed.poll(cx)).unwrap_or_else(|Panicked| Poll::Ready(Some(Err(ReplyError::Panicked))))
            }
        };
        if let Some(busy) = &mut this.busy {
            busy.hold(polled.is_ready());
        }
        if let Some(record) = &mut this.record {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(Some(Err(error))) => record.broke_off(error),
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0.kind {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Stream(streamed) => streamed.ahead.is_empty() && streamed.answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Stream(streamed) => {
                let ahead: u64 = streamed.ahead.iter().filter_map(|f| f.data_ref().map(|d| d.len() as u64)).sum();
                let rest = streamed.answer.size_hint();
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
