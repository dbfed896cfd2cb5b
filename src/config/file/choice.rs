//! Fields that take a word, or more than one shape.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::de::MEND;
use crate::config::file::form::{Form, Of};
use crate::config::file::measure::Patience;
use crate::config::file::word::{Base, Path, Server, Title};
use crate::model::{EncodedSlash, HeaderCase, Protocol, TokenEndpoint};
use crate::secret::Secret;

/// How header names are written over HTTP/1.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// `Content-Type`
    Title,
    /// `content-type`
    Lower,
    /// As the other side wrote it.
    Preserve,
}

impl From<Case> for HeaderCase {
    fn from(case: Case) -> Self {
        match case {
            Case::Title => Self::Title,
            Case::Lower => Self::Lower,
            Case::Preserve => Self::Preserve,
        }
    }
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAuth {
    /// Without one the handshake fails.
    Require,
    /// Without one it goes on; one that does not hold ends it.
    Request,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spoken {
    /// ALPN on https, HTTP/1.1 on http.
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 with prior knowledge, without TLS.
    H2c,
}

impl From<Spoken> for Protocol {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Auto => Self::Auto,
            Spoken::Http1 => Self::Http1,
            Spoken::H2 => Self::H2,
            Spoken::H2c => Self::H2c,
        }
    }
}

/// What is done with a call to the credential's own token or release endpoint.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenCall {
    /// Answer in the vendor's own form, with a placeholder token.
    Answer,
    /// Answer 403.
    Refuse,
    /// Pass it on untouched, without the credential.
    Forward,
}

impl From<TokenCall> for TokenEndpoint {
    fn from(call: TokenCall) -> Self {
        match call {
            TokenCall::Answer => Self::Answer,
            TokenCall::Refuse => Self::Refuse,
            TokenCall::Forward => Self::Forward,
        }
    }
}

/// Whether `%2f` in a path passes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Slash {
    /// Answer 400.
    Refuse,
    /// Pass it on as it came.
    Allow,
}

impl From<Slash> for EncodedSlash {
    fn from(slash: Slash) -> Self {
        match slash {
            Slash::Refuse => Self::Refuse,
            Slash::Allow => Self::Allow,
        }
    }
}

/// Which `Host` goes to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostHeader {
    /// The upstream's.
    Upstream,
    /// The client's.
    Preserve,
}

/// The name of a credential, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CredentialName(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for CredentialName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Of::<Title>::deserialize(deserializer)?.0;
        Ok(Self((name != "none").then_some(name)))
    }
}

impl JsonSchema for CredentialName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CredentialName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "examples": ["crm", "none"] })
    }
}

/// One `T`, or a list of them.
#[derive(Debug)]
pub(crate) struct Listed<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListedVisitor<T> {
            type Value = Listed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map, or a list of maps")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listed<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| Listed(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Listed<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Listed)
            }
        }

        deserializer.deserialize_any(ListedVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Listed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMore{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// Where a route goes: a URL, or a map with one.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) fields: UpstreamFields,
    /// Whether it was written as a URL alone.
    pub(crate) is_plain: bool,
}

/// Where a route goes, and how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamFields {
    /// Where to; a matched prefix is replaced by its path.
    #[schemars(required)]
    pub(crate) url: Option<Of<Base>>,
    /// What is spoken there: auto is ALPN on https and HTTP/1.1 on http.
    #[schemars(extend("default" = "auto"))]
    pub(crate) protocol: Option<Spoken>,
    /// PEM file of the roots to trust. Default: the system's.
    #[schemars(extend("examples" = ["/etc/ssl/crm-ca.pem"]))]
    pub(crate) ca: Option<Of<Path>>,
    /// PEM file of a certificate to show; with `client_key`. Default: none is shown.
    #[schemars(extend("examples" = ["client.crt"]))]
    pub(crate) client_cert: Option<Of<Path>>,
    /// PEM file of the key of `client_cert`. Required beside it.
    #[schemars(extend("examples" = ["client.key"]))]
    pub(crate) client_key: Option<Of<Path>>,
    /// The name to ask for and to verify. Default: the URL's host.
    pub(crate) server_name: Option<Of<Server>>,
    /// Verify no certificate. For tests only.
    #[schemars(extend("default" = false))]
    pub(crate) insecure: Option<bool>,
    /// The egress proxy on the way to it, as `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`; or `none`.
    /// Default: what the environment says (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`), but not for an
    /// address of this machine.
    #[schemars(extend("examples" = ["http://proxy.example:3128", "none"]))]
    pub(crate) proxy: Option<Secret>,
    /// How header names are written to it over HTTP/1.
    #[schemars(extend("default" = "title"))]
    pub(crate) header_case: Option<Case>,
    /// Its connections that are kept open.
    pub(crate) pool: Option<Pool>,
}

/// Connections that are kept open.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    /// How long an idle connection is kept.
    #[schemars(extend("default" = "30s"))]
    pub(crate) idle: Option<Of<Patience>>,
    /// How old a connection may grow.
    #[schemars(extend("default" = "5m"))]
    pub(crate) age: Option<Of<Patience>>,
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UpstreamVisitor;

        impl<'de> Visitor<'de> for UpstreamVisitor {
            type Value = Upstream;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL such as https://api.example.com/v1, or a map with `url`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Upstream, E> {
                let url = Base::read(text)
                    .map_err(|complaint| E::custom(format_args!("{}{MEND}{}", complaint.message, complaint.mend)))?;
                Ok(Upstream { fields: UpstreamFields { url: Some(Of(url)), ..Default::default() }, is_plain: true })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Upstream, A::Error> {
                UpstreamFields::deserialize(MapAccessDeserializer::new(map))
                    .map(|fields| Upstream { fields, is_plain: false })
            }
        }

        deserializer.deserialize_any(UpstreamVisitor)
    }
}

impl JsonSchema for Upstream {
    fn schema_name() -> Cow<'static, str> {
        "Upstream".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (url, fields) = (generator.subschema_for::<Of<Base>>(), generator.subschema_for::<UpstreamFields>());
        json_schema!({ "description": "Where the route goes: a URL, or a map with one.", "anyOf": [url, fields] })
    }
}
