//! Pure values that cannot be wrong once built. They import nothing of ours, do no I/O, and are
//! what the configuration is checked into and the running parts are built from.

mod access;
mod certificate;
mod duration;
mod egress;
mod hex;
mod host;
mod inject;
mod json;
mod key_set;
mod log;
mod method;
mod origin;
mod password;
mod path;
mod problem;
mod rate;
mod route;
mod rules;
mod tls;
mod visitor;

pub use access::{
    AccessPolicy, ApiKey, BasicUser, CertificateName, CertificateRule, JwtRules, KeyDigest, KeySource, KeyUrl,
};
pub use certificate::{ClientCertificate, Dated, Validity, hosts, seconds, validity, vouches};
pub use duration::{DurationError, WRITE_A_DURATION, parse_duration};
pub use egress::{Egress, EgressProxy, EgressProxyError};
pub use hex::{hex, write_hex};
pub use host::{HostPattern, HostPatternError};
pub use inject::{Place, Placement};
pub use json::{JSON_DEPTH, JsonEvent, JsonFault, JsonScanner, json_says, json_unescaped};
pub use key_set::{KeySet, KeySetError, VerifyingKey};
pub use log::{AccessLog, LogFormat, LogLevel, LogSettings};
pub use method::known_method;
pub use origin::{BaseUrl, EndpointUrl, Origin, Scheme, UrlError};
pub use password::{PasswordHash, PasswordHashError, Unchecked};
pub use path::{CanonicalPath, EncodedSlash, PathError, PathPrefix};
pub use problem::{Problem, Severity};
pub use rate::{Per, Rate, RateError, RateRule};
pub use route::{HeaderEdits, HeaderMatch, MatchSpec, PathRule};
pub use rules::{
    BodyPace, HeaderCase, JsonMatch, JsonRefusal, Limits, Margin, ReadyWhen, RefusedWhen, Timeouts, TokenEndpoint,
};
pub use tls::{ClientAuthority, ClientIdentity, Protocol, ServerIdentity, ServerTls, UpstreamTls};
pub use visitor::{TrustedProxies, Visitor, unmapped};
