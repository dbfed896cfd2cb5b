//! CRM.COM Web API v2: errors inside a 200, the token as a parameter.
//!
//! The vendor's error codes are not documented in public; these are invented in its manner.

use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ledger::{Desk, jwt};
use super::message::{BodyKind, Reply, basic, body_kind};
use super::server::{Call, Refusal, Rules};

const BASE: &str = "/crmapi/rest/v2/";

/// CRM.COM, and the users that it knows. Data is under `/crmapi/rest/v2`; only GET and POST exist.
/// A data call's token stands in the query of a GET, in the JSON object of a POST, or in the header
/// `token`; where it stands twice, it must be the same.
pub struct CrmCom {
    /// The user of `authentication/token`.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Its organisation, and that of a `jwt`.
    pub organisation: String,
    /// The key of the other logins.
    pub key: String,
    /// A consumer, by its authentication code.
    pub authentication_code: String,
    /// The same consumer, by identifier.
    pub identifier: String,
    /// The identifier's pass code.
    pub pass_code: String,
    /// The same consumer, by a token of the identity management.
    pub jwt: String,
}

impl Default for CrmCom {
    fn default() -> Self {
        Self {
            username: "demo".to_owned(),
            password: "demo-crm-password".to_owned(),
            organisation: "CRMDEMO".to_owned(),
            key: "D3300000000000000000000000000001".to_owned(),
            authentication_code: "demo-crm-code".to_owned(),
            identifier: "demo-card".to_owned(),
            pass_code: "demo-crm-pass-code".to_owned(),
            jwt: "demo.crm.jwt".to_owned(),
        }
    }
}

fn envelope(data: &Value, code: &str, message: &str) -> Value {
    json!({"data": data, "status": {"code": code, "description": "", "message": message}})
}

/// Errors, too, are answered with 200.
fn failure(code: &str, message: &str) -> Reply {
    Reply::json(StatusCode::OK, &envelope(&json!({}), code, message))
}

/// The members of an object of strings that are expected, `unit` beside them; `None` where one is
/// missing or another is there.
fn members<'b, const N: usize>(body: &'b Value, names: [&str; N]) -> Option<[&'b str; N]> {
    let object = body.as_object()?;
    let known = |name: &String| name == "unit" || names.contains(&name.as_str());
    if !object.keys().all(known) || object.get("unit").is_some_and(|unit| !unit.is_string()) {
        return None;
    }
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = object.get(name)?.as_str()?;
    }
    Some(values)
}

impl CrmCom {
    /// Whether the login is good; `None` where it is not even well formed.
    fn knows(&self, head: &Parts, body: &Value) -> Option<bool> {
        let key = basic(&head.headers);
        let by_key = || key == Some((self.key.clone(), String::new()));
        match head.uri.path().trim_end_matches('/').strip_prefix(BASE)? {
            "authentication/token" => {
                let given = members(body, ["username", "password", "organisation"])?;
                Some(given == [&self.username, &self.password, &self.organisation].map(String::as_str))
            }
            "authentication/web_api_key/token" => members(body, []).map(|[]| by_key()),
            "authentication/consumer_application_key/token" => {
                if let Some([jwt, organisation]) = members(body, ["jwt", "organisation"]) {
                    return Some(key.is_none() && jwt == self.jwt && organisation == self.organisation);
                }
                let object = body.as_object()?;
                if object.keys().any(|name| name != "access_token_identifier" && name != "unit") {
                    return None;
                }
                let consumer = object.get("access_token_identifier")?;
                let known = match members(consumer, ["authentication_code"]) {
                    Some([code]) => code == self.authentication_code,
                    None => members(consumer, ["identifier", "pass_code"])? == [&*self.identifier, &*self.pass_code],
                };
                Some(known && by_key())
            }
            _ => None,
        }
    }
}

impl Rules for CrmCom {
    fn name(&self) -> &'static str {
        "crm_com"
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(2 * 60 * 60)
    }

    fn call(&self, method: &Method, path: &str) -> Call {
        let Some(resource) = path.trim_end_matches('/').strip_prefix(BASE) else {
            return Call::Other(Reply::not_found());
        };
        match resource {
            "authentication/token"
            | "authentication/web_api_key/token"
            | "authentication/consumer_application_key/token" => Call::Login,
            "authentication/token/release" => Call::Release,
            _ if *method == Method::GET || *method == Method::POST => Call::Data,
            _ => {
                let mut reply = failure("METHOD_UNSUPPORTED", "Only GET and POST are supported");
                reply.status = StatusCode::METHOD_NOT_ALLOWED;
                Call::Other(reply)
            }
        }
    }

    fn login(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply {
        if head.method != Method::POST || body_kind(&head.headers) != BodyKind::Json {
            return failure("INVALID_REQUEST", "A POST of application/json is expected");
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return failure("INVALID_REQUEST", "The body is not JSON");
        };
        match self.knows(head, &body) {
            None => failure("INVALID_REQUEST", "The parameters are not those of this method"),
            Some(false) => failure("INVALID_CREDENTIALS", "The credentials are not known"),
            Some(true) => {
                let unit = body.get("unit").and_then(Value::as_str).unwrap_or("1");
                let token = desk.issue(|ticket| {
                    let claims = json!({
                        "cii": "2695FED3FCFD4084AB39F44B18889123", "usr": self.username, "org": self.organisation,
                        "ari": "261BF2B79198401D89A79C545F16CBEC", "oun": unit,
                        // Strings, as in the vendor's sample.
                        "exp": ticket.expires.to_string(), "iat": ticket.issued.to_string(), "jti": ticket.id,
                    });
                    jwt("HS256", &claims)
                });
                Reply::json(StatusCode::OK, &envelope(&json!({"token": token}), "OK", ""))
            }
        }
    }

    fn release(&self, head: &Parts, body: &[u8], desk: &mut Desk<'_>) -> Reply {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let token = body.as_ref().and_then(|body| body.get("token")).and_then(Value::as_str);
        match token {
            Some(token) if head.method == Method::POST && desk.release(token) => {
                Reply::json(StatusCode::OK, &envelope(&json!({}), "OK", ""))
            }
            _ => self.refuse(Refusal::Dead),
        }
    }

    fn token_in_body(&self, head: &Parts) -> bool {
        head.method == Method::POST && body_kind(&head.headers) == BodyKind::Json
    }

    fn token(&self, head: &Parts, body: &[u8]) -> Option<String> {
        let mut given: Vec<String> = head
            .headers
            .get_all("token")
            .iter()
            .map(|v| v.to_str().map(str::to_owned))
            .collect::<Result<_, _>>()
            .ok()?;
        if head.method == Method::GET {
            let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
            given.extend(query.filter(|(name, _)| name == "token").map(|(_, value)| value.into_owned()));
        } else if self.token_in_body(head) {
            let body: Value = serde_json::from_slice(body).ok()?;
            given.extend(body.get("token").map(|token| token.as_str().unwrap_or_default().to_owned()));
        }
        let first = given.first()?.clone();
        given.iter().all(|token| *token == first).then_some(first)
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Missing => failure("TOKEN_NOT_SPECIFIED", "The token is mandatory"),
            Refusal::Dead => failure("INVALID_TOKEN", "The token is not valid or has expired"),
        }
    }

    fn data(&self, echo: Value) -> Value {
        envelope(&echo, "OK", "")
    }
}
