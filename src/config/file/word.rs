//! Addresses, URLs, hosts, paths, header names and the like.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use regex::Regex;
use rustls::pki_types::ServerName;
use serde_json::json;

use crate::config::ListenAddress;
use crate::config::file::form::{Complaint, Form, complaint};
use crate::model::{BaseUrl, CanonicalPath, EncodedSlash, EndpointUrl, HostPattern, KeyDigest, PathPrefix, UrlError};

/// `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`.
pub(crate) struct Address;

impl Form for Address {
    type Value = ListenAddress;
    const WANTED: &'static str = "an address such as 127.0.0.1:8080";

    fn read(text: &str) -> Result<ListenAddress, Complaint> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.contains('\0') {
                return complaint("must be unix: and a path from the root", "write unix:/run/tokenferry.sock");
            }
            // sockaddr_un holds 108 bytes with the final NUL (unix(7)).
            if path.len() > 107 {
                return complaint("the path of a Unix socket may have 107 bytes at most", "choose a shorter path");
            }
            return Ok(ListenAddress::Unix(PathBuf::from(path)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(ListenAddress::Tcp(address)),
            Err(_) if text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()) => complaint(
                "has no address before the port",
                format!("write 127.0.0.1{text} for this machine only, or 0.0.0.0{text} for every interface"),
            ),
            Err(_) if text.parse::<std::net::IpAddr>().is_ok() => {
                complaint("has no port", "write 127.0.0.1:8080 or [::1]:8080")
            }
            Err(_) => complaint(
                "is not an address to listen on",
                "write 127.0.0.1:8080, [::1]:8080 or unix:/path; host names are not resolved",
            ),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^\\s*(unix:/|[0-9.]+:[0-9]+|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]:[0-9]+)|\\$\\{", "examples": ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8443", "unix:/run/tokenferry.sock"] })
    }
}

fn url_complaint<T>(text: &str, error: UrlError) -> Result<T, Complaint> {
    // `api.example.com/v1` is a malformed URI; what it lacks is said better.
    let error = if error == UrlError::Malformed && !text.contains("://") { UrlError::Scheme } else { error };
    let mend = match error {
        UrlError::Malformed => "write it as https://host[:port]/path; spaces and the like are percent-encoded",
        UrlError::Scheme => "write https://host/path",
        UrlError::Host => "write the host behind https://",
        UrlError::UserInfo => "take what is before the '@' out, and put it into a credential",
        UrlError::Port => "write a port from 1 to 65535, or none",
        UrlError::Query => "take the '?' and what follows out",
        UrlError::Fragment => "take the '#' and what follows out",
        UrlError::Path => "write the path without '.' and '..' segments, backslashes and bad escapes",
    };
    complaint(error.to_string(), mend)
}

/// An upstream's URL.
pub(crate) struct Base;

impl Form for Base {
    type Value = BaseUrl;
    const WANTED: &'static str = "a URL such as https://api.example.com/v1";

    fn read(text: &str) -> Result<BaseUrl, Complaint> {
        BaseUrl::parse(text).or_else(|error| url_complaint(text, error))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^https?://[^/]|\\$\\{", "examples": ["https://api.example.com/v1"] })
    }
}

/// The URL of a token endpoint.
pub(crate) struct Endpoint;

impl Form for Endpoint {
    type Value = EndpointUrl;
    const WANTED: &'static str = "a URL such as https://login.example.com/oauth2/token";

    fn read(text: &str) -> Result<EndpointUrl, Complaint> {
        EndpointUrl::parse(text).or_else(|error| url_complaint(text, error))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^https?://[^/]|\\$\\{", "examples": ["https://login.example.com/oauth2/token"] })
    }
}

/// A host, or `*.suffix`.
pub(crate) struct Host;

impl Form for Host {
    type Value = HostPattern;
    const WANTED: &'static str = "a host such as crm.internal";

    fn read(text: &str) -> Result<HostPattern, Complaint> {
        HostPattern::parse(text.trim())
            .or_else(|error| complaint(error.to_string(), "write a host such as crm.internal, or *.internal"))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["crm.internal", "*.internal"] })
    }
}

const WRITE_PATH: &str = "write a path that begins with '/', without '.', '..', '?' and bad escapes";

/// A path prefix on segment boundaries.
pub(crate) struct Prefix;

impl Form for Prefix {
    type Value = PathPrefix;
    const WANTED: &'static str = "a path such as /api";

    fn read(text: &str) -> Result<PathPrefix, Complaint> {
        PathPrefix::parse(text).or_else(|error| complaint(error.to_string(), WRITE_PATH))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^/|\\$\\{", "examples": ["/api"] })
    }
}

/// A whole path, in canonical form.
pub(crate) struct Exact;

impl Form for Exact {
    type Value = String;
    const WANTED: &'static str = "a path such as /health";

    fn read(text: &str) -> Result<String, Complaint> {
        match CanonicalPath::parse(text, EncodedSlash::Allow) {
            Ok(path) => Ok(path.as_str().to_owned()),
            Err(error) => complaint(error.to_string(), WRITE_PATH),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^/|\\$\\{", "examples": ["/health"] })
    }
}

/// A regular expression.
pub(crate) struct Pattern;

impl Form for Pattern {
    type Value = Regex;
    const WANTED: &'static str = "a regular expression such as ^/v[0-9]+/";

    fn read(text: &str) -> Result<Regex, Complaint> {
        Regex::new(text).or_else(|error| {
            // The whole text shows the expression; its last line says only what is wrong.
            let text = error.to_string();
            let reason = match &error {
                regex::Error::CompiledTooBig(_) => Some("it is too large"),
                _ => text.lines().last().and_then(|line| line.strip_prefix("error: ")),
            };
            let message = match reason {
                Some(reason) => format!("is not a regular expression: {reason}"),
                None => "is not a regular expression".to_owned(),
            };
            complaint(message, "write it in the syntax of the Rust crate regex (no look-around, no back-references)")
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["^/v[0-9]+/"] })
    }
}

/// A request method.
pub(crate) struct Verb;

impl Form for Verb {
    type Value = Method;
    const WANTED: &'static str = "a method such as GET";

    fn read(text: &str) -> Result<Method, Complaint> {
        Method::from_bytes(text.trim().as_bytes())
            .or_else(|_| complaint("is not a request method", "write GET, POST, PUT, PATCH, DELETE or another method"))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^\\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\\s*$|\\$\\{", "examples": ["GET", "POST"] })
    }
}

/// The name of a header.
pub(crate) struct Name;

impl Form for Name {
    type Value = HeaderName;
    const WANTED: &'static str = "a header name such as X-Tenant";

    fn read(text: &str) -> Result<HeaderName, Complaint> {
        HeaderName::from_bytes(text.as_bytes())
            .or_else(|_| complaint("is not a header name", "write letters, digits and '-', without a colon"))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$|\\$\\{", "examples": ["X-Api-Key"] })
    }
}

/// The value of a header.
pub(crate) struct Line;

impl Form for Line {
    type Value = HeaderValue;
    const WANTED: &'static str = "a header value";

    fn read(text: &str) -> Result<HeaderValue, Complaint> {
        if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) {
            return complaint("begins or ends with a space", "take the space out: a header cannot carry it");
        }
        HeaderValue::from_str(text).or_else(|_| {
            complaint("has a character that a header cannot carry", "write one line of visible characters")
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number", "boolean"], "examples": ["acme"] })
    }
}

/// A network, or one address.
pub(crate) struct Network;

impl Form for Network {
    type Value = IpNet;
    const WANTED: &'static str = "a network such as 10.0.0.0/8";

    fn read(text: &str) -> Result<IpNet, Complaint> {
        let text = text.trim();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        match network {
            Ok(network) if network.trunc() != network => complaint(
                "has bits set behind its prefix length",
                "write the network's first address, or the address alone, or a longer prefix",
            ),
            Ok(network) => Ok(network),
            Err(_) => complaint("is not a network", "write 10.0.0.0/8, 2001:db8::/32 or one address"),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^\\s*[0-9A-Fa-f:.]+(/[0-9]{1,3})?\\s*$|\\$\\{", "examples": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] })
    }
}

/// Where a proxy in front of this one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Neighbour {
    /// In this network.
    In(IpNet),
    /// At the other end of a Unix socket.
    Unix,
}

/// A network, one address, or `unix`.
pub(crate) struct Nearby;

impl Form for Nearby {
    type Value = Neighbour;
    const WANTED: &'static str = "a network such as 10.0.0.0/8, or unix";

    fn read(text: &str) -> Result<Neighbour, Complaint> {
        // nginx writes `unix:`.
        if matches!(text.trim(), "unix" | "unix:") {
            return Ok(Neighbour::Unix);
        }
        let network = Network::read(text).map_err(|complaint| match text.parse::<IpNet>() {
            Ok(_) => complaint,
            Err(_) => Complaint { mend: "write 10.0.0.0/8, 2001:db8::/32, one address, or unix".into(), ..complaint },
        });
        network.map(Neighbour::In)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^\\s*([0-9A-Fa-f:.]+(/[0-9]{1,3})?|unix:?)\\s*$|\\$\\{", "examples": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "unix"] })
    }
}

/// A final status.
pub(crate) struct Status;

impl Form for Status {
    type Value = StatusCode;
    const WANTED: &'static str = "a status such as 403";

    fn read(text: &str) -> Result<StatusCode, Complaint> {
        match text.trim().parse::<u16>().ok().filter(|status| (200..600).contains(status)) {
            Some(status) => StatusCode::from_u16(status).or_else(|_| complaint("is not a status", "write 403")),
            None => complaint("is not a status from 200 to 599", "write a status such as 403"),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["integer", "string"], "pattern": "^\\s*[2-5][0-9][0-9]\\s*$|\\$\\{", "minimum": 200, "maximum": 599, "examples": [403] })
    }
}

/// An RFC 6901 pointer, as its unescaped segments.
pub(crate) struct Pointer;

impl Form for Pointer {
    type Value = Vec<String>;
    const WANTED: &'static str = "a JSON pointer such as /status/code";

    fn read(text: &str) -> Result<Vec<String>, Complaint> {
        const WRITE: &str = "write /name/name, with ~1 for '/' and ~0 for '~' in a name";
        let Some(rest) = text.strip_prefix('/') else {
            return complaint("is not a JSON pointer: it does not begin with '/'", WRITE);
        };
        // RFC 6901 section 3: '~' stands only in ~0 and ~1.
        if rest.split('~').skip(1).any(|tail| !tail.starts_with(['0', '1'])) {
            return complaint("is not a JSON pointer: a '~' is not escaped", WRITE);
        }
        Ok(rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^/|\\$\\{", "examples": ["/status/code"] })
    }
}

/// The word before a token, such as `Bearer`.
pub(crate) struct Scheme;

impl Form for Scheme {
    type Value = String;
    const WANTED: &'static str = "a word such as Bearer";

    fn read(text: &str) -> Result<String, Complaint> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(text.to_owned());
        }
        complaint("must be one word of visible characters", "write a word such as Bearer, or leave `scheme` out")
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[!-~]+$", "examples": ["Bearer"] })
    }
}

/// The name of a query parameter or JSON member.
pub(crate) struct Member;

impl Form for Member {
    type Value = String;
    const WANTED: &'static str = "a name such as token";

    fn read(text: &str) -> Result<String, Complaint> {
        if text.is_empty() { complaint("is empty", "write a name such as token") } else { Ok(text.to_owned()) }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1, "examples": ["token"] })
    }
}

/// A name that an operator gives: of a route, of an API key.
pub(crate) struct Title;

impl Form for Title {
    type Value = String;
    const WANTED: &'static str = "a name";

    fn read(text: &str) -> Result<String, Complaint> {
        if text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            return complaint("must be a name of 1 to 200 bytes on one line", "write a short name such as crm");
        }
        Ok(text.to_owned())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number"], "minLength": 1, "maxLength": 200 })
    }
}

/// A server name to ask for and to verify.
pub(crate) struct Server;

impl Form for Server {
    type Value = String;
    const WANTED: &'static str = "a host name such as crm.example.com";

    fn read(text: &str) -> Result<String, Complaint> {
        match ServerName::try_from(text.trim()) {
            Ok(_) => Ok(text.trim().to_owned()),
            Err(_) => complaint("is not a server name", "write a host name such as crm.example.com"),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["crm.example.com"] })
    }
}

/// A file's name.
pub(crate) struct Path;

impl Form for Path {
    type Value = String;
    const WANTED: &'static str = "the path of a file";

    fn read(text: &str) -> Result<String, Complaint> {
        if text.trim().is_empty() || text.contains('\0') {
            return complaint("is not the path of a file", "write a path; a relative one is relative to this file");
        }
        Ok(text.trim().to_owned())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// The name of an upgrade protocol.
pub(crate) struct Upgrade;

impl Form for Upgrade {
    type Value = String;
    const WANTED: &'static str = "a protocol such as websocket";

    fn read(text: &str) -> Result<String, Complaint> {
        let name = text.trim().to_ascii_lowercase();
        // RFC 9110 section 7.8: a token, with a version behind a slash.
        let token = |part: &str| HeaderName::from_bytes(part.as_bytes()).is_ok();
        if !name.split('/').all(token) || name.split('/').count() > 2 {
            return complaint("is not the name of a protocol", "write websocket");
        }
        if matches!(name.as_str(), "h2c" | "h2" | "http/2" | "http/2.0" | "http/1.1") || name.starts_with("tls/") {
            return complaint(
                "cannot be upgraded to: requests behind such an upgrade would pass unseen",
                "take it out; for HTTP/2 to the upstream write `protocol: h2c`",
            );
        }
        Ok(name)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["websocket"] })
    }
}

/// The digest of an API key that is written out, or `sha256:` and the digest in hex.
pub(crate) fn digest(key: &str) -> Result<KeyDigest, Complaint> {
    use sha2::{Digest, Sha256};

    if key.is_empty() {
        return complaint("the key is empty", "give the key, or sha256: and its digest in hex");
    }
    let Some(hex) = key.strip_prefix("sha256:") else {
        // Taken as it is, the digest itself would be the key.
        let digest = |hex: &str| hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if key.split_once(':').is_some_and(|(_, hex)| digest(hex)) || (key.len() == 64 && digest(key)) {
            return complaint(
                "looks like a digest, and would be taken as the key itself",
                "write sha256: before a SHA-256 in hex, or the key itself",
            );
        }
        if key.chars().any(char::is_control) || key.trim() != key {
            return complaint("the key has a space at an end, or a control character", "no client could present it");
        }
        return Ok(KeyDigest(Sha256::digest(key.as_bytes()).into()));
    };
    let mut bytes = [0u8; 32];
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let sound = hex.len() == 64
        && hex.as_bytes().chunks_exact(2).zip(&mut bytes).all(|(pair, byte)| match pair {
            [high, low] => nibble(*high).zip(nibble(*low)).map(|(high, low)| *byte = high << 4 | low).is_some(),
            _ => false,
        });
    if sound {
        Ok(KeyDigest(bytes))
    } else {
        complaint("sha256: must be followed by 64 hex digits", "printf %s KEY | sha256sum gives them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_and_ports_or_unix_paths() {
        assert!(matches!(Address::read("127.0.0.1:8080"), Ok(ListenAddress::Tcp(_))));
        assert!(matches!(Address::read("[::1]:0"), Ok(ListenAddress::Tcp(_))));
        assert_eq!(Address::read("unix:/run/x.sock"), Ok(ListenAddress::Unix("/run/x.sock".into())));
        for text in ["localhost:8080", ":8080", "127.0.0.1", "8080", "unix:x", "unix:", "127.0.0.1:99999", "::1:80", ""]
        {
            assert!(Address::read(text).is_err(), "{text}");
        }
        assert!(Address::read(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn no_regex_error_shows_the_expression() {
        for text in ["CANARY(", "CANARY[", "(?=CANARY)", "CANARY{99999}{99999}", "\\CANARY"] {
            let Err(complaint) = Pattern::read(text) else { panic!("{text}") };
            assert!(!format!("{complaint:?}").contains("CANARY"), "{complaint:?}");
        }
        assert_eq!(Pattern::read("a(").unwrap_err().message, "is not a regular expression: unclosed group");
    }

    #[test]
    fn networks_have_no_bits_behind_their_prefix() {
        assert_eq!(Network::read("10.0.0.0/8").map(|n| n.to_string()), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(Network::read("192.0.2.7").map(|n| n.to_string()), Ok("192.0.2.7/32".to_owned()));
        for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "private", ""] {
            assert!(Network::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_digested_or_come_digested() {
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(digest("secret"), digest(&format!("sha256:{hex}")));
        assert_eq!(digest("secret"), digest(&format!("sha256:{}", hex.to_uppercase())));
        for key in ["", "sha256:", "sha256:12", &format!("sha256:{}", "g".repeat(64)), " key", "a\nb"] {
            assert!(digest(key).is_err(), "{key}");
        }
    }

    #[test]
    fn pointers_are_unescaped_segments() {
        assert_eq!(Pointer::read("/a~1b/c~0d/~01"), Ok(vec!["a/b".to_owned(), "c~d".to_owned(), "~1".to_owned()]));
        assert_eq!(Pointer::read("/"), Ok(vec![String::new()]));
        for text in ["", "a/b", "/a~", "/a~2"] {
            assert!(Pointer::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_upgrade_never_is_another_http() {
        assert_eq!(Upgrade::read("WebSocket"), Ok("websocket".to_owned()));
        for text in ["h2c", "H2C", "TLS/1.0", "", "a b", "a/b/c"] {
            assert!(Upgrade::read(text).is_err(), "{text}");
        }
    }
}
