//! Crayon Cloud-iQ: the password grant, with the client in a Basic header and an answer in
//! `PascalCase`.
//!
//! Source: the vendor's page "Get Token" (apidocs.crayon.com). Failures also come as a success with
//! an `Error` or an empty `AccessToken`, as the vendor's own samples test for.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Reading, Sent, class_of_text, member, short_code, text};
use super::request::{FORM, basic, form, json_string, post};
use super::settings::{Problems, filled};
use super::{
    Answer, Defaults, FieldProblem, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault, Vendor,
    VendorSettings,
};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::Secret;

const TOKEN_URL: &str = "https://api.crayon.com/api/v1/connect/token/";

/// Crayon Cloud-iQ: a client registered at cloudiq.crayon.com/clients, and an API user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CrayonSettings {
    /// The client's id.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${CRAYON_CLIENT_ID}"]))]
    client_id: Option<String>,
    /// The client's secret. It has an expiry date at the vendor.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${CRAYON_CLIENT_SECRET}"]))]
    client_secret: Option<Secret>,
    /// The API user's name, an e-mail address.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${CRAYON_USERNAME}"]))]
    username: Option<String>,
    /// The API user's password.
    #[schemars(required)]
    #[schemars(extend("examples" = ["${CRAYON_PASSWORD}"]))]
    password: Option<Secret>,
    /// The scope.
    #[schemars(extend("default" = "CustomerApi", "examples" = ["CustomerApi"]))]
    scope: Option<String>,
}

#[derive(Debug)]
struct Crayon {
    token_url: EndpointUrl,
    client_id: String,
    client_secret: Secret,
    username: String,
    password: Secret,
    scope: String,
}

impl VendorSettings for CrayonSettings {
    fn build(self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        let client = "the client is registered at cloudiq.crayon.com/clients";
        let user = "Crayon's password grant needs an API user";
        problems.basic_user("client_id", self.client_id.as_deref());
        let client_id = problems.required("client_id", self.client_id, client);
        let client_secret = problems.required("client_secret", self.client_secret, client);
        let username = problems.required("username", self.username, user);
        let password = problems.required("password", self.password, user);
        let scope = filled(self.scope).unwrap_or_else(|| "CustomerApi".to_owned());
        let token_url = token_url.or_else(|| problems.endpoint("token_url", TOKEN_URL));
        let built = token_url.zip(client_id.zip(client_secret)).zip(username.zip(password));
        problems.finish(built.map(|((token_url, (client_id, client_secret)), (username, password))| {
            Arc::new(Crayon { token_url, client_id, client_secret, username, password, scope }) as Arc<dyn Vendor>
        }))
    }
}

fn code(json: &Value) -> Option<String> {
    // `Error` is documented as a message; where it is a single word it serves as a code.
    member(json, "error").or_else(|| member(json, "ErrorCode")).and_then(short_code)
}

impl Vendor for Crayon {
    fn provider(&self) -> &'static str {
        "crayon"
    }

    fn identity(&self) -> Identity {
        Identity {
            parts: vec![
                ("token_url", self.token_url.to_string()),
                ("client_id", self.client_id.clone()),
                ("username", self.username.clone()),
                ("scope", self.scope.clone()),
            ],
            secrets: vec![self.client_secret.clone(), self.password.clone()],
        }
    }

    fn token_url(&self) -> Option<&EndpointUrl> {
        Some(&self.token_url)
    }

    fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
        let body = form([
            ("grant_type", "password"),
            ("username", &self.username),
            ("password", self.password.expose()),
            ("scope", &self.scope),
        ]);
        // The vendor's own clients do not form-encode id and secret before.
        let client = basic(&self.client_id, self.client_secret.expose());
        Ok(Login::Request(post(&self.token_url, FORM, Some(&client), body)))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        let sent = Sent::new([self.client_secret.clone(), self.password.clone()])
            .with_basic(&self.client_id, self.client_secret.expose());
        let reading = Reading::new(answer, sent);
        let json = reading.success(code)?;
        if !json.is_object() {
            return Err(reading.unreadable());
        }
        if let Some(error) = member(&json, "Error").and_then(text) {
            return Err(reading.error_inside(class_of_text(&error), code(&json)));
        }
        reading.grant(member(&json, "AccessToken"), member(&json, "ExpiresIn"))
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        vec![OwnEndpoint { url: self.token_url.clone(), call: OwnCall::Login }]
    }

    fn placeholder(&self, call: OwnCall, token: &str, lifetime: Duration) -> String {
        match call {
            OwnCall::Login => format!(
                r#"{{"AccessToken":{},"IdentityToken":null,"Error":null,"ExpiresIn":{},"TokenType":"Bearer","RefreshToken":null}}"#,
                json_string(token),
                lifetime.as_secs()
            ),
            OwnCall::Release => "{}".to_owned(),
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            inject: vec![Place::bearer()],
            lifetime: Some(Duration::from_secs(60 * 60)),
            exclusive: false,
            refused_when: RefusedWhen::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::tests::{answer, build, problems, sent};
    use crate::vendor::{FaultClass, FaultReason, LifetimeSource};

    fn vendor() -> Arc<dyn Vendor> {
        let settings = json!({
            "client_id": "id", "client_secret": "a b+c", "username": "api@example.com", "password": "p&w=1 %",
        });
        build("crayon", &settings, None)
    }

    #[test]
    fn the_request_is_the_documents_example() {
        let request = sent(&*vendor());
        assert_eq!(request.url, "https://api.crayon.com/api/v1/connect/token/");
        assert_eq!(
            request.headers,
            [
                "content-type: application/x-www-form-urlencoded",
                "accept: application/json",
                "authorization: Basic aWQ6YSBiK2M=", // id:a b+c, not form-encoded
            ]
        );
        assert_eq!(
            request.body,
            "grant_type=password&username=api%40example.com&password=p%26w%3D1+%25&scope=CustomerApi"
        );
    }

    #[test]
    fn the_documents_answer_is_read_in_every_case_of_its_names() {
        for body in [
            r#"{"AccessToken": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9...", "IdentityToken": null, "Error": null, "ExpiresIn": 20060, "TokenType": "Bearer", "RefreshToken": null}"#,
            r#"{"accessToken": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9...", "expiresIn": "20060", "error": ""}"#,
            r#"{"access_token": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9...", "expires_in": 20060.0}"#,
        ] {
            let grant = answer(&*vendor(), 200, body).unwrap();
            assert_eq!(grant.token.expose(), "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9...");
            assert_eq!(grant.lifetime, Some((Duration::from_secs(20060), LifetimeSource::Answer)));
        }
    }

    #[test]
    fn a_success_with_an_error_or_without_a_token_is_a_failed_login() {
        use FaultClass::{Refused, Transient};
        for (body, class, reason, code) in [
            (
                r#"{"AccessToken":null,"Error":"invalid_grant"}"#,
                Refused,
                FaultReason::ErrorInside,
                Some("invalid_grant"),
            ),
            (r#"{"AccessToken":"t","Error":"Invalid username or password"}"#, Refused, FaultReason::ErrorInside, None),
            (r#"{"AccessToken":null,"Error":"Something broke"}"#, Transient, FaultReason::ErrorInside, None),
            (r#"{"AccessToken":"","Error":null}"#, Transient, FaultReason::NoToken, None),
            (r#"{"AccessToken":null}"#, Transient, FaultReason::NoToken, None),
            ("[]", Transient, FaultReason::Unreadable, None),
            ("\"token\"", Transient, FaultReason::Unreadable, None),
        ] {
            let fault = answer(&*vendor(), 200, body).unwrap_err();
            assert_eq!((fault.class, fault.reason, fault.code.as_deref()), (class, reason, code), "{body}");
        }
        let fault = answer(&*vendor(), 400, r#"{"error":"invalid_client"}"#).unwrap_err();
        assert_eq!((fault.class, fault.code.as_deref()), (Refused, Some("invalid_client")));
        let fault = answer(&*vendor(), 400, r#"{"Error":"aWQ6YSBiK2M="}"#).unwrap_err();
        assert_eq!(fault.code.as_deref(), Some("***"), "the Basic header does not come back either");
    }

    #[test]
    fn all_that_is_missing_is_said_together() {
        assert_eq!(problems("crayon", &json!({})), ["client_id", "client_secret", "username", "password"]);
        let settings = json!({"client_id": "a:b", "client_secret": "s", "username": "u", "password": "p"});
        assert_eq!(problems("crayon", &settings), ["client_id"], "a colon would end the user name");
    }

    #[test]
    fn a_legacy_login_is_answered_in_the_vendors_form() {
        let text = vendor().placeholder(OwnCall::Login, "t", Duration::from_secs(3600));
        assert_eq!(
            text,
            r#"{"AccessToken":"t","IdentityToken":null,"Error":null,"ExpiresIn":3600,"TokenType":"Bearer","RefreshToken":null}"#
        );
    }
}
