//! Crewmojo: client credentials in a JSON body. Every new token kills the earlier ones of that
//! client, so its tokens are exclusive.
//!
//! Source: the vendor's page "Crewmojo API" (docs.crewmojo.com).

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Reading, Sent, class_of_status, member, text};
use super::request::{JSON, json_object, post};
use super::settings::Problems;
use super::{
    Answer, Defaults, FaultClass, FieldProblem, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault,
    Vendor, VendorSettings, rfc6749,
};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::Secret;

/// Crewmojo: client id and secret key from Company Settings, Integrations, API Authentication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CrewmojoSettings {
    /// Which of the vendor's hosts gives the token.
    #[schemars(extend("default" = "production"))]
    environment: Option<Environment>,
    /// The client ID.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${CREWMOJO_CLIENT_ID}"]))]
    client_id: Option<String>,
    /// The secret key.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${CREWMOJO_CLIENT_SECRET}", "${file:/run/secrets/crewmojo_client_secret}"]))]
    client_secret: Option<Secret>,
}

/// The vendor's environments.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Environment {
    /// `api.crewmojo.com`
    #[default]
    Production,
    /// `api.test.crewmojo.com`
    Test,
}

impl Environment {
    fn token_url(self) -> &'static str {
        match self {
            Self::Production => "https://api.crewmojo.com/v1/oauth/token",
            Self::Test => "https://api.test.crewmojo.com/v1/oauth/token",
        }
    }
}

#[derive(Debug)]
struct Crewmojo {
    token_url: EndpointUrl,
    client_id: String,
    client_secret: Secret,
}

impl VendorSettings for CrewmojoSettings {
    fn build(self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        let why = "Crewmojo's admins find it in Company Settings, Integrations, API Authentication";
        let client_id = problems.required("client_id", self.client_id, why);
        let client_secret = problems.required("client_secret", self.client_secret, why);
        let token_url =
            token_url.or_else(|| problems.endpoint("environment", self.environment.unwrap_or_default().token_url()));
        let built = token_url.zip(client_id).zip(client_secret);
        problems.finish(built.map(|((token_url, client_id), client_secret)| {
            Arc::new(Crewmojo { token_url, client_id, client_secret }) as Arc<dyn Vendor>
        }))
    }
}

/// The vendor's error body inside a success: `success` is the string "false", `httpErrorCode` a
/// number, `errorMessage` prose.
fn error_inside(reading: &Reading<'_>, json: &Value) -> Option<TokenFault> {
    let status = member(json, "httpErrorCode").and_then(text);
    let failed = match member(json, "success") {
        Some(Value::String(success)) => success.eq_ignore_ascii_case("false"),
        Some(Value::Bool(success)) => !success,
        _ => false,
    };
    if !failed && status.is_none() {
        return None;
    }
    let class = status.as_deref().and_then(|s| s.parse().ok()).map_or(FaultClass::Transient, class_of_status);
    Some(reading.error_inside(class, status))
}

impl Vendor for Crewmojo {
    fn provider(&self) -> &'static str {
        "crewmojo"
    }

    fn identity(&self) -> Identity {
        Identity {
            parts: vec![("token_url", self.token_url.to_string()), ("client_id", self.client_id.clone())],
            secrets: vec![self.client_secret.clone()],
        }
    }

    fn token_url(&self) -> Option<&EndpointUrl> {
        Some(&self.token_url)
    }

    fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
        let body = json_object([
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
        ]);
        Ok(Login::Request(post(&self.token_url, JSON, None, body)))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        rfc6749::read(answer, Sent::new([self.client_secret.clone()]), error_inside)
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        vec![OwnEndpoint { url: self.token_url.clone(), call: OwnCall::Login }]
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
            lifetime: Some(Duration::from_secs(30 * 60)),
            exclusive: true,
            refused_when: RefusedWhen::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::tests::{answer, build, problems, sent};
    use crate::vendor::{FaultReason, LifetimeSource};

    fn vendor() -> Arc<dyn Vendor> {
        build("crewmojo", &json!({"client_id": "ccccc", "client_secret": "ssss"}), None)
    }

    #[test]
    fn the_request_is_the_documents_example() {
        let request = sent(&*vendor());
        assert_eq!(request.url, "https://api.crewmojo.com/v1/oauth/token");
        assert_eq!(request.headers, ["content-type: application/json", "accept: application/json"]);
        assert_eq!(request.body, r#"{"grant_type":"client_credentials","client_id":"ccccc","client_secret":"ssss"}"#);
    }

    #[test]
    fn the_environment_chooses_the_host_and_token_url_overrides_it() {
        let settings = json!({"environment": "test", "client_id": "c", "client_secret": "s"});
        assert_eq!(sent(&*build("crewmojo", &settings, None)).url, "https://api.test.crewmojo.com/v1/oauth/token");
        let other = "http://127.0.0.1:9/t";
        assert_eq!(sent(&*build("crewmojo", &settings, Some(other))).url, other);
    }

    #[test]
    fn a_token_is_read_with_its_life() {
        let body = r#"{"access_token": "aaaaaaaaaaaaaaa", "token_type": "Bearer", "expires_in": 1800}"#;
        let grant = answer(&*vendor(), 200, body).unwrap();
        assert_eq!(grant.token.expose(), "aaaaaaaaaaaaaaa");
        assert_eq!(grant.lifetime, Some((Duration::from_secs(1800), LifetimeSource::Answer)));
    }

    #[test]
    fn the_documents_failures_have_their_classes_and_their_prose_goes_nowhere() {
        for (status, message, class) in [
            (400, "Invalid data received", FaultClass::Refused),
            (401, "Unauthorized", FaultClass::Refused),
            (500, "Error generating access token", FaultClass::Transient),
        ] {
            let body = json!({"success": "false", "httpErrorCode": status, "errorMessage": message}).to_string();
            let fault = answer(&*vendor(), status, &body).unwrap_err();
            assert_eq!((fault.class, fault.reason), (class, FaultReason::Status(status)));
            assert_eq!(fault.code, None);
            let inside = answer(&*vendor(), 200, &body).unwrap_err();
            assert_eq!((inside.class, inside.reason), (class, FaultReason::ErrorInside));
            assert!(!inside.to_string().contains(message));
        }
        for body in ["{}", r#"{"access_token":""}"#, r#"{"access_token":null}"#, r#"{"access_token":["x"]}"#] {
            let fault = answer(&*vendor(), 200, body).unwrap_err();
            assert_eq!((fault.class, fault.reason), (FaultClass::Transient, FaultReason::NoToken), "{body}");
        }
    }

    #[test]
    fn all_that_is_missing_is_said_together() {
        assert_eq!(problems("crewmojo", &json!({})), ["client_id", "client_secret"]);
        assert_eq!(
            problems("crewmojo", &json!({"client_id": " ", "client_secret": ""})),
            ["client_id", "client_secret"]
        );
    }

    #[test]
    fn a_legacy_login_is_answered_in_the_vendors_form() {
        let text = vendor().placeholder(OwnCall::Login, "a\"b", Duration::from_secs(1800));
        assert_eq!(text, r#"{"access_token":"a\"b","token_type":"Bearer","expires_in":1800}"#);
    }
}
