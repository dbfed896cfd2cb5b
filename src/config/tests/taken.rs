use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::*;
use crate::model::{HostPattern, Margin, PathRule, Place, TokenEndpoint};

fn forward(settings: &Settings, index: usize) -> &ForwardSettings {
    match &settings.routes[index].action {
        RouteAction::Forward(forward) => forward,
        RouteAction::Respond(_) => panic!("responds"),
    }
}

#[test]
fn the_shipped_configuration_is_taken_with_its_variables_set() {
    let yaml = include_bytes!("../../../proxy.yaml");
    assert!(yaml.starts_with(b"# yaml-language-server: $schema=proxy.schema.json\n"));
    let environment = |name: &str| Some(format!("CANARY-{name}"));
    let loaded = load_bytes(Path::new("proxy.yaml"), yaml, &environment).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(told(&loaded.warnings), Vec::<String>::new());
    let settings = &loaded.settings;
    assert_eq!(settings.credentials.keys().collect::<Vec<_>>(), ["crayon", "crewmojo", "crm"]);
    assert_eq!(
        settings.routes.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
        ["crewmojo", "crm", "crayon", "crayon-secrets"]
    );
    assert_eq!(settings.listeners[0].address, ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap()));
    assert!(matches!(settings.routes[3].action, RouteAction::Respond(StatusCode::FORBIDDEN)));
    assert!(!format!("{settings:?}").contains("CANARY-CREWMOJO_CLIENT_SECRET"));
    for format in [Format::Yaml, Format::Json] {
        assert!(!effective(&loaded, format).contains("CANARY"));
    }
}

#[test]
fn what_is_not_written_has_the_contracts_default() {
    let loaded = taken(BASE);
    let settings = &loaded.settings;
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(settings.drain_delay, Duration::ZERO);
    assert_eq!(settings.replay_budget, 64 << 20);
    assert_eq!(settings.client.header_timeout, Duration::from_secs(15));
    assert_eq!(settings.client.idle_timeout, Duration::from_secs(75));
    assert_eq!(settings.client.handshake_timeout, Duration::from_secs(10));
    assert_eq!(settings.client.head_size, 64 << 10);
    let credential = &settings.credentials["key"];
    assert_eq!(credential.timeout, Duration::from_secs(10));
    assert_eq!(credential.refresh_before, Margin::Share(0.2));
    assert_eq!(credential.drain, Duration::from_secs(2));
    assert_eq!(credential.inject, [Place::bearer()]);
    let route = forward(settings, 0);
    assert_eq!(route.timeouts, crate::model::Timeouts::default());
    assert_eq!(route.limits, crate::model::Limits::default());
    assert_eq!((route.pool_idle, route.pool_age), (Duration::from_secs(30), Duration::from_secs(300)));
    assert_eq!(route.token_endpoint, TokenEndpoint::Answer);
    assert_eq!(route.upgrades, ["websocket"]);
    assert!(route.strip_prefix && route.rewrite_response && !route.preserve_host);
    assert!(matches!(&settings.routes[0].matcher.path, PathRule::Prefix(prefix) if prefix.as_str().is_empty()));
}

#[test]
fn everything_that_is_written_is_meant() {
    let loaded = taken(
        "\
x-long: &long {response: 90s, connect: 1m30s}
listeners:
  - address: '[::1]:${PORT}'
    header_case: lower
  - address: unix:/run/tokenferry.sock
workers: ${NONE:-3}
shutdown_timeout: 10s
client: {header_timeout: 1s, idle_timeout: 2s, handshake_timeout: 3s, head_size: 32KiB}
limits: {replay_total: 1GB}
defaults:
  access: {allow: [10.0.0.0/8, 192.0.2.7], deny: [10.1.0.0/16]}
  timeouts: {token: 7s, response: 8s}
  limits: {waiting: 5}
credentials:
  legacy:
    provider: static
    token: 007
    inject: {header: X-Api-Key}
    refused_when: {status: [401, 403], json: {pointer: /status/code, matches: ^EXPIRED$}}
    refresh_before: 5m
    drain: 0s
  partner:
    provider: oauth2
    token_url: https://login.example.com/oauth2/token
    grant: client_credentials
    client_id: 12345
    client_secret: ${SECRET}
    exclusive: true
    inject: [{header: token}, {parameter: token}]
    insecure: ${ON}
routes:
  - name: all
    match: {host: '*.Internal', path_regex: '^/v[0-9]+/', methods: [GET, Patch], headers: {X-Tenant: acme}}
    upstream: {url: https://api.example.com/v1/, protocol: h2, server_name: other.example.com, header_case: preserve, pool: {idle: 5s, age: 1m}}
    credential: partner
    access: public
    timeouts: *long
    limits: {body: 10MiB, connections: 4}
    request_headers: {set: {X-Source: legacy}, remove: [Cookie]}
    response_headers: {remove: [Server]}
    token_endpoint: refuse
    encoded_slash: allow
    upgrades: []
    strip_prefix: false
    host_header: preserve
    rewrite_response: false
  - {name: bare, upstream: 'http://127.0.0.1:9000', credential: none, access: {api_keys: [{name: billing, key: \"${SECRET}\"}]}}
  - {name: kept, match: {path_exact: /health}, upstream: https://api.example.com, credential: legacy}
  - {name: no, match: {path: /crayon/secrets}, respond: 403}
",
    );
    let settings = &loaded.settings;
    assert_eq!(told(&loaded.warnings).len(), 1, "{:?}", told(&loaded.warnings));
    assert_eq!(settings.listeners[0].address, ListenAddress::Tcp(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 8081))));
    assert_eq!(settings.listeners[0].header_case, crate::model::HeaderCase::Lower);
    assert_eq!(settings.listeners[1].address, ListenAddress::Unix("/run/tokenferry.sock".into()));
    assert_eq!(settings.workers, 3);
    assert_eq!(settings.replay_budget, 1_000_000_000);
    let occasion = crate::vendor::Occasion { now: 0, nonce: String::new(), refresh_token: None };
    let legacy = &settings.credentials["legacy"];
    assert!(
        matches!(legacy.vendor.login(&occasion), Ok(crate::vendor::Login::Fixed(token)) if token.expose() == "007")
    );
    assert_eq!(legacy.inject, [Place::Header { name: http::HeaderName::from_static("x-api-key"), scheme: None }]);
    assert_eq!(legacy.refused_when.status, [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    assert_eq!(legacy.refused_when.json.as_ref().unwrap().pointer, ["status", "code"]);
    assert_eq!(legacy.refresh_before, Margin::Fixed(Duration::from_secs(300)));
    let partner = &settings.credentials["partner"];
    assert!(partner.exclusive && partner.tls.insecure);
    assert_eq!(partner.inject.len(), 2);
    let all = forward(settings, 0);
    assert_eq!(settings.routes[0].matcher.host, Some(HostPattern::Wildcard(".internal".into())));
    assert_eq!(settings.routes[0].matcher.methods.len(), 2);
    assert_eq!(settings.routes[0].access, crate::model::AccessPolicy::default());
    assert_eq!(all.upstream.to_string(), "https://api.example.com/v1");
    assert_eq!(all.timeouts.connect, Duration::from_secs(90));
    assert_eq!(all.timeouts.response, Duration::from_secs(90));
    assert_eq!(all.timeouts.token, Duration::from_secs(7));
    assert_eq!((all.limits.body, all.limits.connections, all.limits.waiting), (10 << 20, Some(4), 5));
    assert_eq!((all.request_headers.set.len(), all.request_headers.remove.len()), (1, 1));
    assert!(all.upgrades.is_empty() && !all.strip_prefix && all.preserve_host && !all.rewrite_response);
    assert_eq!(settings.routes[1].access.api_keys[0].name, "billing");
    assert_eq!(settings.routes[2].access.allow.len(), 2);
    assert_eq!(settings.routes[2].access.deny.len(), 1);
}

#[test]
fn what_came_from_a_reference_or_is_a_secret_is_masked_and_defaults_are_filled_in() {
    let loaded = taken(
        "\
listeners: [{address: '127.0.0.1:${PORT}'}]
credentials:
  key: {provider: static, token: CANARY-token}
  web:
    provider: custom
    request: {method: POST, url: 'https://u.example/?k=CANARY', json: {user: CANARY-u}, headers: {X-App: CANARY-h}}
    response: {token: /token}
routes:
  - name: one
    match: {methods: [GET]}
    upstream: https://api.example.com/${SECRET}/v1
    credential: key
    request_headers: {set: {Authorization: CANARY-a}}
    access: {api_keys: [{name: a, key: CANARY-k}]}
  - {name: two, upstream: 'https://api.example.com', credential: web}
"
        .replace("    request_headers: {set: {Authorization: CANARY-a}}\n", "")
        .as_str(),
    );
    let yaml = effective(&loaded, Format::Yaml);
    assert!(!yaml.contains("CANARY"), "{yaml}");
    for line in [
        "- address: 127.0.0.1:***",
        "  header_case: title",
        "    url: https://api.example.com/***/v1",
        "    response: 60s",
        "    body: 100MiB",
        "  token_endpoint: answer",
        "    token: '***'",
        "    refresh_before: 20%",
        "    path: /",
    ] {
        assert!(yaml.lines().any(|l| l == line), "{line}\n{yaml}");
    }
    assert_eq!(loaded.masked("routes[0].upstream"), Some("https://api.example.com/***/v1"));
    assert_eq!(loaded.masked("routes[0].name"), None);
    assert!(!format!("{:?}", loaded.written).contains("CANARY-token"));
    assert!(!format!("{:?}", loaded.written).contains("CANARY-from-variable"));
    serde_json::from_str::<serde_json::Value>(&effective(&loaded, Format::Json)).unwrap();
}

#[test]
fn the_fingerprint_changes_with_the_file_its_files_and_its_variables() {
    let folder = tempfile::tempdir().unwrap();
    let (path, secret) = (folder.path().join("proxy.yaml"), folder.path().join("secret"));
    let write = |more: &str| {
        std::fs::write(&path, BASE.replace("token: x", "token: \"${file:secret}${V:-d}\"") + more).unwrap();
    };
    let print = |variable: Option<&str>| {
        let variable = variable.map(str::to_owned);
        let environment = move |_: &str| variable.clone();
        load(&path, &environment).unwrap_or_else(|p| panic!("{p}")).settings
    };
    write("");
    std::fs::write(&secret, "one").unwrap();
    let first = print(None);
    assert_eq!(first.files, [path.clone(), secret.clone()]);
    assert_eq!(print(None).fingerprint, first.fingerprint);
    assert_ne!(print(Some("v")).fingerprint, first.fingerprint);
    std::fs::write(&secret, "two").unwrap();
    let second = print(None).fingerprint;
    assert_ne!(second, first.fingerprint);
    write("# a comment\n");
    assert_ne!(print(None).fingerprint, second);
}

#[test]
fn a_missing_file_is_among_those_to_watch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.yaml");
    std::fs::write(&path, BASE.replace("token: x", "token: \"${file:secret}\"")).unwrap();
    let problems = load(&path, &environment).unwrap_err();
    assert_eq!(problems.files, [path, folder.path().join("secret")]);
    assert!(load(folder.path(), &environment).unwrap_err().list[0].message.contains("folder"));
    let problems = load(&folder.path().join("none.yaml"), &environment).unwrap_err();
    assert!(render(&problems.list, false).contains("no such file"));
}

#[test]
fn certificates_and_their_keys_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.path().join("server.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    let path = folder.path().join("proxy.yaml");
    std::fs::write(
        &path,
        "\
listeners: [{address: '127.0.0.1:8443', tls: {cert: server.crt, key: server.key}}]
routes:
  - {name: a, upstream: {url: 'https://a.example', ca: server.crt, client_cert: server.crt, client_key: server.key}, credential: none}
",
    )
    .unwrap();
    let settings = load(&path, &environment).unwrap_or_else(|p| panic!("{p}")).settings;
    assert_eq!(settings.listeners[0].tls.as_ref().unwrap().first.chain.len(), 1);
    let tls = &forward(&settings, 0).tls;
    assert_eq!(tls.ca.as_ref().unwrap().len(), 1);
    assert_eq!(tls.client.as_ref(), settings.listeners[0].tls.as_ref().map(|tls| &tls.first));
    let fields: Vec<_> =
        settings.certificates.iter().map(|dated| (dated.field.as_str(), dated.name.as_str())).collect();
    assert_eq!(fields, [("listeners[0].tls.cert", "localhost"), ("routes[0].upstream.client_cert", "localhost")]);
    assert_eq!(settings.files.len(), 3);
}

#[test]
fn certificates_and_authorities_of_a_listener_are_read_and_proxies_in_front_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let (made, mut params) = (rcgen::KeyPair::generate().unwrap(), rcgen::CertificateParams::new(names).unwrap());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join(format!("{name}.crt")), params.self_signed(&made).unwrap().pem()).unwrap();
        let key = folder.path().join(format!("{name}.key"));
        std::fs::write(&key, made.serialize_pem()).unwrap();
        std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("one", &["localhost"]);
    write("two", &["two.example"]);
    write("bare", &[]);
    let path = folder.path().join("proxy.yaml");
    let read = |tls: &str| {
        let yaml =
            BASE.replace("8080}", &format!("8080, proxy_protocol: true, tls: {{cert: one.crt, key: one.key{tls}}}}}"));
        let yaml = format!("trusted_proxies: [10.0.0.0/8, '::ffff:192.0.2.0/120', unix]\n{yaml}");
        load_bytes(&path, yaml.as_bytes(), &environment).unwrap_or_else(|p| panic!("{p}"))
    };
    let loaded = read("");
    let trusted = loaded.settings.trusted_proxies.as_ref().unwrap();
    assert!(trusted.unix && trusted.networks[1].to_string() == "192.0.2.0/24", "{trusted:?}");
    let listener = &loaded.settings.listeners[0];
    assert!(listener.proxy_protocol && listener.tls.as_ref().unwrap().clients.is_none());
    for (said, tickets) in [("", true), (", session_tickets: true", true), (", session_tickets: false", false)] {
        assert_eq!(read(said).settings.listeners[0].tls.as_ref().unwrap().session_tickets, tickets, "{said}");
    }

    for (auth, is_required) in [("", true), (", client_auth: require", true), (", client_auth: request", false)] {
        let more = ", certificates: [{cert: two.crt, key: two.key}], client_ca: two.crt";
        let loaded = read(&format!("{more}{auth}"));
        let tls = loaded.settings.listeners[0].tls.as_ref().unwrap();
        assert_eq!((tls.further.len(), tls.clients.as_ref().unwrap().is_required), (1, is_required), "{auth}");
        let fields: Vec<_> = loaded.settings.certificates.iter().map(|dated| dated.field.as_str()).collect();
        assert_eq!(
            fields,
            ["listeners[0].tls.cert", "listeners[0].tls.certificates[0].cert", "listeners[0].tls.client_ca"]
        );
        let shown = effective(&loaded, Format::Yaml);
        let auth = if is_required { "client_auth: require" } else { "client_auth: request" };
        assert!(
            shown.contains(auth) && shown.contains("- 10.0.0.0/8") && shown.contains("proxy_protocol: true"),
            "{shown}"
        );
    }
    let warned = told(&read(", certificates: [{cert: bare.crt, key: bare.key}]").warnings);
    assert!(warned.len() == 1 && warned[0].contains("names no host, and is never shown"), "{warned:?}");
    assert!(effective(&taken(BASE), Format::Yaml).contains("proxy_protocol: false"));
    assert!(taken(BASE).settings.trusted_proxies.is_none());
    assert!(taken(&format!("trusted_proxies: []\n{BASE}")).settings.trusted_proxies.is_none());
}

/// Every reference of a schema.
fn leads_somewhere(node: &serde_json::Value, root: &serde_json::Value) {
    match node {
        serde_json::Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(|r| r.as_str()) {
                assert!(root.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            members.values().for_each(|member| leads_somewhere(member, root));
        }
        serde_json::Value::Array(elements) => elements.iter().for_each(|element| leads_somewhere(element, root)),
        _ => {}
    }
}

#[test]
fn the_schema_has_every_field_and_takes_references() {
    let schema = schema();
    let fields = |pointer: &str| -> Vec<String> {
        let object = schema.pointer(pointer).and_then(|p| p.as_object());
        object.unwrap_or_else(|| panic!("{pointer}")).keys().cloned().collect()
    };
    assert_eq!(fields("/properties"), file::TOP);
    for provider in 0..crate::vendor::PROVIDERS.len() {
        let base = format!("/properties/credentials/additionalProperties/oneOf/{provider}/properties");
        let there = fields(&base);
        for field in file::Common::FIELDS.iter().chain(crate::vendor::fields(crate::vendor::PROVIDERS[provider])) {
            assert!(there.iter().any(|name| name == field), "{field}");
        }
    }
    for field in
        ["name", "match", "upstream", "credential", "respond", "access", "timeouts", "limits", "rewrite_response"]
    {
        assert!(fields("/$defs/Route/properties").iter().any(|name| name == field), "{field}");
    }
    assert_eq!(schema.pointer("/properties/workers/type").unwrap(), &serde_json::json!(["integer", "null", "string"]));
    assert_eq!(schema.pointer("/$defs/Route/properties/strip_prefix/default").unwrap(), &serde_json::json!(true));
    assert_eq!(schema.pointer("/$defs/Route/required").unwrap(), &serde_json::json!(["name"]));
    leads_somewhere(&schema, &schema);
}

#[test]
fn ten_thousand_routes_cost_ten_times_a_thousand() {
    let yaml = |count: usize| {
        let mut yaml = BASE.to_owned();
        for route in 0..count {
            use std::fmt::Write;
            let _ = write!(
                yaml,
                "  - name: r{route}\n    match: {{host: h{route}.example, path: /p/{route}, methods: [GET]}}\n    upstream: https://api.example.com/{route}\n    credential: key\n    timeouts: {{response: 90s}}\n"
            );
        }
        yaml
    };
    let time = |yaml: &str| {
        let begun = Instant::now();
        assert!(taken(yaml).settings.routes.len() > 1);
        begun.elapsed()
    };
    let (few, many) = (yaml(1_000), yaml(10_000));
    let few = (0..3).map(|_| time(&few)).min().unwrap();
    let many = (0..2).map(|_| time(&many)).min().unwrap();
    assert!(many < few * 40, "1000: {few:?}, 10000: {many:?}");
}

#[test]
fn problems_are_located_later_too() {
    let loaded = taken(BASE);
    let problem = loaded.locator.problem(crate::model::Severity::Warning, "routes[0]", "can never match", "move it up");
    assert_eq!((problem.line, problem.column, problem.path.as_str()), (5, 5, "routes[0]"));
    assert_eq!(problem.source, "  - name: one");
}

#[test]
fn a_login_that_keeps_and_signs_is_shown_with_its_defaults_and_without_its_secrets() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem().replace('\n', "\n        ");
    let yaml = format!(
        "\
listeners: [{{address: 127.0.0.1:8080}}]
credentials:
  user:
    provider: oauth2
    token_url: https://login.example.com/t
    client_id: a
    client_secret: CANARY1
    grant: refresh_token
    refresh_token: CANARY2
    state_file: state
    encryption_key: [YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=]
  signed:
    provider: oauth2
    token_url: https://login.example.com/t
    client_auth: none
    grant: jwt_bearer
    assertion:
      private_key: |
        {key}
      issuer: me
      claims: {{pin: CANARY3}}
  memory: {{provider: oauth2, token_url: 'https://login.example.com/t', client_auth: none, grant: refresh_token, refresh_token: CANARY4}}
routes:
  - {{name: one, upstream: 'https://api.example.com', credential: user}}
  - {{name: two, match: {{path: /two}}, upstream: 'https://api.example.com', credential: signed}}
  - {{name: three, match: {{path: /three}}, upstream: 'https://api.example.com', credential: memory}}
"
    );
    let loaded = taken(&yaml);
    let state = loaded.settings.credentials["user"].state.as_ref().unwrap();
    assert_eq!(state.path, Path::new("state"));
    let told = told(&loaded.warnings);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("credentials.memory.refresh_token") && told[0].contains("lost at a restart"), "{told:?}");
    let shown = effective(&loaded, Format::Json);
    assert!(!shown.contains("CANARY") && !shown.contains("PRIVATE KEY") && !shown.contains("YWFh"), "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let user = &shown["credentials"]["user"];
    assert_eq!(
        (&user["client_auth"], &user["body"], &user["state_file"]),
        (&"basic".into(), &"form".into(), &"state".into())
    );
    let assertion = &shown["credentials"]["signed"]["assertion"];
    assert_eq!(
        (&assertion["algorithm"], &assertion["lifetime"], &assertion["issuer"]),
        (&"ES256".into(), &"5m".into(), &"me".into())
    );
}

#[test]
fn the_handover_socket_is_relative_to_the_file() {
    let yaml = "listeners: [{address: '127.0.0.1:0'}]\nhandover: a.sock\nroutes: [{name: one, respond: 204}]\n";
    let loaded = load_bytes(Path::new("/tmp/proxy.yaml"), yaml.as_bytes(), &|_| None).unwrap();
    assert_eq!(loaded.settings.handover.as_deref(), Some(Path::new("/tmp/a.sock")));
    assert!(effective(&loaded, Format::Yaml).contains("handover: a.sock\n"));
    assert_eq!(taken(BASE).settings.handover, None);
}

#[test]
fn a_routes_name_that_came_from_a_reference_is_told_to_nobody() {
    let environment = |name: &str| (name == "NAME").then(|| "hunter2".to_owned());
    let yaml = "listeners: [{address: '127.0.0.1:0'}]\nroutes: [{name: 'a-${NAME}', respond: 204}]\n";
    let loaded = load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &environment).unwrap();
    assert_eq!((&*loaded.settings.routes[0].name, &*loaded.settings.routes[0].label), ("a-hunter2", "a-***"));
}

#[test]
fn a_key_sets_url_is_told_without_its_query_and_without_what_came_from_a_reference() {
    let environment = |name: &str| (name == "PART").then(|| "hunter2".to_owned());
    for (written, label) in [
        ("https://login.example/keys?code=CANARY", "https://login.example/keys"),
        ("https://login.example/keys?code=CANARY&h=${PART}", "https://login.example/keys"),
        ("https://login.example/${PART}/keys?code=CANARY", "https://login.example/***/keys"),
    ] {
        let jwt = format!("{{jwt: {{issuer: i, audience: a, jwks: '{written}'}}}}");
        let yaml =
            format!("listeners: [{{address: '127.0.0.1:0'}}]\nroutes: [{{name: a, respond: 204, access: {jwt}}}]\n");
        let loaded = load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &environment).unwrap();
        match &loaded.settings.routes[0].access.jwt.as_ref().unwrap().keys {
            crate::model::KeySource::Url(source) => assert_eq!(source.label, label),
            crate::model::KeySource::File(_) => panic!("{written} is no file"),
        }
    }
}

#[test]
fn bounds_are_meant_as_they_are_written_each_part_by_itself() {
    use crate::model::{Per, Rate, RateRule};

    let loaded = taken(
        "\
listeners: [{address: 127.0.0.1:8080, connections: 7}]
limits: {connections: 9, memory: 1GiB, wrong_keys: {rate: 1/s}}
client: {header_count: 50}
defaults: {limits: {rate: 10/m, burst: 3, concurrency: 4}}
routes:
  - {name: inherits, respond: 204}
  - {name: own, match: {path: /own}, respond: 204, limits: {rate: 100/s, concurrency: 5}}
  - name: each
    match: {path: /each}
    respond: 204
    limits: {rate: [{rate: 1000/s}, {rate: 10/h, burst: 2, per: address}, {rate: 5/s, per: key}]}
",
    );
    let settings = &loaded.settings;
    assert_eq!((settings.listeners[0].connections, settings.connections), (Some(7), Some(9)));
    assert_eq!((settings.memory, settings.client.header_count), (Some(1 << 30), 50));
    assert_eq!((settings.guesses.rate.to_string().as_str(), settings.guesses.burst), ("1/s", 30));
    let rule = |rate, burst, per| RateRule { rate: Rate::parse(rate).unwrap(), burst, per };
    let bounds: Vec<_> =
        settings.routes.iter().map(|route| (&route.bounds.rates[..], route.bounds.concurrency)).collect();
    assert_eq!(bounds[0], (&[rule("10/m", 3, Per::Route)][..], Some(4)));
    assert_eq!(bounds[1], (&[rule("100/s", 100, Per::Route)][..], Some(5)), "a burst belongs to its rate");
    let each = [rule("10/h", 2, Per::Address), rule("5/s", 5, Per::Key), rule("1000/s", 1000, Per::Route)];
    assert_eq!(bounds[2], (&each[..], Some(4)), "those of one client first");
    let shown = effective(&loaded, Format::Yaml);
    assert!(shown.contains("header_count: 50") && shown.contains("burst: 30"), "{shown}");
}
