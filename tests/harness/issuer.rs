//! An issuer of tokens, with a key of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://login.example.com";

/// Signs with a key on P-256 of this name.
pub struct Issuer {
    id: String,
    key: KeyPair,
}

impl Issuer {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// The public half, as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.key.public_key_raw();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": b64(&point[1..33]), "y": b64(&point[33..])})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&Header::new(Algorithm::ES256), claims)
    }

    /// A token with this head, but for the key's name.
    pub fn token_with(&self, header: &Header, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..header.clone() };
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        encode(&header, claims, &key).unwrap()
    }

    /// What whoever takes the published key for a shared secret would sign.
    pub fn token_by_hmac(&self, claims: &Value) -> Vec<String> {
        let pem = self.key.public_key_pem();
        let secrets = [pem.as_bytes(), pem.trim().as_bytes(), self.key.public_key_raw(), b""];
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::HS256) };
        secrets.map(|secret| encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()).to_vec()
    }
}

/// What issuers publish.
pub fn jwks(issuers: &[&Issuer]) -> String {
    json!({"keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>()}).to_string()
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of alice that hold for five minutes, with these in their place.
pub fn claims(more: &Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "billing", "sub": "alice", "exp": now() + 300});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}
