//! Tokens of an issuer (RFC 7519), verified as RFC 8725 asks for: the configuration and the key say
//! what a signature may be, never the token, and keys come from nowhere but from where the
//! configuration says.

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Rule;
use super::flaw::Flaw;
use super::judgement::{Identity, identity};
use crate::model::{JwtRules, KeySet};

/// Longer ones are not looked at.
const LONGEST: usize = 16 << 10;
/// Of a subject's or a key's name this much is told.
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

/// Verifies a token. `now` is in seconds since 1970.
pub(super) fn verify(rules: &JwtRules, keys: &KeySet, token: &[u8], now: u64) -> Result<Verified, Flaw> {
    if token.len() > LONGEST {
        return Err(Flaw::Long);
    }
    let header = decode_header(token).map_err(|_| Flaw::Form)?;
    if header.crit.is_some() {
        return Err(Flaw::Critical);
    }
    if !rules.algorithms.contains(&header.alg) {
        return Err(Flaw::Algorithm(header.alg));
    }
    let id = header.kid.as_deref().filter(|_| !keys.is_nameless());
    let named = || id.and_then(loggable).unwrap_or_default();
    let keys = keys.find(id, header.alg).ok_or_else(|| Flaw::UnknownKey(named()))?;
    let mut validation = Validation::new(header.alg);
    // The claims are judged below, all of them.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let mut verified = keys.filter_map(|key| decode::<Map<String, Value>>(token, &key.key, &validation).ok());
    // Where no name says which key is meant, it may be one that has come since.
    let unverified = || match id {
        Some(_) => Flaw::Signature(header.alg, named()),
        None => Flaw::NoKey(header.alg),
    };
    let claims = verified.next().ok_or_else(unverified)?.claims;
    judge(rules, &claims, now)
}

fn judge(rules: &JwtRules, claims: &Map<String, Value>, now: u64) -> Result<Verified, Flaw> {
    let leeway = rules.leeway.as_secs();
    let exp = claims.get("exp").and_then(seconds).ok_or(Flaw::Time("exp"))?;
    let end = exp.saturating_add(leeway);
    if end <= now {
        return Err(Flaw::Expired(now.saturating_sub(exp)));
    }
    if let Some(start) = claims.get("nbf") {
        let start = seconds(start).ok_or(Flaw::Time("nbf"))?;
        if start > now.saturating_add(leeway) {
            return Err(Flaw::Early(start.saturating_sub(now)));
        }
    }
    if claims.get("iss").and_then(Value::as_str) != Some(&rules.issuer) {
        return Err(Flaw::Issuer);
    }
    let is_meant = |audience: &Value| {
        rules.audience.iter().any(|wanted| match audience {
            Value::String(one) => one == wanted,
            Value::Array(all) => all.iter().any(|one| one == wanted),
            _ => false,
        })
    };
    if !claims.get("aud").is_some_and(is_meant) {
        return Err(Flaw::Audience);
    }
    for (name, wanted) in &rules.claims {
        let claim = claims.get(name).ok_or_else(|| Flaw::Missing(name.clone()))?;
        if !wanted.iter().all(|wanted| holds(name, claim, wanted)) {
            return Err(Flaw::Claim(name.clone()));
        }
    }
    let subject = claims.get("sub");
    let whole = subject.map(Value::to_string);
    let who = subject.and_then(Value::as_str).and_then(loggable);
    Ok(Verified { who, identity: identity((Rule::Token, &rules.issuer, whole)), end })
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

/// A subject's or a key's name as it may be logged: what can be printed of it, and not more than fits a
/// line.
fn loggable(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ' || c.is_alphanumeric()) {
        if name.len() + c.len_utf8() > LONGEST_NAME {
            break;
        }
        name.push(c);
    }
    Some(name).filter(|name| !name.trim().is_empty())
}
