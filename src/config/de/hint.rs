//! Mends that know the field: what to write into it, and where one that stands in the wrong map belongs.

use crate::config::spot::{Path, Step};

/// What to write into a field that is a list or a map.
pub(super) fn example(path: &Path) -> Option<&'static str> {
    // A credential may have any name.
    if matches!(path.0.as_slice(), [Step::Key(all), Step::Key(_)] if all == "credentials") {
        return None;
    }
    Some(match path.last_key()? {
        "match" => "write {path: /crm}",
        "access" => "write public, or {allow: [10.0.0.0/8]}",
        "api_keys" => "write [{name: billing, key: \"${BILLING_KEY}\"}]",
        "users" => "write [{name: alice, password: \"$argon2id$...\"}]",
        "jwt" => "write {issuer: https://login.example.com, audience: billing, jwks: jwks.json}",
        "client_certificates" => "write any, or {names: [app.internal]}",
        "names" => "write [app.internal]",
        "algorithms" => "write [RS256]",
        "allow" | "deny" | "trusted_proxies" => "write [10.0.0.0/8]",
        "methods" => "write [GET, POST]",
        "headers" => "write {X-Tenant: acme}",
        "upgrades" => "write [websocket]",
        "timeouts" => "write {response: 90s}",
        "limits" => "write {body: 10MiB}",
        "request_headers" | "response_headers" => "write {set: {X-Source: legacy}, remove: [Cookie]}",
        "set" => "write {X-Source: legacy}",
        "remove" => "write [Cookie]",
        "inject" => "write {header: X-Api-Key}, or {header: Authorization, scheme: Bearer}",
        "refused_when" => "write {status: [401, 403]}",
        "status" => "write [401, 403]",
        "tls" => "write {cert: server.crt, key: server.key}",
        "certificates" => "write [{cert: other.crt, key: other.key}]",
        "log" => "write {format: json, level: info, access: errors}",
        "store" => "write {kind: redis, url: redis://127.0.0.1:6379/0, encryption_key: \"${TOKENFERRY_STORE_KEY}\"}",
        "admin" => "write {address: 127.0.0.1:9901}",
        "hosts" => "write [tokenferry.example]",
        "telemetry" => "write {otlp: http://127.0.0.1:4318}",
        "pool" => "write {idle: 30s, age: 5m}",
        "defaults" => "write {access: public}",
        "client" => "write {header_timeout: 15s}",
        "assertion" => "write a text, or {private_key: \"${file:key.pem}\", issuer: ...}",
        "claims" => "write {NAME: value}",
        "wrong_keys" => "write {rate: 10/m, burst: 30}",
        "encryption_key" => "write ${NAME}, or a list of such references",
        _ => return None,
    })
}

/// Why a word is not taken that is known elsewhere, and no slip.
pub(super) fn refusal(path: &Path, word: Option<&str>) -> Option<&'static str> {
    let unsafe_signature = |word: &str| word.starts_with("HS") || word == "none";
    let is = path.last_key() == Some("algorithms") && word.is_some_and(unsafe_signature);
    is.then_some("write one of them; a secret that is shared, or none, is never taken")
}

/// Where a field belongs that is not known at this place.
pub(super) fn home(path: &Path) -> Option<&'static str> {
    use Step::{Index, Key};

    let (Key(field), above) = path.0.split_last()? else { return None };
    match above {
        [] => match field.as_str() {
            "access" | "timeouts" => Some("write it under `defaults`, or in each route"),
            "header_timeout" | "idle_timeout" | "handshake_timeout" | "head_size" | "header_count" => {
                Some("write it under `client`")
            }
            "rate" | "rate_limit" | "burst" | "concurrency" => {
                Some("write it under `limits` of a route, or of `defaults`: {rate: 100/s}")
            }
            "memory" | "wrong_keys" | "replay_total" => Some("write it under `limits`"),
            "address" | "tls" | "proxy_protocol" => Some("write it in a listener: `listeners: [{address: ...}]`"),
            "kind" | "key_prefix" => Some("write it under `store`"),
            "otlp" | "sample" | "service_name" => Some("write it under `telemetry`"),
            "tracing" | "traces" | "otel" | "opentelemetry" => Some("write `telemetry: {otlp: URL}`"),
            "logging" | "logs" => Some("write `log: {level: info}`"),
            "metrics" | "prometheus" => Some("they are at the admin port: write `admin: {address: 127.0.0.1:9901}`"),
            "upstream" | "credential" | "match" => Some("write it in a route: `routes: [{name: ...}]`"),
            "ready_when" => Some("write it under `admin`"),
            "encryption_key" => Some("write it under `store`, or beside a credential's `state_file`"),
            "state_file" => Some("write it in the credential"),
            _ => None,
        },
        [Key(limits)] if limits == "limits" => match field.as_str() {
            "body" | "replay" | "splice" | "waiting" | "body_rate" | "rate" | "burst" | "concurrency" => {
                Some("write it under `limits` of a route, or of `defaults`")
            }
            _ => None,
        },
        [.., Key(limits)] if limits == "limits" => match field.as_str() {
            "memory" | "wrong_keys" | "replay_total" => Some("write it under `limits` at the top level"),
            _ => None,
        },
        // Nearer in letters is `certificates`.
        [.., Key(tls)] | [.., Key(tls), Key(_), Index(_)] if tls == "tls" && field == "certificate" => {
            Some("did you mean `cert`?")
        }
        [Key(all), Index(_)] if all == "listeners" => match field.as_str() {
            "cert" | "key" | "certificates" | "client_ca" | "client_auth" => Some("write it under `tls`"),
            "trusted_proxies" => Some("write it at the top level"),
            _ => None,
        },
        [Key(all), Index(_)] if all == "routes" => match field.as_str() {
            "host" | "path" | "path_exact" | "path_regex" | "method" | "methods" | "headers" => {
                Some("write it under `match`")
            }
            "url" | "ca" | "client_cert" | "client_key" | "server_name" | "insecure" | "protocol" | "pool"
            | "header_case" | "proxy" => Some("write it under `upstream`, beside its `url`"),
            "connect" | "response" => Some("write it under `timeouts`"),
            "replay" | "splice" | "connections" | "waiting" | "body_rate" | "rate" | "burst" | "concurrency"
            | "rate_limit" => Some("write it under `limits`"),
            "api_keys" | "users" | "jwt" | "client_certificates" | "allow" | "deny" => Some("write it under `access`"),
            "inject" | "refused_when" | "lifetime" | "refresh_before" => Some("write it in the credential"),
            _ => None,
        },
        [Key(all), Key(_)] if all == "credentials" => match field.as_str() {
            "header" | "query" | "parameter" => Some("write it under `inject`"),
            "issuer" | "subject" | "claims" => Some("write it under `assertion`"),
            _ => None,
        },
        [.., Key(edits)] if edits == "request_headers" || edits == "response_headers" => {
            Some("write a header under `set`: {set: {NAME: value}}")
        }
        _ => None,
    }
}
