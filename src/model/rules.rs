//! Times, bounds and rules that routes and credentials carry.

use std::time::Duration;

use http::StatusCode;
use regex::Regex;

/// How header names are written to an HTTP/1 peer. HTTP/2 names are always lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HeaderCase {
    /// `Content-Type`: what old clients compare with.
    #[default]
    Title,
    /// `content-type`.
    Lower,
    /// As the other side wrote it.
    Preserve,
}

/// When the proxy says that it is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadyWhen {
    /// As soon as it serves.
    #[default]
    Serving,
    /// Once every credential has a live token.
    Tokens,
}

impl ReadyWhen {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Tokens => "tokens",
        }
    }
}

/// What a route does with its credential's own token and release endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TokenEndpoint {
    /// Answer in the vendor's own form, with a placeholder token.
    #[default]
    Answer,
    /// 403.
    Refuse,
    /// Pass it on untouched, without a credential.
    Forward,
}

/// How long a route waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For a connection to the upstream, TLS included.
    pub connect: Duration,
    /// From the request fully sent to the response head.
    pub response: Duration,
    /// While no byte of a body moves, either way. Not for upgraded connections and event streams.
    pub body: Duration,
    /// For a token.
    pub token: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            body: Duration::from_secs(60),
            token: Duration::from_secs(15),
        }
    }
}

/// How much a route takes. Sizes are bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest request body; above it 413.
    pub body: u64,
    /// Largest request body kept for sending again.
    pub replay: u64,
    /// Largest body that a JSON injection rewrites; above it 413.
    pub splice: u64,
    /// Connections to the upstream at once; `None` for no bound.
    pub connections: Option<u32>,
    /// Requests that may wait for one credential's token at once; above it 503.
    pub waiting: u32,
    /// The least pace of a request's body.
    pub body_pace: BodyPace,
}

/// The least pace of a request's body, while its client is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyPace {
    /// Bytes a second; 0 for none.
    pub rate: u64,
    /// What may be waited for beyond what the bytes that came have earned.
    pub grace: Duration,
}

impl BodyPace {
    /// The least grace where nobody asked for a pace: a short `timeouts.body` is about clients that stand
    /// still, not about slow ones.
    pub const GRACE: Duration = Duration::from_secs(60);

    /// How much longer a client may be waited for that was waited for so long and sent so much:
    /// `Duration::MAX` for ever.
    pub fn left(self, waited: Duration, read: u64) -> Duration {
        match read.saturating_mul(1000).checked_div(self.rate) {
            None => Duration::MAX,
            Some(earned) => self.grace.saturating_add(Duration::from_millis(earned)).saturating_sub(waited),
        }
    }
}

impl Default for BodyPace {
    /// Far below what any network's user has, and far above what holds a request for a day.
    fn default() -> Self {
        Self { rate: 100, grace: Self::GRACE }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let body_pace = BodyPace::default();
        Self { body: 100 << 20, replay: 1 << 20, splice: 1 << 20, connections: None, waiting: 10_000, body_pace }
    }
}

/// How long before its end a token is renewed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Margin {
    /// A share of the life, between 0 and 1, but at most five minutes.
    Share(f64),
    /// A duration.
    Fixed(Duration),
}

impl Default for Margin {
    fn default() -> Self {
        Self::Share(0.2)
    }
}

/// When a vendor's answer says that the token, not the request, was at fault. Either part is enough.
#[derive(Clone, Debug)]
pub struct RefusedWhen {
    /// Statuses that say so.
    pub status: Vec<StatusCode>,
    /// A member of a JSON answer that says so.
    pub json: Option<JsonRefusal>,
}

impl Default for RefusedWhen {
    fn default() -> Self {
        Self { status: vec![StatusCode::UNAUTHORIZED], json: None }
    }
}

/// A refusal inside a JSON answer.
#[derive(Clone, Debug)]
pub struct JsonRefusal {
    /// An RFC 6901 pointer's segments, unescaped: `/status/code` is `["status", "code"]`.
    pub pointer: Vec<String>,
    /// What the string found there must match.
    pub matches: JsonMatch,
}

/// How the string in a JSON answer is judged.
#[derive(Clone, Debug)]
pub enum JsonMatch {
    /// The operator's regular expression.
    Pattern(Regex),
    /// A vendor's rule that a regular expression without look-around cannot say.
    Rule(fn(&str) -> bool),
}

impl JsonMatch {
    /// Whether `text` says that the token was refused.
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Pattern(regex) => regex.is_match(text),
            Self::Rule(rule) => rule(text),
        }
    }
}
