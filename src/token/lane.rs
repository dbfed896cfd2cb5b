//! A worker's own view of a cell: the token rendered as it is sent, copied once a generation, so
//! that a warm request touches no memory that another core writes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use zeroize::Zeroizing;

use super::cell::{COME_AGAIN, Slot, Tally};
use super::inject::{insert_headers, tells};
use super::{Cell, Token, Unavailable};
use crate::model::{Place, Placement};
use crate::secret::{Secret, secret_header};
use crate::upstream::{Destination, Envelope};
use crate::vendor::{FaultClass, FaultReason, TokenFault};

/// When to come again after a token that no header can hold: only another configuration mends it.
const UNSENDABLE: Duration = Duration::from_secs(60);

/// A token as it is sent.
#[derive(Debug)]
pub struct Rendered {
    /// Its generation.
    pub generation: u64,
    /// The headers to set, values marked sensitive.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The token, for queries and bodies.
    pub(super) secret: Secret,
}

impl Rendered {
    /// Copies everything: a clone of a header value counts in memory that it shares with its
    /// original, and that memory must be this worker's alone. `None` where a header cannot hold
    /// the token (RFC 9110 section 5.5).
    fn new(token: &Token, places: &[Place]) -> Option<Self> {
        let secret = token.secret.expose();
        let mut headers = Vec::new();
        for place in places {
            let Place::Header { name, scheme } = place else { continue };
            let text = match scheme {
                Some(scheme) => [scheme, " ", secret].concat(),
                None => secret.to_owned(),
            };
            headers.push((name.clone(), secret_header(Zeroizing::new(text)).ok()?));
        }
        Some(Self { generation: token.generation, headers, secret: Secret::new(secret) })
    }
}

/// A request's right to use a token of one generation. Dropped at the final response head, and
/// always before another one is waited for.
#[derive(Debug)]
pub struct Guard {
    rendered: Rc<Rendered>,
    /// Where it may go, and nowhere else.
    destination: Rc<Destination>,
    /// The request as one under way, which the change of an exclusive token waits for.
    slot: Option<Rc<Slot>>,
}

impl Guard {
    /// A guard that comes from no cell: to show how a request would carry a token. `None` where a
    /// header cannot hold it.
    pub fn of(token: &Token, places: &[Place], destination: &Destination) -> Option<Self> {
        let destination = Rc::new(destination.clone());
        Rendered::new(token, places).map(|rendered| Self { rendered: Rc::new(rendered), destination, slot: None })
    }

    /// The token, for the query and the body of a request that is then sealed.
    pub fn text(&self) -> &str {
        self.rendered.secret.expose()
    }

    /// Whether a text of an answer tells the token, in whatever percent-encoding.
    pub fn is_told_by(&self, text: &[u8]) -> bool {
        tells(text, self.rendered.secret.expose().as_bytes())
    }

    /// Writes the token's headers into a request, and addresses it to the one upstream that this token
    /// was handed out for. There is no other way for a token to get into a request's headers.
    pub fn seal<B>(&self, mut request: Request<B>) -> Envelope<'_, B> {
        insert_headers(request.headers_mut(), &self.rendered);
        self.destination.envelope(request)
    }

    /// The request as one under way, where somebody waits for such: to be rested while the request
    /// waits for its own client.
    pub fn slot(&self) -> Option<Rc<Slot>> {
        self.slot.clone()
    }
}

impl std::ops::Deref for Guard {
    type Target = Rendered;

    fn deref(&self) -> &Rendered {
        &self.rendered
    }
}

/// One worker's view of one cell.
#[derive(Debug)]
pub struct Lane {
    cell: Arc<Cell>,
    placement: Arc<Placement>,
    destination: Rc<Destination>,
    /// For exclusive credentials; for all others a guard costs nothing.
    tally: Option<Arc<Tally>>,
    rendered: RefCell<Option<Rc<Rendered>>>,
}

impl Lane {
    /// A view of `cell` that renders for these places, for requests to this upstream.
    pub fn new(cell: Arc<Cell>, placement: Arc<Placement>, destination: Destination) -> Self {
        let tally = cell.tally();
        Self { cell, placement, destination: Rc::new(destination), tally, rendered: RefCell::default() }
    }

    /// The cell.
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Where the token goes.
    pub fn places(&self) -> &[Place] {
        &self.placement
    }

    /// A guard if a token may be used now, without waiting.
    pub fn warm(&self) -> Option<Guard> {
        let Some(tally) = &self.tally else {
            return self.cell.with_warm(|token| self.guard(token, None)).flatten();
        };
        // Counted before the token is looked at: whoever changes it sees this request, or this
        // request sees that the gate is closed.
        let slot = tally.enter()?;
        self.cell.with_warm(|token| self.guard(token, Some(slot))).flatten()
    }

    /// Tells that the vendor took the token of this generation.
    pub fn worked(&self, generation: u64) {
        if self.tally.is_some() {
            self.cell.worked(generation);
        }
    }

    /// A guard, waiting for a token if need be.
    pub async fn acquire(&self, patience: Duration) -> Result<Guard, Unavailable> {
        if let Some(guard) = self.warm() {
            return Ok(guard);
        }
        if self.tally.is_some() {
            return self.acquire_counted(patience).await;
        }
        let token = self.cell.acquire(patience).await?;
        // A vendor's reader and `fetch` refuse such a token. Should one come through, no request
        // goes out without it.
        self.guard(&token, None).ok_or_else(unsendable)
    }

    /// The token that a wait brought may be about to die already, since the gate closed behind it: then
    /// the wait begins anew.
    async fn acquire_counted(&self, patience: Duration) -> Result<Guard, Unavailable> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let token = self.cell.acquire(left).await?;
            if let Some(guard) = self.warm() {
                return Ok(guard);
            }
            if Rendered::new(&token, &self.placement).is_none() {
                return Err(unsendable());
            }
            if left.is_zero() {
                return Err(Unavailable::Timeout { retry_after: COME_AGAIN });
            }
        }
    }

    fn guard(&self, token: &Token, slot: Option<Slot>) -> Option<Guard> {
        let slot = slot.map(Rc::new);
        let mut rendered = self.rendered.borrow_mut();
        if let Some(current) = rendered.as_ref().filter(|current| current.generation == token.generation) {
            return Some(Guard { rendered: Rc::clone(current), destination: Rc::clone(&self.destination), slot });
        }
        // What was rendered before goes first: it must not outlive its token here.
        *rendered = None;
        let current = Rc::new(Rendered::new(token, &self.placement)?);
        *rendered = Some(Rc::clone(&current));
        Some(Guard { rendered: current, destination: Rc::clone(&self.destination), slot })
    }
}

fn unsendable() -> Unavailable {
    let fault = TokenFault::new(FaultClass::Transient, FaultReason::BadToken);
    Unavailable::Fault { fault, retry_after: UNSENDABLE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::cell::script::{Script, settings};
    use crate::token::clock::TestClock;

    fn places() -> Arc<Placement> {
        let bare = Place::Header { name: HeaderName::from_static("x-api-key"), scheme: None };
        Arc::new(vec![Place::bearer(), bare, Place::Query { name: "token".into() }])
    }

    fn lane(script: &Arc<Script>) -> Lane {
        let cell = Cell::new(settings(script), TestClock::new(), tokio::runtime::Handle::current());
        Lane::new(cell, places(), Destination::anywhere())
    }

    const PATIENCE: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_token_is_rendered_once_a_generation_and_only_then() {
        let script = Script::good();
        let lane = lane(&script);
        assert!(lane.warm().is_none());
        let first = lane.acquire(PATIENCE).await.unwrap();
        let again = lane.warm().unwrap();
        assert!(Rc::ptr_eq(&first.rendered, &again.rendered));
        assert_eq!((first.generation, first.secret.expose()), (1, "token-1"));
        let sent: Vec<_> = first.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(sent, [("authorization", "Bearer token-1"), ("x-api-key", "token-1")]);

        lane.cell().refused(1);
        assert!(lane.warm().is_none());
        let second = lane.acquire(PATIENCE).await.unwrap();
        assert_eq!((second.generation, second.secret.expose()), (2, "token-2"));
        assert_eq!(first.secret.expose(), "token-1", "a guard keeps what it was given");
    }

    #[tokio::test(start_paused = true)]
    async fn rendered_values_are_sensitive_and_print_no_token() {
        let guard = lane(&Script::good()).acquire(PATIENCE).await.unwrap();
        assert!(guard.headers.iter().all(|(_, value)| value.is_sensitive()));
        assert!(!format!("{guard:?}").contains("token-1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_no_header_can_hold_is_no_token() {
        let script = Script::new(|_| crate::token::cell::script::Reply::Token("a\nb".into(), 60));
        let error = lane(&script).acquire(PATIENCE).await.unwrap_err();
        assert!(matches!(&error, Unavailable::Fault { fault, .. } if fault.reason == FaultReason::BadToken), "{error}");
    }
}
