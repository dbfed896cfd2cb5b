//! A token as the command line tells of it, and the looking for one that is there already.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::app::handover::{peek, renew};
use crate::cli::login::NoToken;
use crate::cli::words;
use crate::secret::Secret;
use crate::token::{BootClock, Carried, Cell, Clock, Shelf, Token, TokenKey};
use crate::vendor::LifetimeSource;

/// `Date` is in whole seconds, and an answer is on its way for a while: less is no skew.
const SKEW: i64 = 3;

/// Where a token comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) enum Origin {
    /// A login that was made for this.
    Login,
    /// The proxy that runs with this configuration.
    Running,
    /// A login that the running proxy made for this.
    RunningLogin,
    /// The store that replicas share.
    Store,
    /// It is written in the configuration.
    Configuration,
}

/// A token that was found or obtained.
pub(in crate::cli) struct Found {
    pub(in crate::cli) token: Secret,
    pub(in crate::cli) origin: Origin,
    /// Its whole life; `None` is for ever.
    pub(in crate::cli) life: Option<Duration>,
    /// Left of it now.
    pub(in crate::cli) left: Option<Duration>,
    /// Where its life is known from.
    source: LifetimeSource,
    /// How long from now a proxy would renew it, where that is known; `None` also where it is served to
    /// its end.
    pub(in crate::cli) renewal: Option<Duration>,
    /// How far the vendor's clock is ahead, in seconds.
    skew: Option<i64>,
    /// How long it took.
    took: Duration,
}

/// What there is to find without a login of our own.
pub(in crate::cli) enum Looked {
    Found(Found),
    /// Whoever would have one has none.
    None,
    /// Nobody who was there to ask knows; why.
    Unknown(Option<String>),
}

/// Asks the running proxy, then the store. Where a proxy runs, it is the one to log in, also for
/// `force`: the token is then its own.
pub(super) async fn look(cell: &Cell, running: Option<(&Path, &TokenKey)>, force: bool) -> Result<Looked, NoToken> {
    let mut unknown = None;
    if let Some((path, key)) = running {
        match peek(path, key).await {
            Ok(Some(peeked)) if !force => return Ok(Looked::Found(Found::carried(peeked.token, Origin::Running))),
            Ok(peeked) => {
                let held = peeked.as_ref().map(|peeked| &peeked.token.token);
                let renewed = renew(path, key, held).await.map_err(|error| NoToken::Running(error.to_string()))?;
                let renewed = renewed.ok_or_else(|| NoToken::Running("it has none".to_owned()))?;
                return Ok(Looked::Found(Found::carried(renewed.token, Origin::RunningLogin)));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                unknown = Some(format!("no proxy runs at {}", path.display()));
            }
            Err(error) => unknown = Some(format!("the proxy at {} cannot be asked: {error}", path.display())),
        }
    }
    if force {
        return Ok(Looked::Unknown(unknown));
    }
    Ok(match cell.look_up().await {
        Some(Ok(Shelf::Token(carried))) => Looked::Found(Found::carried(carried, Origin::Store)),
        Some(Ok(Shelf::Empty)) => Looked::None,
        // One that does not open with the keys here may be alive; a store that is away may have one.
        Some(Ok(Shelf::Shut)) => {
            Looked::Unknown(Some("the token in the store does not open with this encryption_key".to_owned()))
        }
        Some(Err(_)) => Looked::Unknown(Some("the store cannot be reached".to_owned())),
        None => Looked::Unknown(unknown),
    })
}

impl Found {
    /// A cell's token, which was asked for `took` ago.
    pub(super) fn new(token: &Token, origin: Origin, took: Duration) -> Self {
        let now = BootClock.now();
        let left = token.expires.map(|end| now.until(end));
        let origin = if left.is_none() { Origin::Configuration } else { origin };
        Self {
            token: token.secret.clone(),
            origin,
            // A login's life counts from before it was sent.
            life: left.map(|left| if origin == Origin::Login { left + took } else { left }),
            left,
            source: token.source,
            renewal: token.renew.map(|renew| now.until(renew)),
            skew: token.skew,
            took,
        }
    }

    fn carried(token: Carried, origin: Origin) -> Self {
        Self {
            token: token.token,
            origin,
            life: Some(token.life),
            left: Some(token.left),
            source: token.source,
            renewal: None,
            skew: None,
            took: Duration::ZERO,
        }
    }

    /// Whether it was logged in for just now.
    pub(in crate::cli) fn is_ours(&self) -> bool {
        self.origin == Origin::Login
    }

    /// Where it came from, as after `from: `.
    pub(in crate::cli) fn origin(&self) -> &'static str {
        match self.origin {
            Origin::Login => "a fresh login",
            Origin::Running => "the running proxy",
            Origin::RunningLogin => "a login by the running proxy",
            Origin::Store => "the store that replicas share",
            Origin::Configuration => "the configuration",
        }
    }

    /// `1h, as the vendor's answer says`.
    pub(in crate::cli) fn lifetime(&self) -> String {
        match self.life {
            Some(life) => format!("{}, {}", words::duration(life), said_by(self.source)),
            None => "for ever".to_owned(),
        }
    }

    /// `a token for 1h, as the vendor's answer says`.
    pub(in crate::cli) fn sentence(&self) -> String {
        let mut sentence = match (self.life, self.left) {
            (Some(life), _) if self.is_ours() => {
                format!("a token for {}, {}", words::duration(life), said_by(self.source))
            }
            (_, Some(left)) => format!("a token for {} more, from {}", words::duration(left), self.origin()),
            _ => "a token that never expires".to_owned(),
        };
        if let Some(skew) = self.skew.filter(|skew| skew.abs() >= SKEW) {
            sentence.push_str("; ");
            sentence.push_str(&clock(skew));
        }
        sentence
    }

    /// What is known of the vendor's clock, as after `clock: `.
    pub(in crate::cli) fn clock(&self) -> Option<String> {
        self.skew.map(clock)
    }

    /// What programs are told; never the token.
    pub(in crate::cli) fn json(&self) -> Map<String, Value> {
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 10.0).round() / 10.0);
        let source = match (self.life, self.source) {
            (None, _) => Value::Null,
            (_, source) => json!(source.word()),
        };
        let origin = match self.origin {
            Origin::Login => "login",
            Origin::Running => "running proxy",
            Origin::RunningLogin => "login by the running proxy",
            Origin::Store => "store",
            Origin::Configuration => "configuration",
        };
        Map::from_iter([
            ("from".to_owned(), json!(origin)),
            ("lifetime_seconds".to_owned(), json!(seconds(self.life))),
            ("lifetime_source".to_owned(), source),
            ("expires_in_seconds".to_owned(), json!(seconds(self.left))),
            ("renewed_after_seconds".to_owned(), json!(seconds(self.renewal))),
            ("clock_skew_seconds".to_owned(), json!(self.skew)),
            ("login_seconds".to_owned(), json!(self.is_ours().then(|| seconds(Some(self.took))))),
        ])
    }
}

fn clock(skew: i64) -> String {
    let apart = words::duration(Duration::from_secs(skew.unsigned_abs()));
    match skew {
        SKEW.. => format!("the vendor's clock is {apart} ahead of this machine's"),
        ..0 if skew <= -SKEW => format!("the vendor's clock is {apart} behind this machine's"),
        _ => "the vendor's clock agrees with this machine's".to_owned(),
    }
}

/// Where a lifetime is known from.
fn said_by(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::Answer => "as the vendor's answer says",
        LifetimeSource::Token => "as the token itself says (exp and iat)",
        LifetimeSource::Configured => "as `lifetime` or its default says, since neither the answer nor the token does",
    }
}
