//! Routes: what they look for, where they go, and with which credential.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use crate::config::check::access::asks_for_secrets;
use crate::config::check::bound::bounds;
use crate::config::check::{Check, Credentials, Inherited};
use crate::config::de::{Keep, read};
use crate::config::file::{CredentialName, HostHeader, Match, Route, RouteLimits, RouteTimeouts, Upstream};
use crate::config::nearest::nearest;
use crate::config::spot::{Spot, plain};
use crate::config::tree::{Node, Value};
use crate::config::{CredentialSettings, ForwardSettings, RouteAction, RouteSettings};
use crate::model::{
    BodyPace, Limits, MatchSpec, PathPrefix, PathRule, Per, Placement, Protocol, Scheme, Timeouts, UpstreamTls,
};

impl Check<'_> {
    /// All routes; `open` when other machines can reach a listener.
    pub(super) fn routes(
        &mut self,
        root: &Node,
        credentials: &Credentials,
        inherited: &Inherited,
        open: bool,
    ) -> Vec<RouteSettings> {
        const WRITE: &str = "write `routes:` with one `- name: ...` a route";
        let spot = Spot::ROOT.key("routes");
        let elements = match root.get("routes").map(|node| &node.value) {
            Some(Value::List(elements)) if !elements.is_empty() => elements,
            None => {
                self.report.error(&Spot::ROOT, "`routes` is missing", WRITE);
                return Vec::new();
            }
            Some(Value::List(_) | Value::Null) => {
                self.report.error(&spot, "there is no route", WRITE);
                return Vec::new();
            }
            Some(_) => {
                self.report.error(&spot, "must be a list", WRITE);
                return Vec::new();
            }
        };
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut used: HashSet<&str> = HashSet::new();
        let mut routes = Vec::new();
        for (index, node) in elements.iter().enumerate() {
            let spot = spot.index(index);
            if let Some(name) = node.get("credential").and_then(Node::text) {
                used.insert(name);
            }
            let Some(route) = read(node, Keep::All, &[], &spot, self.report, Route::deserialize) else {
                continue;
            };
            match &route.name {
                None => self.missing(&spot, node, "name", "add `name: ...`; logs and commands call the route by it"),
                Some(name) => {
                    if name.0 == "none" {
                        self.report.error(
                            &spot.key("name"),
                            "a route cannot have this name",
                            "choose another: in metrics `none` stands for no route",
                        );
                    }
                    if names.insert(name.0.clone(), index).is_some() {
                        self.report.error(
                            &spot.key("name"),
                            "another route has this name",
                            "give each route a name of its own",
                        );
                    }
                }
            }
            routes.extend(self.route(node, &spot, &route, credentials, inherited, open));
        }
        // Beside a misspelt name this would be told of the very credential that was meant.
        let all_known = self.report.is_sound();
        for name in credentials.keys().filter(|name| all_known && !used.contains(name.as_str())) {
            let all = Spot::ROOT.key("credentials");
            self.report.warning_at_key(
                &all.key(name),
                "no route uses this credential",
                "take it out, or name it in a route's `credential`",
            );
        }
        routes
    }

    fn route(
        &mut self,
        node: &Node,
        spot: &Spot<'_>,
        route: &Route,
        credentials: &Credentials,
        inherited: &Inherited,
        open: bool,
    ) -> Option<RouteSettings> {
        let name = route.name.as_ref().map(|name| name.0.clone());
        let label = label(node, route);
        let access = match &route.access {
            Some(access) => Some(self.access(access, node.get("access"), &spot.key("access"))),
            None => inherited.access.clone(),
        };
        // Not where what is written was wrong and has been told of; `access:` with nothing behind it is none.
        if open && access.is_none() && !node.told_of("access") {
            let called = called(label.as_deref());
            self.report.error_at_key(
                spot,
                format!("{called} has no `access`, and a listener is open to other machines"),
                "add `access: public`, or whom to let in; `defaults: {access: ...}` is for every route",
            );
        }
        let matcher = self.matcher(node, spot, route.matcher.as_ref());
        let action = match (&route.respond, &route.upstream) {
            (Some(status), None) => {
                if route.credential.as_ref().is_some_and(|name| name.0.is_some()) {
                    self.report.error(
                        &spot.key("credential"),
                        "a route that answers by itself uses no credential",
                        "take `credential` out, or `respond`",
                    );
                }
                Some(RouteAction::Respond(status.0))
            }
            (Some(_), Some(_)) => {
                self.report.error(
                    &spot.key("respond"),
                    "a route either answers by itself or has an upstream",
                    "take `respond` out, or `upstream` and `credential`",
                );
                None
            }
            // It was meant to answer by itself, and what is wrong with that has been told.
            (None, None) if node.told_of("respond") => None,
            (None, upstream) => {
                if upstream.is_none() {
                    self.missing(spot, node, "upstream", "add `upstream: https://...`, or `respond: 403`");
                }
                self.forward(node, spot, route, upstream.as_ref(), credentials, inherited)
                    .map(|forward| RouteAction::Forward(Box::new(forward)))
            }
        };
        if let Some(limits) = &route.limits {
            self.told_bounds(spot, limits, node.get("limits"), inherited);
        }
        let bounds = bounds(route.limits.as_ref(), &inherited.limits);
        let says_access = access.is_some();
        let access = access.unwrap_or_default();
        let per_key = bounds.rates.iter().any(|rule| rule.per == Per::Key);
        let has_identity = asks_for_secrets(&access) || access.client_certificates.is_some();
        if per_key && !has_identity && self.report.is_sound() && route.limits.as_ref().is_some_and(|l| l.rate.is_some())
        {
            self.report.warning(
                &spot.key("limits").key("rate"),
                "nobody shows a key on this route: `per: key` is one bucket for all",
                "write `per: address`, or ask for keys with `access`",
            );
        }
        Some(RouteSettings {
            name: name?,
            label: label?,
            matcher: matcher?,
            access,
            says_access,
            bounds,
            action: action?,
        })
    }

    fn matcher(&mut self, node: &Node, spot: &Spot<'_>, written: Option<&Match>) -> Option<MatchSpec> {
        let root = || PathRule::Prefix(PathPrefix::root());
        let Some(written) = written else {
            return Some(MatchSpec { host: None, path: root(), methods: Vec::new(), headers: Vec::new() });
        };
        let spot = spot.key("match");
        let path = match (&written.path, &written.path_exact, &written.path_regex) {
            (None, None, None) => Some(root()),
            (Some(prefix), None, None) => Some(PathRule::Prefix(prefix.0.clone())),
            (None, Some(path), None) => Some(PathRule::Exact(path.0.clone())),
            (None, None, Some(regex)) => Some(PathRule::Regex(regex.0.clone())),
            _ => {
                self.report.error(
                    &spot,
                    "a route has one of `path`, `path_exact` and `path_regex`",
                    "keep one, and make the others routes of their own",
                );
                None
            }
        };
        for (field, text) in [
            ("path", written.path.as_ref().map(|path| path.0.to_string())),
            ("path_exact", written.path_exact.as_ref().map(|path| path.0.clone())),
        ] {
            if text.is_some_and(|text| text.contains('*')) {
                self.report.warning(
                    &spot.key(field),
                    "a '*' stands for itself here",
                    "take it out: `path: /a` is for /a and all that is below it; for patterns there is `path_regex`",
                );
            }
        }
        let methods: Vec<Method> = written.methods.iter().flatten().map(|method| method.0.clone()).collect();
        let at = spot.key("methods");
        let listed = node.get("match").and_then(|node| node.get("methods"));
        if written.methods.is_some() && listed.is_some_and(|node| node.elements().is_empty()) {
            self.report.error(&at, "the list is empty, and so no request matches", "take it out for every method");
        }
        for (index, method) in methods.iter().enumerate() {
            let upper = method.as_str().to_ascii_uppercase();
            if ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"].contains(&upper.as_str()) && method.as_str() != upper
            {
                self.report.warning(
                    &at.index(index),
                    "methods are case-sensitive, and this one is not in upper case",
                    format!("write {upper}"),
                );
            }
            if *method == Method::CONNECT || *method == Method::TRACE {
                self.report.warning(
                    &at.index(index),
                    "CONNECT and TRACE are refused before any route is looked for",
                    "take it out",
                );
            }
        }
        let headers = self.header_matches(&spot.key("headers"), &written.headers);
        Some(MatchSpec { host: written.host.as_ref().map(|host| host.0.clone()), path: path?, methods, headers })
    }

    fn forward(
        &mut self,
        node: &Node,
        spot: &Spot<'_>,
        route: &Route,
        upstream: Option<&Upstream>,
        credentials: &Credentials,
        inherited: &Inherited,
    ) -> Option<ForwardSettings> {
        let credential = self.chosen(node, spot, route.credential.as_ref(), credentials);
        let settings = credential.as_ref().and_then(|name| credentials.get(name.0.as_ref()?)?.as_deref());
        let inject: Option<&Placement> = settings.map(|settings: &CredentialSettings| &settings.inject);
        let request_headers = self.edits(&spot.key("request_headers"), route.request_headers.as_ref(), inject);
        let response_headers = self.edits(&spot.key("response_headers"), route.response_headers.as_ref(), None);
        let upstream = upstream?;
        let (tls, protocol) = self.upstream(node, spot, route, upstream);
        let fields = &upstream.fields;
        let Some(url) = &fields.url else {
            let at = spot.key("upstream");
            self.missing(&at, node.get("upstream").unwrap_or(node), "url", "add `url: https://...`");
            return None;
        };
        let origin = url.0.origin();
        let credential = credential?.0;
        let at = spot.key("upstream");
        let egress = self.egress(fields.proxy.as_ref(), &at, origin);
        if origin.scheme() == Scheme::Http && credential.is_some() {
            let at = if upstream.is_plain { at } else { at.key("url") };
            if egress.is_some() {
                self.report.warning(
                    &at,
                    "the token goes over plain http through an egress proxy, which can read it",
                    "use https://, or write `proxy: none` under `upstream`",
                );
            } else if !origin.is_loopback() {
                self.report.warning(
                    &at,
                    "the token goes over plain http to another machine: it can be read on the way",
                    "use https://",
                );
            }
        }
        let pool = fields.pool.as_ref();
        let timeouts = timeouts(route.timeouts.as_ref(), &inherited.timeouts);
        Some(ForwardSettings {
            upstream: url.0.clone(),
            protocol,
            tls,
            egress,
            header_case: fields.header_case.map(Into::into).unwrap_or_default(),
            pool_idle: pool.and_then(|pool| pool.idle.as_ref()).map_or(Duration::from_secs(30), |idle| idle.0),
            pool_age: pool.and_then(|pool| pool.age.as_ref()).map_or(Duration::from_secs(300), |age| age.0),
            credential,
            limits: limits(route.limits.as_ref(), &inherited.limits, timeouts.body),
            timeouts,
            request_headers,
            response_headers,
            token_endpoint: route.token_endpoint.map(Into::into).unwrap_or_default(),
            encoded_slash: route.encoded_slash.map(Into::into).unwrap_or_default(),
            upgrades: match &route.upgrades {
                Some(upgrades) => upgrades.iter().map(|upgrade| upgrade.0.clone()).collect(),
                None => vec!["websocket".to_owned()],
            },
            strip_prefix: route.strip_prefix.unwrap_or(true),
            preserve_host: route.host_header == Some(HostHeader::Preserve),
            rewrite_response: route.rewrite_response.unwrap_or(true),
        })
    }

    /// The credential as it was chosen; `None` where it was not, which was reported.
    fn chosen(
        &mut self,
        node: &Node,
        spot: &Spot<'_>,
        written: Option<&CredentialName>,
        credentials: &Credentials,
    ) -> Option<CredentialName> {
        let Some(chosen) = written else {
            self.missing(spot, node, "credential", "add `credential: NAME`, or `credential: none`");
            return None;
        };
        if let Some(name) = chosen.0.as_ref().filter(|name| !credentials.contains_key(*name)) {
            let mend = match nearest(name, credentials.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{}`?", plain(near)),
                None => "define it under `credentials`, or write `none`".to_owned(),
            };
            self.report.error(&spot.key("credential"), "there is no credential of this name", mend);
            return None;
        }
        Some(chosen.clone())
    }

    fn upstream(
        &mut self,
        node: &Node,
        spot: &Spot<'_>,
        route: &Route,
        upstream: &Upstream,
    ) -> (UpstreamTls, Protocol) {
        let (spot, fields) = (spot.key("upstream"), &upstream.fields);
        let written = node.get("upstream").unwrap_or(node);
        let client = self.client_identity(written, &spot, fields.client_cert.as_ref(), fields.client_key.as_ref());
        let tls = UpstreamTls {
            ca: self.ca(fields.ca.as_ref(), &spot.key("ca")),
            client,
            server_name: fields.server_name.as_ref().map(|name| name.0.clone()),
            insecure: fields.insecure.unwrap_or(false),
        };
        if tls.insecure {
            let what = match &route.credential {
                Some(CredentialName(None)) => "requests",
                _ => "credential",
            };
            self.insecure(&spot.key("insecure"), &called(label(node, route).as_deref()), what);
        }
        let protocol = fields.protocol.map(Protocol::from).unwrap_or_default();
        let scheme = fields.url.as_ref().map(|url| url.0.origin().scheme());
        match (scheme, protocol) {
            (Some(Scheme::Https), Protocol::H2c) => {
                self.report.error(&spot.key("protocol"), "h2c is HTTP/2 without TLS", "write h2, or an http:// URL");
            }
            (Some(Scheme::Http), Protocol::H2) => {
                self.report.error(&spot.key("protocol"), "h2 is HTTP/2 over TLS", "write h2c, or an https:// URL");
            }
            _ => {}
        }
        if scheme == Some(Scheme::Http) {
            for field in ["ca", "client_cert", "server_name", "insecure"] {
                if written.get(field).is_some_and(|node| !matches!(node.value, Value::Bool(false, _))) {
                    self.report.warning(
                        &spot.key(field),
                        "has no effect on an http:// URL",
                        "use https://, or take it out",
                    );
                }
            }
        }
        (tls, protocol)
    }
}

/// The route's name as it may be told.
fn label(node: &Node, route: &Route) -> Option<String> {
    match node.get("name").map(|node| &node.value) {
        Some(Value::Resolved(resolved)) => Some(resolved.masked.clone()),
        _ => route.name.as_ref().map(|name| name.0.clone()),
    }
}

fn called(label: Option<&str>) -> String {
    label.map_or("this route".to_owned(), |name| format!("the route `{}`", plain(name)))
}

fn timeouts(own: Option<&RouteTimeouts>, inherited: &RouteTimeouts) -> Timeouts {
    let default = Timeouts::default();
    macro_rules! pick {
        ($field:ident) => {
            own.and_then(|own| own.$field.as_ref())
                .or(inherited.$field.as_ref())
                .map_or(default.$field, |duration| duration.0)
        };
    }
    Timeouts { connect: pick!(connect), response: pick!(response), body: pick!(body), token: pick!(token) }
}

/// `standstill` is `timeouts.body`.
fn limits(own: Option<&RouteLimits>, inherited: &RouteLimits, standstill: Duration) -> Limits {
    let default = Limits::default();
    macro_rules! pick {
        ($field:ident) => {
            own.and_then(|own| own.$field.as_ref()).or(inherited.$field.as_ref())
        };
    }
    Limits {
        body: pick!(body).map_or(default.body, |size| size.0),
        replay: pick!(replay).map_or(default.replay, |size| size.0),
        splice: pick!(splice).map_or(default.splice, |size| size.0),
        connections: pick!(connections).map(|count| count.get()),
        waiting: pick!(waiting).map_or(default.waiting, |count| count.get()),
        body_pace: match pick!(body_rate) {
            Some(rate) => BodyPace { rate: rate.0, grace: standstill },
            None => BodyPace { grace: standstill.max(BodyPace::GRACE), ..BodyPace::default() },
        },
    }
}
