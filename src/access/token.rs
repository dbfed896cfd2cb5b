//! Tokens that requests present, and what is remembered of those that were verified.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use zeroize::Zeroizing;

use super::denied::Denied;
use super::flaw::Flaw;
use super::judgement::Identity;
use super::jwt::{Verified, verify};
use super::keyring::{Keyring, Refreshed};
use super::presented::credentials;
use super::seen::{Marker, Seen};
use crate::model::{JwtRules, KeySet};

/// A route's rules for tokens, with the issuer's keys.
pub(super) struct Tokens {
    rules: Arc<JwtRules>,
    keyring: Arc<Keyring>,
    marker: Marker,
    /// Tokens that hold, as long as the keys are those that they were verified with.
    seen: Seen<Remembered>,
}

#[derive(Clone)]
struct Remembered {
    keys: [u8; 32],
    end: u64,
    bearer: Bearer,
}

/// Whose token it is.
#[derive(Clone)]
pub(super) struct Bearer {
    /// As it may be logged.
    pub(super) who: Option<Arc<str>>,
    pub(super) identity: Identity,
}

/// What came of a look at a token.
pub(super) enum Judged<'a> {
    /// It holds, and is of this one.
    Known(Bearer),
    /// It may be signed with a key that is to be fetched.
    Asked(TokenCheck<'a>),
}

/// A token that is to be judged by newer keys.
pub(super) struct TokenCheck<'a> {
    tokens: &'a Tokens,
    token: Zeroizing<Vec<u8>>,
    /// By the keys at hand.
    flaw: Flaw,
}

impl Tokens {
    pub(super) fn new(rules: Arc<JwtRules>, keyring: Arc<Keyring>) -> Self {
        Self { rules, keyring, marker: Marker::new(), seen: Seen::new() }
    }

    /// Where the keys come from.
    pub(super) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Judges what stands in `Authorization`, if there is one such header; `presented` says whether there
    /// is any.
    pub(super) fn judge(&self, value: Option<&HeaderValue>, presented: bool) -> Result<Judged<'_>, Denied> {
        let none = if presented && value.is_none() { Flaw::Doubled } else { Flaw::Absent };
        let token = value.and_then(bearer).ok_or(Denied::Token(none))?;
        let keys = self.keyring.keys();
        let keys = keys.as_deref().ok_or(Denied::NoKeys)?;
        match self.verify(keys, token) {
            Ok(bearer) => Ok(Judged::Known(bearer)),
            Err(flaw) if flaw.may_be_the_keys() => {
                Ok(Judged::Asked(TokenCheck { tokens: self, token: Zeroizing::new(token.to_vec()), flaw }))
            }
            Err(flaw) => Err(Denied::Token(flaw)),
        }
    }

    fn verify(&self, keys: &KeySet, token: &[u8]) -> Result<Bearer, Flaw> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs());
        let mark = self.marker.mark([token]);
        if let Some(seen) = self.seen.find(&mark)
            && seen.keys == *keys.digest()
            && seen.end > now
        {
            return Ok(seen.bearer);
        }
        let Verified { who, identity, end } = verify(&self.rules, keys, token, now)?;
        let bearer = Bearer { who: who.map(Arc::from), identity };
        self.seen.keep(mark, Remembered { keys: *keys.digest(), end, bearer: bearer.clone() });
        Ok(bearer)
    }
}

impl TokenCheck<'_> {
    /// Waits for newer keys, where they may be asked for.
    pub(super) async fn settle(self) -> Result<Bearer, Denied> {
        match self.tokens.keyring.refreshed().await {
            Refreshed::Crowded => return Err(Denied::NoKeys),
            Refreshed::TooSoon => return Err(self.at_once()),
            Refreshed::Asked => {}
        }
        let keys = self.tokens.keyring.keys();
        let keys = keys.as_deref().ok_or(Denied::NoKeys)?;
        self.tokens.verify(keys, &self.token).map_err(Denied::Token)
    }

    /// What there is to say where nobody is asked.
    pub(super) fn at_once(self) -> Denied {
        Denied::Token(self.flaw)
    }
}

/// RFC 6750 section 2.1.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    credentials(value, b"bearer").filter(|token| !token.is_empty())
}
