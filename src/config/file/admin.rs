//! The admin port.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::form::Of;
use crate::config::file::word::{Address, Host};
use crate::model;
use crate::secret::Secret;

/// Health, metrics, the status page and its API, on an address of their own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// `127.0.0.1:9901`, `[::1]:9901`, or `unix:/path`. One that other machines can reach needs a `token`.
    #[schemars(required)]
    pub(crate) address: Option<Of<Address>>,
    /// What is asked for by everything but `/healthz`, `/livez` and `/readyz`: as `Authorization: Bearer`, or as
    /// Basic's password, which is how a browser gives it. Best 16 random characters or more. Default: none.
    pub(crate) token: Option<Secret>,
    /// When `/readyz` says yes. serving: as soon as it serves. tokens: once every credential has a live token; all of
    /// them are then fetched at the start, and kept fresh also where nobody uses them.
    #[schemars(extend("default" = "serving"))]
    pub(crate) ready_when: Option<ReadyWhen>,
    /// Names under which the admin port may be asked, beside `localhost` and addresses: others are refused, so that no
    /// web page can reach it by a name of its own (DNS rebinding). Default: none.
    #[schemars(extend("examples" = [["tokenferry.example"]]))]
    pub(crate) hosts: Option<Vec<Of<Host>>>,
}

/// When `/readyz` says yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadyWhen {
    /// As soon as it serves.
    Serving,
    /// Once every credential has a live token.
    Tokens,
}

impl From<ReadyWhen> for model::ReadyWhen {
    fn from(written: ReadyWhen) -> Self {
        match written {
            ReadyWhen::Serving => Self::Serving,
            ReadyWhen::Tokens => Self::Tokens,
        }
    }
}
