//! The tokens that a simulator has given out, by number.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The tokens that live.
#[derive(Default)]
pub(super) struct Ledger {
    issued: u64,
    living: HashMap<String, Entry>,
}

struct Entry {
    number: u64,
    /// `None` for ever.
    until: Option<Instant>,
}

impl Entry {
    fn lives(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Ledger {
    /// How many tokens were given out.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    /// The number of a token that lives.
    pub(super) fn number(&self, token: &str) -> Option<u64> {
        self.living.get(token).filter(|entry| entry.lives(Instant::now())).map(|entry| entry.number)
    }

    /// Kills every token.
    pub(super) fn revoke_all(&mut self) {
        self.living.clear();
    }
}

/// Where a vendor's rules give tokens out.
pub struct Desk<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) lifetime: Duration,
    pub(super) now: i64,
}

/// What a token is made of.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// From 1.
    pub number: u64,
    /// By the vendor's clock, in seconds since 1970.
    pub issued: i64,
    /// By the vendor's clock, in seconds since 1970.
    pub expires: i64,
    /// Unlike that of any other token.
    pub id: String,
}

impl Desk<'_> {
    /// How long the next token lives, in seconds; at least 1.
    pub fn seconds(&self) -> u64 {
        self.lifetime.as_secs().max(1)
    }

    /// The vendor's time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Gives out a token.
    pub fn issue(&mut self, mint: impl FnOnce(&Ticket) -> String) -> String {
        self.ledger.issued += 1;
        let number = self.ledger.issued;
        let expires = self.now.saturating_add(i64::try_from(self.seconds()).unwrap_or(i64::MAX));
        let ticket = Ticket { number, issued: self.now, expires, id: format!("{:032X}", fastrand::u128(..)) };
        let token = mint(&ticket);
        let now = Instant::now();
        self.ledger.living.retain(|_, entry| entry.lives(now));
        self.ledger.living.insert(token.clone(), Entry { number, until: now.checked_add(self.lifetime) });
        token
    }

    /// Kills every token.
    pub fn revoke_all(&mut self) {
        self.ledger.revoke_all();
    }

    /// Kills one token; false where it did not live.
    pub fn release(&mut self, token: &str) -> bool {
        let lived = self.ledger.number(token).is_some();
        self.ledger.living.remove(token);
        lived
    }
}

/// A token in the form of RFC 7519. Its signature is of the right length and proves nothing.
pub(super) fn jwt(algorithm: &str, claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"typ": "JWT", "alg": algorithm}).to_string());
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signature = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{header}.{payload}")));
    format!("{header}.{payload}.{signature}")
}
