//! Crewmojo: JSON or form logins; a new token kills the earlier ones.

use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::ledger::{Desk, jwt};
use super::message::{BodyKind, Reply, are_exactly, bearer, body_kind, form_parameters, json_parameters};
use super::server::{Call, Refusal, Rules};

/// Crewmojo, and the client that it knows. Data is under `/v1`.
pub struct Crewmojo {
    /// The client ID.
    pub client_id: String,
    /// The secret key.
    pub client_secret: String,
}

impl Default for Crewmojo {
    fn default() -> Self {
        Self { client_id: "demo-crewmojo-client".to_owned(), client_secret: "demo-crewmojo-secret".to_owned() }
    }
}

fn failure(status: StatusCode, message: &str) -> Reply {
    let body = json!({"success": "false", "httpErrorCode": status.as_u16(), "errorMessage": message});
    Reply::json(status, &body)
}

impl Rules for Crewmojo {
    fn name(&self) -> &'static str {
        "crewmojo"
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(30 * 60)
    }

    fn call(&self, _: &Method, path: &str) -> Call {
        match path.trim_end_matches('/') {
            "/v1/oauth/token" => Call::Login,
            path if path.starts_with("/v1/") => Call::Data,
            _ => Call::Other(Reply::not_found()),
        }
    }

    fn login(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply {
        let invalid = || failure(StatusCode::BAD_REQUEST, "Invalid data received");
        let parameters = match body_kind(&head.headers) {
            BodyKind::Json => json_parameters(body),
            BodyKind::Form => form_parameters(body),
            BodyKind::Other => None,
        };
        let Some(parameters) = parameters.filter(|_| head.method == Method::POST) else { return invalid() };
        if !are_exactly(&parameters, &["grant_type", "client_id", "client_secret"])
            || parameters["grant_type"] != "client_credentials"
        {
            return invalid();
        }
        if parameters["client_id"] != self.client_id || parameters["client_secret"] != self.client_secret {
            return failure(StatusCode::UNAUTHORIZED, "Unauthorized");
        }
        desk.revoke_all();
        let token = desk.issue(|ticket| {
            let claims = json!({
                "client_id": self.client_id, "iat": ticket.issued, "exp": ticket.expires, "jti": ticket.id,
            });
            jwt("RS256", &claims)
        });
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": desk.seconds()});
        Reply::json(StatusCode::OK, &body)
    }

    fn token(&self, head: &Parts, _: &[u8]) -> Option<String> {
        bearer(&head.headers).map(str::to_owned)
    }

    fn refuse(&self, _: Refusal) -> Reply {
        failure(StatusCode::UNAUTHORIZED, "Unauthorized")
    }
}
