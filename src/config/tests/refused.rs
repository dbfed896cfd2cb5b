//! Each kind of bad input: where, what, and the mend.

use super::*;

const SEAL: &str = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";

/// `BASE` with one piece replaced, and the one problem that must be told of it.
fn each(cases: &[(&str, &str, &str)]) {
    let mut missed = Vec::new();
    for (from, to, expected) in cases {
        assert!(BASE.contains(from), "{from}");
        let told = told(&refused(&BASE.replacen(from, to, 1)).list);
        if !told.iter().any(|told| told == expected) {
            missed.push(format!("{to}\n  expected {expected}\n  told     {told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn an_empty_access_lets_nobody_in_from_other_machines() {
    for access in ["access:", "access: ~", "access: {}"] {
        let yaml =
            format!("listeners: [{{address: '0.0.0.0:80'}}]\nroutes:\n  - name: one\n    respond: 204\n    {access}\n");
        let told = told(&refused(&yaml).list);
        assert!(told.len() == 1 && told[0].contains("access"), "{access}: {told:?}");
    }
}

#[test]
fn many_problems_are_told_at_once_each_with_its_place() {
    let problems = refused(
        "\
listeners:
  - address: localhost:8080
    tsl: {}
credentials:
  crm:
    provider: oauth2
    token_url: https://login.example.com/token
    grant: client_credential
    client_id: ${MISSING}
    client_secert: hunter2
    refresh_before: 200%
routes:
  - name: one
    match: {path: crm, path_regex: 'a('}
    upstream: https://u:p@api.example.com/
    credential: crmm
    timeouts: {response: 90}
  - {name: one, upstream: [x], credential: key, workers: 1}
workers: many
rate_limit: {per: x}
",
    );
    let places: Vec<String> = problems.list.iter().map(|p| format!("{}:{} {}", p.line, p.column, p.path)).collect();
    assert_eq!(
        places,
        [
            "2:14 listeners[0].address",
            "3:5 listeners[0].tsl",
            "8:12 credentials.crm.grant",
            "9:16 credentials.crm.client_id",
            "10:5 credentials.crm.client_secert",
            "11:21 credentials.crm.refresh_before",
            "14:19 routes[0].match.path",
            "14:36 routes[0].match.path_regex",
            "15:15 routes[0].upstream",
            "16:17 routes[0].credential",
            "17:26 routes[0].timeouts.response",
            "18:12 routes[1].name",
            "18:17 routes[1].upstream",
            "18:44 routes[1].credential",
            "18:49 routes[1].workers",
            "19:10 workers",
            "20:1 rate_limit",
        ]
    );
    let text = problems.to_string();
    assert!(text.contains(
        "error: credentials.crm.client_secert: unknown field `client_secert`\n  --> proxy.yaml:10:5\n   |\n10 |     client_secert: ***\n   |     ^\n   |\n   = help: did you mean `client_secret`?\n"
    ), "{text}");
    assert!(!text.contains("hunter2") && !text.contains('\x1b'));
    assert!(render(&problems.list, true).contains('\x1b'));
    let json = to_json(&problems.list);
    assert_eq!(json[4]["mend"], "did you mean `client_secret`?");
    assert_eq!(json[4]["severity"], "error");
}

#[test]
fn files_that_are_no_document_are_told_so() {
    for (yaml, expected) in [
        ("", "1:1 : the file is empty | write at least `listeners` and `routes`; the shipped proxy.yaml is an example"),
        (
            "# nothing\n",
            "1:1 : the file is empty | write at least `listeners` and `routes`; the shipped proxy.yaml is an example",
        ),
        ("- a\n", "1:1 : the file must be a map, not a list | write `listeners:` and `routes:` at its left edge"),
        ("a: \0\n", "1:4 : here is a NUL character | take it out"),
        (
            "a: [\n",
            "1:5 : a '{' or '[' is not closed, or something between is not in quotes | close it, separate with ',', and put references between brackets into quotes: \"${NAME}\"",
        ),
        ("routes:\n\t- a\n", "2:1 : a tab cannot indent | indent with spaces"),
    ] {
        assert!(
            told(&refused(yaml).list).iter().any(|told| told == expected),
            "{yaml:?} {:#?}",
            told(&refused(yaml).list)
        );
    }
    let problems = load_bytes(Path::new("p"), b"a: b\n\xff", &environment).unwrap_err();
    assert_eq!(told(&problems.list), ["2:1 : here is a byte that is not UTF-8 | save the file as UTF-8"]);
    let two = refused(&format!("{BASE}---\na: b\n"));
    assert_eq!(
        told(&two.list),
        ["8:1 : a second document begins here | keep one document in the file: take '---' and what follows out"]
    );
    assert!(load_bytes(Path::new("p"), format!("\u{feff}{BASE}").as_bytes(), &environment).is_ok());
}

#[test]
fn a_field_in_the_wrong_map_is_told_where_it_belongs() {
    each(&[
        (
            "    credential: key",
            "    credential: key\n    methods: [GET]",
            "8:5 routes[0].methods: unknown field `methods` | write it under `match`",
        ),
        (
            "    credential: key",
            "    credential: key\n    ca: a.pem",
            "8:5 routes[0].ca: unknown field `ca` | write it under `upstream`, beside its `url`",
        ),
        (
            "token: x",
            "token: x, header: X-Api-Key",
            "3:37 credentials.key.header: unknown field `header` | write it under `inject`",
        ),
        (
            "    credential: key",
            "    credential: key\n    request_headers: {X-A: b}",
            "8:23 routes[0].request_headers.X-A: unknown field `X-A` | write a header under `set`: {set: {NAME: value}}",
        ),
        (
            "routes:",
            "access: public\nroutes:",
            "4:1 access: unknown field `access` | write it under `defaults`, or in each route",
        ),
    ]);
}

#[test]
fn a_value_of_the_wrong_shape_gets_an_example_of_the_right_one() {
    each(&[
        (
            "    credential: key",
            "    credential: key\n    match: /one",
            "8:12 routes[0].match: must be a map, not text | write {path: /crm}",
        ),
        (
            "    credential: key",
            "    credential: key\n    upgrades: websocket",
            "8:15 routes[0].upgrades: must be a list, not text | write [websocket]",
        ),
        (
            "token: x",
            "token: x, inject: X-Api-Key",
            "3:45 credentials.key.inject: must be a map, or a list of maps, not text | write {header: X-Api-Key}, or {header: Authorization, scheme: Bearer}",
        ),
    ]);
}

#[test]
fn one_mistake_is_told_once() {
    for (from, to) in [
        ("credential: key", "credential: kee"),
        ("    upstream: https://api.example.com/v1\n    credential: key", "    respnd: 403"),
        ("    upstream: https://api.example.com/v1\n    credential: key", "    respond: 99"),
        ("name: one", "nam: one"),
        ("provider: static", "provder: static"),
        ("    upstream:", "    upstrem:"),
    ] {
        assert!(BASE.contains(from), "{from}");
        let told = told(&refused(&BASE.replacen(from, to, 1)).list);
        assert_eq!(told.len(), 1, "{to}: {told:#?}");
    }
}

#[test]
fn a_star_in_a_path_is_a_warning() {
    let odd = BASE.replace("    credential: key", "    credential: key\n    match: {path: /one/*}");
    assert_eq!(
        told(&taken(&odd).warnings),
        [
            "8:19 routes[0].match.path: a '*' stands for itself here | take it out: `path: /a` is for /a and all that is below it; for patterns there is `path_regex`"
        ]
    );
}

#[test]
fn duplicate_keys_are_told_where_the_second_stands() {
    each(&[
        (
            "name: one",
            "name: one\n    name: two",
            "6:5 routes[0].name: the key `name` is here twice | keep one of the two",
        ),
        (
            "token: x",
            "token: x, token: y",
            "3:37 credentials.key.token: the key `token` is here twice | keep one of the two",
        ),
    ]);
}

#[test]
fn references_that_stand_for_nothing_are_told_by_their_field() {
    each(&[
        (
            "token: x",
            "token: \"${MISSING}\"",
            "3:34 credentials.key.token: the environment variable MISSING is not set | set it, or give a default: ${MISSING:-text}",
        ),
        (
            "token: x",
            "token: \"${MISSING\"",
            "3:34 credentials.key.token: a reference '${' is not closed with '}' | write ${NAME} or ${file:/path}, or $$ for a dollar sign",
        ),
        (
            "token: x",
            "token: \"${file:/none/such}\"",
            "3:34 credentials.key.token: there is no file /none/such | create it, or mend the path; a relative one is relative to this file",
        ),
    ]);
}

#[test]
fn a_secret_that_is_empty_is_told_where_it_is_written() {
    let problems = refused(&BASE.replace("token: x", "token: \"${EMPTY}\""));
    let told = told(&problems.list);
    assert!(matches!(&told[..], [one] if one.starts_with("3:34 credentials.key.token: `token` is empty")), "{told:?}");
}

#[test]
fn routes_are_checked() {
    each(&[
        (
            "name: one\n    ",
            "",
            "5:5 routes[0]: `name` is missing | add `name: ...`; logs and commands call the route by it",
        ),
        (
            "    credential: key\n",
            "",
            "5:5 routes[0]: `credential` is missing | add `credential: NAME`, or `credential: none`",
        ),
        (
            "    upstream: https://api.example.com/v1\n",
            "",
            "5:5 routes[0]: `upstream` is missing | add `upstream: https://...`, or `respond: 403`",
        ),
        (
            "credential: key",
            "credential: kye",
            "7:17 routes[0].credential: there is no credential of this name | did you mean `key`?",
        ),
        (
            "credential: key",
            "credential: key\n    respond: 403",
            "8:14 routes[0].respond: a route either answers by itself or has an upstream | take `respond` out, or `upstream` and `credential`",
        ),
        (
            "    upstream: https://api.example.com/v1\n",
            "    respond: 403\n",
            "7:17 routes[0].credential: a route that answers by itself uses no credential | take `credential` out, or `respond`",
        ),
        (
            "    upstream: https://api.example.com/v1\n",
            "    respond: 100\n",
            "6:14 routes[0].respond: is not a status from 200 to 599 | write a status such as 403",
        ),
        (
            "api.example.com/v1",
            "api.example.com/v1?a=b",
            "6:15 routes[0].upstream: must not have a query | take the '?' and what follows out",
        ),
        (
            "https://api",
            "api",
            "6:15 routes[0].upstream: must begin with http:// or https:// | write https://host/path",
        ),
        (
            "name: one",
            "name: one\n    match: {path: /a, path_exact: /b}",
            "6:5 routes[0].match: a route has one of `path`, `path_exact` and `path_regex` | keep one, and make the others routes of their own",
        ),
        (
            "name: one",
            "name: one\n    match: {path: /a/../b}",
            "6:19 routes[0].match.path: the path has a '.' or '..' segment | write a path that begins with '/', without '.', '..', '?' and bad escapes",
        ),
        (
            "name: one",
            "name: one\n    match: {host: 'a:80'}",
            "6:19 routes[0].match.host: must not have a port, a path or a scheme | write a host such as crm.internal, or *.internal",
        ),
        (
            "name: one",
            "name: one\n    match: {methods: []}",
            "6:13 routes[0].match.methods: the list is empty, and so no request matches | take it out for every method",
        ),
        (
            "name: one",
            "name: one\n    access: {allow: [10.0.0.1/8]}",
            "6:22 routes[0].access.allow[0]: has bits set behind its prefix length | write the network's first address, or the address alone, or a longer prefix",
        ),
        (
            "name: one",
            "name: one\n    access: {}",
            "6:5 routes[0].access: has no rule, and so does not say who may come in | write `public` for everyone, or add `api_keys`, `users`, `jwt`, `client_certificates`, `allow` or `deny`",
        ),
        (
            "name: one",
            "name: one\n    access: private",
            "6:13 routes[0].access: must be `public`, or a map | write public, or {allow: [10.0.0.0/8]}",
        ),
        (
            "name: one",
            "name: one\n    access: {api_keys: [{name: a, key: k}, {name: b, key: k}]}",
            "6:59 routes[0].access.api_keys[1].key: another name has this very key | give each name a key of its own",
        ),
        (
            "name: one",
            "name: one\n    access: {api_keys: [{name: a, key: ''}]}",
            "6:40 routes[0].access.api_keys[0].key: the key is empty | give the key, or sha256: and its digest in hex",
        ),
        (
            "name: one",
            "name: one\n    access: {api_keys: [{name: a, key: '***'}]}",
            "6:40 routes[0].access.api_keys[0].key: is the mask of `tokenferry config`, not a value | write the value, or better ${NAME} or ${file:/path}",
        ),
        (
            "name: one",
            "name: one\n    access: {api_keys: [{name: a, key: 'SHA256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8'}]}",
            "6:40 routes[0].access.api_keys[0].key: looks like a digest, and would be taken as the key itself | write sha256: before a SHA-256 in hex, or the key itself",
        ),
        (
            "name: one",
            "name: one\n    access: {api_keys: [{name: a, key: 'sha256:12'}]}",
            "6:40 routes[0].access.api_keys[0].key: sha256: must be followed by 64 hex digits | printf %s KEY | sha256sum gives them",
        ),
        (
            "name: one",
            "name: one\n    request_headers: {set: {Host: x}}",
            "6:29 routes[0].request_headers.set.Host: this header belongs to the connection, not to the request | take it out; for Host there is `host_header`",
        ),
        (
            "name: one",
            "name: one\n    request_headers: {remove: [authorization]}",
            "6:32 routes[0].request_headers.remove[0]: the route's credential puts its token into this header | take it out here, or change the credential's `inject`",
        ),
        (
            "name: one",
            "name: one\n    request_headers: {set: {X-A: \"a\\nb\"}}",
            "6:34 routes[0].request_headers.set.X-A: has a character that a header cannot carry | write one line of visible characters",
        ),
        (
            "name: one",
            "name: one\n    timeouts: {response: 0s}",
            "6:26 routes[0].timeouts.response: must be longer than zero | write at least 1ms",
        ),
        (
            "name: one",
            "name: one\n    timeouts: {response: 30}",
            "6:26 routes[0].timeouts.response: a duration needs a unit | write a number with a unit: 250ms, 30s, 5m, 2h or 1m30s",
        ),
        (
            "name: one",
            "name: one\n    limits: {body: 10XB}",
            "6:20 routes[0].limits.body: is not a size | write a number of bytes, or one with a unit: 64KiB, 10MiB, 1GB",
        ),
        (
            "name: one",
            "name: one\n    limits: {connections: 0}",
            "6:27 routes[0].limits.connections: must be a whole number above 0 | write a whole number above 0",
        ),
        (
            "name: one",
            "name: one\n    upgrades: [h2c]",
            "6:16 routes[0].upgrades[0]: cannot be upgraded to: requests behind such an upgrade would pass unseen | take it out; for HTTP/2 to the upstream write `protocol: h2c`",
        ),
        (
            "name: one",
            "name: one\n    token_endpoint: anwser",
            "6:21 routes[0].token_endpoint: must be `answer`, `refuse` or `forward` | did you mean `answer`?",
        ),
        (
            "name: one",
            "name: one\n    strip_prefix: 'false'",
            "6:19 routes[0].strip_prefix: must be true or false, not text | write true or false",
        ),
        ("name: one", "name: one\n    rate: 5", "6:5 routes[0].rate: unknown field `rate` | write it under `limits`"),
        (
            "https://api.example.com/v1",
            "{url: https://api.example.com, protocol: h2c}",
            "6:56 routes[0].upstream.protocol: h2c is HTTP/2 without TLS | write h2, or an http:// URL",
        ),
        (
            "https://api.example.com/v1",
            "{url: https://api.example.com, client_cert: a.pem}",
            "6:5 routes[0].upstream: `client_key` is missing | add the PEM file of the certificate's key",
        ),
        (
            "https://api.example.com/v1",
            "{protocol: auto}",
            "6:5 routes[0].upstream: `url` is missing | add `url: https://...`",
        ),
        (
            "https://api.example.com/v1",
            "{url: https://api.example.com, ca: none.pem}",
            "6:50 routes[0].upstream.ca: the file does not exist | create it, or mend the path; a relative one is relative to this file",
        ),
    ]);
}

#[test]
fn credentials_are_checked() {
    each(&[
        (
            "provider: static",
            "provider: statik",
            "3:19 credentials.key.provider: must be `crewmojo`, `crm_com`, `crayon`, `oauth2`, `custom` or `static` | did you mean `static`?",
        ),
        (
            "provider: static, ",
            "",
            "3:3 credentials.key: `provider` is missing | add `provider:` with `crewmojo`, `crm_com`, `crayon`, `oauth2`, `custom` or `static`",
        ),
        (
            "token: x",
            "token: x, inject: {header: Content-Type}",
            "3:54 credentials.key.inject.header: a token cannot go into a header that frames or describes the request | name another header, such as Authorization or X-Api-Key",
        ),
        (
            "token: x",
            "token: x, inject: {query: a, json: b}",
            "3:37 credentials.key.inject: names more than one place | write a list with one place each",
        ),
        (
            "token: x",
            "token: x, inject: {query: a, scheme: b}",
            "3:64 credentials.key.inject.scheme: stands only beside `header` | take it out",
        ),
        (
            "token: x",
            "token: x, inject: {}",
            "3:37 credentials.key.inject: names no place for the token | write one of `header`, `query`, `json` and `parameter`",
        ),
        (
            "token: x",
            "token: x, inject: []",
            "3:37 credentials.key.inject: the token goes nowhere | write one of `header`, `query`, `json` and `parameter`",
        ),
        (
            "token: x",
            "token: x, inject: [{query: a}, {parameter: a}]",
            "3:58 credentials.key.inject[1]: names the same place as another | keep one of the two",
        ),
        (
            "token: x",
            "token: x, refused_when: {json: {pointer: code, matches: x}}",
            "3:68 credentials.key.refused_when.json.pointer: is not a JSON pointer: it does not begin with '/' | write /name/name, with ~1 for '/' and ~0 for '~' in a name",
        ),
        (
            "token: x",
            "token: x, refused_when: {json: {pointer: /code}}",
            "3:52 credentials.key.refused_when.json: `matches` is missing | add `matches:` with a regular expression",
        ),
        (
            "token: x",
            "token: x, lifetime: 0s",
            "3:47 credentials.key.lifetime: must be longer than zero | write at least 1ms",
        ),
        ("token: x", "token:x", "3:27 credentials.key.token…: unknown field `token…` | put a space behind the ':'"),
        (
            "  key: {provider: static, token: x}",
            "  key: static",
            "3:8 credentials.key: must be a map, not text | write at least `provider:` and what it asks for",
        ),
        (
            "  key: {provider: static, token: x}",
            "  key: {provider: static, token: x}\n  none: {provider: static, token: x}",
            "4:3 credentials.none: a credential cannot have this name | choose another: `none` stands for no credential",
        ),
        (
            "  key: {provider: static, token: x}",
            "  key: {provider: crewmojo, client_id: a, client_secret: b}\n  other: {provider: crewmojo, client_id: a, client_secret: c}",
            "4:3 credentials.other: `key` fetches exclusive tokens for the same client: each would kill the other's | use `key` in both routes, or take one of the two out",
        ),
        (
            "  key: {provider: static, token: x}",
            "  key: {provider: oauth2, token_url: 'https://a.example/t', client_id: a, client_secret: b, exclusive: true, scope: r}\n  other: {provider: oauth2, token_url: 'https://a.example/t', client_id: a, client_secret: b, exclusive: true, scope: w}",
            "4:3 credentials.other: `key` fetches exclusive tokens for the same client: each would kill the other's | use `key` in both routes, or take one of the two out",
        ),
    ]);
}

#[test]
fn what_a_login_keeps_and_shows_is_checked() {
    const KEY: &str = "  key: {provider: static, token: x}";
    let refresh = |more: &str| {
        format!(
            "  key: {{provider: oauth2, token_url: 'https://a.example/t', client_id: a, client_secret: b,\n    \
             grant: refresh_token, refresh_token: r, {more}}}"
        )
    };
    let cases = [
        (
            refresh("state_file: s"),
            "3:3 credentials.key: `encryption_key` is missing | add `encryption_key: ${NAME}`, which seals the state file; make one with: openssl rand -base64 32",
        ),
        (
            refresh("state_file: none/s, encryption_key: c2hvcnQ="),
            "4:57 credentials.key.state_file: its folder does not exist | create the folder; the file is made by itself",
        ),
        (
            refresh("state_file: none/s, encryption_key: c2hvcnQ="),
            "4:81 credentials.key.encryption_key: the key must be 32 bytes in base64, and is 5 bytes | make one with: openssl rand -base64 32",
        ),
        (
            refresh(&format!("state_file: s, encryption_key: [{SEAL}, 'no!']")),
            "4:123 credentials.key.encryption_key[1]: the key is not base64 | make one with: openssl rand -base64 32",
        ),
        (
            refresh("state_file: ., encryption_key: []"),
            "4:60 credentials.key.encryption_key: there is no key | make one with: openssl rand -base64 32",
        ),
        (
            refresh(&format!("encryption_key: {SEAL}")),
            "4:61 credentials.key.encryption_key: has no use: there is no state_file that it would seal | add `state_file: PATH`, or take it out",
        ),
        (
            format!("  key: {{provider: static, token: x, state_file: s, encryption_key: {SEAL}}}"),
            "3:49 credentials.key.state_file: has no use: this login has no refresh token to keep | take it out, with its encryption_key",
        ),
        (
            "  key: {provider: oauth2, token_url: 'https://a.example/t', client_id: a, client_auth: tls}".to_owned(),
            "3:3 credentials.key: `client_cert` is missing | add client_cert and client_key: the PEM files of what the client logs in by",
        ),
        (
            "  key: {provider: oauth2, token_url: 'https://a.example/t', client_id: a, client_secret: b, client_cert: a.pem}"
                .to_owned(),
            "3:3 credentials.key: `client_key` is missing | add the PEM file of the certificate's key",
        ),
        (
            "  key: {provider: oauth2, token_url: 'https://a.example/t', client_id: a, client_auth: private_key_jwt, private_key: x}"
                .to_owned(),
            "3:118 credentials.key.private_key: `private_key` is no key in PEM | write ${file:key.pem}; the file must hold -----BEGIN PRIVATE KEY-----",
        ),
        (
            "  key: {provider: oauth2, token_url: 'https://a.example/t', client_auth: none, grant: jwt_bearer, assertion: {private_key: x, issuer: i, algorithm: HS256}}"
                .to_owned(),
            "3:149 credentials.key.assertion.algorithm: must be `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA` | did you mean `RS256`?",
        ),
    ];
    let cases: Vec<_> = cases.iter().map(|(to, expected)| (KEY, to.as_str(), *expected)).collect();
    each(&cases);

    let twice = BASE.replace(
        KEY,
        &["  key:", "  other:"]
            .map(|name| refresh(&format!("state_file: s, encryption_key: {SEAL}")).replace("  key:", name))
            .join("\n"),
    );
    let told = told(&refused(&twice).list);
    assert!(told.iter().any(|told| told.contains("keeps its refresh token in this very file")), "{told:?}");
}

#[test]
fn listeners_are_checked() {
    const LISTENER: &str = "[{address: 127.0.0.1:8080}]";
    each(&[
        (LISTENER, "[]", "1:1 listeners: there is no listener | write `listeners: [{address: 127.0.0.1:8080}]`"),
        (LISTENER, "127.0.0.1:8080", "1:12 listeners: must be a list | write `listeners: [{address: 127.0.0.1:8080}]`"),
        (LISTENER, "[{}]", "1:1 listeners[0]: `address` is missing | write `address: 127.0.0.1:8080`"),
        (
            LISTENER,
            "[{address: ':8080'}]",
            "1:23 listeners[0].address: has no address before the port | write 127.0.0.1:8080 for this machine only, or 0.0.0.0:8080 for every interface",
        ),
        (
            LISTENER,
            "[{address: '127.0.0.1:1'}, {address: '127.0.0.1:1'}]",
            "1:49 listeners[1].address: another listener has this address | give each listener an address or port of its own",
        ),
        (
            LISTENER,
            "[{address: '0.0.0.0:80'}]",
            "5:5 routes[0]: the route `one` has no `access`, and a listener is open to other machines | add `access: public`, or whom to let in; `defaults: {access: ...}` is for every route",
        ),
        (
            LISTENER,
            "[{address: '127.0.0.1:1', tls: }]",
            "1:43 listeners[0].tls: is empty, and the listener would speak plainly | add `cert` and `key`, or take it out",
        ),
        (
            LISTENER,
            "[{address: '127.0.0.1:1', tls: {cert: a.pem}}]",
            "1:38 listeners[0].tls: `key` is missing | add the PEM file of the key",
        ),
        (
            LISTENER,
            "[{address: '127.0.0.1:1', tls: {certificate: a.pem, key: b.pem}}]",
            "1:44 listeners[0].tls.certificate: unknown field `certificate` | did you mean `cert`?",
        ),
        (
            LISTENER,
            "[{address: '127.0.0.1:1', proxy_protocol: true}]",
            "1:54 listeners[0].proxy_protocol: nobody is trusted to tell a client's address, and so nobody could connect | add `trusted_proxies: [10.0.0.0/8]` at the top level: where the proxies in front are",
        ),
        (
            LISTENER,
            "[{address: '127.0.0.1:1', client_ca: a.pem}]",
            "1:38 listeners[0].client_ca: unknown field `client_ca` | write it under `tls`",
        ),
        (
            "routes:\n",
            "trusted_proxies: [10.1.2.3/8]\nroutes:\n",
            "4:19 trusted_proxies[0]: has bits set behind its prefix length | write the network's first address, or the address alone, or a longer prefix",
        ),
        (
            "routes:\n",
            "trusted_proxies: [proxy.example]\nroutes:\n",
            "4:19 trusted_proxies[0]: is not a network | write 10.0.0.0/8, 2001:db8::/32, one address, or unix",
        ),
        (
            "routes:\n",
            "trusted_proxies: 10.0.0.0/8\nroutes:\n",
            "4:18 trusted_proxies: must be a list, not text | write [10.0.0.0/8]",
        ),
        (
            "listeners: [{address: 127.0.0.1:8080}]\n",
            "",
            "1:1 : `listeners` is missing | write `listeners: [{address: 127.0.0.1:8080}]`",
        ),
    ]);
    let certificate = BASE.replace("8080}", "8080, tls: {cert: a, key: b, certificates: [{certificate: c, key: b}]}}");
    let told = told(&refused(&certificate).list);
    assert!(told.iter().any(|told| told.ends_with("unknown field `certificate` | did you mean `cert`?")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("`cert` is missing")), "what was meant is there: {told:?}");
    let open = BASE.replace("127.0.0.1:8080", "'[::]:80'");
    assert!(read(&open.replace("name: one", "name: one\n    access: public")).is_ok());
    assert!(read(&format!("{open}defaults: {{access: public}}\n")).is_ok());
    assert!(read(&BASE.replace("127.0.0.1:8080", "unix:/run/x.sock")).is_ok());
}

#[test]
fn what_is_for_the_whole_proxy_is_checked() {
    for (more, expected) in [
        ("workers: 0", "8:10 workers: must be from 1 to 1024 | leave it out for one a core"),
        (
            "workers: ${SECRET}",
            "8:10 workers: must be a whole number, not text | write the number without unit and quotes",
        ),
        ("client: {header_count: 9}", "8:24 client.header_count: must be from 10 to 1000 | write 100"),
        (
            "defaults: {limits: {rate: 10/d}}",
            "8:27 defaults.limits.rate: is not a rate | write a count and a unit: 100/s, 10/m, 1000/h",
        ),
        (
            "defaults: {limits: {rate: 0/s}}",
            "8:27 defaults.limits.rate: would let nothing through | write at least 1/h; a route that nobody may use has `respond: 403`",
        ),
        (
            "defaults: {limits: {rate: [{rate: 5/s, per: key}, {rate: 5/s}, {rate: 5/s, burst: 5, per: key}]}}",
            "8:64 defaults.limits.rate[2]: is the same rule as one before it | take one of them out",
        ),
        (
            "defaults: {limits: {rate: [{per: key}]}}",
            "8:28 defaults.limits.rate[0]: `rate` is missing | write {rate: 100/s, per: address}",
        ),
        (
            "defaults: {limits: {rate: {rate: 5/s, burst: 1000001}}}",
            "8:46 defaults.limits.rate.burst: is more than a burst may be | write 1000000 at most",
        ),
        (
            "defaults: {limits: {rate: {rate: 5/s}, burst: 5}}",
            "8:47 defaults.limits.burst: belongs to a plain `rate`, and this one is none | put it into the map of its rate: {rate: 100/s, burst: 200}",
        ),
        (
            "defaults: {limits: {burst: 5}}",
            "8:28 defaults.limits.burst: belongs to a plain `rate`, and there is none | add `rate: 100/s` beside it, or take it out",
        ),
        (
            "defaults: {limits: {rate: 10/d, burst: 5}}",
            "8:27 defaults.limits.rate: is not a rate | write a count and a unit: 100/s, 10/m, 1000/h",
        ),
        (
            "defaults: {limits: {concurrency: 5000000000}}",
            "8:34 defaults.limits.concurrency: must be a whole number above 0, at most 4294967295 | write a whole number above 0, at most 4294967295",
        ),
        (
            "defaults: {limits: {concurrency: 1.5}}",
            "8:34 defaults.limits.concurrency: must be a whole number above 0, not a fraction | write a whole number above 0",
        ),
        (
            "defaults: {limits: {memory: 1GiB}}",
            "8:21 defaults.limits.memory: unknown field `memory` | write it under `limits` at the top level",
        ),
        (
            "limits: {rate: 100/s}",
            "8:10 limits.rate: unknown field `rate` | write it under `limits` of a route, or of `defaults`",
        ),
        (
            "limits: {wrong_keys: 10/m}",
            "8:22 limits.wrong_keys: must be a map, not text | write {rate: 10/m, burst: 30}",
        ),
        (
            "limits: {memory: 31MiB}",
            "8:18 limits.memory: leaves next to nothing beside what the proxy itself takes, 13 MiB at rest | write 32MiB or more, with the unit",
        ),
        ("client: {head_size: 1KiB}", "8:21 client.head_size: must be from 8KiB to 1MiB | write 64KiB"),
        (
            "shutdown_timeout: ten",
            "8:19 shutdown_timeout: is not a duration | write a number with a unit: 250ms, 30s, 5m, 2h or 1m30s",
        ),
        (
            "rate_limit: {per: x}",
            "8:1 rate_limit: unknown field `rate_limit` | write it under `limits` of a route, or of `defaults`: {rate: 100/s}",
        ),
        ("handover: true", "8:11 handover: must be the path of a socket | write /run/tokenferry/handover.sock"),
        (
            "shutdown_timout: 3s",
            "8:1 shutdown_timout: unknown field `shutdown_timout` | did you mean `shutdown_timeout`?",
        ),
        ("route: []", "8:1 route: unknown field `route` | did you mean `routes`?"),
    ] {
        let told = told(&refused(&format!("{BASE}{more}\n")).list);
        assert_eq!(told, [expected], "{more}");
    }
}

#[test]
fn what_is_odd_is_warned_of() {
    for (from, to, expected) in [
        (
            "https://api",
            "http://api",
            "6:15 routes[0].upstream: the token goes over plain http to another machine: it can be read on the way | use https://",
        ),
        (
            "https://api.example.com/v1",
            "{url: https://a.example, insecure: true}",
            "6:50 routes[0].upstream.insecure: the route `one`: no certificate is verified, and whoever answers gets the credential | take it out, and name the server's root in `ca`",
        ),
        (
            "https://api.example.com/v1",
            "{url: 'http://127.0.0.1:1', server_name: a.example}",
            "6:56 routes[0].upstream.server_name: has no effect on an http:// URL | use https://, or take it out",
        ),
        (
            "credential: key",
            "credential: none",
            "3:3 credentials.key: no route uses this credential | take it out, or name it in a route's `credential`",
        ),
        (
            "name: one",
            "name: one\n    match: {methods: [get]}",
            "6:23 routes[0].match.methods[0]: methods are case-sensitive, and this one is not in upper case | write GET",
        ),
    ] {
        assert_eq!(told(&taken(&BASE.replacen(from, to, 1)).warnings), [expected], "{to}");
    }
    assert!(taken(&BASE.replace("https://api", "http://localhost:80/api")).warnings.is_empty());
}

#[test]
fn certificates_that_cannot_serve_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    write("a.crt", &params.self_signed(&key).unwrap().pem());
    write("a.key", &key.serialize_pem());
    write("b.key", &other.serialize_pem());
    for (name, days) in [("s", 14), ("l", 15), ("m", 15)] {
        let host = if name == "m" { "m.example" } else { "localhost" };
        params.subject_alt_names = vec![rcgen::SanType::DnsName(host.try_into().unwrap())];
        params.not_after =
            (std::time::SystemTime::now() + std::time::Duration::from_secs(days * 24 * 3600 - 60)).into();
        write(&format!("{name}.crt"), &params.self_signed(&key).unwrap().pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
    write("junk", "CANARY");
    write("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let path = folder.path().join("proxy.yaml");
    let load = |cert: &str, key: &str| {
        let yaml = BASE.replace("8080}", &format!("8080, tls: {{cert: {cert}, key: {key}}}}}"));
        match load_bytes(&path, yaml.as_bytes(), &environment) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems.list,
        }
    };
    for (cert, key, expected) in [
        ("a.crt", "b.key", "listeners[0].tls.key: the key does not fit the certificate"),
        ("a.crt", "a.key", "listeners[0].tls.cert: the certificate has expired"),
        ("a.crt", "junk", "listeners[0].tls.key: the file holds no private key"),
        ("junk", "a.key", "listeners[0].tls.cert: the file holds no certificate"),
        ("bad.pem", "a.key", "listeners[0].tls.cert: the certificate cannot be read"),
        ("none", "a.key", "listeners[0].tls.cert: the file does not exist"),
        (
            "none",
            "none",
            "listeners[0].tls.cert: the file does not exist; listeners[0].tls.key: the file does not exist",
        ),
        (
            "l.crt",
            "l.key, certificates: [{cert: none}]",
            "listeners[0].tls.certificates[0]: `key` is missing; listeners[0].tls.certificates[0].cert: the file does not exist",
        ),
        (".", "a.key", "listeners[0].tls.cert: the file is a folder"),
        (
            "none, client_ca: junk",
            "a.key",
            "listeners[0].tls.cert: the file does not exist; listeners[0].tls.client_ca: the file holds no certificate",
        ),
        (
            "l.crt",
            "l.key, client_ca: bad.pem",
            "listeners[0].tls.client_ca: a certificate in the file cannot be a root",
        ),
        (
            "l.crt",
            "l.key, client_auth: request",
            "listeners[0].tls.client_auth: there is nobody to vouch for clients' certificates",
        ),
        ("l.crt", "l.key, certificates: [{cert: l.crt}]", "listeners[0].tls.certificates[0]: `key` is missing"),
        (
            "l.crt",
            "l.key, certificates: [{cert: l.crt, key: b.key}]",
            "listeners[0].tls.certificates[0].key: the key does not fit the certificate",
        ),
        ("l.crt", "l.key, certificates: [{cert: m.crt, key: m.key}]", ""),
        ("s.crt", "s.key", "listeners[0].tls.cert: the certificate expires in less than 14 days"),
        (
            "l.crt",
            "l.key, client_ca: s.crt",
            "listeners[0].tls.client_ca: the certificate expires in less than 14 days",
        ),
        ("l.crt", "l.key, client_ca: a.crt", "listeners[0].tls.client_ca: the certificate has expired"),
        ("l.crt", "l.key, session_tickets: maybe", "listeners[0].tls.session_tickets: must be true or false, not text"),
    ] {
        let problems = load(cert, key);
        let told: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
        assert_eq!(told.join("; "), expected, "{cert} {key}");
        assert!(!format!("{problems:?}").contains("CANARY"));
    }
    write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let yaml = BASE.replace("https://api.example.com/v1", "{url: https://a.example, ca: ca.pem}");
    let problems = load_bytes(&path, yaml.as_bytes(), &environment).unwrap_err();
    assert_eq!(problems.list[0].message, "a certificate in the file cannot be a root");
}

#[test]
fn no_more_than_a_hundred_problems_are_told_and_the_rest_is_counted() {
    let mut yaml = BASE.to_owned();
    for route in 0..500 {
        yaml.extend([format!("  - {{name: r{route}, upstream: x, credential: key}}\n")]);
    }
    let problems = refused(&yaml);
    assert_eq!(problems.list.len(), 101);
    assert_eq!(problems.list[100].message, "and 400 more errors");
}

#[test]
fn a_handover_socket_needs_a_place_of_its_own() {
    let long = "x".repeat(120);
    for (handover, listener, expected) in [
        ("no-such-folder/a.sock", "127.0.0.1:0", "is in a folder that does not exist"),
        ("/no-such-folder/a.sock", "127.0.0.1:0", "is in a folder that does not exist"),
        ("/tmp", "127.0.0.1:0", "is a folder"),
        ("/tmp/a.sock", "unix:/tmp/a.sock", "a listener has this path"),
        (long.as_str(), "127.0.0.1:0", "the path of a Unix socket may have 107 bytes at most"),
        ("''", "127.0.0.1:0", "is not the path of a file"),
    ] {
        let yaml = format!(
            "listeners: [{{address: '{listener}'}}]\nhandover: {handover}\nroutes: [{{name: one, respond: 204}}]\n"
        );
        let problems = refused(&yaml);
        let told: Vec<_> = problems.list.iter().map(|problem| (problem.path.as_str(), problem.line)).collect();
        assert_eq!(told, [("handover", 2)], "{handover}: {problems}");
        assert!(problems.list[0].message.contains(expected), "{problems}");
    }
}

#[test]
fn an_admin_port_needs_an_address_of_its_own_and_a_token_where_others_reach_it() {
    const LONG: &str = "CANARY-0123456789";
    let mut wrong: Vec<String> = Vec::new();
    for (admin, expected) in [
        ("{token: '${SECRET}'}", "8:1 admin: `address` is missing | write `address: 127.0.0.1:9901`"),
        ("true", "8:8 admin: must be a map, not true or false | write {address: 127.0.0.1:9901}"),
        (
            "{address: 127.0.0.1:8080}",
            "8:18 admin.address: a listener has this address | give the admin port an address of its own, such as 127.0.0.1:9901",
        ),
        (
            "{address: '0.0.0.0:9901'}",
            "8:18 admin.address: other machines can reach it, and there is no `token` | write `token: ${TOKENFERRY_ADMIN_TOKEN}`, of what `openssl rand -hex 16` prints",
        ),
        (
            "{address: '[::]:9901', token: ''}",
            "8:38 admin.token: is empty | write `token: ${TOKENFERRY_ADMIN_TOKEN}`, of what `openssl rand -hex 16` prints",
        ),
        (
            "{address: 127.0.0.1:9901, token: CANARY in two}",
            "8:41 admin.token: has a character that a header cannot carry | write `token: ${TOKENFERRY_ADMIN_TOKEN}`, of what `openssl rand -hex 16` prints",
        ),
        (
            "{address: 127.0.0.1:9901, ready_when: never}",
            "8:46 admin.ready_when: must be `serving` or `tokens` | write one of them",
        ),
        (
            "{address: 127.0.0.1:9901, hosts: [a:1]}",
            "8:42 admin.hosts[0]: must not have a port, a path or a scheme | write a host such as crm.internal, or *.internal",
        ),
        (
            "{address: 127.0.0.1:9901, port: 1}",
            "8:34 admin.port: unknown field `port` | known here: address, token, ready_when, hosts",
        ),
    ] {
        let problems = refused(&format!("{BASE}admin: {admin}\n"));
        if told(&problems.list) != [expected] {
            wrong.push(format!("{admin}: {:?}", told(&problems.list)));
        }
        assert!(!problems.to_string().contains("CANARY"), "{problems}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let clash = format!("{BASE}handover: /tmp/a.sock\nadmin: {{address: 'unix:/tmp/a.sock'}}\n");
    assert!(refused(&clash).list[0].message.contains("the handover socket has this path"));
    for fine in [
        format!(
            "{{address: '0.0.0.0:9901', token: {LONG}, ready_when: tokens, hosts: [tokenferry.example, '*.local']}}"
        ),
        "{address: 'unix:/run/admin.sock'}".to_owned(),
        "{address: '[::1]:9901'}".to_owned(),
        "{address: '127.0.0.1:0'}".to_owned(),
    ] {
        let loaded = taken(&format!("{BASE}admin: {fine}\n"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let shown = effective(&loaded, Format::Yaml);
        assert!(!shown.contains("CANARY") && shown.contains("ready_when:"), "{shown}");
    }
    let loaded = taken(&format!("{BASE}admin: {{address: 127.0.0.1:9901, token: CANARY-short}}\n"));
    assert!(told(&loaded.warnings)[0].starts_with("8:41 admin.token: is short enough to be found by trying"));
    assert_eq!(taken(BASE).settings.admin, None);
}

#[test]
fn what_was_told_of_is_not_told_again_in_other_words() {
    let yaml = |credential: &str, access: &str| {
        format!(
            "listeners: [{{address: 127.0.0.1:8080}}]\ncredentials:\n  one: {credential}\nroutes:\n  \
             - {{name: one, upstream: https://api.example.com/v1, credential: one, access: {access}}}\n"
        )
    };
    let paths = |yaml: &str| refused(yaml).list.into_iter().map(|problem| problem.path).collect::<Vec<_>>();
    let fixed = "{provider: static, token: x}";
    assert_eq!(
        paths(&yaml(fixed, "{api_keys: [{name: a, key: '${MISSING}'}, {name: '${MISSING}', key: b}]}")),
        ["routes[0].access.api_keys[0].key", "routes[0].access.api_keys[1].name"]
    );
    // Whose place is taken out counts still.
    assert_eq!(
        paths(&yaml(fixed, "{api_keys: [{name: a, key: long-enough-for-one}, 7, {name: b}]}")),
        ["routes[0].access.api_keys[1]", "routes[0].access.api_keys[2]"]
    );
    let login = "provider: oauth2, token_url: https://login.example.com/t, client_id: a, client_secret: b";
    for (more, path) in [
        ("grant: pasword, username: ann, password: x", "credentials.one.grant"),
        ("grnat: password, username: ann, password: x", "credentials.one.grnat"),
        ("client_auth: private_key, private_key: x", "credentials.one.client_auth"),
        ("client_auth: '${MISSING}'", "credentials.one.client_auth"),
    ] {
        assert_eq!(paths(&yaml(&format!("{{{login}, {more}}}"), "public")), [path], "{more}");
    }
    let crm = "provider: crm_com, base_url: https://crm.example.com, method: web_key, key: x";
    assert_eq!(paths(&yaml(&format!("{{{crm}}}"), "public")), ["credentials.one.method"]);
}

#[test]
fn a_state_file_of_two_is_told_beside_other_errors() {
    let one = |name: &str, more: &str| {
        format!(
            "  {name}: {{provider: oauth2, token_url: https://login.example.com/t, client_id: {name}, client_secret: b, \
             grant: refresh_token, refresh_token: x, state_file: s, encryption_key: {SEAL}{more}}}\n"
        )
    };
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:8080}}]\ncredentials:\n{}{}routes:\n  - {{name: r, respond: 204}}\n",
        one("a", ", tmeout: 3s"),
        one("b", ", lifetime: 3")
    );
    let told = told(&refused(&yaml).list);
    assert!(
        told.iter().any(|told| told.contains("credentials.b.state_file: `a` keeps its refresh token")),
        "{told:#?}"
    );
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn a_burst_that_meets_no_plain_rate_is_an_error_also_after_defaults() {
    let yaml = |own: &str, defaults: &str| format!("{BASE}    limits: {own}\ndefaults: {{limits: {defaults}}}\n");
    let paths = |yaml: &str| refused(yaml).list.into_iter().map(|problem| problem.path).collect::<Vec<_>>();
    for defaults in ["{}", "{concurrency: 2}", "{rate: [{rate: 5/s}]}", "{rate: {rate: 5/s, burst: 9}}"] {
        assert_eq!(paths(&yaml("{burst: 5}", defaults)), ["routes[0].limits.burst"], "{defaults}");
    }
    assert_eq!(paths(&yaml("{burst: 5}", "{rate: 5/d}")), ["defaults.limits.rate"]);
    assert_eq!(paths(&yaml("{rate: 5/d, burst: 5}", "{}")), ["routes[0].limits.rate"]);
    let loaded = taken(&yaml("{burst: 5}", "{rate: 5/s}"));
    assert_eq!(loaded.settings.routes[0].bounds.rates[0].burst, 5);
}

#[test]
fn a_line_shows_what_holds_no_secret_and_its_empty_lists_and_maps_whole() {
    for line in [
        "    limits: {rate: 100/x}",
        "    limits: {rate: [], burst: 5x}",
        "    limits: {rate: {rate: 5/s, per: adress}}",
        "    limits: {concurrency: many, body_rate: 10x}",
        "    access: {client_certificates: app}",
        "    access: {client_certificates: {names: [], x: 1}, allow: [], deny: [10.0.0.1/8]}",
        "    access: {jwt: {}}",
        "    access: {jwt: {audience: [], jwks: jwks.json, algorithms: [RS257]}}",
    ] {
        let problems = refused(&format!("{BASE}{line}\n"));
        let shown = line.replace("x: 1", "***: ***");
        assert!(problems.list.iter().any(|problem| problem.source == line || problem.source == shown), "{problems}");
    }
    for line in ["limits: {wrong_keys: 10/m}", "limits: {memory: 5x}", "limits: {connections: 0}"] {
        assert_eq!(refused(&format!("{BASE}{line}\n")).list[0].source, line);
    }
}

#[test]
fn without_a_credential_insecure_tells_of_what_is_sent() {
    let yaml = BASE
        .replace("upstream: https://api.example.com/v1", "upstream: {url: https://api.example.com/v1, insecure: true}")
        .replace("credential: key", "credential: none");
    let told = told(&taken(&yaml.replace("credentials:\n  key: {provider: static, token: x}\n", "")).warnings);
    assert!(told[0].contains("no certificate is verified, and whoever answers gets the requests |"), "{told:?}");
}
