//! Headers: what is meant for one hop ends there, what the client says of itself or sends in the
//! credential's place is gone, and everything else is as it came.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use tokenferry::model::Place;
use tokenferry::proxy::headers::{
    Peer, Survey, clean_request, clean_response, clean_trailers, has_been_here, requested_upgrade, set_forwarded, via,
};
use tokenferry::token::inject::remove_headers;

const OF_ONE_HOP: [&str; 12] = [
    "connection",
    "te",
    "transfer-encoding",
    "content-length",
    "expect",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "http2-settings",
];
const CREDENTIAL: [(&str, &str); 2] = [("authorization", "Bearer T0KEN"), ("x-api-key", "T0KEN")];
const FORWARDED: [(&str, &str); 3] =
    [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "client.example")];

/// The input is header lines, as in a request.
pub fn headers(data: &[u8]) {
    let Some(came) = parse(data) else { return };
    request(&came);
    trusted(&came);
    answer(&came);
    trailers(&came);
}

/// `None` where no HTTP library would give us such a head.
fn parse(data: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(500) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(headers)
}

/// A name as a server that makes variables of names reads it.
fn folded(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// What `Connection` names, in lower case.
fn nominated(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("connection").iter();
    let options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',').collect::<Vec<_>>());
    options.map(|option| String::from_utf8_lossy(option.trim_ascii()).to_ascii_lowercase()).collect()
}

/// The lines of these names, in their order.
fn lines(headers: &HeaderMap, takes: impl Fn(&HeaderName) -> bool) -> Vec<(&str, Vec<&HeaderValue>)> {
    let mut lines: Vec<_> = headers
        .keys()
        .filter(|name| takes(name))
        .map(|name| (name.as_str(), headers.get_all(name).iter().collect()))
        .collect();
    lines.sort();
    lines
}

fn is_forwarding(name: &str) -> bool {
    name == "forwarded" || name == "x-real-ip" || name == "x-forwarded" || name.starts_with("x-forwarded-")
}

/// In the order of the walk.
fn request(came: &HeaderMap) {
    let mut headers = came.clone();
    let _ = (has_been_here(&headers, "us"), requested_upgrade(&headers));
    let ours = via(Version::HTTP_11, "us").unwrap();
    let peer = Peer::new("192.0.2.7".parse().ok(), true);
    let host = HeaderValue::from_static("client.example");
    let place = |name: &str| Place::Header { name: name.parse().unwrap(), scheme: None };
    let places = CREDENTIAL.map(|(name, _)| place(name));
    clean_request(&mut headers);
    remove_headers(&mut headers, &places);
    set_forwarded(&mut headers, Survey::of(came), &peer, Some(&host), &ours);
    // As the token is put in, which only a token's guard can do.
    for (name, value) in CREDENTIAL {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }

    for (name, value) in CREDENTIAL.iter().chain(&FORWARDED) {
        let all: Vec<_> = headers.iter().filter(|(key, _)| folded(key) == *name).collect();
        assert!(matches!(all[..], [(key, sent)] if key == name && sent == value), "{name}: {all:?}");
    }
    for name in headers.keys() {
        assert!(!OF_ONE_HOP.contains(&folded(name).as_str()), "{name} is left");
    }
    let named = nominated(came);
    let ours_alone = |name: &HeaderName| {
        let name = folded(name);
        CREDENTIAL.iter().any(|(ours, _)| *ours == name) || is_forwarding(&name) || OF_ONE_HOP.contains(&name.as_str())
    };
    let stays = |name: &HeaderName| !ours_alone(name) && name != "via";
    let expected = lines(came, |name| stays(name) && !named.iter().any(|option| option == name.as_str()));
    assert_eq!(lines(&headers, stays), expected);

    let before: Vec<&[u8]> = came.get_all("via").iter().map(HeaderValue::as_bytes).collect();
    let mut chain = if named.iter().any(|option| option == "via") { Vec::new() } else { before };
    chain.push(ours.as_bytes());
    let sent: Vec<&[u8]> = headers.get_all("via").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(sent, [chain.join(&b", "[..])]);
    assert!(has_been_here(&headers, "us"), "a loop would not be seen");
}

/// From a proxy whose word counts: what it said of the client goes on in one line, our peer behind it.
fn trusted(came: &HeaderMap) {
    let mut headers = came.clone();
    let peer = Peer::new("192.0.2.7".parse().ok(), true).trusted(true);
    clean_request(&mut headers);
    set_forwarded(&mut headers, Survey::of(came), &peer, None, &HeaderValue::from_static("1.1 us"));
    let all: Vec<_> = headers.iter().filter(|(name, _)| is_forwarding(&folded(name))).collect();
    for (name, value) in all {
        assert!(FORWARDED.iter().any(|(ours, _)| ours == name), "{name} is left");
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        assert!(name != "x-forwarded-for" || value.as_bytes().ends_with(b"192.0.2.7"), "{value:?}");
    }
    assert!(headers.contains_key("x-forwarded-for") && headers.contains_key("x-forwarded-proto"));
}

fn answer(came: &HeaderMap) {
    let mut headers = came.clone();
    // In HTTP/2 names may come that HTTP/1 has not.
    clean_response(&mut headers, StatusCode::OK, Version::HTTP_2);
    let named = nominated(came);
    let stays = |name: &HeaderName| {
        let name = folded(name);
        !OF_ONE_HOP.contains(&name.as_str()) || name == "content-length" || name == "expect"
    };
    let expected = lines(came, |name| {
        let is_named = named.iter().any(|option| option == name.as_str());
        stays(name) && (!is_named || name == "content-length")
    });
    // Of several lengths the pool has let none through.
    if came.get_all("content-length").iter().count() < 2 {
        assert_eq!(lines(&headers, |_| true), expected);
    }
}

fn trailers(came: &HeaderMap) {
    const NEVER: [&str; 10] = [
        "host",
        "authorization",
        "x-api-key",
        "cookie",
        "set-cookie",
        "content-type",
        "content-encoding",
        "location",
        "trailer",
        "x-forwarded-for",
    ];
    let mut headers = came.clone();
    clean_trailers(&mut headers, &[HeaderName::from_static("x-secret")]);
    for name in headers.keys() {
        let name = folded(name);
        let forbidden = NEVER.contains(&name.as_str()) || OF_ONE_HOP.contains(&name.as_str());
        assert!(!forbidden && !is_forwarding(&name) && name != "x-secret", "{name} in trailers");
    }
    let kept = |name: &HeaderName| headers.contains_key(name);
    assert_eq!(lines(&headers, |_| true), lines(came, kept), "what stays is as it came");
}
