//! Who may come in, as written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jsonwebtoken::Algorithm;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::config::de::MEND;
use crate::config::file::form::{Complaint, Form, Of, complaint};
use crate::config::file::measure::Span;
use crate::config::file::word::{Endpoint, Network, Path, Title};
use crate::model::{CertificateName, EndpointUrl, UrlError};
use crate::secret::Secret;

/// Who may come in: everyone, or whom the rules let.
#[derive(Debug)]
pub(crate) enum Access {
    /// `public`
    Public,
    /// All that is listed must hold.
    Rules(Box<Rules>),
}

/// Who may come in: all that is listed must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// One of these keys must be presented: as `Authorization: Bearer`, as Basic's password, or as `X-Api-Key`; beside
    /// `users` or `jwt`, which are in `Authorization`, as `X-Api-Key` alone.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub(crate) api_keys: Vec<ApiKey>,
    /// One of these must have logged in by Basic. Not beside `jwt`: both are in `Authorization`.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub(crate) users: Vec<BasicUser>,
    /// A token of this issuer must be presented, as `Authorization: Bearer`. Default: none.
    pub(crate) jwt: Option<Jwt>,
    /// A client certificate must have been shown that the listener's `client_ca` vouches for: `any`, or one with a
    /// name of these. Default: none.
    pub(crate) client_certificates: Option<Certificates>,
    /// The client's address must be in one of these networks.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub(crate) allow: Vec<Of<Network>>,
    /// The client's address must be in none of these networks.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub(crate) deny: Vec<Of<Network>>,
}

/// A key that lets a client in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKey {
    /// Whose it is; appears in logs.
    #[schemars(required)]
    #[schemars(extend("examples" = ["billing"]))]
    pub(crate) name: Option<Of<Title>>,
    /// The key, or `sha256:` and its digest in hex.
    #[schemars(required)]
    pub(crate) key: Option<Secret>,
}

/// Someone who logs in by Basic.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BasicUser {
    /// The name, to the letter; appears in logs.
    #[schemars(required)]
    #[schemars(extend("examples" = ["alice"]))]
    pub(crate) name: Option<Of<Title>>,
    /// The password's argon2 hash, as `tokenferry hash-password` prints it: `$argon2id$v=19$...`.
    #[schemars(required)]
    pub(crate) password: Option<Secret>,
}

/// What a token must be (RFC 7519). `exp` must be there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwt {
    /// Its `iss`, to the letter.
    #[schemars(required)]
    #[schemars(extend("examples" = ["https://login.example.com"]))]
    pub(crate) issuer: Option<Of<Text>>,
    /// Its `aud` must be this, or one of these, or hold it.
    #[schemars(required)]
    #[schemars(extend("examples" = ["billing"]))]
    pub(crate) audience: Option<OneOrMore<Text>>,
    /// The issuer's public keys (RFC 7517): a file, read again when it changes, or an `https://` URL (`http://` on
    /// loopback), asked every ten minutes, and when a token names a key that is not known, 30 seconds after the last
    /// time at the soonest: until then such a token gets 401. While the URL does not answer, the keys at hand hold on,
    /// however old.
    #[schemars(required)]
    pub(crate) jwks: Option<Of<KeyPlace>>,
    /// PEM file of the roots to trust, for a URL. Default: the system's.
    #[schemars(extend("examples" = ["/etc/ssl/login-ca.pem"]))]
    pub(crate) ca: Option<Of<Path>>,
    /// What a token may be signed with. Never a shared secret.
    #[schemars(length(min = 1), extend("default" = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]))]
    pub(crate) algorithms: Option<Vec<Signature>>,
    /// Further claims that it must have: equal to the text, or a list that holds it; of `scope`, each word. Of several
    /// texts, each must hold. Default: none.
    #[schemars(extend("examples" = [{ "scope": "orders:read", "groups": ["billing"] }]))]
    pub(crate) claims: Option<BTreeMap<String, OneOrMore<Text>>>,
    /// How far the issuer's clock may be off, 10 minutes at most.
    #[schemars(extend("default" = "60s"))]
    pub(crate) leeway: Option<Of<Span>>,
}

/// What a token may be signed with (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(crate) enum Signature {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl From<Signature> for Algorithm {
    fn from(signature: Signature) -> Self {
        match signature {
            Signature::RS256 => Self::RS256,
            Signature::RS384 => Self::RS384,
            Signature::RS512 => Self::RS512,
            Signature::PS256 => Self::PS256,
            Signature::PS384 => Self::PS384,
            Signature::PS512 => Self::PS512,
            Signature::ES256 => Self::ES256,
            Signature::ES384 => Self::ES384,
            Signature::EdDSA => Self::EdDSA,
        }
    }
}

/// Where an issuer's keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum JwksPlace {
    File(String),
    Url(EndpointUrl),
}

/// A file, or a URL.
pub(crate) struct KeyPlace;

impl Form for KeyPlace {
    type Value = JwksPlace;
    const WANTED: &'static str = "the path of a file, or a URL";

    fn read(text: &str) -> Result<JwksPlace, Complaint> {
        if text.contains("://") {
            Endpoint::read(text).map(JwksPlace::Url).map_err(|complaint| match EndpointUrl::parse(text) {
                Err(UrlError::UserInfo) => Complaint {
                    mend: "take what is before the '@' out: public keys are asked for without a login".into(),
                    ..complaint
                },
                _ => complaint,
            })
        } else {
            Path::read(text).map(JwksPlace::File)
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1, "examples": ["jwks.json", "https://login.example.com/.well-known/jwks.json"] })
    }
}

/// A text that is not empty.
pub(crate) struct Text;

impl Form for Text {
    type Value = String;
    const WANTED: &'static str = "a text";

    fn read(text: &str) -> Result<String, Complaint> {
        if text.trim().is_empty() || text.trim() != text {
            return complaint("is empty, or has spaces around it", "write it as it is in the token");
        }
        Ok(text.to_owned())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number", "boolean"], "minLength": 1 })
    }
}

/// A text in the form `F`, or a list of them.
pub(crate) struct OneOrMore<F: Form>(pub(crate) Vec<Of<F>>);

impl<F: Form> fmt::Debug for OneOrMore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, F: Form> Deserialize<'de> for OneOrMore<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor<F>(PhantomData<F>);

        impl<F: Form> TextsVisitor<F> {
            fn one<E: de::Error>(text: &str) -> Result<OneOrMore<F>, E> {
                let told = |Complaint { message, mend }| E::custom(format_args!("{message}{MEND}{mend}"));
                F::read(text).map(|one| OneOrMore(vec![Of(one)])).map_err(told)
            }
        }

        impl<'de, F: Form> Visitor<'de> for TextsVisitor<F> {
            type Value = OneOrMore<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a list", F::WANTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Self::one(text)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                Self::one(if value { "true" } else { "false" })
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                Self::one(&value.to_string())
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                Self::one(&value.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMore)
            }
        }

        deserializer.deserialize_any(TextsVisitor(PhantomData))
    }
}

impl<F: Form> JsonSchema for OneOrMore<F> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMore{}", Of::<F>::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Of<F>>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// Whose client certificate lets in.
#[derive(Debug)]
pub(crate) enum Certificates {
    /// `any`, or a map without names.
    Any,
    /// One of these names must be in it.
    Names(Vec<Of<SubjectName>>),
}

/// Whose client certificate lets in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateRules {
    /// It must have one of these among its subject alternative names: a DNS name, `*.` and its end (one label or more),
    /// a URI, an address or a mail address. Default: any name.
    #[schemars(length(min = 1))]
    pub(crate) names: Option<Vec<Of<SubjectName>>>,
}

/// A subject alternative name.
pub(crate) struct SubjectName;

impl Form for SubjectName {
    type Value = CertificateName;
    const WANTED: &'static str = "a name such as app.internal";

    fn read(text: &str) -> Result<CertificateName, Complaint> {
        CertificateName::parse(text.trim()).or_else(|_| {
            complaint(
                "is no name that a certificate can have",
                "write app.internal, *.apps.internal, spiffe://trust/app, an address or a mail address",
            )
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1, "examples": ["app.internal", "*.apps.internal", "spiffe://trust/app"] })
    }
}

impl<'de> Deserialize<'de> for Certificates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CertificatesVisitor;

        impl<'de> Visitor<'de> for CertificatesVisitor {
            type Value = Certificates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`any`, or a map of `names`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Certificates, E> {
                if text == "any" {
                    return Ok(Certificates::Any);
                }
                Err(E::custom(format_args!("must be `any`, or a map{MEND}write any, or {{names: [app.internal]}}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Certificates, A::Error> {
                let rules = CertificateRules::deserialize(MapAccessDeserializer::new(map))?;
                Ok(rules.names.map_or(Certificates::Any, Certificates::Names))
            }
        }

        deserializer.deserialize_any(CertificatesVisitor)
    }
}

impl JsonSchema for Certificates {
    fn schema_name() -> Cow<'static, str> {
        "Certificates".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rules = generator.subschema_for::<CertificateRules>();
        json_schema!({
            "description": "Whose client certificate lets in: `any`, or one with a name of these.",
            "anyOf": [{ "type": "string", "pattern": "^any$|^\\$\\{.*\\}$", "examples": ["any"] }, rules]
        })
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AccessVisitor;

        impl<'de> Visitor<'de> for AccessVisitor {
            type Value = Access;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`public`, or a map of rules")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Access, E> {
                if text == "public" {
                    return Ok(Access::Public);
                }
                Err(E::custom(format_args!("must be `public`, or a map{MEND}write public, or {{allow: [10.0.0.0/8]}}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Access, A::Error> {
                Rules::deserialize(MapAccessDeserializer::new(map)).map(|rules| Access::Rules(Box::new(rules)))
            }
        }

        deserializer.deserialize_any(AccessVisitor)
    }
}

impl JsonSchema for Access {
    fn schema_name() -> Cow<'static, str> {
        "Access".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rules = generator.subschema_for::<Rules>();
        json_schema!({
            "description": "Who may come in: `public`, or rules that must all hold.",
            "anyOf": [{ "type": "string", "pattern": "^public$|^\\$\\{.*\\}$", "examples": ["public"] }, rules]
        })
    }
}
