//! Crayon Cloud-iQ: form logins with a Basic header; failures are 400.

use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::ledger::{Desk, jwt};
use super::message::{BodyKind, Reply, are_exactly, basic, bearer, body_kind, form_parameters};
use super::server::{Call, Refusal, Rules};

/// Crayon, and the client and user that it knows. Data is under `/api/v1`, in any letter case;
/// `/api/v1/ping` needs no token.
pub struct Crayon {
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// The API user.
    pub username: String,
    /// The API user's password.
    pub password: String,
}

impl Default for Crayon {
    fn default() -> Self {
        Self {
            client_id: "1b2c3d4e-demo-crayon-client".to_owned(),
            client_secret: "demo-crayon-secret".to_owned(),
            username: "demo+api@example.com".to_owned(),
            password: "demo crayon password & more".to_owned(),
        }
    }
}

fn token_response(status: StatusCode, token: Option<&str>, error: Option<&str>, expires_in: u64) -> Reply {
    let body = json!({
        "AccessToken": token, "IdentityToken": null, "Error": error, "ExpiresIn": expires_in,
        "TokenType": "Bearer", "RefreshToken": null,
    });
    Reply::json(status, &body)
}

impl Rules for Crayon {
    fn name(&self) -> &'static str {
        "crayon"
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(20060) // the documents' sample
    }

    fn call(&self, _: &Method, path: &str) -> Call {
        match path.trim_end_matches('/').to_ascii_lowercase().as_str() {
            "/api/v1/connect/token" => Call::Login,
            "/api/v1/ping" => Call::Open,
            path if path.starts_with("/api/v1/") => Call::Data,
            _ => Call::Other(Reply::not_found()),
        }
    }

    fn login(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply {
        let fail = |error: &str| token_response(StatusCode::BAD_REQUEST, None, Some(error), 0);
        if head.method != Method::POST || body_kind(&head.headers) != BodyKind::Form {
            return fail("invalid_request");
        }
        if basic(&head.headers) != Some((self.client_id.clone(), self.client_secret.clone())) {
            return fail("invalid_client");
        }
        let fields = ["grant_type", "username", "password", "scope"];
        let Some(parameters) = form_parameters(body).filter(|p| are_exactly(p, &fields)) else {
            return fail("invalid_request");
        };
        if parameters["grant_type"] != "password" {
            return fail("unsupported_grant_type");
        }
        if parameters["scope"] != "CustomerApi" {
            return fail("invalid_scope");
        }
        if parameters["username"] != self.username || parameters["password"] != self.password {
            return fail("invalid_grant");
        }
        let token = desk.issue(|ticket| {
            let claims = json!({
                "client_id": self.client_id, "nbf": ticket.issued, "exp": ticket.expires, "jti": ticket.id,
            });
            jwt("RS256", &claims)
        });
        token_response(StatusCode::OK, Some(&token), None, desk.seconds())
    }

    fn token(&self, head: &Parts, _: &[u8]) -> Option<String> {
        bearer(&head.headers).map(str::to_owned)
    }

    fn refuse(&self, _: Refusal) -> Reply {
        let body = json!({
            "ErrorCode": "401 Unauthorized", "Message": "Authorization has been denied for this request.",
            "Parameters": {}, "ObjectErrors": [],
        });
        Reply::json(StatusCode::UNAUTHORIZED, &body)
    }
}
