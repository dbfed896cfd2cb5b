//! `explain`.

use super::{ran, ran_with};

const ROUTES: &str = "\
listeners: [{address: 127.0.0.1:8080}]
credentials:
  crewmojo: {provider: crewmojo, client_id: a, client_secret: b}
  partner:
    provider: oauth2
    token_url: https://api.example.com/v1/oauth/token
    grant: client_credentials
    client_id: a
    client_secret: b
    inject: [{header: Authorization, scheme: Bearer}, {parameter: token}]
routes:
  - name: crewmojo
    match: {path: /crewmojo}
    upstream: https://api.crewmojo.com/v1
    credential: crewmojo
  - name: partner
    match: {host: partner.internal, methods: [GET, POST]}
    upstream: https://api.example.com/v1
    credential: partner
    access: {api_keys: [{name: billing, key: letmein}], deny: [10.0.0.0/8]}
    request_headers: {set: {X-Source: legacy}, remove: [Cookie]}
  - name: closed
    match: {path: /crewmojo/secrets}
    respond: 403
  - name: tenant
    match: {path_exact: /tenant, headers: {X-Tenant: acme}}
    upstream: http://127.0.0.1:9000/t
    credential: none
  - name: numbers
    match: {path_regex: '^/v[0-9]+/'}
    upstream: http://127.0.0.1:9000
    credential: none
    encoded_slash: allow
";

fn explained(arguments: &[&str]) -> String {
    ran(ROUTES, &[&["explain"], arguments].concat()).done()
}

#[test]
fn a_request_is_shown_as_it_would_be_sent() {
    assert_eq!(
        explained(&[
            "GET",
            "/crewmojo/employees?page=2",
            "-H",
            "Accept: */*",
            "-H",
            "Authorization: Bearer mine",
            "-H",
            "Connection: close, X-Hop",
            "-H",
            "X-Hop: 1",
            "-H",
            "X-Real-IP: 8.8.8.8",
        ]),
        "\
GET http://localhost/crewmojo/employees?page=2
route: crewmojo (proxy.yaml:12)
  not partner  its host is partner.internal
  not closed   its path is /crewmojo/secrets
  not tenant   its path is exactly /tenant
  not numbers  its path must match ^/v[0-9]+/
access: everyone is let in
sent: GET https://api.crewmojo.com/v1/employees?page=2
    Accept: */*
  + Host: api.crewmojo.com        (the proxy)
  + X-Forwarded-For: 127.0.0.1    (the proxy)
  + X-Forwarded-Proto: http       (the proxy)
  + X-Forwarded-Host: localhost   (the proxy)
  + Via: 1.1 tokenferry-00000000  (the proxy)
  + Authorization: Bearer ***     (crewmojo)
  - Connection                    (for this connection only)
  - X-Hop                         (for this connection only)
  - X-Real-Ip                     (a client's word about where it is, not believed)
token: of crewmojo, in header Authorization
note: to an answer of 401 the token is replaced, and the request sent again if its body is at most 1MiB
"
    );
}

#[test]
fn the_token_is_shown_in_every_place_and_the_clients_own_is_gone() {
    assert_eq!(
        explained(&[
            "POST",
            "https://partner.internal/a%2Db?x=1&token=mine",
            "-H",
            "Content-Type: application/json",
            "-H",
            "X-Api-Key: letmein",
            "-H",
            "Cookie: a=b",
            "-d",
            "{ \"token\": \"mine\", \"a\": 1 }",
            "--peer",
            "192.0.2.7",
        ]),
        "\
POST https://partner.internal/a%2Db?x=1&token=mine
route: partner (proxy.yaml:16)
  not crewmojo  its path is /crewmojo
  not closed    its path is /crewmojo/secrets
  not tenant    its path is exactly /tenant
  not numbers   its path must match ^/v[0-9]+/
access: let in by the API key `billing`
sent: POST https://api.example.com/v1/a%2Db?x=1
    Content-Type: application/json
  + Host: api.example.com               (the proxy)
  + Via: 1.1 tokenferry-00000000        (the proxy)
  + X-Forwarded-For: 192.0.2.7          (the proxy)
  + X-Forwarded-Proto: https            (the proxy)
  + X-Forwarded-Host: partner.internal  (the proxy)
  + X-Source: legacy                    (request_headers of the route)
  + Authorization: Bearer ***           (partner)
  - X-Api-Key                           (the API key for this proxy)
  - Cookie                              (request_headers of the route)
  body: {\"token\":\"***\", \"a\": 1 }
token: of partner, in header Authorization, and in query parameter token, or JSON member token of a JSON body
note: to an answer of 401 the token is replaced, and the request sent again if its body is at most 1MiB
note: the body is read whole, up to 1MiB, since the token goes into it
"
    );
    let query = explained(&["GET", "http://partner.internal/?token=mine&a=1", "-H", "X-Api-Key: letmein"]);
    assert!(query.contains("\nsent: GET https://api.example.com/v1/?a=1&token=***\n"), "{query}");
}

#[test]
fn who_is_not_let_in_is_told_why_and_what_would_follow() {
    let no_key = explained(&["GET", "http://partner.internal/x"]);
    let lines: Vec<&str> = no_key.lines().skip(6).take(3).collect();
    assert_eq!(
        lines,
        [
            "access: not let in: an API key is asked for, and this request has no valid one; it goes as \
             Authorization: Bearer, as Basic's password or as X-Api-Key",
            "answer: 401 key_required: no valid API key",
            "would be sent, if let in: GET https://api.example.com/v1/x?token=***",
        ]
    );
    let network = explained(&["GET", "http://partner.internal/x", "-H", "X-Api-Key: letmein", "--peer", "10.1.2.3"]);
    assert!(network.contains("\naccess: not let in: 10.1.2.3 is not of an allowed network (--peer asks for another)\nanswer: 403 network_denied"), "{network}");
}

#[test]
fn the_proxys_own_answers_are_told_with_their_reason() {
    for (arguments, answer) in [
        (&["GET", "/nope"][..], "answer: 404 no_route: no route takes this request"),
        (&["GET", "/crewmojo/../x"], "answer: 400 bad_path: the path has a '.' or '..' segment"),
        (&["GET", "/crewmojo/%2e%2E/x"], "answer: 400 bad_path: the path has a '.' or '..' segment"),
        (&["GET", "/crewmojo/a%2fb"], "answer: 400 bad_path: the path has an encoded slash"),
        (&["GET", "/nope/a%2fb"], "answer: 400 bad_path: the path has an encoded slash"),
        (&["GET", "/crewmojo/%zz"], "answer: 400 bad_path: the path has a bad escape"),
        (&["GET", "/crewmojo/%00"], "answer: 400 bad_path: the path has a NUL"),
        (
            &["GET", "/a b"],
            "answer: 400: the URL has a byte that no URL can hold; the HTTP library refuses it, without a body",
        ),
        (&["GET", "/crewmojo/secrets/a"], "answer: 403 respond: this route answers by itself"),
        (&["TRACE", "/crewmojo"], "answer: 405 method_not_forwarded: this method is not forwarded"),
        (
            &["GET", "/crewmojo", "-H", "Host: a", "-H", "Host: b"],
            "answer: 400 malformed_request: Host may stand there only once",
        ),
        (
            &["GET", "http://a_b,c/crewmojo"],
            "answer: 400 malformed_request: Host is not a host name or address with at most a port",
        ),
        (
            &["POST", "/crewmojo/x", "-H", "Transfer-Encoding: gzip, chunked"],
            "answer: 400 malformed_request: Transfer-Encoding may only be chunked, once",
        ),
        (
            &[
                "POST",
                "http://partner.internal/x",
                "-H",
                "X-Api-Key: letmein",
                "-H",
                "Content-Type: text/json",
                "-d",
                "{",
            ],
            "answer: 400 bad_json: the body is not the JSON that its content type promises",
        ),
    ] {
        let out = explained(arguments);
        assert!(out.lines().any(|line| line == answer), "{arguments:?}: {out}");
        assert!(!out.contains("sent:"), "{arguments:?}: {out}");
    }
}

#[test]
fn each_other_route_is_told_why_not() {
    let out = explained(&["PUT", "http://partner.internal/crewmojo/secrets"]);
    let others: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("  not ")).collect();
    assert_eq!(
        others,
        [
            "crewmojo  it matches too, but closed goes first: its path is the longer one",
            "partner   its method is GET or POST",
            "tenant    its path is exactly /tenant",
            "numbers   its path must match ^/v[0-9]+/",
        ]
    );
    let out = explained(&["GET", "/tenant"]);
    assert!(out.contains("  not tenant    it wants a header x-tenant\n"), "{out}");
    let out = explained(&["GET", "/tenant", "-H", "X-Tenant: other"]);
    assert!(out.contains("  not tenant    it wants the header x-tenant with another value\n"), "{out}");
    let out = explained(&["get", "http://partner.internal/x"]);
    assert!(out.contains("  not partner   its method is GET or POST (methods are case-sensitive)\n"), "{out}");
    assert!(out.contains("note: methods are case-sensitive: get is not GET\n"), "{out}");
}

#[test]
fn a_vendors_own_endpoint_is_told_as_the_route_handles_it() {
    let login = ["POST", "http://partner.internal/oauth/token", "-H", "X-Api-Key: letmein"];
    let answered = explained(&login);
    assert!(
        answered.contains(
            "\nanswer: 200: the proxy answers this login by itself, in the vendor's form, with a placeholder token: \
             forwarded, it would interfere with the token of partner\n"
        ),
        "{answered}"
    );
    let with = |word: &str| {
        let yaml = ROUTES.replace("    request_headers", &format!("    token_endpoint: {word}\n    request_headers"));
        ran(&yaml, &[&["explain"], &login[..]].concat()).done()
    };
    let refused = with("refuse");
    assert!(refused.contains("\nanswer: 403 token_endpoint_refused: "), "{refused}");
    let forwarded = with("forward");
    assert!(forwarded.contains("\nsent: POST https://api.example.com/v1/oauth/token\n"), "{forwarded}");
    assert!(!forwarded.contains("***"), "{forwarded}");
    assert!(
        forwarded.contains("note: this is the token endpoint of partner, and the route says `token_endpoint: forward`: it goes on untouched, without a token\n"),
        "{forwarded}"
    );
}

#[test]
fn programs_get_the_same_as_one_object() {
    let ran = ran(ROUTES, &["explain", "GET", "/crewmojo/x", "-H", "Accept: a", "--format", "json"]);
    let told = ran.json();
    assert_eq!(told["route"], "crewmojo");
    assert_eq!(told["others"][0]["route"], "partner");
    assert_eq!(told["access"]["admitted"], true);
    assert_eq!(told["answer"], serde_json::Value::Null);
    assert_eq!(told["sent"]["url"], "https://api.crewmojo.com/v1/x");
    assert_eq!(told["sent"]["headers"][0], serde_json::json!({"name": "Accept", "value": "a", "from": "client"}));
    assert_eq!(told["sent"]["credential"], "crewmojo");
    let refused = super::ran(ROUTES, &["explain", "GET", "/nope", "--format", "json"]).json();
    assert_eq!(refused["answer"]["status"], 404);
    assert_eq!(refused["answer"]["code"], "no_route");
}

#[test]
fn what_came_from_a_reference_is_masked() {
    let yaml = "\
listeners: [{address: 127.0.0.1:8080}]
routes:
  - name: one
    match: {path: /one, headers: {X-Tenant: '${TENANT}'}}
    upstream: http://${HOST}/base
    credential: none
    request_headers: {set: {X.Note: '${NOTE}', X-Plain: plain}}
";
    let variables = [("HOST", "127.0.0.1:9000"), ("NOTE", "noted"), ("TENANT", "acme")];
    let out = ran_with(yaml, &["explain", "GET", "/one/x?y", "-H", "X-Tenant: acme"], &variables).done();
    assert!(out.contains("sent: GET http://***/base/x?y\n"), "{out}");
    assert!(out.contains("  + Host: ***  "), "{out}");
    assert!(out.contains("  + X.note: ***  ") && out.contains("  + X-Plain: plain  "), "{out}");
    assert!(!out.contains("9000") && !out.contains("noted"), "{out}");
}
