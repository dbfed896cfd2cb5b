//! No secret in any message: canaries everywhere, and files broken in many ways.

use super::*;

const FILE: &str = "\
listeners:
  - address: 127.0.0.1:8080
credentials:
  crewmojo:
    provider: crewmojo
    environment: production
    client_id: CANARY1
    client_secret: CANARY2 # CANARY3
  partner:
    provider: oauth2
    token_url: https://user:CANARY4@login.example.com/token?key=CANARY5
    grant: client_credentials
    client_id: ${ID:-CANARY6}
    client_secret: |
      CANARY7
      url: CANARY8
    extra: {tenant: CANARY9, path: CANARYA}
    inject: [{header: token}, {parameter: token}]
  user: {provider: oauth2, grant: refresh_token, refresh_token: CANARYM, state_file: s, encryption_key: [CANARYN, CANARYO], proxy: 'http://CANARYU:CANARYV@10.0.0.1:3128'}
  signed: {provider: oauth2, assertion: {private_key: CANARYP, algorithm: ES256, claims: {path: CANARYQ}}}
  given: {provider: oauth2, assertion: CANARYR, subject_token: CANARYS, actor_token: CANARYT}
  acme:
    provider: custom
    request: {method: POST, url: https://acme.example/login, headers: {X-App: CANARYB}, json: {user: \"CANARYC\", pass: 'CANARYD'}}
    response: {token: /data/session/id}
  legacy: {provider: static, token: \"CANARYE\", inject: {header: X-Api-Key}}
  old: {provider: static, token: \"${SECRET}\"}
telemetry: {otlp: https://otel.example.com, headers: {X-Key: CANARYU, authorization: \"Bearer CANARYV\"}, sample: 2}
routes:
  - name: crewmojo
    match: {path: /crewmojo, headers: {X-Tenant: CANARYF}}
    upstream: https://api.crewmojo.com/v1
    credential: crewmojo
    access: {allow: [10.0.0.0/8], api_keys: [{name: billing, key: \"CANARYG\"}, {key: CANARYH, name: b}]}
    request_headers:
      set:
        X-Source: CANARYI
        Authorization: \"CANARYJ
          path: CANARYK\"
      remove: [Cookie]
  - name: out
    match: {path: /out}
    upstream: {url: https://api.example.com/v1, proxy: http://CANARYW:CANARYZ@10.0.0.1:3128}
    credential: old
    access: {users: [{name: alice, password: \"$argon2id$CANARYG\"}, {password: CANARYH, name: b}], jwt: {audience: CANARYI, jwks: k.json, claims: {role: CANARYJ}}}
  - {name: no, match: {path: /x}, respond: 403}
";

/// The file without canaries that another reading of it would put under harmless fields.
fn plain() -> String {
    FILE.replace("url: CANARY8", "key: CANARY8").replace("path: CANARYK", "key: CANARYK")
}

fn silent(yaml: &str, how: &str) {
    let text = match read(yaml) {
        Ok(loaded) => {
            let shown = effective(&loaded, Format::Yaml);
            format!("{}{:?}{shown}", render(&loaded.warnings, false), loaded.settings.routes.len())
        }
        Err(problems) => {
            format!("{}{}", render(&problems.list, true), to_json(&problems.list))
        }
    };
    assert!(!text.contains("CANARY"), "{how}\n{text}\n{yaml}");
}

#[test]
fn the_whole_file_is_read_and_refused_without_a_secret() {
    let problems = refused(FILE);
    assert!(problems.list.iter().all(|problem| !problem.path.is_empty()), "{problems}");
    silent(FILE, "whole");
}

#[test]
fn no_cut_shows_a_secret() {
    for end in 0..FILE.len() {
        silent(&FILE[..end], &format!("cut at {end}"));
    }
}

#[test]
fn no_byte_put_in_shows_a_secret() {
    let file = plain();
    for at in 0..file.len() {
        // Every place, and in the course of the file every piece behind every kind of place.
        let piece = ["\"", "'", "{", "}", ":", "\n", "\t", "- ", "!", "&", "*", "#", "%", "\u{1}", "${ "][at % 15];
        silent(&format!("{}{piece}{}", &file[..at], &file[at..]), &format!("{piece:?} at {at}"));
    }
}

#[test]
fn no_line_taken_out_or_moved_shows_a_secret() {
    let file = plain();
    let lines: Vec<&str> = file.lines().collect();
    for index in 0..lines.len() {
        let mut fewer = lines.clone();
        let line = fewer.remove(index);
        silent(&fewer.join("\n"), "taken out");
        for to in [0, lines.len() / 2, lines.len() - 1] {
            let mut moved = fewer.clone();
            moved.insert(to, line);
            silent(&moved.join("\n"), "moved");
        }
        let mut deeper = lines.clone();
        let indented = format!("   {line}");
        deeper[index] = &indented;
        silent(&deeper.join("\n"), "indented");
    }
}

#[test]
fn no_scalar_of_another_kind_shows_a_secret() {
    let sound = plain().replace("user:CANARY4@", "").replace("?key=CANARY5", "");
    for piece in [
        "{CANARYX: CANARYY}",
        "[CANARYX, {a: CANARYY}]",
        "",
        "~",
        "'CANARYX ${NOT_SET}'",
        "\"${NO NAME}\"",
        "12",
        "true",
    ] {
        for (at, _) in sound.match_indices(": ") {
            let start = at + 2;
            let end = sound[start..].find(['\n', ',', '}', ']']).map_or(sound.len(), |end| start + end);
            // Only where nothing but a plain scalar is replaced.
            if sound[start..end].contains(['{', '[', '|', '"', '#']) {
                continue;
            }
            let broken = format!("{}{piece}{}", &sound[..start], &sound[end..]);
            // A canary under a harmless field is shown by the source line, as any value there is.
            let harmless = broken.replace("{CANARYX: CANARYY}", "{client_secret: CANARYY}");
            silent(
                &harmless.replace("[CANARYX, {a: CANARYY}]", "[{client_secret: CANARYY}]").replace("'CANARYX $", "'$"),
                piece,
            );
        }
    }
}

#[test]
fn no_message_shows_any_value_at_all() {
    // Here the canary stands in harmless places too: the source line may show it, messages never.
    for field in [
        "workers: CANARY",
        "shutdown_timeout: CANARY",
        "client: CANARY",
        "limits: {replay_total: CANARY}",
        "defaults: {access: CANARY}",
        "defaults: {timeouts: {response: CANARY}}",
        "defaults: {access: {allow: [CANARY]}}",
        "client: {head_size: [CANARY]}",
        "drain_delay: {a: CANARY}",
    ] {
        let problems = refused(&format!("{BASE}{field}\n"));
        for problem in &problems.list {
            assert!(!format!("{}{}", problem.message, problem.mend).contains("CANARY"), "{problem:?}");
        }
    }
    for (from, to) in [
        ("https://api.example.com/v1", "CANARY"),
        ("provider: static", "provider: CANARY"),
        ("credential: key", "credential: CANARY"),
        ("127.0.0.1:8080", "CANARY"),
        ("name: one", "name: one\n    match: {path: CANARY}"),
        ("name: one", "name: one\n    match: {host: 'CANARY CANARY'}"),
        ("name: one", "name: one\n    match: {path_regex: 'CANARY('}"),
        ("name: one", "name: one\n    match: {methods: ['CANARY CANARY']}"),
        ("name: one", "name: one\n    respond: CANARY"),
        ("name: one", "name: one\n    upgrades: ['CANARY CANARY']"),
        ("name: one", "name: one\n    token_endpoint: CANARY"),
        ("token: x", "token: x, refresh_before: CANARY%"),
        ("token: x", "token: x, inject: {header: 'CANARY CANARY'}"),
        ("token: x", "token: x, refused_when: {status: [CANARY]}"),
        ("token: x", "token: x, ca: CANARY"),
        ("https://api.example.com/v1", "{url: https://api.example.com, proxy: 'CANARY'}"),
        ("https://api.example.com/v1", "{url: https://api.example.com, proxy: 'http://u:CANARY@p/CANARY'}"),
    ] {
        let problems = refused(&BASE.replace(from, to));
        for problem in &problems.list {
            assert!(!format!("{}{}", problem.message, problem.mend).contains("CANARY"), "{problem:?}");
        }
    }
}

#[test]
fn the_rest_of_a_secret_with_a_comma_is_neither_named_nor_shown() {
    for (yaml, secret) in [
        ("access: {users: [{name: a, password: $argon2id$v=19$m=19456,t=2,p=1$SALTSALT$HASHHASH}]}", "HASHHASH"),
        ("access: {api_keys: [{name: a, key: canary-abc,canary-def}]}", "canary"),
    ] {
        let yaml = format!("listeners: [{{address: '127.0.0.1:0'}}]\nroutes:\n  - {{name: a, respond: 204, {yaml}}}\n");
        let problems = load_bytes(Path::new("proxy.yaml"), yaml.as_bytes(), &|_| None).unwrap_err();
        let told = format!("{problems:?}");
        assert!(told.contains("perhaps the rest of a value with a comma in it"), "{told}");
        assert!(!told.contains(secret), "{told}");
        assert_eq!(problems.list.len(), 1, "one mistake: {problems}");
    }
}
