//! The proxy by which an upstream or a token endpoint is reached: its field goes before the
//! environment, and `none` before both.

use crate::config::EgressSettings;
use crate::config::check::Check;
use crate::config::spot::Spot;
use crate::model::{EgressProxy, EgressProxyError, Origin, UrlError};
use crate::secret::Secret;

const WRITE: &str = "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, odd characters of them as %XX; or none";

impl Check<'_> {
    /// The proxy on the way to this origin; `None` for the direct way, and where an error was
    /// reported. `spot` is the map that has the field.
    pub(super) fn egress(
        &mut self,
        field: Option<&Secret>,
        spot: &Spot<'_>,
        origin: &Origin,
    ) -> Option<EgressSettings> {
        let Some(written) = field else { return self.egress_of_environment(spot, origin) };
        let written = written.expose().trim();
        if written == "none" {
            return None;
        }
        match EgressProxy::parse(written) {
            Ok(proxy) => Some(EgressSettings { proxy, variable: None }),
            Err(error) => {
                let direct =
                    ["", "direct", "no", "false", "off", "*"].iter().any(|word| written.eq_ignore_ascii_case(word));
                let (message, mend) = match error {
                    _ if direct => ("is not the URL of a proxy".to_owned(), "write `none` for no proxy"),
                    EgressProxyError::Url(UrlError::Scheme) => ("must begin with http://".to_owned(), WRITE),
                    error => (error.to_string(), mend(error)),
                };
                self.report.error(&spot.key("proxy"), message, mend);
                None
            }
        }
    }

    fn egress_of_environment(&mut self, spot: &Spot<'_>, origin: &Origin) -> Option<EgressSettings> {
        let (variable, found) = self.variables.of(origin)?;
        match found {
            Ok(proxy) => Some(EgressSettings { proxy, variable: Some(variable) }),
            Err(error) => {
                // The machine's matter, not each upstream's: told at the first one.
                if self.told_variables.insert(variable) {
                    let message = format!("the environment variable {variable} is in force here, and {error}");
                    let mend = "set it to http://HOST:PORT, or write `proxy: none` here";
                    self.report.error_at_key(spot, message, mend);
                }
                None
            }
        }
    }
}

fn mend(error: EgressProxyError) -> &'static str {
    match error {
        EgressProxyError::Tls => {
            "write http://: what goes to an https upstream is encrypted in the tunnel through it all the same"
        }
        EgressProxyError::Socks => "write the http:// address of a proxy that takes CONNECT",
        EgressProxyError::Path | EgressProxyError::User | EgressProxyError::Url(_) => WRITE,
    }
}
