//! Where traces go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::config::file::form::{Complaint, Form, Of, complaint};
use crate::config::file::measure::Share;
use crate::config::file::word::{Base, Path};
use crate::secret::Secret;

/// Where traces go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// URL of an OpenTelemetry collector that takes OTLP over HTTP. `/v1/traces` is put behind it unless it ends so.
    #[schemars(required, extend("examples" = ["http://127.0.0.1:4318"]))]
    pub(crate) otlp: Option<Of<Base>>,
    /// The share of the traces that begin here of which spans are sent, from 0 to 1. Of a trace that a client began,
    /// the client has decided.
    #[schemars(extend("default" = 1.0))]
    pub(crate) sample: Option<Of<Share>>,
    /// Headers by which the collector lets the proxy in. Default: none.
    #[schemars(extend("examples" = [{ "Authorization": "Bearer ${OTLP_TOKEN}" }]))]
    pub(crate) headers: Option<BTreeMap<String, Secret>>,
    /// What this proxy is called in traces.
    #[schemars(extend("default" = "tokenferry"))]
    pub(crate) service_name: Option<Of<ServiceName>>,
    /// PEM file of the roots to trust; for `https://`. Default: the system's.
    #[schemars(extend("examples" = ["/etc/ssl/otel-ca.pem"]))]
    pub(crate) ca: Option<Of<Path>>,
}

/// What a service is called in traces.
pub(crate) struct ServiceName;

impl Form for ServiceName {
    type Value = String;
    const WANTED: &'static str = "a name such as tokenferry";

    fn read(text: &str) -> Result<String, Complaint> {
        if text.is_empty() || text.len() > 255 || text.trim() != text || text.contains(char::is_control) {
            return complaint(
                "must be 1 to 255 bytes on one line, without spaces around them",
                "write a name such as tokenferry",
            );
        }
        Ok(text.to_owned())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255, "examples": ["tokenferry"] })
    }
}
