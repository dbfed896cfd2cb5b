//! Who may use a route, as written; `crate::access` judges by it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{EndpointUrl, HostPattern, HostPatternError, KeySet, PasswordHash, UpstreamTls};

/// The SHA-256 of an inbound API key: what is compared, and all that is kept.
#[derive(Clone, Copy)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key as a client presents it.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl ConstantTimeEq for KeyDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// In constant time: no comparison of keys tells by its duration how much of one was right.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for KeyDigest {}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A named inbound key. The name may be logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Whose it is.
    pub name: String,
    /// Its digest.
    pub digest: KeyDigest,
}

/// Someone who logs in by Basic. The name may be logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BasicUser {
    /// What they call themselves.
    pub name: String,
    /// What is kept of their password.
    pub password: PasswordHash,
}

/// What a token must be to let its bearer in (RFC 7519).
#[derive(Clone, PartialEq, Debug)]
pub struct JwtRules {
    /// Its `iss`, to the letter.
    pub issuer: String,
    /// Its `aud` must be one of these, or hold one.
    pub audience: Vec<String>,
    /// What it may be signed with; never a shared secret.
    pub algorithms: Vec<Algorithm>,
    /// Further claims that it must have, each with all that must be in it.
    pub claims: Vec<(String, Vec<String>)>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// Where the issuer's keys are.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Clone, PartialEq, Debug)]
pub enum KeySource {
    /// In a file, which has been read.
    File(Arc<KeySet>),
    /// At a URL, asked again and again.
    Url(Box<KeyUrl>),
}

/// A URL that keys are fetched from.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyUrl {
    /// Itself.
    pub url: EndpointUrl,
    /// The same as it may be told: without its query, and without what came from a reference.
    pub label: String,
    /// How its certificate is judged.
    pub tls: UpstreamTls,
}

/// Whose client certificate lets in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateRule {
    /// Anyone's that the listener's `client_ca` vouches for.
    Any,
    /// That has one of these among its subject alternative names.
    Names(Vec<CertificateName>),
}

/// A subject alternative name, as a rule has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateName {
    /// A DNS name, or `*.` and its end.
    Host(HostPattern),
    /// A URI, an address or a mail address, to the letter.
    Text(String),
}

impl CertificateName {
    /// Reads `app.internal`, `*.internal`, `spiffe://trust/app`, `10.0.0.7` or `app@example.com`.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Text(address.to_string()));
        }
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_uri = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if (is_uri && !scheme.contains('.') || text.contains('@')) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return if text.contains('*') { Err(HostPatternError::Star) } else { Ok(Self::Text(text.to_owned())) };
        }
        HostPattern::parse(text).map(Self::Host)
    }

    /// Whether this name of a certificate is meant. A star never stands for a part of a URI or of a mail
    /// address, nor for another star.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Text(text) => text == name,
            Self::Host(pattern) => {
                let is_dns = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
                name.bytes().all(is_dns) && pattern.matches(name)
            }
        }
    }
}

/// What must hold for a request to come in. Everything that is listed must hold; nothing listed
/// (`access: public`, or a loopback listener without `access`) lets everyone in.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AccessPolicy {
    /// If not empty, one of these keys must be presented.
    pub api_keys: Vec<ApiKey>,
    /// If not empty, one of these must have logged in.
    pub users: Vec<BasicUser>,
    /// A token that must be presented. Never beside `users`: both go into one header.
    pub jwt: Option<Arc<JwtRules>>,
    /// A client certificate that must have been shown.
    pub client_certificates: Option<CertificateRule>,
    /// If not empty, the client's address must be in one of these.
    pub allow: Vec<IpNet>,
    /// The client's address must be in none of these.
    pub deny: Vec<IpNet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_names_are_exact_or_stand_for_one_label_or_more() {
        for (rule, name, expected) in [
            ("App.Internal", "app.internal", true),
            ("app.internal", "app.internal.evil", false),
            ("*.apps.internal", "a.apps.internal", true),
            ("*.apps.internal", "a.b.apps.internal", true),
            ("*.apps.internal", "apps.internal", false),
            ("*.apps.internal", "aapps.internal", false),
            ("*.apps.internal", "*.apps.internal", false),
            ("*.apps.internal", "spiffe://trust/a.apps.internal", false),
            ("*.apps.internal", "a@b.apps.internal", false),
            ("*.apps.internal", "a b.apps.internal", false),
            ("spiffe://trust/app", "spiffe://trust/app", true),
            ("spiffe://trust/app", "spiffe://trust/app/x", false),
            ("spiffe://trust/app", "spiffe://Trust/app", false),
            ("urn:app:1", "urn:app:1", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("2001:db8:0::1", "2001:db8::1", true),
            ("app@example.com", "app@example.com", true),
        ] {
            assert_eq!(CertificateName::parse(rule).unwrap().matches(name), expected, "{rule} {name}");
        }
        for wrong in ["", "*", "a.*.b", "spiffe://trust/*", "a b", "app.internal:443"] {
            assert!(CertificateName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
