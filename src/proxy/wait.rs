//! Waiting for an answer's head, and letting go of one that nobody wants.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;

use super::alarm::Alarm;
use super::refusal::Refusal;
use super::upload::{Outbound, Upload};
use crate::model::Timeouts;
use crate::upstream::{Answer, SendError};

/// What a look ahead has read of an answer.
pub(super) type Ahead = VecDeque<http_body::Frame<bytes::Bytes>>;

/// What the upstream answered. It stays in one place until it is handed back.
pub(super) struct Answered {
    pub(super) response: Response<Answer>,
    pub(super) ahead: Ahead,
}

/// Why there is no head.
pub(super) enum NoHead {
    /// The sending failed.
    Send(SendError<Outbound>),
    /// Somebody was too slow.
    Refusal(Refusal),
}

/// Waits for the head. `timeouts.response` counts from the request sent whole; until then a body
/// that stands still for `timeouts.body` ends it, and whoever it waited for gets the blame; and so does
/// a client that never stands still, and sends less than `limits.body_rate` all the same.
///
/// The sending is lent, not given: an argument that is moved into a local stands in the future twice,
/// and this one is most of a request's.
///
/// `alarm` is the connection's own, where only one request at a time is under way on it. The answer is put
/// where it is to stay: what is returned through many hands is copied in each.
pub(super) async fn head<F>(
    mut sending: Pin<&mut F>,
    answered: &mut Option<Answered>,
    (began, alarm): (Instant, Option<&Alarm>),
    upload: Option<&Rc<Upload>>,
    timeouts: &Timeouts,
) -> Result<(), NoHead>
where
    F: Future<Output = Result<Response<Answer>, SendError<Outbound>>>,
{
    let own = Alarm::default();
    let alarm = alarm.unwrap_or(&own);
    let mut deadline = None;
    poll_fn(|cx| {
        match sending.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                *answered = Some(Answered { response, ahead: Ahead::new() });
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(NoHead::Send(error))),
            Poll::Pending => {}
        }
        let mut end = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + first_look(upload, timeouts));
        while alarm.poll(cx, end).is_ready() {
            match left(began, upload, timeouts) {
                Ok(left) => end = tokio::time::Instant::now() + left,
                Err(refusal) => return Poll::Ready(Err(NoHead::Refusal(refusal))),
            }
            deadline = Some(end);
        }
        Poll::Pending
    })
    .await
}

fn first_look(upload: Option<&Rc<Upload>>, timeouts: &Timeouts) -> Duration {
    match upload {
        None => timeouts.response,
        Some(_) => timeouts.response.min(timeouts.body),
    }
}

/// How much patience is left, or who has used it up.
fn left(began: Instant, upload: Option<&Rc<Upload>>, timeouts: &Timeouts) -> Result<Duration, Refusal> {
    let now = Instant::now();
    let remaining =
        |since: Instant, bound: Duration| (since + bound).checked_duration_since(now).filter(|left| !left.is_zero());
    let Some(upload) = upload else {
        return remaining(began, timeouts.response).ok_or(Refusal::UpstreamTimeout);
    };
    if let Some(finished) = upload.finished() {
        return remaining(finished, timeouts.response).ok_or(Refusal::UpstreamTimeout);
    }
    if !upload.starved() {
        return remaining(upload.progress(), timeouts.body).ok_or(Refusal::UpstreamTimeout);
    }
    let pace = Some(upload.pace_left()).filter(|left| !left.is_zero());
    let still = remaining(upload.progress(), timeouts.body);
    still.zip(pace).map(|(still, pace)| still.min(pace)).ok_or(Refusal::SlowBody)
}

/// Lets go of an answer that is not the client's. A short one is read to its end in the background,
/// so that its connection can be used again.
pub(super) fn discard(response: Response<Answer>) {
    /// Longer answers are cheaper to break off.
    const LONGEST: usize = 64 * 1024;
    const PATIENCE: Duration = Duration::from_secs(1);

    let body = response.into_body();
    if body.is_end_stream() || body.size_hint().lower() > LONGEST as u64 {
        return;
    }
    tokio::task::spawn_local(async move {
        // Whether it ended well is known to the pool, which looks at its connection itself.
        drop(tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await);
    });
}
