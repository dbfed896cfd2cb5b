//! A token that is written in the configuration: an API key, most often. Nothing is asked of anyone.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Reading, Sent, is_header_safe, member};
use super::settings::{Problems, fingerprint};
use super::{
    Answer, Defaults, FieldProblem, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault, Vendor,
    VendorSettings, rfc6749,
};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::Secret;

/// A token that is fixed: an API key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StaticSettings {
    /// The token.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${LEGACY_API_KEY}"]))]
    token: Option<Secret>,
}

#[derive(Debug)]
struct Static {
    token: Secret,
}

impl VendorSettings for StaticSettings {
    fn build(self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        if token_url.is_some() {
            problems.add("token_url", "has no use: a static token is not asked for", "remove it");
        }
        let token = problems.required("token", self.token, "provider static sends nothing else");
        if token.as_ref().is_some_and(|t| !is_header_safe(t.expose())) {
            problems.add(
                "token",
                "has a character that cannot be sent in a header",
                "use visible ASCII without spaces or line ends around it",
            );
        }
        problems.finish(token.map(|token| Arc::new(Static { token }) as Arc<dyn Vendor>))
    }
}

impl Vendor for Static {
    fn provider(&self) -> &'static str {
        "static"
    }

    fn identity(&self) -> Identity {
        // The token is all there is to tell two of them apart.
        Identity { parts: vec![("token", fingerprint([self.token.expose()]))], secrets: vec![self.token.clone()] }
    }

    fn token_url(&self) -> Option<&EndpointUrl> {
        None
    }

    fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
        Ok(Login::Fixed(self.token.clone()))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        // Nobody asks, so nobody answers; what came all the same is read as RFC 6749 has it.
        let reading = Reading::new(answer, Sent::new([self.token.clone()]));
        let json = reading.success(rfc6749::error)?;
        reading.grant(member(&json, "access_token"), member(&json, "expires_in"))
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        Vec::new()
    }

    fn placeholder(&self, call: OwnCall, token: &str, lifetime: Duration) -> String {
        match call {
            OwnCall::Login => rfc6749::token_answer(token, lifetime),
            OwnCall::Release => "{}".to_owned(),
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            inject: vec![Place::bearer()],
            lifetime: None,
            exclusive: false,
            refused_when: RefusedWhen::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::tests::{build, occasion, problems, problems_at};

    #[test]
    fn the_token_is_the_one_that_is_written() {
        let vendor = build("static", &json!({"token": "k3y"}), None);
        let Ok(Login::Fixed(token)) = vendor.login(&occasion()) else { panic!("a static token is not asked for") };
        assert_eq!(token.expose(), "k3y");
        assert_eq!(vendor.defaults().lifetime, None);
        assert!(vendor.own_endpoints().is_empty() && vendor.token_url().is_none());
        assert!(!format!("{vendor:?} {:?}", vendor.identity()).contains("k3y"));
    }

    #[test]
    fn two_static_tokens_are_two_credentials() {
        let parts = |token: &str| build("static", &json!({"token": token}), None).identity().parts;
        assert_ne!(parts("a"), parts("b"));
        assert_eq!(parts("a"), parts("a"));
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused_before_it_is_used() {
        for token in ["a\nb", " a", "a\r", "caf\u{e9}"] {
            assert_eq!(problems("static", &json!({"token": token})), ["token"], "{token:?}");
        }
        assert_eq!(problems("static", &json!({"token": ""})), ["token"]);
        assert_eq!(problems_at("static", &json!({}), Some("https://a/b")), ["token_url", "token"]);
    }
}
