//! The effective configuration: as written, with the defaults filled in and the secrets masked.

use serde_json::{Map, Value as Json, json};

use crate::config::file::{margin, size, span};
use crate::config::interpolate::MASK;
use crate::config::load::Loaded;
use crate::config::redact::scrub;
use crate::config::tree::{Entry, Node, Value};
use crate::config::{CredentialSettings, EgressSettings, ForwardSettings, RouteAction, Settings, StoreSettings};
use crate::model::{
    EncodedSlash, HeaderCase, JsonMatch, JwtRules, LogSettings, Place, Protocol, RefusedWhen, TokenEndpoint,
};

/// How the effective configuration is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// As `proxy.yaml` is.
    Yaml,
    /// One object.
    Json,
}

/// The configuration as it is in force, for people to read: every default is there, and secrets
/// and what came from references are `***`.
pub fn effective(loaded: &Loaded, format: Format) -> String {
    let document = document(loaded);
    match format {
        Format::Yaml => serde_yaml::to_string(&document).unwrap_or_default(),
        Format::Json => serde_json::to_string_pretty(&document).unwrap_or_default() + "\n",
    }
}

fn document(loaded: &Loaded) -> Json {
    let (settings, root) = (&loaded.settings, &loaded.written);
    let mut document = Map::new();
    let listeners: Vec<Json> = root
        .get("listeners")
        .map_or(&[][..], Node::elements)
        .iter()
        .map(|node| {
            let mut listener = object(node, false);
            fill(&mut listener, "proxy_protocol", json!(false));
            fill(&mut listener, "header_case", json!(case(HeaderCase::default())));
            if let Some(Json::Object(tls)) = listener.get_mut("tls") {
                fill(tls, "session_tickets", json!(true));
                if tls.contains_key("client_ca") {
                    fill(tls, "client_auth", json!("require"));
                }
            }
            Json::Object(listener)
        })
        .collect();
    document.insert("listeners".to_owned(), Json::Array(listeners));
    for (field, default) in [
        ("workers", json!(settings.workers)),
        ("shutdown_timeout", json!(span(settings.shutdown_timeout))),
        ("drain_delay", json!(span(settings.drain_delay))),
    ] {
        document.insert(field.to_owned(), written(root, field).unwrap_or(default));
    }
    if let Some(handover) = written(root, "handover") {
        document.insert("handover".to_owned(), handover);
    }
    if let Some(trusted_proxies) = written(root, "trusted_proxies") {
        document.insert("trusted_proxies".to_owned(), trusted_proxies);
    }
    if let Some(admin) = &settings.admin {
        let ready_when = admin.ready_when.as_str();
        document.insert("admin".to_owned(), filled(root.get("admin"), [("ready_when", json!(ready_when))]));
    }
    let client = [
        ("header_timeout", json!(span(settings.client.header_timeout))),
        ("idle_timeout", json!(span(settings.client.idle_timeout))),
        ("handshake_timeout", json!(span(settings.client.handshake_timeout))),
        ("head_size", json!(size(settings.client.head_size as u64))),
        ("header_count", json!(settings.client.header_count)),
    ];
    document.insert("client".to_owned(), filled(root.get("client"), client));
    document.insert("limits".to_owned(), total_limits(root.get("limits"), settings));
    let LogSettings { format, level, access } = settings.log;
    let log =
        [("format", json!(format.as_str())), ("level", json!(level.as_str())), ("access", json!(access.as_str()))];
    document.insert("log".to_owned(), filled(root.get("log"), log));
    document.insert("store".to_owned(), store(root.get("store"), &settings.store));
    if let Some(telemetry) = &settings.telemetry {
        let filled_in = [("sample", json!(telemetry.sample)), ("service_name", json!(telemetry.service_name))];
        document.insert("telemetry".to_owned(), filled(root.get("telemetry"), filled_in));
    }
    if let Some(defaults) = written(root, "defaults") {
        document.insert("defaults".to_owned(), defaults);
    }
    let mut credentials = Map::new();
    for entry in root.get("credentials").map_or(&[][..], Node::entries) {
        if let Some(settings) = settings.credentials.get(&entry.key) {
            credentials.insert(entry.key.clone(), credential(&entry.node, settings));
        }
    }
    document.insert("credentials".to_owned(), Json::Object(credentials));
    let nodes = root.get("routes").map_or(&[][..], Node::elements);
    let routes: Vec<Json> = nodes
        .iter()
        .zip(&settings.routes)
        .map(|(node, settings)| {
            let route = object(node, false);
            let mut matcher = route.get("match").and_then(Json::as_object).cloned().unwrap_or_default();
            if !["path", "path_exact", "path_regex"].iter().any(|field| matcher.contains_key(*field)) {
                fill(&mut matcher, "path", json!("/"));
            }
            let mut ordered = Map::new();
            ordered.insert("name".to_owned(), route.get("name").cloned().unwrap_or_default());
            ordered.insert("match".to_owned(), Json::Object(matcher));
            ordered.extend(route.into_iter().filter(|(field, _)| field != "name" && field != "match"));
            if let Some(access) = root.get("defaults").and_then(|defaults| written(defaults, "access")) {
                fill(&mut ordered, "access", access);
            }
            fill_jwt(&mut ordered, settings.access.jwt.as_deref());
            if let RouteAction::Forward(forward) = &settings.action {
                fill_forward(&mut ordered, node, root.get("defaults"), forward);
            }
            Json::Object(ordered)
        })
        .collect();
    document.insert("routes".to_owned(), Json::Array(routes));
    Json::Object(document)
}

/// What the machine bounds is there where it is written: another one than this may run the proxy.
fn total_limits(node: Option<&Node>, settings: &Settings) -> Json {
    let guesses = [("rate", json!(settings.guesses.rate.to_string())), ("burst", json!(settings.guesses.burst))];
    let guesses = filled(node.and_then(|node| node.get("wrong_keys")), guesses);
    let mut limits = filled(node, [("replay_total", json!(size(settings.replay_budget)))]);
    limits["wrong_keys"] = guesses;
    limits
}

/// What holds of a token without being written.
fn fill_jwt(route: &mut Map<String, Json>, rules: Option<&JwtRules>) {
    let written = route.get_mut("access").and_then(|access| access.get_mut("jwt")).and_then(Json::as_object_mut);
    let (Some(written), Some(rules)) = (written, rules) else { return };
    let algorithms: Vec<String> = rules.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    fill(written, "algorithms", json!(algorithms));
    fill(written, "leeway", json!(span(rules.leeway)));
}

fn store(node: Option<&Node>, settings: &StoreSettings) -> Json {
    match settings {
        StoreSettings::Memory => filled(node, [("kind", json!("memory"))]),
        StoreSettings::Redis(redis) => {
            let mut store =
                filled(node, [("key_prefix", json!(redis.key_prefix)), ("timeout", json!(span(redis.timeout)))]);
            store["url"] = json!(redis.shown);
            store
        }
    }
}

fn credential(node: &Node, settings: &CredentialSettings) -> Json {
    let mut credential = object(node, false);
    let seen = !is_made_of_references(node);
    if let Some(url) = settings.vendor.token_url() {
        fill(&mut credential, "token_url", if seen { json!(scrub(&url.to_string())) } else { json!(MASK) });
    }
    for (field, value) in settings.vendor.in_force() {
        match field.split_once('.') {
            None => fill(&mut credential, field, json!(value)),
            Some((outer, inner)) => {
                if let Some(Json::Object(outer)) = credential.get_mut(outer) {
                    fill(outer, inner, json!(value));
                }
            }
        }
    }
    fill(&mut credential, "insecure", json!(settings.tls.insecure));
    if settings.vendor.token_url().is_some() {
        egress(&mut credential, node, settings.egress.as_ref());
    }
    fill(&mut credential, "timeout", json!(span(settings.timeout)));
    if let Some(lifetime) = settings.lifetime {
        fill(&mut credential, "lifetime", json!(span(lifetime)));
    }
    fill(&mut credential, "refresh_before", json!(margin(settings.refresh_before)));
    fill(&mut credential, "drain", json!(span(settings.drain)));
    fill(&mut credential, "inject", settings.inject.iter().map(place).collect());
    fill(&mut credential, "refused_when", refused(&settings.refused_when));
    fill(&mut credential, "exclusive", json!(settings.exclusive));
    Json::Object(credential)
}

/// Whether the endpoint may hold what came from a reference: it is made of one of these fields.
fn is_made_of_references(node: &Node) -> bool {
    node.entries().iter().any(|entry| match &entry.node.value {
        Value::Resolved(_) => matches!(entry.key.as_str(), "base_url" | "environment" | "url"),
        _ => entry.key == "request" && is_made_of_references(&entry.node),
    })
}

fn place(place: &Place) -> Json {
    match place {
        Place::Header { name, scheme: Some(scheme) } if *name == http::header::AUTHORIZATION => {
            json!({ "header": "Authorization", "scheme": scheme })
        }
        Place::Header { name, scheme: Some(scheme) } => json!({ "header": name.as_str(), "scheme": scheme }),
        Place::Header { name, scheme: None } => json!({ "header": name.as_str() }),
        Place::Query { name } => json!({ "query": name }),
        Place::Json { name } => json!({ "json": name }),
        Place::Parameter { name } => json!({ "parameter": name }),
    }
}

fn refused(refused: &RefusedWhen) -> Json {
    let status: Vec<u16> = refused.status.iter().map(http::StatusCode::as_u16).collect();
    match &refused.json {
        None => json!({ "status": status }),
        Some(json) => {
            let names: Vec<String> =
                json.pointer.iter().map(|name| name.replace('~', "~0").replace('/', "~1")).collect();
            let pointer = format!("/{}", names.join("/"));
            let matches = match &json.matches {
                JsonMatch::Pattern(regex) => regex.as_str(),
                JsonMatch::Rule(_) => "(the provider's own rule)",
            };
            json!({ "status": status, "json": { "pointer": pointer, "matches": matches } })
        }
    }
}

fn fill_forward(route: &mut Map<String, Json>, node: &Node, defaults: Option<&Node>, forward: &ForwardSettings) {
    let written = node.get("upstream");
    let mut upstream = match written.map(|node| &node.value) {
        Some(Value::Map(_)) => written.map(|node| object(node, false)).unwrap_or_default(),
        Some(_) => {
            Map::from_iter([("url".to_owned(), written.map(|node| json_of(node, "url", false)).unwrap_or_default())])
        }
        None => Map::new(),
    };
    let protocol = match forward.protocol {
        Protocol::Auto => "auto",
        Protocol::Http1 => "http1",
        Protocol::H2 => "h2",
        Protocol::H2c => "h2c",
    };
    fill(&mut upstream, "protocol", json!(protocol));
    fill(&mut upstream, "insecure", json!(forward.tls.insecure));
    if let Some(written) = written {
        egress(&mut upstream, written, forward.egress.as_ref());
    }
    fill(&mut upstream, "header_case", json!(case(forward.header_case)));
    let pool = [("idle", json!(span(forward.pool_idle))), ("age", json!(span(forward.pool_age)))];
    let pool = filled(written.and_then(|node| node.get("pool")), pool);
    upstream.insert("pool".to_owned(), pool);
    route.insert("upstream".to_owned(), Json::Object(upstream));

    let timeouts = [
        ("connect", json!(span(forward.timeouts.connect))),
        ("response", json!(span(forward.timeouts.response))),
        ("body", json!(span(forward.timeouts.body))),
        ("token", json!(span(forward.timeouts.token))),
    ];
    route.insert("timeouts".to_owned(), inherited("timeouts", node, defaults, timeouts));
    let limits = [
        ("body", json!(size(forward.limits.body))),
        ("replay", json!(size(forward.limits.replay))),
        ("splice", json!(size(forward.limits.splice))),
        ("connections", json!(forward.limits.connections)),
        ("waiting", json!(forward.limits.waiting)),
        ("body_rate", json!(forward.limits.body_pace.rate)),
    ];
    route.insert("limits".to_owned(), inherited("limits", node, defaults, limits));
    let token_endpoint = match forward.token_endpoint {
        TokenEndpoint::Answer => "answer",
        TokenEndpoint::Refuse => "refuse",
        TokenEndpoint::Forward => "forward",
    };
    fill(route, "token_endpoint", json!(token_endpoint));
    let slash = if forward.encoded_slash == EncodedSlash::Allow { "allow" } else { "refuse" };
    fill(route, "encoded_slash", json!(slash));
    fill(route, "upgrades", json!(forward.upgrades));
    fill(route, "strip_prefix", json!(forward.strip_prefix));
    fill(route, "host_header", json!(if forward.preserve_host { "preserve" } else { "upstream" }));
    fill(route, "rewrite_response", json!(forward.rewrite_response));
}

/// The proxy that is in force, without user and password; what came from a reference stays hidden.
fn egress(object: &mut Map<String, Json>, node: &Node, egress: Option<&EgressSettings>) {
    let is_reference = node.get("proxy").is_some_and(|node| matches!(node.value, Value::Resolved(_)));
    if !is_reference {
        let shown = egress.map_or_else(|| "none".to_owned(), |egress| egress.proxy.to_string());
        object.insert("proxy".to_owned(), json!(shown));
    }
}

fn case(case: HeaderCase) -> &'static str {
    match case {
        HeaderCase::Title => "title",
        HeaderCase::Lower => "lower",
        HeaderCase::Preserve => "preserve",
    }
}

fn fill(object: &mut Map<String, Json>, field: &str, default: Json) {
    if object.get(field).is_none_or(Json::is_null) {
        object.insert(field.to_owned(), default);
    }
}

fn filled<const N: usize>(node: Option<&Node>, defaults: [(&str, Json); N]) -> Json {
    let mut object = node.map(|node| object(node, false)).unwrap_or_default();
    for (field, default) in defaults {
        fill(&mut object, field, default);
    }
    Json::Object(object)
}

/// The route's own fields, then those of `defaults`, then the built-in ones.
fn inherited<const N: usize>(field: &str, node: &Node, defaults: Option<&Node>, built_in: [(&str, Json); N]) -> Json {
    let mut fields = node.get(field).map(|node| object(node, false)).unwrap_or_default();
    let own_rate = fields.contains_key("rate");
    for entry in defaults.and_then(|defaults| defaults.get(field)).map_or(&[][..], Node::entries) {
        // A burst belongs to its rate.
        if entry.key != "burst" || !own_rate {
            fill(&mut fields, &entry.key, json_of(&entry.node, &entry.key, false));
        }
    }
    for (name, default) in built_in {
        if !default.is_null() {
            fill(&mut fields, name, default);
        }
    }
    Json::Object(fields)
}

fn written(node: &Node, field: &str) -> Option<Json> {
    node.get(field).map(|node| json_of(node, field, false)).filter(|json| !json.is_null())
}

fn object(node: &Node, hidden: bool) -> Map<String, Json> {
    let fields = node.entries().iter().filter(|entry| !matches!(entry.node.value, Value::Null));
    fields.map(|entry| (entry.key.clone(), json_of(&entry.node, &entry.key, hidden || is_hidden(&entry.key)))).collect()
}

/// Fields whose values are hidden even where no type says that they are secrets: what a `custom`
/// login sends, and headers that carry credentials.
pub fn is_hidden(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    matches!(key.as_str(), "form" | "extra" | "claims" | "cookie" | "authorization" | "encryption_key")
        || ["secret", "password", "passwd", "api-key", "apikey"].iter().any(|part| key.contains(part))
}

/// A value with nothing of it blanked but what came from a reference.
fn verbatim(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) => json!(text),
        Value::List(elements) => elements.iter().map(verbatim).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), verbatim(&entry.node))).collect(),
        _ => json_of(node, "", false),
    }
}

fn json_of(node: &Node, key: &str, hidden: bool) -> Json {
    if key == "request" {
        let shown = |key: &str| matches!(key, "method" | "url");
        let fields = node.entries().iter();
        return fields.map(|entry| (entry.key.clone(), json_of(&entry.node, &entry.key, !shown(&entry.key)))).collect();
    }
    if let ("jwt" | "client_certificates" | "match", Value::Map(entries), false) = (key, &node.value, hidden) {
        // What a client must be or ask for is no secret, even where it looks like a URL with one.
        let plain = |key: &str| matches!(key, "issuer" | "audience" | "claims" | "names") || key.starts_with("path");
        let entries = entries.iter().filter(|entry| !matches!(entry.node.value, Value::Null));
        return entries
            .map(|Entry { key, node, .. }| {
                (key.clone(), if plain(key) { verbatim(node) } else { json_of(node, key, false) })
            })
            .collect();
    }
    match &node.value {
        Value::Null => Json::Null,
        Value::List(elements) => elements.iter().map(|node| json_of(node, "", hidden)).collect(),
        Value::Map(_) => Json::Object(object(node, hidden)),
        _ if hidden => json!(MASK),
        Value::Bool(value, _) => json!(value),
        Value::Int(value, text) => i64::try_from(*value).map_or_else(|_| json!(text), |value| json!(value)),
        Value::Float(_, text) => json!(text),
        Value::Text(text) => json!(scrub(text)),
        Value::Resolved(resolved) => json!(resolved.masked),
    }
}
