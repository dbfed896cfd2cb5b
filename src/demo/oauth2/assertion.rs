//! Assertions as RFC 7523 section 3 has them judged.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

/// An assertion that holds longer is unreasonably far in the future (section 3, point 4).
const LONGEST: i64 = 60 * 60;

/// The `jti` of assertions that were taken.
#[derive(Debug, Default)]
pub(super) struct Assertions(HashSet<String>);

impl Assertions {
    /// Whether this assertion, known to be good, was not here before; `required` where it must have a
    /// `jti` to tell by.
    pub(super) fn is_new(&mut self, assertion: &str, required: bool) -> bool {
        let claims = assertion.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Option<Value> = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match claims.as_ref().and_then(|claims| claims.get("jti")?.as_str()) {
            Some(id) => !id.is_empty() && self.0.insert(id.to_owned()),
            None => !required,
        }
    }
}

/// Whether it is signed by this key (the public half, in PEM), of this issuer and subject, for this
/// audience, and holds now.
pub(super) fn is_good(assertion: &str, key: &str, who: (&str, &str), audience: &str, now: i64) -> bool {
    let Some(claims) = signed(assertion, key) else { return false };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let is_for = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    };
    (text("iss"), text("sub")) == (Some(who.0), Some(who.1))
        && is_for
        && number("exp").is_some_and(|end| end > now && end <= now.saturating_add(LONGEST))
        && number("iat").is_none_or(|begin| begin <= now)
        && number("nbf").is_none_or(|begin| begin <= now)
}

fn signed(assertion: &str, key: &str) -> Option<Value> {
    let algorithm = decode_header(assertion).ok()?.alg;
    let pem = key.as_bytes();
    let key = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => DecodingKey::from_rsa_pem(pem),
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        // Above all none that is made of what everybody knows.
        _ => return None,
    };
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    // By the simulator's own clock, above.
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    decode(assertion, &key.ok()?, &validation).ok().map(|token| token.claims)
}
