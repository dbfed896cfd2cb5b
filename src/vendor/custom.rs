//! A login that is none of the known ones: the request as the operator wrote it, the answer by JSON
//! pointers (RFC 6901). Whatever stands in the request may be secret.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::answer::{Reading, Sent, class_of_text, member, short_code, text};
use super::request::{FORM, JSON, form};
use super::settings::{Pairs, Problems, fingerprint};
use super::template::{Scalar, Template};
use super::{
    Answer, Defaults, FieldProblem, Grant, Identity, Login, Occasion, OwnCall, OwnEndpoint, TokenFault, TokenRequest,
    Vendor, VendorSettings,
};
use crate::model::{EndpointUrl, Place, RefusedWhen};
use crate::secret::{Secret, secret_header};

mod pointer;

use pointer::Pointer;

/// A login of one's own: what to send, and where the token stands in the JSON that comes back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomSettings {
    /// What to send.
    #[schemars(required)]
    request: Option<RequestSettings>,
    /// How to read what comes back.
    #[schemars(required)]
    response: Option<ResponseSettings>,
}

/// What to send: at most one of `json`, `form` and `body`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RequestSettings {
    /// The method.
    #[schemars(extend("default" = "POST", "examples" = ["POST"]))]
    method: Option<String>,
    /// Where to.
    #[schemars(required, extend("examples" = ["https://acme.example/login"]))]
    url: Option<Secret>,
    /// Header fields. Default: none.
    #[schemars(extend("examples" = [{"X-App": "billing"}]))]
    headers: Option<Pairs>,
    /// A JSON body, of any shape; its strings may be references. Default: none.
    #[schemars(extend("examples" = [{"user": "${ACME_USER}", "pass": "${ACME_PASS}"}]))]
    json: Option<Template>,
    /// A form body. Default: none.
    #[schemars(extend("examples" = [{"user": "${ACME_USER}", "pass": "${ACME_PASS}"}]))]
    form: Option<Pairs>,
    /// A body as it is. Default: none.
    #[schemars(extend("examples" = ["<login user=\"${ACME_USER}\"/>"]))]
    body: Option<Secret>,
}

/// How to read a JSON answer, by RFC 6901 pointers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResponseSettings {
    /// Where the token stands.
    #[schemars(required, extend("pattern" = r"^/|\$\{", "examples" = ["/data/session/id"]))]
    token: Option<String>,
    /// Where its life in seconds stands. Default: nowhere.
    #[schemars(extend("pattern" = r"^/|\$\{", "examples" = ["/data/ttl"]))]
    expires_in: Option<String>,
    /// What must hold for the answer to be a success.
    success: Option<SuccessSettings>,
}

/// A member that tells a success from a failure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SuccessSettings {
    /// Where it stands.
    #[schemars(required, extend("pattern" = r"^/|\$\{", "examples" = ["/status/code"]))]
    pointer: Option<String>,
    /// What it must be: a string, a number or a boolean.
    #[schemars(required, extend("examples" = ["OK"]))]
    equals: Option<Scalar>,
}

struct Custom {
    method: Method,
    url: EndpointUrl,
    headers: HeaderMap,
    body: Secret,
    /// Every string of the request.
    secrets: Vec<Secret>,
    token: Pointer,
    expires_in: Option<Pointer>,
    success: Option<(Pointer, Scalar)>,
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom")
            .field("method", &self.method)
            .field("url", &format_args!("{}{}", self.url.origin(), self.url.path()))
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// What the HTTP library writes, or what would change how the message is read.
const REFUSED_HEADERS: [HeaderName; 9] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    TE,
    UPGRADE,
    EXPECT,
    ACCEPT_ENCODING,
    HeaderName::from_static("keep-alive"),
];

impl VendorSettings for CustomSettings {
    fn build(self: Box<Self>, token_url: Option<EndpointUrl>) -> Result<Arc<dyn Vendor>, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        if token_url.is_some() {
            problems.add(
                "token_url",
                "has no use: provider custom sends its request to request.url",
                "use request.url",
            );
        }
        let request = problems
            .present("request", self.request, "provider custom sends what it says", "add request: {url: ...}")
            .and_then(|request| request.build(&mut problems));
        let response = problems
            .present("response", self.response, "it says where the token stands", "add response: {token: /token}")
            .and_then(|response| response.build(&mut problems));
        let built = request.zip(response).map(|(request, (token, expires_in, success))| Custom {
            token,
            expires_in,
            success,
            ..request
        });
        problems.finish(built.map(|custom| Arc::new(custom) as Arc<dyn Vendor>))
    }
}

impl RequestSettings {
    /// The request's half of a [`Custom`].
    fn build(self, problems: &mut Problems) -> Option<Custom> {
        let method = match self.method.as_deref().map_or(Ok(Method::POST), |m| m.trim().parse()) {
            Ok(Method::CONNECT | Method::TRACE | Method::HEAD) | Err(_) => {
                problems.add("request.method", "is no method that a login can have", "use POST, GET or PUT");
                None
            }
            Ok(method) => Some(method),
        };
        let url = problems
            .required("request.url", self.url, "the login is sent there")
            .and_then(|url| Some((problems.endpoint("request.url", url.expose())?, url)));
        let bodies = [("json", self.json.is_some()), ("form", self.form.is_some()), ("body", self.body.is_some())];
        let bodies: Vec<_> = bodies.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
        if bodies.len() > 1 {
            problems.add("request", format!("has more than one body: {}", bodies.join(" and ")), "keep one of them");
        }

        let mut secrets: Vec<Secret> = self.headers.iter().flat_map(Pairs::secrets).collect();
        let mut headers = HeaderMap::from_iter([(ACCEPT, JSON)]);
        let body = if let Some(json) = self.json {
            headers.insert(CONTENT_TYPE, JSON);
            json.secrets(&mut secrets);
            json.render()
        } else if let Some(fields) = self.form {
            headers.insert(CONTENT_TYPE, FORM);
            secrets.extend(fields.secrets());
            form(fields.iter())
        } else {
            secrets.extend(self.body.clone());
            self.body.unwrap_or_else(|| Secret::new(""))
        };
        for (name, value) in self.headers.iter().flat_map(Pairs::iter) {
            if let Some((name, value)) = header(name, value, problems) {
                headers.insert(name, value);
            }
        }
        let (url, as_written) = url?;
        secrets.push(as_written);
        Some(Custom {
            method: method?,
            url,
            headers,
            body,
            secrets,
            token: Pointer::default(),
            expires_in: None,
            success: None,
        })
    }
}

/// The operator's header; it replaces one that follows from the body.
fn header(name: &str, value: &str, problems: &mut Problems) -> Option<(HeaderName, HeaderValue)> {
    let field = format!("request.headers.{name}");
    let Ok(name) = HeaderName::try_from(name) else {
        problems.add(&field, "is no header name", "use letters, digits and hyphens");
        return None;
    };
    if REFUSED_HEADERS.contains(&name) {
        problems.add(&field, "is a header that the proxy writes by itself", "remove it");
        return None;
    }
    let Ok(value) = secret_header(Zeroizing::new(value.to_owned())) else {
        problems.add(
            &field,
            "has a character that cannot be sent in a header",
            "remove line ends and control characters",
        );
        return None;
    };
    Some((name, value))
}

type Response = (Pointer, Option<Pointer>, Option<(Pointer, Scalar)>);

impl ResponseSettings {
    fn build(self, problems: &mut Problems) -> Option<Response> {
        let token = problems
            .present("response.token", self.token, "it says where the token stands", "add token: /token")
            .and_then(|token| Pointer::check("response.token", &token, problems));
        let expires_in = self.expires_in.map(|text| Pointer::check("response.expires_in", &text, problems));
        let success = self.success.map(|success| {
            let pointer = problems
                .present("response.success.pointer", success.pointer, "it says what to look at", "add pointer")
                .and_then(|pointer| Pointer::check("response.success.pointer", &pointer, problems));
            let why = "it says what a success looks like";
            pointer.zip(problems.present("response.success.equals", success.equals, why, "add equals"))
        });
        Some((token?, expires_in.flatten(), success.flatten()))
    }
}

impl Vendor for Custom {
    fn provider(&self) -> &'static str {
        "custom"
    }

    fn identity(&self) -> Identity {
        // Nobody knows which of the strings names the client: all of them together do.
        let headers = self.headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        let headers = headers.map(String::from_utf8_lossy).collect::<Vec<_>>();
        let target = self.url.target();
        let content = headers.iter().map(AsRef::as_ref).chain([target.as_str(), self.body.expose()]);
        Identity {
            parts: vec![
                ("url", format!("{}{}", self.url.origin(), self.url.path())),
                ("method", self.method.to_string()),
                ("request", fingerprint(content)),
            ],
            secrets: self.secrets.clone(),
        }
    }

    fn token_url(&self) -> Option<&EndpointUrl> {
        Some(&self.url)
    }

    fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
        Ok(Login::Request(TokenRequest {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            fleeting: Vec::new(),
        }))
    }

    fn read(&self, answer: &Answer<'_>) -> Result<Grant, TokenFault> {
        let reading = Reading::new(answer, Sent::new(self.secrets.iter().cloned()));
        let json = reading.success(|json| member(json, "error").and_then(short_code))?;
        if let Some((pointer, equals)) = &self.success {
            let found = pointer.find(&json);
            if !found.is_some_and(|found| equals.is(found)) {
                let class = class_of_text(&found.and_then(text).unwrap_or_default());
                return Err(reading.error_inside(class, found.and_then(short_code)));
            }
        }
        reading.grant(self.token.find(&json), self.expires_in.as_ref().and_then(|pointer| pointer.find(&json)))
    }

    fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        vec![OwnEndpoint { url: self.url.clone(), call: OwnCall::Login }]
    }

    fn placeholder(&self, call: OwnCall, token: &str, lifetime: Duration) -> String {
        let mut answer = Value::Object(serde_json::Map::new());
        if call == OwnCall::Login {
            if let Some((pointer, equals)) = &self.success {
                pointer.put(&mut answer, equals.value());
            }
            if let Some(pointer) = &self.expires_in {
                pointer.put(&mut answer, lifetime.as_secs().into());
            }
            self.token.put(&mut answer, token.into());
        }
        answer.to_string()
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            inject: vec![Place::bearer()],
            lifetime: Some(Duration::from_secs(5 * 60)),
            exclusive: false,
            refused_when: RefusedWhen::default(),
        }
    }
}

#[cfg(test)]
mod tests;
