//! Waiting for an answer's head, and letting go of one that nobody wants.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;

use super::refusal::Refusal;
use super::upload::{Outbound, Upload};
use crate::model::Timeouts;
use crate::upstream::{Answer, SendError};

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
pub(super) async fn head<F>(
    mut sending: Pin<&mut F>,
    upload: Option<&Rc<Upload>>,
    timeouts: &Timeouts,
) -> Result<Response<Answer>, NoHead>
where
    F: Future<Output = Result<Response<Answer>, SendError<Outbound>>>,
{
    let began = Instant::now();
    let mut timer = pin!(tokio::time::sleep(first_look(upload, timeouts)));
    loop {
        tokio::select! {
            biased;
            sent = sending.as_mut() => return sent.map_err(NoHead::Send),
            () = &mut timer => match left(began, upload, timeouts) {
                Ok(left) => timer.as_mut().reset(tokio::time::Instant::now() + left),
                Err(refusal) => return Err(NoHead::Refusal(refusal)),
            },
        }
    }
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
