//! Who may come in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;

use crate::config::check::Check;
use crate::config::check::admin::SHORT;
use crate::config::file::{Access, Certificates, JwksPlace, Jwt, Rules, digest};
use crate::config::files::Unread;
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::model::{
    AccessPolicy, ApiKey, BasicUser, CertificateRule, JwtRules, KeySet, KeySetError, KeySource, KeyUrl, PasswordHash,
    PasswordHashError, Scheme, UpstreamTls,
};

/// What a token may be signed with unless the file says otherwise.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
/// How far an issuer's clock may be off unless the file says otherwise, and at most.
const LEEWAY: Duration = Duration::from_secs(60);
const MOST_LEEWAY: Duration = Duration::from_secs(600);

const MAKE_A_HASH: &str = "make one with `tokenferry hash-password`";

impl Check<'_> {
    pub(super) fn access(&mut self, access: &Access, node: Option<&Node>, spot: &Spot<'_>) -> AccessPolicy {
        let Access::Rules(rules) = access else { return AccessPolicy::default() };
        if is_empty(rules) {
            // What was wrong in it may have been taken out, which has been reported.
            if self.report.is_sound() {
                self.report.error(
                    spot,
                    "has no rule, and so does not say who may come in",
                    "write `public` for everyone, or add `api_keys`, `users`, `jwt`, `client_certificates`, `allow` or `deny`",
                );
            }
            return AccessPolicy::default();
        }
        if rules.jwt.is_some() && !rules.users.is_empty() {
            self.report.error_at_key(
                &spot.key("users"),
                "no request can have both a user and a token of `jwt`: each is in its Authorization",
                "take one of the two out, or write a route for each",
            );
        }
        self.warn_of_hidden_ipv4(rules, &spot.key("deny"));
        let jwt = rules.jwt.as_ref().zip(node.and_then(|node| node.get("jwt")));
        AccessPolicy {
            api_keys: self.api_keys(rules, node, spot),
            users: self.users(rules, node, spot),
            jwt: jwt.and_then(|(jwt, node)| self.jwt(jwt, node, &spot.key("jwt"))).map(Arc::new),
            client_certificates: self.certificates(rules, node, spot),
            allow: rules.allow.iter().map(|network| network.0).collect(),
            deny: rules.deny.iter().map(|network| network.0).collect(),
        }
    }

    fn api_keys(&mut self, rules: &Rules, node: Option<&Node>, spot: &Spot<'_>) -> Vec<ApiKey> {
        let mut names = HashSet::new();
        let mut digests: HashMap<[u8; 32], usize> = HashMap::new();
        let mut api_keys = Vec::new();
        let keys = spot.key("api_keys");
        for (api_key, (index, node)) in rules.api_keys.iter().zip(elements(node, "api_keys")) {
            let at = keys.index(index);
            let Some(name) = &api_key.name else {
                self.missing(&at, node, "name", "say whose key it is: `name: billing`");
                continue;
            };
            if !names.insert(&name.0) {
                self.report.error(&at.key("name"), "another key has this name", "give each key a name of its own");
            }
            let Some(key) = &api_key.key else {
                self.missing(&at, node, "key", "add `key: ${NAME}`, or sha256: and its digest");
                continue;
            };
            match digest(key.expose()) {
                Err(complaint) => self.report.error(&at.key("key"), complaint.message, complaint.mend),
                Ok(digest) => {
                    if digests.insert(digest.0, index).is_some() {
                        self.report.error(
                            &at.key("key"),
                            "another name has this very key",
                            "give each name a key of its own",
                        );
                    }
                    if !key.expose().starts_with("sha256:") && key.expose().len() < SHORT {
                        let mend = "make one with `openssl rand -hex 16`";
                        self.report.warning(&at.key("key"), "is short enough to be found by trying", mend);
                    }
                    api_keys.push(ApiKey { name: name.0.clone(), digest });
                }
            }
        }
        api_keys
    }

    fn users(&mut self, rules: &Rules, node: Option<&Node>, spot: &Spot<'_>) -> Vec<BasicUser> {
        let mut names = HashSet::new();
        let mut users = Vec::new();
        let all = spot.key("users");
        for (user, (index, node)) in rules.users.iter().zip(elements(node, "users")) {
            let at = all.index(index);
            let Some(name) = &user.name else {
                self.missing(&at, node, "name", "say who it is: `name: alice`");
                continue;
            };
            if !names.insert(&name.0) {
                self.report.error(&at.key("name"), "another user has this name", "give each user a name of their own");
            }
            // RFC 7617 section 2: what is behind the first colon is the password.
            if name.0.contains(':') {
                let mend = "choose a name without one: nobody could log in by it";
                self.report.error(&at.key("name"), "a user's name can have no ':'", mend);
            }
            let Some(password) = &user.password else {
                self.missing(&at, node, "password", MAKE_A_HASH);
                continue;
            };
            match PasswordHash::parse(password.expose().trim()) {
                Ok(password) => {
                    if let Some(weakness) = password.weakness() {
                        self.report.warning(&at.key("password"), format!("the hash {weakness}"), MAKE_A_HASH);
                    }
                    users.push(BasicUser { name: name.0.clone(), password });
                }
                Err(error) => {
                    let mend = match error {
                        PasswordHashError::Costly => "make a cheaper one with `tokenferry hash-password`",
                        _ => MAKE_A_HASH,
                    };
                    self.report.error(&at.key("password"), error.to_string(), mend);
                }
            }
        }
        let costs: HashSet<u64> = users.iter().map(|user| user.password.cost()).collect();
        if costs.len() > 1 {
            self.report.warning_at_key(
                &all,
                "the hashes differ in cost, so that the time of an answer may tell which users there are",
                "make all of them anew with `tokenferry hash-password`",
            );
        }
        users
    }

    /// An IPv4 client counts as one, also where its address came in IPv6 clothes.
    fn warn_of_hidden_ipv4(&mut self, rules: &Rules, spot: &Spot<'_>) {
        let has_own = rules.deny.iter().any(|network| matches!(network.0, IpNet::V4(_)));
        let mapped = std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
        for (index, network) in rules.deny.iter().enumerate() {
            if matches!(network.0, IpNet::V6(net) if net.prefix_len() < 96 && net.contains(&mapped)) && !has_own {
                let mend = "add 0.0.0.0/0, or the IPv4 networks that are meant";
                self.report.warning(&spot.index(index), "denies no IPv4 client", mend);
            }
        }
    }

    fn certificates(&mut self, rules: &Rules, node: Option<&Node>, spot: &Spot<'_>) -> Option<CertificateRule> {
        let spot = spot.key("client_certificates");
        let rule = match rules.client_certificates.as_ref()? {
            Certificates::Any => CertificateRule::Any,
            Certificates::Names(names) if names.is_empty() => {
                if node.and_then(|node| node.get("client_certificates")).is_some_and(|node| is_bare(node, "names")) {
                    let mend = "take `names` out for every certificate that is vouched for";
                    self.report.error(&spot.key("names"), "the list is empty, and so lets nobody in", mend);
                }
                return None;
            }
            Certificates::Names(names) => CertificateRule::Names(names.iter().map(|name| name.0.clone()).collect()),
        };
        if !self.has_certificates {
            self.report.error_at_key(
                &spot,
                "no listener asks for client certificates, so nobody would be let in",
                "add `tls: {cert: ..., key: ..., client_ca: clients.pem}` to a listener",
            );
        }
        Some(rule)
    }

    fn jwt(&mut self, jwt: &Jwt, node: &Node, spot: &Spot<'_>) -> Option<JwtRules> {
        let required = [
            ("issuer", jwt.issuer.is_some(), "add `issuer: ...`, its tokens' `iss`"),
            ("audience", jwt.audience.is_some(), "add `audience: ...`, what tokens for here have as `aud`"),
            ("jwks", jwt.jwks.is_some(), "add `jwks: ...`, the file or the URL of the issuer's public keys"),
        ];
        for (field, is_there, mend) in required {
            if !is_there {
                self.missing(spot, node, field, mend);
            }
        }
        let algorithms: Vec<Algorithm> = match &jwt.algorithms {
            None => ALGORITHMS.to_vec(),
            Some(words) => words.iter().map(|word| (*word).into()).collect(),
        };
        if is_bare(node, "algorithms") {
            self.report.error(&spot.key("algorithms"), "the list is empty, and so lets nobody in", "write [RS256]");
        }
        let leeway = jwt.leeway.as_ref().map_or(LEEWAY, |leeway| leeway.0);
        if leeway > MOST_LEEWAY {
            let mend = "write 60s, and set the clocks right";
            self.report.error(&spot.key("leeway"), "must be 10 minutes at most", mend);
        }
        let audience: Vec<String> = jwt.audience.iter().flat_map(|all| &all.0).map(|one| one.0.clone()).collect();
        if is_bare(node, "audience") {
            self.report.error(&spot.key("audience"), "the list is empty, and so lets nobody in", "write one at least");
        }
        let keys = jwt.jwks.as_ref().and_then(|place| self.key_source(&place.0, jwt, node, spot));
        let claims = self.claims(jwt, node, spot);
        Some(JwtRules { issuer: jwt.issuer.as_ref()?.0.clone(), audience, algorithms, claims, leeway, keys: keys? })
    }

    fn claims(&mut self, jwt: &Jwt, node: &Node, spot: &Spot<'_>) -> Vec<(String, Vec<String>)> {
        let spot = spot.key("claims");
        let mut claims = Vec::new();
        for (name, wanted) in jwt.claims.iter().flatten() {
            let at = spot.key(name);
            if matches!(name.as_str(), "iss" | "aud" | "exp" | "nbf") {
                let mend = "take it out: `issuer`, `audience` and the times are looked at anyway";
                self.report.error_at_key(&at, "this claim has its own rule", mend);
            }
            if node.get("claims").is_some_and(|node| is_bare(node, name)) {
                self.report.error(&at, "the list is empty", "write what the claim must hold, or take it out");
            }
            // RFC 8693 section 4.2: a scope is a list of words in one text.
            let is_scope = matches!(name.as_str(), "scope" | "scp");
            let split = |text: &String| -> Vec<String> {
                if is_scope { text.split_ascii_whitespace().map(str::to_owned).collect() } else { vec![text.clone()] }
            };
            claims.push((name.clone(), wanted.0.iter().flat_map(|text| split(&text.0)).collect()));
        }
        claims
    }

    fn key_source(&mut self, place: &JwksPlace, jwt: &Jwt, node: &Node, spot: &Spot<'_>) -> Option<KeySource> {
        let at = spot.key("jwks");
        let ca = self.ca(jwt.ca.as_ref(), &spot.key("ca"));
        match place {
            JwksPlace::Url(url) => {
                let plain = url.origin().scheme() == Scheme::Http;
                if plain && !url.origin().is_loopback() {
                    let message = "whoever is on the way could put keys of their own in its place over plain http";
                    self.report.error(&at, message, "use https://");
                }
                if plain && jwt.ca.is_some() {
                    self.report.error_at_key(
                        &spot.key("ca"),
                        "is of no use without TLS",
                        "take it out, or use https://",
                    );
                }
                let tls = UpstreamTls { ca, ..UpstreamTls::default() };
                let label = match node.get("jwks").map(|node| &node.value) {
                    Some(Value::Resolved(resolved)) => {
                        resolved.masked.split(['?', '#']).next().unwrap_or_default().trim().to_owned()
                    }
                    _ => format!("{}{}", url.origin(), url.path()),
                };
                Some(KeySource::Url(Box::new(KeyUrl { url: url.clone(), label, tls })))
            }
            JwksPlace::File(path) => {
                if jwt.ca.is_some() {
                    let mend = "take it out, or name a URL in `jwks`";
                    self.report.error_at_key(&spot.key("ca"), "is of no use to keys in a file", mend);
                }
                let content = match self.files.read(path).1 {
                    Ok(content) => content,
                    Err(unread) => {
                        let mend = match unread {
                            Unread::Missing => "create it, or mend the path; a relative one is relative to this file",
                            Unread::Denied => "let the proxy's user read it",
                            _ => "name a file with the issuer's JWK set",
                        };
                        self.report.error(&at, format!("the file {unread}"), mend);
                        return None;
                    }
                };
                let keys = KeySet::parse(&content).map_err(|error| {
                    let mend = match error {
                        KeySetError::Discovery => "name the URL that it has as `jwks_uri`, or a file with what is there",
                        _ => "name a JWK set (RFC 7517) with public keys: RSA of 2048 bits or more, P-256, P-384, Ed25519",
                    };
                    self.report.error(&at, format!("the file {error}"), mend);
                });
                keys.ok().map(|keys| KeySource::File(Arc::new(keys)))
            }
        }
    }
}

/// Whether it asks for what must not be read on the way: a key, a password, a token.
pub(super) fn asks_for_secrets(policy: &AccessPolicy) -> bool {
    !policy.api_keys.is_empty() || !policy.users.is_empty() || policy.jwt.is_some()
}

fn is_empty(rules: &Rules) -> bool {
    let Rules { api_keys, users, jwt, client_certificates, allow, deny } = rules;
    api_keys.is_empty()
        && users.is_empty()
        && jwt.is_none()
        && client_certificates.is_none()
        && allow.is_empty()
        && deny.is_empty()
}

/// Whether a list is written without elements. One whose elements were taken out has been told of.
fn is_bare(node: &Node, field: &str) -> bool {
    node.get(field).is_some_and(|node| matches!(&node.value, Value::List(elements) if elements.is_empty()))
}

/// The elements of a list that were read, with their places: what was taken out has been reported.
fn elements<'n>(node: Option<&'n Node>, field: &str) -> impl Iterator<Item = (usize, &'n Node)> {
    let nodes = node.and_then(|node| node.get(field)).map_or(&[][..], Node::elements);
    nodes.iter().enumerate().filter(|(_, node)| !node.out.get())
}
