//! Who may come in: networks, client certificates, keys, users and tokens.
//!
//! All that a route lists must hold. Networks are judged first, so that who knocks from a wrong one
//! learns nothing of the rest; then the certificate; then keys, which cost little; then a token or a
//! password. The address is the connection's, or the one that a trusted proxy tells.
//!
//! [`Access::admit`] is what each request walks through, and waits for nothing. What cannot be said at
//! once is [`Pending`]: a password that was not found right before, a token that may be signed with a
//! key that is not at hand. `key`, `network`, `certificate`, `user` and `jwt` each judge one kind of
//! rule, `presented` and `shown` read what a request presents, `passwords` and `keyring` are what all requests
//! share, `jwks` asks an issuer for its keys, `seen` is their memory.

mod certificate;
mod denied;
mod flaw;
mod judgement;
mod jwks;
mod jwt;
mod key;
mod keyring;
mod network;
mod passwords;
mod presented;
mod seen;
mod shown;
mod token;
mod user;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::{AccessPolicy, KeySource, Visitor, unmapped};

use judgement::Check;
use presented::presented_in;
use token::Tokens;

pub use denied::Denied;
pub use flaw::Flaw;
pub use judgement::{Admitted, Identity, Judgement, Pending};
pub use jwks::{FetchError, FetchKeys, fetch_keys};
pub use keyring::{Keyring, KeysStatus, Source};
pub use passwords::Passwords;
pub use presented::presented;
pub use shown::{KeyPlace, Shown};

/// A kind of rule, as `explain` tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// `api_keys`
    Key,
    /// `users`
    User,
    /// `jwt`
    Token,
    /// `client_certificates`
    Certificate,
    /// `allow` and `deny`
    Network,
}

/// A route's policy, ready to judge.
pub struct Access {
    policy: AccessPolicy,
    tokens: Option<Tokens>,
    passwords: Arc<Passwords>,
}

impl Access {
    /// Makes a policy ready. `keyring` has the keys of an issuer that the policy names by URL.
    pub fn new(mut policy: AccessPolicy, keyring: Option<Arc<Keyring>>, passwords: Arc<Passwords>) -> Self {
        for network in policy.allow.iter_mut().chain(&mut policy.deny) {
            *network = unmapped(*network);
        }
        let tokens = policy.jwt.as_ref().map(|rules| {
            let keyring = match &rules.keys {
                KeySource::File(keys) => Keyring::of(Arc::clone(keys)),
                KeySource::Url(_) => keyring.unwrap_or_else(|| Keyring::idle(None)),
            };
            Tokens::new(Arc::clone(rules), keyring)
        });
        Self { policy, tokens, passwords }
    }

    /// Whether everyone comes in.
    pub fn is_open(&self) -> bool {
        self.rules().next().is_none()
    }

    /// The keys of the issuer whose tokens let in.
    pub fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.tokens.as_ref().map(Tokens::keyring)
    }

    /// The kinds of rules that must hold.
    pub fn rules(&self) -> impl Iterator<Item = Rule> {
        let policy = &self.policy;
        let listed = [
            (Rule::Network, !policy.allow.is_empty() || !policy.deny.is_empty()),
            (Rule::Certificate, policy.client_certificates.is_some()),
            (Rule::Key, self.asks_for_a_key()),
            (Rule::Token, policy.jwt.is_some()),
            (Rule::User, !policy.users.is_empty()),
        ];
        listed.into_iter().filter_map(|(rule, is_listed)| is_listed.then_some(rule))
    }

    /// Whether a key must be presented.
    fn asks_for_a_key(&self) -> bool {
        !self.policy.api_keys.is_empty()
    }

    /// Whether it lets in by what can be guessed: keys and passwords. Tokens and certificates are signed.
    pub fn can_be_guessed(&self) -> bool {
        self.asks_for_a_key() || !self.policy.users.is_empty()
    }

    /// What a request shows of what can be guessed.
    pub fn shown<'h>(&self, headers: &'h HeaderMap) -> Shown<'h> {
        if !self.can_be_guessed() {
            return Shown::default();
        }
        let takes_user = !self.policy.users.is_empty();
        Shown::read(headers, self.asks_for_a_key(), takes_user, self.claims_authorization())
    }

    /// Whether `Authorization` is for a user or a token, and so for no key and not for the upstream.
    pub fn claims_authorization(&self) -> bool {
        self.tokens.is_some() || !self.policy.users.is_empty()
    }

    /// Judges a request by who asks and its headers.
    ///
    /// A key is `Authorization: Bearer`, Basic's password, or `X-Api-Key`; a valid one in one place is
    /// enough, whatever stands in the other: that may be for the upstream. Beside users or a token it is
    /// `X-Api-Key` alone. A place that is written twice is not guessed at.
    pub fn admit<'a>(&'a self, visitor: &Visitor<'a>, headers: &HeaderMap) -> Result<Judgement<'a>, Denied> {
        self.admit_shown(visitor, headers, &self.shown(headers), &KeyPlace::ALL)
    }

    /// The same of what was read already; keys count at these places only.
    pub fn admit_shown<'a>(
        &'a self,
        visitor: &Visitor<'a>,
        headers: &HeaderMap,
        shown: &Shown<'_>,
        places: &[KeyPlace],
    ) -> Result<Judgement<'a>, Denied> {
        let mut admitted = self.admit_visitor(visitor)?;
        if self.asks_for_a_key() {
            let named = |place: &KeyPlace| Some((*place, key::name_of(&self.policy.api_keys, shown.key(*place)?)?));
            let (place, name) =
                places.iter().find_map(named).ok_or(Denied::Key { beside_user: !self.policy.users.is_empty() })?;
            admitted.and(Rule::Key, Some(name));
            admitted.key = Some(place);
        }
        if let Some(tokens) = &self.tokens {
            match tokens.judge(single(headers, &AUTHORIZATION), headers.contains_key(AUTHORIZATION))? {
                token::Judged::Known(bearer) => admitted.and_bearer(&bearer),
                token::Judged::Asked(check) => {
                    return Ok(Judgement::Pending(Pending::new(admitted, Check::Token(check))));
                }
            }
        }
        if !self.policy.users.is_empty() {
            let pair = shown.user().ok_or(Denied::User)?;
            match user::judge(&self.policy.users, &self.passwords, pair)? {
                user::Judged::Known(who) => admitted.and(Rule::User, Some(who)),
                user::Judged::Asked(check) => {
                    return Ok(Judgement::Pending(Pending::new(admitted, Check::Password(check))));
                }
            }
        }
        Ok(Judgement::Admitted(admitted))
    }

    /// Takes out of the headers what let the request in: it never goes upstream. `X-Api-Key` goes
    /// in every spelling that a server might take for it. `Authorization` goes where it is for a user or a
    /// token, whatever it holds; where only a key is asked for, if it holds one: it may else be meant for
    /// the upstream.
    pub fn remove_key(&self, headers: &mut HeaderMap) {
        if !self.asks_for_a_key() && !self.claims_authorization() {
            return;
        }
        let holds_key = |value: &HeaderValue| presented_in(value).is_some_and(|key| self.is_key(&key));
        if self.claims_authorization() || headers.get_all(AUTHORIZATION).iter().any(holds_key) {
            headers.remove(AUTHORIZATION);
        }
        if self.asks_for_a_key() {
            key::remove(headers);
        }
    }

    /// Judges the client's network and certificate alone, which takes no look at the request.
    pub fn admit_visitor<'a>(&'a self, visitor: &Visitor<'a>) -> Result<Admitted<'a>, Denied> {
        if !network::is_let_in(visitor.address, &self.policy.allow, &self.policy.deny) {
            return Err(Denied::Network);
        }
        let mut admitted = Admitted::default();
        if let Some(rule) = &self.policy.client_certificates {
            admitted.and(Rule::Certificate, certificate::name_of(rule, visitor.certificate)?);
        }
        Ok(admitted)
    }

    /// The place in `deny` of the first network that this address is in: for `explain`.
    pub fn denied_by(&self, address: IpAddr) -> Option<usize> {
        network::place_of(address, &self.policy.deny)
    }

    fn is_key(&self, presented: &[u8]) -> bool {
        key::name_of(&self.policy.api_keys, presented).is_some()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("policy", &self.policy).finish_non_exhaustive()
    }
}

fn is_doubled(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// A header's only value.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    headers.get(name).filter(|_| !is_doubled(headers, name))
}

#[cfg(test)]
mod tests;
