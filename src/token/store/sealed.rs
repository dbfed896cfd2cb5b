//! What of a token is sealed, and opened again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::script::Stored;
use crate::secret::{SealKeys, Secret, Unsealed};
use crate::token::{Carried, SecretVersion};
use crate::vendor::LifetimeSource;

/// The part of a token that only its credential's replicas may know.
#[derive(Serialize)]
struct Shut<'a> {
    token: &'a str,
    source: &'static str,
    secret: &'a str,
    /// In milliseconds: nobody who can only write to the store makes a token live longer than that.
    life: u64,
}

#[derive(Deserialize)]
struct Opened {
    token: Secret,
    source: String,
    secret: String,
    life: u64,
}

/// Why a stored token is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Shut(#[from] Unsealed),
    #[error("it was written by another version")]
    Form,
}

/// A token moved to another credential's place, or under another number, does not open there.
fn purpose(hex: &str, fence: u64) -> String {
    format!("token {hex} {fence}")
}

/// Seals a token under a number; `None` where the system has no randomness.
pub(super) fn seal(keys: &SealKeys, hex: &str, fence: u64, token: &Carried) -> Option<Vec<u8>> {
    let source = match token.source {
        LifetimeSource::Answer => "answer",
        LifetimeSource::Token => "token",
        LifetimeSource::Configured => "configured",
    };
    let secret = Zeroizing::new(token.secret.hex());
    let life = u64::try_from(token.life.as_millis()).unwrap_or(u64::MAX);
    let shut = Shut { token: token.token.expose(), source, secret: &secret, life };
    let text = Zeroizing::new(serde_json::to_vec(&shut).ok()?);
    keys.seal(&purpose(hex, fence), &text)
}

/// Opens what was stored.
pub(super) fn open(keys: &SealKeys, hex: &str, stored: &Stored) -> Result<Carried, Unreadable> {
    let text = keys.open(&purpose(hex, stored.fence), &stored.sealed)?;
    let opened: Opened = serde_json::from_slice(&text).map_err(|_| Unreadable::Form)?;
    let source = match opened.source.as_str() {
        "answer" => LifetimeSource::Answer,
        "token" => LifetimeSource::Token,
        "configured" => LifetimeSource::Configured,
        _ => return Err(Unreadable::Form),
    };
    let life = Duration::from_millis(opened.life);
    Ok(Carried {
        fence: stored.fence,
        token: opened.token,
        left: stored.left.min(life),
        life,
        source,
        secret: SecretVersion::from_hex(&opened.secret).ok_or(Unreadable::Form)?,
        of_refusal: stored.of_refusal,
        suspect: stored.suspect,
    })
}

/// Why another replica's login failed, as it is left for the others. Sealed as well: the version of a
/// secret helps to guess a weak one.
#[derive(Serialize, Deserialize)]
pub(super) struct LeftFault {
    pub(super) refused: bool,
    pub(super) heard: bool,
    pub(super) code: Option<String>,
    /// The secret that it failed with.
    pub(super) secret: String,
}

/// Seals a fault; nothing where the system has no randomness.
pub(super) fn seal_fault(keys: &SealKeys, hex: &str, fault: &LeftFault) -> Vec<u8> {
    let text = Zeroizing::new(serde_json::to_vec(fault).unwrap_or_default());
    keys.seal(&format!("fault {hex}"), &text).unwrap_or_default()
}

/// Opens a fault.
pub(super) fn open_fault(keys: &SealKeys, hex: &str, sealed: &[u8]) -> Option<LeftFault> {
    serde_json::from_slice(&keys.open(&format!("fault {hex}"), sealed).ok()?).ok()
}
