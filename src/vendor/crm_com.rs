//! CRM.COM Web API v2: a JSON login, an answer in an envelope, errors inside a 200, and a token
//! that data calls carry as the parameter `token`.
//!
//! Source: the vendor's pages POST `authentication/token`, POST `authentication/web_api_key/token`
//! and POST `authentication/consumer_application_key/token`.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Reading, Sent, class_of_text, member, text};
use super::request::{JSON, basic, json_object, json_string, post};
use super::settings::{Problems, filled, fingerprint};
use super::{
    Answer, Defaults, FieldProblem, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault, TokenRequest,
    Vendor, VendorSettings,
};
use crate::model::{BaseUrl, EndpointUrl, JsonMatch, JsonRefusal, Place, RefusedWhen};
use crate::secret::Secret;

/// Every login of the vendor, also those that this file does not speak: one that a legacy
/// application makes is answered all the same.
const LOGINS: [&str; 4] = [
    "/authentication/token",
    "/authentication/web_api_key/token",
    "/authentication/consumer_application_key/token",
    "/authentication/device_application_key/token",
];
const RELEASE: &str = "/authentication/token/release";

/// CRM.COM Web API v2 (not V5).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CrmComSettings {
    /// The API's base.
    #[schemars(required, extend("pattern" = r"^\s*https?://|\$\{", "examples" = ["https://crm.example.com/crmapi/rest/v2"]))]
    base_url: Option<String>,
    /// How to log in.
    #[schemars(required)]
    method: Option<Method>,
    /// The key. Required by `web_api_key` and `consumer_application_key` (there: unless `jwt` is used).
    #[schemars(extend("examples" = ["${CRM_KEY}"]))]
    key: Option<Secret>,
    /// The unit to log in to. Default: the user's.
    #[schemars(extend("examples" = ["1"]))]
    unit: Option<String>,
    /// The user. Required by `password`.
    #[schemars(extend("examples" = ["${CRM_USER}"]))]
    username: Option<String>,
    /// The user's password. Required by `password`.
    #[schemars(extend("examples" = ["${CRM_PASSWORD}"]))]
    password: Option<Secret>,
    /// The organisation. Required by `password`, and by `consumer_application_key` with `jwt`.
    #[schemars(extend("examples" = ["1"]))]
    organisation: Option<String>,
    /// The consumer. Required by `consumer_application_key`, unless `jwt` is used.
    access_token_identifier: Option<AccessTokenIdentifier>,
    /// The consumer, from CRM.COM R16.2 on: a token of its identity management. Required by
    /// `consumer_application_key` in place of `key` and `access_token_identifier`.
    #[schemars(extend("examples" = ["${CRM_JWT}"]))]
    jwt: Option<Secret>,
    /// Give a token up at the vendor when it is no longer used.
    #[schemars(extend("default" = false))]
    release: Option<bool>,
}

/// The vendor's logins.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// `authentication/token`: username, password and organisation.
    Password,
    /// `authentication/web_api_key/token`: a key; what the vendor recommends.
    WebApiKey,
    /// `authentication/consumer_application_key/token`: the data of one consumer.
    ConsumerApplicationKey,
}

/// Which consumer: by `authentication_code`, or by `identifier` and `pass_code`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AccessTokenIdentifier {
    /// The authentication code of the access token. Required, unless `identifier` and `pass_code` are there.
    #[schemars(extend("examples" = ["${CRM_CODE}"]))]
    authentication_code: Option<Secret>,
    /// The identifier of the access token. Required, unless `authentication_code` is there.
    #[schemars(extend("examples" = ["${CRM_IDENTIFIER}"]))]
    identifier: Option<String>,
    /// Its pass code. Required beside `identifier`.
    #[schemars(extend("examples" = ["${CRM_PASS_CODE}"]))]
    pass_code: Option<Secret>,
}

#[derive(Debug)]
struct CrmCom {
    base: BaseUrl,
    token_url: EndpointUrl,
    unit: Option<String>,
    login: CrmLogin,
    release: bool,
}

#[derive(Debug)]
enum CrmLogin {
    Password { username: String, password: Secret, organisation: String },
    WebApiKey { key: Secret },
    Consumer { key: Secret, consumer: Consumer },
    Jwt { jwt: Secret, organisation: String },
}

#[derive(Debug)]
enum Consumer {
    AuthenticationCode(Secret),
    Identifier { identifier: String, pass_code: Secret },
}

impl VendorSettings for CrmComSettings {
    fn build(mut self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        let base = problems
            .required("base_url", self.base_url.take(), "each installation of CRM.COM has its own")
            .and_then(|base| problems.base("base_url", &base));
        let methods = "add method: password, web_api_key or consumer_application_key";
        let method = problems.present("method", self.method, "CRM.COM has several logins", methods);
        let unit = filled(self.unit.take());
        let login = method.and_then(|method| match method {
            Method::Password => self.password_login(&mut problems),
            Method::WebApiKey => self.key_login(&mut problems),
            Method::ConsumerApplicationKey => self.consumer_login(&mut problems),
        });
        problems.finish(base.zip(login).map(|(base, login)| {
            let token_url = token_url.unwrap_or_else(|| base.join(login.path()));
            let release = self.release.unwrap_or_default();
            Arc::new(CrmCom { base, token_url, unit, login, release }) as Arc<dyn Vendor>
        }))
    }
}

impl CrmComSettings {
    fn password_login(&mut self, problems: &mut Problems) -> Option<CrmLogin> {
        let why = "method password needs username, password and organisation";
        let username = problems.required("username", self.username.take(), why);
        let password = problems.required("password", self.password.take(), why);
        let organisation = problems.required("organisation", self.organisation.take(), why);
        self.unused(problems, "method password takes username, password, organisation and unit");
        let ((username, password), organisation) = username.zip(password).zip(organisation)?;
        Some(CrmLogin::Password { username, password, organisation })
    }

    fn key_login(&mut self, problems: &mut Problems) -> Option<CrmLogin> {
        let key = self.required_key(problems, "method web_api_key needs the key");
        self.unused(problems, "method web_api_key takes key and unit");
        Some(CrmLogin::WebApiKey { key: key? })
    }

    fn consumer_login(&mut self, problems: &mut Problems) -> Option<CrmLogin> {
        if let Some(jwt) = filled(self.jwt.take()) {
            let why = "method consumer_application_key with jwt needs organisation";
            let organisation = problems.required("organisation", self.organisation.take(), why);
            self.unused(problems, "method consumer_application_key with jwt takes organisation and unit");
            return Some(CrmLogin::Jwt { jwt, organisation: organisation? });
        }
        let why = "method consumer_application_key needs key and access_token_identifier, or jwt and organisation";
        let key = self.required_key(problems, why);
        let identifier = self.access_token_identifier.take();
        let mend = "add access_token_identifier: {authentication_code: ...}";
        let consumer = problems
            .present("access_token_identifier", identifier, why, mend)
            .and_then(|identifier| identifier.consumer(problems));
        self.unused(problems, "method consumer_application_key with key takes access_token_identifier and unit");
        let (key, consumer) = key.zip(consumer)?;
        Some(CrmLogin::Consumer { key, consumer })
    }

    fn required_key(&mut self, problems: &mut Problems, why: &str) -> Option<Secret> {
        problems.basic_user("key", self.key.as_ref().map(Secret::expose));
        problems.required("key", self.key.take(), why)
    }

    /// What the login has not taken is of no use to it, and so most likely a mistake.
    fn unused(&self, problems: &mut Problems, why: &str) {
        problems.unused("key", self.key.as_ref(), why);
        problems.unused("username", self.username.as_ref(), why);
        problems.unused("password", self.password.as_ref(), why);
        problems.unused("organisation", self.organisation.as_ref(), why);
        problems.unused("jwt", self.jwt.as_ref(), why);
        if self.access_token_identifier.is_some() {
            problems.add("access_token_identifier", format!("has no use: {why}"), "remove it");
        }
    }
}

impl AccessTokenIdentifier {
    fn consumer(self, problems: &mut Problems) -> Option<Consumer> {
        let (code, identifier, pass_code) =
            (filled(self.authentication_code), filled(self.identifier), filled(self.pass_code));
        match (code, identifier, pass_code) {
            (Some(code), None, None) => Some(Consumer::AuthenticationCode(code)),
            (None, Some(identifier), Some(pass_code)) => Some(Consumer::Identifier { identifier, pass_code }),
            (None, Some(_), None) => {
                problems.add(
                    "access_token_identifier.pass_code",
                    "is missing; identifier is checked against it",
                    "add pass_code",
                );
                None
            }
            (None, None, Some(_)) => {
                problems.add(
                    "access_token_identifier.identifier",
                    "is missing; pass_code belongs to one",
                    "add identifier",
                );
                None
            }
            (None, None, None) => {
                problems.add(
                    "access_token_identifier",
                    "is empty",
                    "add authentication_code, or identifier and pass_code",
                );
                None
            }
            (Some(_), _, _) => {
                problems.add(
                    "access_token_identifier",
                    "has both authentication_code and identifier or pass_code",
                    "keep authentication_code, or identifier and pass_code",
                );
                None
            }
        }
    }
}

impl CrmLogin {
    fn path(&self) -> &'static str {
        match self {
            Self::Password { .. } => "/authentication/token",
            Self::WebApiKey { .. } => "/authentication/web_api_key/token",
            Self::Consumer { .. } | Self::Jwt { .. } => "/authentication/consumer_application_key/token",
        }
    }

    /// The user name of the Basic header; its password is empty.
    fn key(&self) -> Option<&Secret> {
        match self {
            Self::WebApiKey { key } | Self::Consumer { key, .. } => Some(key),
            Self::Password { .. } | Self::Jwt { .. } => None,
        }
    }

    fn body(&self, unit: Option<&str>) -> Secret {
        let unit = unit.map(|unit| ("unit", unit));
        match self {
            Self::Password { username, password, organisation } => json_object(
                [("username", username.as_str()), ("password", password.expose()), ("organisation", organisation)]
                    .into_iter()
                    .chain(unit),
            ),
            Self::WebApiKey { .. } => json_object(unit),
            Self::Jwt { jwt, organisation } => {
                json_object([("jwt", jwt.expose()), ("organisation", organisation.as_str())].into_iter().chain(unit))
            }
            Self::Consumer { consumer, .. } => {
                let identifier = match consumer {
                    Consumer::AuthenticationCode(code) => json_object([("authentication_code", code.expose())]),
                    Consumer::Identifier { identifier, pass_code } => {
                        json_object([("identifier", identifier.as_str()), ("pass_code", pass_code.expose())])
                    }
                };
                let unit = unit.map(|(_, unit)| format!(",\"unit\":{}", json_string(unit))).unwrap_or_default();
                Secret::new(format!("{{\"access_token_identifier\":{}{unit}}}", identifier.expose()))
            }
        }
    }

    /// Who logs in, and with what. A key is both: another key is another client.
    fn identity(&self) -> (Vec<(&'static str, String)>, Vec<Secret>) {
        let name = |secret: &Secret| fingerprint([secret.expose()]);
        match self {
            Self::Password { username, password, organisation } => {
                (vec![("username", username.clone()), ("organisation", organisation.clone())], vec![password.clone()])
            }
            Self::WebApiKey { key } => (vec![("key", name(key))], vec![key.clone()]),
            Self::Jwt { jwt, organisation } => {
                (vec![("jwt", name(jwt)), ("organisation", organisation.clone())], vec![jwt.clone()])
            }
            Self::Consumer { key, consumer: Consumer::AuthenticationCode(code) } => {
                (vec![("key", name(key)), ("authentication_code", name(code))], vec![key.clone(), code.clone()])
            }
            Self::Consumer { key, consumer: Consumer::Identifier { identifier, pass_code } } => {
                (vec![("key", name(key)), ("identifier", identifier.clone())], vec![key.clone(), pass_code.clone()])
            }
        }
    }
}

/// `status.code` of the envelope.
fn code(json: &Value) -> Option<String> {
    member(member(json, "status")?, "code").and_then(text)
}

/// Whether a `status.code` says that the token was at fault. The vendor lists no codes; an access
/// token *identifier* is a loyalty card, not a token.
fn names_a_dead_token(code: &str) -> bool {
    let code = code.to_uppercase();
    let holds = |words: &[&str]| words.iter().any(|word| code.contains(word));
    holds(&["TOKEN", "SESSION"]) && !holds(&["ACCESSTOKEN", "ACCESS_TOKEN"]) && holds(&["INVALID", "EXPIRED", "NOT"])
}

impl Vendor for CrmCom {
    fn provider(&self) -> &'static str {
        "crm_com"
    }

    fn identity(&self) -> Identity {
        let (mut parts, secrets) = self.login.identity();
        parts.push(("token_url", self.token_url.to_string()));
        parts.push(("method", self.login.path().to_owned()));
        parts.extend(self.unit.clone().map(|unit| ("unit", unit)));
        Identity { parts, secrets }
    }

    fn token_url(&self) -> Option<&EndpointUrl> {
        Some(&self.token_url)
    }

    fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
        // The colon stands there though the password is empty, as in the vendor's sample.
        let key = self.login.key().map(|key| basic(key.expose(), ""));
        Ok(Login::Request(post(&self.token_url, JSON, key.as_ref(), self.login.body(self.unit.as_deref()))))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        let mut sent = Sent::new(self.login.identity().1);
        if let Some(key) = self.login.key() {
            sent = sent.with_basic(key.expose(), "");
        }
        let reading = Reading::new(answer, sent);
        let json = reading.success(code)?;
        let Some(code) = code(&json) else { return Err(reading.unreadable()) };
        if !code.trim().eq_ignore_ascii_case("OK") {
            let status = member(&json, "status").map(Value::to_string).unwrap_or_default();
            return Err(reading.error_inside(class_of_text(&status), Some(code)));
        }
        // Nothing in the envelope says how long the token lives; the token itself does, from R12 on.
        reading.grant(member(&json, "data").and_then(|data| member(data, "token")), None)
    }

    /// POST `authentication/token/release`, from R10 on. Deprecated from R12 on: it may be gone.
    fn release(&self, token: &Secret) -> Option<TokenRequest> {
        let body = || json_object([("token", token.expose())]);
        self.release.then(|| post(&self.base.join(RELEASE), JSON, None, body()))
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        let logins = LOGINS.iter().map(|path| self.base.join(path)).filter(|url| *url != self.token_url);
        let logins = logins.chain([self.token_url.clone()]).map(|url| OwnEndpoint { url, call: OwnCall::Login });
        logins.chain([OwnEndpoint { url: self.base.join(RELEASE), call: OwnCall::Release }]).collect()
    }

    fn placeholder(&self, call: OwnCall, token: &str, _: Duration) -> String {
        let data = match call {
            OwnCall::Login => format!("{{\"token\":{}}}", json_string(token)),
            OwnCall::Release => "{}".to_owned(),
        };
        format!(r#"{{"data":{data},"status":{{"code":"OK","description":"","message":""}}}}"#)
    }

    fn defaults(&self) -> Defaults {
        let pointer = vec!["status".to_owned(), "code".to_owned()];
        Defaults {
            // The parameter is what the vendor documents; the header costs nothing where it is not read.
            inject: vec![
                Place::Header { name: HeaderName::from_static("token"), scheme: None },
                Place::Parameter { name: "token".to_owned() },
            ],
            lifetime: Some(Duration::from_secs(2 * 60 * 60)),
            exclusive: false,
            refused_when: RefusedWhen {
                json: Some(JsonRefusal { pointer, matches: JsonMatch::Rule(names_a_dead_token) }),
                ..RefusedWhen::default()
            },
        }
    }
}

#[cfg(test)]
mod tests;
