//! What is refused for its shape, the editor underlines before anything runs.

use super::super::{BASE, refused};
use super::complaint;

/// A piece of `BASE`, and what a hasty hand makes of it.
const MISTAKES: &[(&str, &str)] = &[
    // Names.
    ("listeners:", "listner:"),
    ("routes:", "rotes: []\nroutes:"),
    ("    credential: key", "    credental: key"),
    ("    credential: key", "    credential: key\n    match: {pth: /a}"),
    ("    credential: key", "    credential: key\n    methods: [GET]"),
    ("token: x", "token: x, header: X-Api-Key"),
    ("token: x", "toekn: x"),
    ("provider: static", "provider: statc"),
    ("provider: static, token: x", "token: x"),
    // What is missing.
    ("listeners: [{address: 127.0.0.1:8080}]\n", ""),
    ("address: 127.0.0.1:8080", "header_case: title"),
    ("  - name: one\n    upstream", "  - upstream"),
    ("    credential: key", ""),
    ("    upstream: https://api.example.com/v1\n", ""),
    ("provider: static, token: x", "provider: static"),
    ("token: x", "token: x, refused_when: {json: {pointer: /a}}"),
    ("    credential: key", "    credential: key\n    access: {api_keys: [{key: x}]}"),
    // The wrong kind.
    ("listeners: [{address: 127.0.0.1:8080}]", "listeners: {address: 127.0.0.1:8080}"),
    ("routes:\n", "workers: many\nroutes:\n"),
    ("routes:\n", "workers: 0\nroutes:\n"),
    ("routes:\n", "workers: 1.5\nroutes:\n"),
    ("token: x", "token: [x]"),
    ("token: x", "token: x, exclusive: often"),
    ("token: x", "token: x, exclusive: 1"),
    ("    upstream: https://api.example.com/v1", "    upstream: [https://api.example.com/v1]"),
    ("    credential: key", "    credential: key\n    timeouts: 30s"),
    ("    credential: key", "    credential: key\n    match: {methods: GET}"),
    ("    credential: key", "    credential: key\n    match: {headers: [a]}"),
    ("    credential: key", "    credential: key\n    strip_prefix: 'no'"),
    ("    credential: key", "    credential: key\n    limits: {connections: 0}"),
    ("    credential: key", "    credential: key\n    access: everyone"),
    ("    credential: key", "    credential: key\n    access: {users: [{name: alice}]}"),
    ("    credential: key", "    credential: key\n    access: {jwt: {issuer: i, audience: a}}"),
    (
        "    credential: key",
        "    credential: key\n    access: {jwt: {issuer: i, audience: a, jwks: j, algorithms: [HS256]}}",
    ),
    (
        "    credential: key",
        "    credential: key\n    access: {jwt: {issuer: i, audience: a, jwks: j, algorithms: []}}",
    ),
    ("    credential: key", "    credential: key\n    access: {client_certificates: {names: []}}"),
    ("    credential: key", "    credential: key\n    limits: {rate: 5/s, burst: 1000001}"),
    ("    credential: key", "    credential: key\n    limits: {rate: {rate: 5/s, burst: 1000001}}"),
    ("    credential: key", "    credential: key\n    limits: {concurrency: 4294967296}"),
    ("routes:\n", "limits: {wrong_keys: {burst: 4294967296}}\nroutes:\n"),
    ("    credential: key", "    credential: key\n    access: {client_certificates: all}"),
    ("    credential: key", "    credential: key\n    access: {client_certificates: [app]}"),
    // Words that there are not.
    ("address: 127.0.0.1:8080", "address: 127.0.0.1:8080, header_case: upper"),
    ("    credential: key", "    credential: key\n    token_endpoint: ignore"),
    ("    upstream: https://api.example.com/v1", "    upstream: {url: https://api.example.com/v1, protocol: http3}"),
    ("routes:\n", "store: {kind: etcd}\nroutes:\n"),
    // How values are written.
    ("routes:\n", "shutdown_timeout: 30\nroutes:\n"),
    ("routes:\n", "shutdown_timeout: 30 parsecs\nroutes:\n"),
    ("routes:\n", "drain_delay: 1.5s\nroutes:\n"),
    ("routes:\n", "client: {head_size: 64XiB}\nroutes:\n"),
    ("    credential: key", "    credential: key\n    limits: {body: -1}"),
    ("token: x", "token: x, refresh_before: 20"),
    ("token: x", "token: x, refresh_before: soon"),
    ("address: 127.0.0.1:8080", "address: localhost:8080"),
    ("address: 127.0.0.1:8080", "address: 8080"),
    ("address: 127.0.0.1:8080", "address: unix:tokenferry.sock"),
    ("https://api.example.com/v1", "api.example.com/v1"),
    ("https://api.example.com/v1", "ftp://api.example.com/v1"),
    ("    credential: key", "    credential: key\n    match: {path: a}"),
    ("    upstream: https://api.example.com/v1\n    credential: key", "    respond: 99"),
    ("    upstream: https://api.example.com/v1\n    credential: key", "    respond: teapot"),
    ("    credential: key", "    credential: key\n    access: {allow: [internal]}"),
    ("    credential: key", "    credential: key\n    request_headers: {remove: ['A B']}"),
    ("token: x", "token: x, inject: {header: 'X Key'}"),
    ("token: x", "token: x, inject: {header: A, query: b}"),
    ("token: x", "token: x, inject: {scheme: Bearer}"),
    ("token: x", "token: x, refused_when: {status: [4011]}"),
    ("token: x", "token: x, refused_when: {json: {pointer: status, matches: A}}"),
    ("provider: static, token: x", "provider: custom, request: {url: 'https://a.example/'}, response: {token: id}"),
    ("provider: static, token: x", "provider: crm_com, base_url: crm.example.com, method: web_api_key, key: x"),
];

#[test]
fn a_mistake_of_shape_is_refused_by_the_schema_as_by_the_check() {
    assert_eq!(complaint(BASE), None);
    let mut passed = Vec::new();
    for (from, to) in MISTAKES {
        assert!(BASE.contains(from), "{from}");
        let yaml = BASE.replacen(from, to, 1);
        refused(&yaml);
        if complaint(&yaml).is_none() {
            passed.push(*to);
        }
    }
    assert!(passed.is_empty(), "the schema lets pass: {passed:#?}");
}

#[test]
fn references_may_stand_for_every_kind_of_value() {
    for (from, to) in [
        ("routes:\n", "workers: ${WORKERS}\nroutes:\n"),
        ("routes:\n", "shutdown_timeout: ${PATIENCE:-30s}\nroutes:\n"),
        ("address: 127.0.0.1:8080", "address: '127.0.0.1:${PORT}', header_case: '${CASE}'"),
        ("    credential: key", "    credential: key\n    strip_prefix: ${ON}\n    access: ${WHO}"),
        ("    credential: key", "    credential: key\n    limits: {connections: '${N}', body: '${SIZE}'}"),
        ("https://api.example.com/v1", "${UPSTREAM}"),
        ("token: x", "token: '${file:key}', refresh_before: '${EARLY}', exclusive: '${ON}'"),
    ] {
        assert_eq!(complaint(&BASE.replacen(from, to, 1)), None, "{to}");
    }
}
