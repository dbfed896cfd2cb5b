//! `explain`.

use http_body_util::Full;
use serde_json::json;

use super::{ran, ran_with};
use crate::harness::client::send;
use crate::harness::issuer::{ISSUER, Issuer, claims, jwks, now};
use crate::harness::process;
use crate::harness::proxy::Proxy;
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;

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
  + Host: api.crewmojo.com                                    (the proxy)
  + X-Forwarded-For: 127.0.0.1                                (the proxy)
  + X-Forwarded-Proto: http                                   (the proxy)
  + X-Forwarded-Host: localhost                               (the proxy)
  + Via: 1.1 tokenferry-00000000                              (the proxy)
  + X-Request-Id: 00000000000000000000000000000000            (the proxy; another for each request)
  + Traceparent: 00-00000000000000000000000000000000-0000000000000000-00  (the proxy; another for each request)
  + Authorization: Bearer ***                                 (crewmojo)
  - Authorization                                             (the client's own; the token goes there)
  - Connection                                                (for this connection only)
  - X-Hop                                                     (for this connection only)
  - X-Real-Ip                                                 (a client's word about where it is, not believed)
token: of crewmojo, in header Authorization
refused: an answer of 401
  the token is replaced, once, and the request sent again; refused again, the answer passes
back:
    Location: https://api.crewmojo.com/v1/employees
      becomes /crewmojo/employees
    Set-Cookie: id=1; Domain=api.crewmojo.com; Path=/v1; Secure
      becomes id=1; Path=/crewmojo
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
  + Host: api.example.com                                     (the proxy)
  + Traceparent: 00-00000000000000000000000000000000-0000000000000000-00  (the proxy; another for each request)
  + X-Forwarded-For: 192.0.2.7                                (the proxy)
  + X-Forwarded-Proto: https                                  (the proxy)
  + X-Forwarded-Host: partner.internal                        (the proxy)
  + Via: 1.1 tokenferry-00000000                              (the proxy)
  + X-Request-Id: 00000000000000000000000000000000            (the proxy; another for each request)
  + X-Source: legacy                                          (request_headers of the route)
  + Authorization: Bearer ***                                 (partner)
  - X-Api-Key                                                 (the API key for this proxy)
  - Cookie                                                    (request_headers of the route)
  body: {\"token\":\"***\", \"a\": 1 }
token: of partner, in header Authorization, and in query parameter token, or JSON member token of a JSON body
refused: an answer of 401
  the token is replaced, once, and the request sent again; refused again, the answer passes
back:
    Location: https://api.example.com/v1/a%2Db
      becomes /a%2Db
    Set-Cookie: id=1; Domain=api.example.com; Path=/v1; Secure
      becomes id=1; Path=/; Secure
note: the body is read whole, up to 1MiB, since the token goes into it
"
    );
    let query = explained(&["GET", "http://partner.internal/?token=mine&a=1", "-H", "X-Api-Key: letmein"]);
    assert!(query.contains("\nsent: GET https://api.example.com/v1/?a=1&token=***\n"), "{query}");
}

#[test]
fn users_tokens_and_certificates_are_told_of_without_asking_anybody() {
    // Of "p4ss", with the least that argon2 takes.
    let hash = {
        use argon2::PasswordHasher as _;
        let argon2 = argon2::Argon2::from(argon2::Params::new(8, 1, 1, None).unwrap());
        argon2.hash_password(b"p4ss").unwrap().to_string()
    };
    let jwt = "jwt: {issuer: i, audience: a, jwks: 'http://127.0.0.1:9/jwks'}";
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:8080}}]\nroutes:\n\
         \x20 - {{name: u, match: {{path: /u}}, respond: 204, access: {{users: [{{name: alice, password: '{hash}'}}]}}}}\n\
         \x20 - {{name: t, match: {{path: /t}}, upstream: 'http://127.0.0.1:9', credential: none, access: {{{jwt}}}}}\n"
    );
    let access = |path: &str, header: &str| {
        let told = ran(&yaml, &["explain", "GET", path, "-H", header]).done();
        told.lines().find(|line| line.starts_with("access: ")).unwrap().to_owned()
    };
    let basic = |pair: &str| format!("Authorization: Basic {}", base64(pair));
    assert_eq!(access("/u", &basic("alice:p4ss")), "access: let in by the user `alice`");
    assert_eq!(
        access("/u", &basic("alice:wrong")),
        "access: not let in: a user is asked for, and this request has no valid name and password; they go as \
         Authorization: Basic"
    );
    assert_eq!(
        access("/t", "Accept: */*"),
        "access: not let in: a token of the issuer is asked for, and this request has none; it goes as \
         Authorization: Bearer"
    );
    assert!(access("/t", "Authorization: Bearer a.b.c").starts_with("access: not judged: "));
    let sent = ran(&yaml, &["explain", "GET", "/t", "-H", "Authorization: Bearer a.b.c"]).done();
    assert!(sent.contains("\nwould be sent, if let in: ") && !sent.contains("\nanswer: "), "{sent}");
    let program = ran(&yaml, &["explain", "--format", "json", "GET", "/t", "-H", "Authorization: Bearer a.b.c"]).done();
    let program: serde_json::Value = serde_json::from_str(&program).unwrap();
    assert_eq!((&program["access"]["admitted"], &program["answer"]), (&().into(), &().into()), "{program}");
    assert!(sent.contains("  - Authorization") && sent.contains("(the user or the token for this proxy)"), "{sent}");
    assert!(!sent.contains("a.b.c"), "{sent}");
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
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
    assert!(network.contains("\naccess: not let in: 10.1.2.3 is in the network of `deny[0]` (--peer asks for another address)\nanswer: 403 network_denied"), "{network}");
}

#[test]
fn a_trusted_proxys_word_a_certificate_and_the_bounds_are_told_of() {
    let yaml = "\
listeners: [{address: 127.0.0.1:8443, tls: {cert: own.crt, key: own.key, client_ca: ca.pem}}]
trusted_proxies: [127.0.0.1]
routes:
  - name: only
    upstream: http://127.0.0.1:9
    credential: none
    access: {allow: [192.0.2.0/24], client_certificates: {names: ['*.apps.internal']}}
    limits: {rate: [{rate: 100/s, burst: 7, per: address}], concurrency: 3}
";
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new();
    authority.write(&folder.path().join("ca.pem"));
    authority.identity(&["localhost"]).write(folder.path(), "own");
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let told = |arguments: &[&str]| {
        let head = ["explain", "GET", "/", "-H", "X-Forwarded-For: 192.0.2.7"];
        let output = process::command(folder.path()).args(head).args(arguments).output().unwrap();
        super::Ran::from(output).done()
    };
    let in_it = told(&["--certificate-name", "other", "--certificate-name", "a.apps.internal"]);
    assert!(in_it.contains("\naccess: let in by the client certificate `a.apps.internal`\nsent: "), "{in_it}");
    assert!(in_it.contains("\n  + X-Forwarded-For: 192.0.2.7, 127.0.0.1 "), "{in_it}");
    assert!(!in_it.contains("  - X-Forwarded-For"), "{in_it}");
    let limits = "note: the route's `limits` are 100/s (burst 7) per address, 3 at once; over them the answer is 429\n";
    assert!(in_it.contains(limits), "{in_it}");
    // As the proxy reads it in a certificate.
    let shouted = told(&["--certificate-name", "A.Apps.Internal"]);
    assert!(shouted.contains("let in by the client certificate `a.apps.internal`"), "{shouted}");
    for arguments in [&[][..], &["--certificate-name", "apps.internal"]] {
        let out = told(arguments);
        assert!(out.contains("certificate is asked for, and this request shows none that is allowed"), "{out}");
    }
    let outside = told(&["-H", "X-Forwarded-For: 198.51.100.1"]);
    let not_allowed = "\naccess: not let in: 198.51.100.1 is not of a network in `allow` (--peer asks for another)\n";
    assert!(outside.contains(not_allowed), "{outside}");
    // Of whom nobody trusts it is not believed.
    let stranger = told(&["--peer", "192.0.2.9"]);
    assert!(stranger.contains("  - X-Forwarded-For ") && stranger.contains("not believed)"), "{stranger}");
}

#[test]
fn why_a_token_is_not_valid_is_told() {
    let issuer = Issuer::new("one");
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("jwks.json"), jwks(&[&issuer])).unwrap();
    let access = format!("jwt: {{issuer: '{ISSUER}', audience: billing, jwks: jwks.json, claims: {{scope: read}}}}");
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:8080}}]\nroutes: [{{name: only, respond: 204, access: {{{access}}}}}]\n"
    );
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    for (more, flaw) in [
        (json!({"exp": now() - 440}), "it expired 44"),
        (json!({"aud": "orders"}), "its aud is not of `audience`"),
        (json!({}), "it lacks the claim scope"),
        (json!({"scope": "write"}), "its scope is not what `claims` asks for"),
    ] {
        let header = format!("Authorization: Bearer {}", issuer.token(&claims(&more)));
        let output = process::command(folder.path()).args(["explain", "GET", "/", "-H", &header]).output().unwrap();
        let told = super::Ran::from(output).done();
        assert!(told.contains(&format!("\naccess: not let in: the token is not valid: {flaw}")), "{told}");
    }
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
fn what_an_answer_does_is_told_as_this_route_has_it() {
    let with = |credential: &str, route: &str| {
        format!(
            "\
listeners: [{{address: 127.0.0.1:8080}}]
credentials:
  one: {{{credential}}}
routes:
  - {{name: one, match: {{path: /one}}, upstream: https://api.example.com/v1, credential: one{route}}}
"
        )
    };
    let oauth2 = "provider: oauth2, token_url: https://login.example.com/t, client_id: a, client_secret: b";
    let told = |yaml: &str, more: &[&str]| ran(yaml, &[&["explain", "POST", "/one/x"], more].concat()).done();

    let by_json = with(
        &format!("{oauth2}, refused_when: {{status: [401, 403], json: {{pointer: /status/code, matches: ^EXPIRED}}}}"),
        ", limits: {replay: 4}",
    );
    let out = told(&by_json, &[]);
    assert!(
        out.contains(
            "\nrefused: an answer of 401 or 403, or a JSON answer whose /status/code matches ^EXPIRED\n  \
             the token is replaced, once, and the request sent again; refused again, the answer passes\n  \
             a body is kept for it up to 4 bytes (all of them up to 64MiB); with a longer one the client gets 503 with \
             Retry-After\n"
        ),
        "{out}"
    );
    let long = told(&by_json, &["-d", "12345"]);
    assert!(long.contains("this body is longer than 4 bytes (`limits.replay`) and not kept"), "{long}");
    let json = ran(&by_json, &["explain", "POST", "/one/x", "-d", "1234", "--format", "json"]).json();
    let refused = &json["sent"]["refused"];
    assert_eq!((&refused["status"], &refused["sent_again"]), (&serde_json::json!([401, 403]), &true.into()));
    assert_eq!(refused["json"]["pointer"], "/status/code");

    let secret = by_json.replace("^EXPIRED", "'${SIGN}'");
    let masked = ran_with(&secret, &["explain", "GET", "/one"], &[("SIGN", "hunter2")]).done();
    assert!(masked.contains("whose /status/code matches ***\n") && !masked.contains("hunter2"), "{masked}");

    let fixed = told(&with("provider: static, token: x", ""), &[]);
    assert!(fixed.contains("\n  the answer passes: a token of the configuration cannot be replaced\n"), "{fixed}");
    let never = told(&with(&format!("{oauth2}, refused_when: {{status: []}}"), ""), &[]);
    assert!(never.contains("\nrefused: by no answer (`refused_when`)\nback:\n"), "{never}");

    let edited = told(
        &with(oauth2, ", rewrite_response: false, response_headers: {set: {X-A: b}, remove: [Server]}"),
        &["-H", "X-Request-Seen: 1"],
    );
    assert!(
        edited.contains(
            "\nback: Location, Content-Location and Set-Cookie as they come (`rewrite_response: false`)\n  \
             + X-A: b  (response_headers of the route)\n  - Server  (response_headers of the route)\n"
        ),
        "{edited}"
    );
}

#[test]
fn a_clients_header_that_is_replaced_is_told_with_the_reason() {
    let out = explained(&[
        "GET",
        "http://partner.internal/x",
        "-H",
        "Authorization: Bearer letmein",
        "-H",
        "X-Source: mine",
        "-H",
        "X-Forwarded-For: 8.8.8.8",
        "-H",
        "X-Forwarded-Proto: http",
    ]);
    let removed: Vec<String> = out
        .lines()
        .filter_map(|line| line.strip_prefix("  - "))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        removed,
        [
            "Authorization (the API key for this proxy)",
            "X-Source (request_headers of the route)",
            "X-Forwarded-For (a client's word about where it is, not believed)",
        ]
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
    assert_eq!(told["sent"]["refused"]["token_replaced"], true);
    assert_eq!(
        told["sent"]["back"]["mapped"][0],
        serde_json::json!({
            "name": "Location", "answered": "https://api.crewmojo.com/v1/x", "seen": "/crewmojo/x",
        })
    );
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
    assert!(out.contains("    Location: http://***/base/x\n      becomes /one/x\n"), "{out}");
    assert!(!out.contains("9000") && !out.contains("noted"), "{out}");
}

/// Method, path, headers and body of a request.
type Request = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const REQUESTS: &[Request] = &[
    ("GET", "/a/x?y=1", &[("accept", "a")], ""),
    ("GET", "/a", &[("connection", "x-hop"), ("x-hop", "1"), ("te", "trailers"), ("forwarded", "for=1.1.1.1")], ""),
    ("GET", "/a/b%2Dc//d?token=mine&a=%2f", &[("x-token", "mine"), ("X_Token", "mine")], ""),
    ("POST", "/a/json", &[("content-type", "application/json")], "{\"a\": 1, \"token\": [2]}"),
    ("POST", "/a/json", &[("content-type", "application/json")], "[]"),
    ("POST", "/a/json", &[("content-type", "application/json")], "{"),
    ("POST", "/a/json", &[("content-type", "application/json"), ("content-encoding", "gzip")], "{}"),
    ("GET", "/locked/x", &[], ""),
    ("GET", "/locked/x", &[("x-api-key", "letmein"), ("cookie", "a=b"), ("via", "1.1 other")], ""),
    ("GET", "/locked/x", &[("authorization", "Basic dXNlcjpsZXRtZWlu")], ""),
    ("POST", "/object", &[], ""),
    ("GET", "/nope", &[], ""),
    ("GET", "/a/../b", &[], ""),
    ("GET", "/a/x%2fy", &[], ""),
    ("GET", "/teapot", &[], ""),
];

/// Headers whose value is another one for each request.
const MADE: [&str; 2] = ["x-request-id", "traceparent"];

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "\
listeners: [{{address: 127.0.0.1:0}}]
credentials:
  both: {{provider: static, token: T0KEN, inject: [{{header: X-Token}}, {{parameter: token}}]}}
  bearer: {{provider: static, token: T0KEN}}
  object: {{provider: static, token: T0KEN, inject: {{json: key}}}}
routes:
  - {{name: a, match: {{path: /a}}, upstream: {origin}/base, credential: both}}
  - name: locked
    match: {{path: /locked}}
    upstream: {origin}
    credential: bearer
    access: {{api_keys: [{{name: one, key: letmein}}]}}
    request_headers: {{set: {{X-Set: here}}, remove: [Cookie]}}
  - {{name: object, match: {{path_exact: /object}}, upstream: {origin}/exact/, credential: object, host_header: preserve}}
  - {{name: teapot, match: {{path: /teapot}}, respond: 418}}
",
        origin = upstream.url("")
    );
    let proxy = Proxy::start(&yaml).await;
    for (method, path, headers, body) in REQUESTS {
        let mut arguments = vec!["explain", method, path, "--format", "json"];
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        arguments.extend(lines.iter().flat_map(|line| ["-H", line.as_str()]));
        if !body.is_empty() {
            arguments.extend(["-d", body]);
        }
        let told = super::ran_async(&yaml, &arguments).await.json();

        let mut request = http::Request::builder().method(*method).uri(*path).header("host", "localhost");
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        let before = upstream.seen().len();
        let response = send(proxy.address(), request.body(Full::from(*body)).unwrap()).await;
        if let Some(answer) = told["answer"].as_object() {
            assert_eq!(answer["status"], response.status().as_u16(), "{method} {path}: {told:#}");
            assert_eq!(upstream.seen().len(), before, "{method} {path}: nothing is sent");
            continue;
        }
        assert_eq!(response.status(), 200, "{method} {path}: {told:#}");
        let seen = upstream.last();
        let masked = |text: &str| text.replace("T0KEN", "***");
        assert_eq!(told["sent"]["url"], masked(&upstream.url(&seen.target)), "{method} {path}");
        if let Some(text) = told["sent"]["body"].as_str() {
            assert_eq!(text, masked(std::str::from_utf8(&seen.body).unwrap()), "{method} {path}");
        }
        let mut explained: Vec<(String, String)> = told["sent"]["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| {
                let text = |field: &str| header[field].as_str().unwrap().to_owned();
                (text("name").to_ascii_lowercase(), text("value").replace("tokenferry-00000000", "tokenferry"))
            })
            .map(|(name, value)| {
                let value = if MADE.contains(&name.as_str()) { "made".to_owned() } else { value };
                (name, value)
            })
            .collect();
        let mut arrived: Vec<(String, String)> = seen
            .headers
            .iter()
            // The HTTP library writes how long a body is.
            .filter(|(name, _)| !["content-length", "transfer-encoding"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), masked(value.to_str().unwrap())))
            .map(|(name, value)| match value.rsplit_once("tokenferry-") {
                Some((before, _)) if name == "via" => (name, format!("{before}tokenferry")),
                _ if MADE.contains(&name.as_str()) => (name, "made".to_owned()),
                _ => (name, value),
            })
            .collect();
        explained.sort();
        arrived.sort();
        assert_eq!(explained, arrived, "{method} {path}");
    }
}
