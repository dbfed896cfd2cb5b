//! The public keys of an issuer of tokens, as a JWK set (RFC 7517).

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// More keys than this are no rotation. Each may have to be tried, where a token names none.
const MOST_KEYS: usize = 64;

/// Keys that signatures are verified with.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    digest: [u8; 32],
}

/// One key, and what it may be used for.
#[derive(Clone)]
pub struct VerifyingKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    /// The key itself.
    pub key: DecodingKey,
}

/// Why a text was not taken for a set of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or no object with a list `keys`.
    #[error("is no JWK set")]
    Malformed,
    /// What leads to the keys (`OpenID` Connect Discovery 1.0, section 4.2).
    #[error("is an OpenID configuration, no JWK set")]
    Discovery,
    /// None that a signature could be verified with: RSA of 2048 bits or more, P-256, P-384 or Ed25519.
    #[error("has no key that signatures can be verified with")]
    NoKeys,
    /// Too many.
    #[error("has more than 64 keys")]
    TooMany,
}

impl KeySet {
    /// Reads a JWK set. Keys that are of no use here are passed over (RFC 7517 section 5), above all
    /// symmetric ones: what is published is no secret.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let document: Value = serde_json::from_slice(text).map_err(|_| KeySetError::Malformed)?;
        let none = if document.get("jwks_uri").is_some() { KeySetError::Discovery } else { KeySetError::Malformed };
        let listed = document.get("keys").and_then(Value::as_array).ok_or(none)?;
        let keys: Vec<VerifyingKey> = listed.iter().filter_map(VerifyingKey::read).take(MOST_KEYS + 1).collect();
        match keys.len() {
            0 => Err(KeySetError::NoKeys),
            1..=MOST_KEYS => Ok(Self { keys, digest: Sha256::digest(text).into() }),
            _ => Err(KeySetError::TooMany),
        }
    }

    /// The keys that a token may be signed with that names this key and this algorithm; without a name,
    /// all that fit the algorithm. `None` where it names one that is not there.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<impl Iterator<Item = &VerifyingKey>> {
        let id = id.filter(|_| !self.is_nameless()).map(str::to_owned);
        let named = move |key: &VerifyingKey| id.is_none() || key.id == id;
        if !self.keys.iter().any(&named) {
            return None;
        }
        Some(self.keys.iter().filter(move |key| named(key) && key.algorithms.contains(&algorithm)))
    }

    /// Whether its keys have no names at all: it says nothing of which one a token's name means.
    pub fn is_nameless(&self) -> bool {
        self.keys.iter().all(|key| key.id.is_none())
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is none without a key")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells it from any other.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl VerifyingKey {
    /// RFC 7517 section 4 and RFC 7518 section 6. `None` for a key that is of no use here.
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let deeds = jwk.get("key_ops").and_then(Value::as_array);
        if deeds.is_some_and(|deeds| !deeds.iter().any(|deed| deed == "verify")) {
            return None;
        }
        // The algorithms are those of the key's own kind, whatever a token says.
        let (key, algorithms) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                // Without leading zeros, 2048 bits are 342 letters of base64; fewer are too weak (RFC 7518 section 3.3).
                let modulus = text("n").filter(|n| n.trim_start_matches('A').len() >= 341)?;
                (DecodingKey::from_rsa_components(modulus, text("e")?), AlgorithmFamily::Rsa.algorithms())
            }
            ("EC", Some("P-256")) => (DecodingKey::from_ec_components(text("x")?, text("y")?), &[Algorithm::ES256][..]),
            ("EC", Some("P-384")) => (DecodingKey::from_ec_components(text("x")?, text("y")?), &[Algorithm::ES384][..]),
            ("OKP", Some("Ed25519")) => (DecodingKey::from_ed_components(text("x")?), &[Algorithm::EdDSA][..]),
            _ => return None,
        };
        let own = |algorithm: &&Algorithm| {
            text("alg").is_none_or(|own| own.parse::<Algorithm>().is_ok_and(|own| own == **algorithm))
        };
        let algorithms: Vec<Algorithm> = algorithms.iter().filter(own).copied().collect();
        let key = key.ok().filter(|_| !algorithms.is_empty())?;
        Some(Self { id: text("kid").map(str::to_owned), algorithms, key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(bits: usize, more: &Value) -> Value {
        let mut jwk = json!({"kty": "RSA", "n": format!("{}g", "s".repeat(bits / 6)), "e": "AQAB"});
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    fn read(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn found(set: &KeySet, id: Option<&str>, algorithm: Algorithm) -> Option<usize> {
        set.find(id, algorithm).map(Iterator::count)
    }

    #[test]
    fn keys_are_found_by_name_and_used_for_their_own_kind_only() {
        let curve = json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "e"});
        let edwards = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "o"});
        let only = json!({"kid": "ps", "alg": "PS256"});
        let set = read(&[rsa(2048, &json!({"kid": "r"})), curve, edwards, rsa(4096, &only)]).unwrap();
        for (id, algorithm, keys) in [
            (Some("r"), Algorithm::RS256, Some(1)),
            (Some("r"), Algorithm::PS512, Some(1)),
            (Some("r"), Algorithm::ES256, Some(0)),
            (Some("r"), Algorithm::HS256, Some(0)),
            (Some("e"), Algorithm::ES256, Some(1)),
            (Some("e"), Algorithm::ES384, Some(0)),
            (Some("o"), Algorithm::EdDSA, Some(1)),
            (Some("ps"), Algorithm::PS256, Some(1)),
            (Some("ps"), Algorithm::RS256, Some(0)),
            (Some("other"), Algorithm::RS256, None),
            (Some(""), Algorithm::RS256, None),
            (None, Algorithm::RS256, Some(1)),
            (None, Algorithm::PS256, Some(2)),
        ] {
            assert_eq!(found(&set, id, algorithm), keys, "{id:?} {algorithm:?}");
        }
        let nameless = read(&[rsa(2048, &json!({}))]).unwrap();
        assert_eq!(found(&nameless, Some("any"), Algorithm::RS256), Some(1));
    }

    #[test]
    fn keys_that_are_of_no_use_are_passed_over() {
        let good = rsa(2048, &json!({"kid": "good"}));
        for bad in [
            json!({"kty": "oct", "k": "AAAA", "kid": "x"}),
            json!({"kty": "oct", "k": "AAAA", "kid": "x", "alg": "RS256"}),
            rsa(1024, &json!({"kid": "x"})),
            rsa(2048, &json!({"kid": "x", "n": format!("{}{}", "A".repeat(300), "s".repeat(100))})),
            rsa(2048, &json!({"kid": "x", "use": "enc"})),
            rsa(2048, &json!({"kid": "x", "key_ops": ["encrypt"]})),
            rsa(2048, &json!({"kid": "x", "alg": "HS256"})),
            rsa(2048, &json!({"kid": "x", "alg": "none"})),
            rsa(2048, &json!({"kid": "x", "e": "!"})),
            json!({"kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA", "kid": "x"}),
            json!({"kty": "new", "kid": "x"}),
            json!("x"),
        ] {
            assert_eq!(read(std::slice::from_ref(&bad)).unwrap_err(), KeySetError::NoKeys, "{bad}");
            assert_eq!(found(&read(&[bad, good.clone()]).unwrap(), Some("x"), Algorithm::RS256), None);
        }
        for text in ["", "[]", "{}", "{\"keys\": {}}", "-----BEGIN PUBLIC KEY-----"] {
            assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), KeySetError::Malformed, "{text}");
        }
        assert_eq!(read(&vec![good; 65]).unwrap_err(), KeySetError::TooMany);
    }
}
