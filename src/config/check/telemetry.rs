//! Where traces go.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::TelemetrySettings;
use crate::config::check::Check;
use crate::config::check::header::is_own;
use crate::config::file::{General, Telemetry};
use crate::config::spot::Spot;
use crate::config::tree::Node;
use crate::model::{EndpointUrl, Scheme, UpstreamTls};

/// Every trace, as OpenTelemetry's own default has it: whoever names a collector and sends a request
/// sees it there. What is too much is turned down, and the queue bounds what it costs meanwhile.
const SAMPLE: f64 = 1.0;
/// What a proxy is called in traces unless the file says otherwise.
const SERVICE_NAME: &str = "tokenferry";
/// Where OTLP over HTTP takes traces.
const PATH: &str = "/v1/traces";
/// IANA's port of OTLP over gRPC.
const GRPC_PORT: u16 = 4317;

impl Check<'_> {
    /// `None` where there is none, or an error was reported.
    pub(super) fn telemetry(&mut self, root: &Node, general: &General) -> Option<TelemetrySettings> {
        let (telemetry, node) = (general.telemetry.as_ref()?, root.get("telemetry")?);
        let spot = Spot::ROOT.key("telemetry");
        let headers = self.collector_headers(telemetry, &spot);
        let ca = self.ca(telemetry.ca.as_ref(), &spot.key("ca"));
        let Some(base) = telemetry.otlp.as_ref().map(|url| &url.0) else {
            self.missing(&spot, node, "otlp", "add `otlp: http://127.0.0.1:4318`, the collector's URL");
            return None;
        };
        // Both spellings are usual: that of a collector, and that of its place for traces.
        let endpoint = base.join(if base.path().ends_with(PATH) { "" } else { PATH });
        self.collector(&endpoint, telemetry, !headers.is_empty(), &spot);
        Some(TelemetrySettings {
            endpoint,
            sample: telemetry.sample.as_ref().map_or(SAMPLE, |share| share.0),
            headers,
            service_name: telemetry
                .service_name
                .as_ref()
                .map_or_else(|| SERVICE_NAME.to_owned(), |name| name.0.clone()),
            tls: UpstreamTls { ca, ..UpstreamTls::default() },
        })
    }

    /// What is odd about a collector's URL.
    fn collector(&mut self, endpoint: &EndpointUrl, telemetry: &Telemetry, has_headers: bool, spot: &Spot<'_>) {
        let origin = endpoint.origin();
        let plain = origin.scheme() == Scheme::Http;
        if origin.port() == GRPC_PORT {
            self.report.warning(
                &spot.key("otlp"),
                "4317 is the port for OTLP over gRPC, and traces are sent over HTTP",
                "use the collector's port for HTTP, which is 4318 unless it was changed",
            );
        }
        if plain && has_headers && !origin.is_loopback() {
            let message = "the headers go over plain http: they can be read on the way";
            self.report.warning(&spot.key("otlp"), message, "use https://");
        }
        if plain && telemetry.ca.is_some() {
            let mend = "write `otlp: https://...`, or take it out";
            self.report.error_at_key(&spot.key("ca"), "is of no use without TLS", mend);
        }
    }

    fn collector_headers(&mut self, telemetry: &Telemetry, spot: &Spot<'_>) -> HeaderMap {
        let spot = spot.key("headers");
        let mut headers = HeaderMap::new();
        for (text, value) in telemetry.headers.iter().flatten() {
            let at = spot.key(text);
            let Some(name) = self.name(&at, text) else { continue };
            if is_own(&name) || describes(&name) {
                self.report.error_at_key(&at, "this header frames or describes what is sent", "take it out");
                continue;
            }
            // What is left of a variable that is set to nothing lets nobody in.
            let value = Some(value.expose().trim()).filter(|text| !text.is_empty()).map(HeaderValue::from_str);
            let mut value = match value {
                Some(Ok(value)) => value,
                Some(Err(_)) => {
                    let message = "has a character that a header cannot carry";
                    self.report.error(&at, message, "write one line of visible characters");
                    continue;
                }
                None => {
                    self.report.error(&at, "is empty", "give it a value, or take it out");
                    continue;
                }
            };
            value.set_sensitive(true);
            if headers.insert(name, value).is_some() {
                self.report.error_at_key(&at, "this header is here twice", "keep one of the two");
            }
        }
        headers
    }
}

/// Whether a header says what the body is, which is the exporter's to say.
fn describes(name: &HeaderName) -> bool {
    name == CONTENT_TYPE || name == CONTENT_ENCODING
}
