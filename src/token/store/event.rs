//! What processes tell each other: small JSON on one channel, without anything secret.

use serde::{Deserialize, Serialize};

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// There is a token with this fence.
    Token,
    /// A login under this fence is about to kill the token in hand: hold requests.
    Hold,
    /// The sender holds its requests for this fence, and none is under way.
    Confirm,
    /// The login under this fence is not made, or failed.
    Release,
}

/// One message. Scripts write it too: see `lua/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Event {
    /// The credential, as its key's hex.
    pub(super) key: String,
    /// What is told.
    pub(super) kind: Kind,
    /// Under which number.
    pub(super) fence: u64,
    /// The process that tells it.
    pub(super) from: String,
    /// How long to hold, in milliseconds.
    #[serde(default)]
    pub(super) ms: u64,
}

impl Event {
    /// Reads a message; `None` for what is none.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// As it is sent.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
