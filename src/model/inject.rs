//! Where a credential's token is put into a request.

use http::HeaderName;

/// One place for the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `NAME: WORD TOKEN`, without a scheme the bare token.
    Header {
        /// The header; hop-by-hop and framing headers are refused by `check`.
        name: HeaderName,
        /// The word before the token, such as `Bearer`.
        scheme: Option<String>,
    },
    /// A query parameter.
    Query {
        /// The parameter's name, not escaped.
        name: String,
    },
    /// A top-level member of a JSON object body.
    Json {
        /// The member's name, not escaped.
        name: String,
    },
    /// The JSON member where the body is a JSON object, else the query parameter.
    Parameter {
        /// The member's or parameter's name, not escaped.
        name: String,
    },
}

/// All the places of one credential; at least one.
pub type Placement = Vec<Place>;

impl Place {
    /// `Authorization: Bearer TOKEN`, the default of RFC 6750 section 2.1.
    pub fn bearer() -> Self {
        Self::Header { name: http::header::AUTHORIZATION, scheme: Some("Bearer".to_owned()) }
    }
}
