//! Assertions that are signed here: RFC 7523, for a client (section 2.2) and for a grant (section 2.1).

use std::fmt;
use std::time::Duration;

use jsonwebtoken::errors::Result as Signed;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::secret::Secret;
use crate::vendor::Occasion;
use crate::vendor::settings::Problems;

/// How an assertion is signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
pub(super) enum Signature {
    /// RSA, PKCS #1.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA, PSS.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What a key is tried with, the customary one of its kind first.
const SIGNATURES: [Signature; 5] =
    [Signature::Rs256, Signature::Ps256, Signature::Es256, Signature::Es384, Signature::EdDsa];

impl Signature {
    /// As the header's `alg` and the configuration have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Ps256 => Algorithm::PS256,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    fn key(self, pem: &Secret) -> Signed<EncodingKey> {
        let pem = pem.expose().as_bytes();
        match self {
            Self::Rs256 | Self::Ps256 => EncodingKey::from_rsa_pem(pem),
            Self::Es256 | Self::Es384 => EncodingKey::from_ec_pem(pem),
            Self::EdDsa => EncodingKey::from_ed_pem(pem),
        }
    }
}

/// A key that has been seen to sign.
pub(super) struct Signer {
    pem: Secret,
    key: EncodingKey,
    header: Header,
    signature: Signature,
}

/// Nothing of the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("signature", &self.signature).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads a key and signs with it once. `above` is what stands before the names of its fields.
    pub(super) fn new(
        pem: &Secret,
        signature: Option<Signature>,
        key_id: Option<&str>,
        above: &str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let fitting = || SIGNATURES.into_iter().filter_map(|one| Self::tried(pem, one, key_id));
        let signer = match signature {
            Some(signature) => Self::tried(pem, signature, key_id),
            None => fitting().next(),
        };
        if signer.is_none() {
            let able: Vec<_> = fitting().map(|signer| signer.signature.name()).collect();
            match signature.filter(|_| !able.is_empty()) {
                Some(_) => problems.add(
                    &format!("{above}algorithm"),
                    format!("is none that this key signs by: it signs by {}", able.join(" or ")),
                    "leave it out, or name the other key",
                ),
                None => not_a_key(pem, &format!("{above}private_key"), problems),
            }
        }
        signer
    }

    fn tried(pem: &Secret, signature: Signature, key_id: Option<&str>) -> Option<Self> {
        let mut header = Header::new(signature.algorithm());
        header.kid = key_id.map(str::to_owned);
        let signer = Self { pem: pem.clone(), key: signature.key(pem).ok()?, header, signature };
        signer.sign(&Map::new()).map(|_| signer)
    }

    /// The claims as a signed JWT; `None` where it does not sign after all.
    pub(super) fn sign(&self, claims: &Map<String, Value>) -> Option<Secret> {
        encode(&self.header, claims, &self.key).ok().map(Secret::new)
    }

    /// The key as it was written.
    pub(super) fn pem(&self) -> &Secret {
        &self.pem
    }

    /// How it signs.
    pub(super) fn signature(&self) -> Signature {
        self.signature
    }
}

fn not_a_key(pem: &Secret, field: &str, problems: &mut Problems) {
    let text = pem.expose();
    let (message, mend) = if !text.contains("-----BEGIN ") {
        ("is no key in PEM", "write ${file:key.pem}; the file must hold -----BEGIN PRIVATE KEY-----")
    } else if text.contains("ENCRYPTED") {
        ("is encrypted", "take its passphrase off: openssl pkcs8 -topk8 -nocrypt -in key.pem")
    } else if text.contains("BEGIN EC PRIVATE KEY") {
        ("is in the older form of EC keys", "write it as PKCS #8: openssl pkcs8 -topk8 -nocrypt -in key.pem")
    } else {
        (
            "is no private key that can sign",
            "it must be an RSA key of 2048 bits or more, or an ECDSA P-256, P-384 or Ed25519 key, as PKCS #8",
        )
    };
    problems.add(field, message, mend);
}

/// What an assertion says (RFC 7523 section 3).
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
    pub(super) lifetime: Duration,
    /// Further claims, as a JSON object; they may be secret.
    pub(super) claims: Option<Secret>,
}

impl Statement {
    /// The claims that hold on this occasion.
    pub(super) fn claims(&self, occasion: &Occasion) -> Map<String, Value> {
        let further = self.claims.as_ref().and_then(|claims| serde_json::from_str(claims.expose()).ok());
        let mut claims: Map<String, Value> = further.unwrap_or_default();
        // Never zero: a shorter life than a second would be over at once.
        let until = occasion.now.saturating_add(self.lifetime.as_secs().max(1));
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("sub", json!(self.subject)),
            ("aud", json!(self.audience)),
            ("iat", json!(occasion.now)),
            ("exp", json!(until)),
            ("jti", json!(occasion.nonce)),
        ] {
            claims.insert(name.to_owned(), value);
        }
        claims
    }
}

/// Claims that a [`Statement`] makes by itself.
pub(super) const OWN_CLAIMS: [&str; 6] = ["iss", "sub", "aud", "iat", "exp", "jti"];
