//! Tokens of an issuer (RFC 7519), verified as RFC 8725 asks for: the configuration and the key say
//! what a signature may be, never the token, and keys come from nowhere but from where the
//! configuration says.

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Rule;
use super::judgement::{Identity, identity};
use crate::model::{JwtRules, KeySet};

/// Longer ones are not looked at.
const LONGEST: usize = 16 << 10;
/// Of a subject's name this much is told.
const LONGEST_NAME: usize = 64;

/// A token that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verified {
    /// Its subject, as it may be logged.
    pub(super) who: Option<String>,
    /// The issuer's whole subject. Tokens without one are all of the same bearer.
    pub(super) identity: Identity,
    /// When it ends, leeway included, in seconds since 1970.
    pub(super) end: u64,
}

/// Why a token does not let in. The client is told nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// It may be signed with a key that is not at hand.
    UnknownKey,
    /// Whatever else is wrong with it.
    Token,
}

/// Verifies a token. `now` is in seconds since 1970.
pub(super) fn verify(rules: &JwtRules, keys: &KeySet, token: &[u8], now: u64) -> Result<Verified, Wrong> {
    if token.len() > LONGEST {
        return Err(Wrong::Token);
    }
    let header = decode_header(token).map_err(|_| Wrong::Token)?;
    // RFC 7515 section 4.1.11: what must be understood is not.
    if !rules.algorithms.contains(&header.alg) || header.crit.is_some() {
        return Err(Wrong::Token);
    }
    let id = header.kid.as_deref();
    let by_name = id.is_some() && !keys.is_nameless();
    let keys = keys.find(id, header.alg).ok_or(Wrong::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    // The claims are judged below, all of them.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let mut verified = keys.filter_map(|key| decode::<Map<String, Value>>(token, &key.key, &validation).ok());
    // Where no name says which key is meant, it may be one that has come since.
    let missing = if by_name { Wrong::Token } else { Wrong::UnknownKey };
    let claims = verified.next().ok_or(missing)?.claims;
    judge(rules, &claims, now).ok_or(Wrong::Token)
}

fn judge(rules: &JwtRules, claims: &Map<String, Value>, now: u64) -> Option<Verified> {
    let leeway = rules.leeway.as_secs();
    let end = seconds(claims.get("exp")?)?.saturating_add(leeway);
    if end <= now {
        return None;
    }
    if let Some(start) = claims.get("nbf")
        && seconds(start)? > now.saturating_add(leeway)
    {
        return None;
    }
    if claims.get("iss")?.as_str()? != rules.issuer {
        return None;
    }
    let audience = claims.get("aud")?;
    let is_meant = rules.audience.iter().any(|wanted| match audience {
        Value::String(one) => one == wanted,
        Value::Array(all) => all.iter().any(|one| one == wanted),
        _ => false,
    });
    let has = |(name, wanted): &(String, Vec<String>)| {
        claims.get(name).is_some_and(|claim| wanted.iter().all(|wanted| holds(name, claim, wanted)))
    };
    (is_meant && rules.claims.iter().all(has)).then(|| {
        let subject = claims.get("sub");
        let whole = subject.map(Value::to_string);
        Verified { who: subject.and_then(name), identity: identity((Rule::Token, &rules.issuer, whole)), end }
    })
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519 section 2, `NumericDate`).
fn seconds(claim: &Value) -> Option<u64> {
    let fraction = || claim.as_f64().filter(|seconds| (0.0..9e15).contains(seconds));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was looked at")]
    claim.as_u64().or_else(|| fraction().map(|seconds| seconds as u64))
}

/// Whether a claim is this, or a list that holds it. `scope` (RFC 8693 section 4.2) and `scp` are lists
/// of words in one text.
fn holds(name: &str, claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) if matches!(name, "scope" | "scp") => text.split(' ').any(|word| word == wanted),
        Value::String(text) => text == wanted,
        Value::Array(all) => all.iter().any(|one| is(one, wanted)),
        other => is(other, wanted),
    }
}

fn is(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted,
        Value::Bool(_) | Value::Number(_) => {
            let text = claim.to_string();
            text == wanted
        }
        _ => false,
    }
}

/// A subject as it may be logged: what can be printed of it, and not more than fits a line.
fn name(subject: &Value) -> Option<String> {
    let mut name = String::new();
    for c in subject.as_str()?.chars().filter(|c| c.is_ascii_graphic() || *c == ' ' || c.is_alphanumeric()) {
        if name.len() + c.len_utf8() > LONGEST_NAME {
            break;
        }
        name.push(c);
    }
    Some(name).filter(|name| !name.trim().is_empty())
}
