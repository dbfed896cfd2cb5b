//! What `config` prints is a configuration again, and means the same.

use super::*;

const LISTENERS: &str = "\
listeners:
  - {address: '127.0.0.1:8080', proxy_protocol: true, header_case: lower, connections: 7}
  - {address: '[::1]:8443', tls: {cert: a.crt, key: a.key, certificates: [{cert: a.crt, key: a.key}], client_ca: a.crt}}
  - {address: '[::1]:8444', tls: {cert: a.crt, key: a.key, client_ca: a.crt, client_auth: request, session_tickets: false}}
  - {address: 'unix:/tmp/a.sock'}
trusted_proxies: [10.0.0.0/8, 'fd00::/8', unix]
";

/// Routes with every kind of bound and every rule that holds no secret.
const ROUTES: &str = "\
routes:
  - {name: inherits, match: {path: /a}, upstream: 'https://a.example/v1', credential: none}
  - {name: answers, match: {path: /b}, respond: 204, limits: {concurrency: 3}}
  - {name: rate, match: {path: /c}, upstream: 'https://a.example', credential: none, limits: {rate: 1000/s}}
  - {name: both, match: {path: /d}, upstream: 'https://a.example', credential: none, limits: {rate: 9/h, burst: 2}}
  - name: map
    match: {path: /e}
    upstream: {url: 'https://a.example', pool: {idle: 1s}, insecure: true, protocol: h2}
    credential: none
    limits: {rate: {rate: 5/s, per: key}, body_rate: 1KiB, waiting: 5, connections: 6, body: 1000}
  - name: list
    match: {path: /f}
    upstream: 'https://a.example'
    credential: none
    limits: {rate: [{rate: 1000/s}, {rate: 10/m, burst: 3, per: address}], body_rate: 0, concurrency: 8}
    timeouts: {body: 2m}
    access: {client_certificates: any, allow: [10.0.0.0/8, '::1'], deny: ['fd00::/8']}
  - name: token
    match: {path: /g}
    upstream: 'https://a.example'
    credential: none
    access:
      jwt: {issuer: 'https://i.example', audience: [a, b], jwks: 'https://i.example/jwks', ca: a.crt, leeway: 0s,
        algorithms: [ES256], claims: {scope: r w, groups: [a, b], on: true, n: 7, password: changed, half: '0.5'}}
  - name: file
    match: {path: /h}
    respond: 200
    access: {jwt: {issuer: i, audience: a, jwks: jwks.json}, client_certificates: {names: [a.internal, '*.b']}}
  - {name: public, match: {path: /i}, respond: 200, access: public}
";

fn meant(mut loaded: Loaded) -> String {
    loaded.settings.fingerprint = [0; 32];
    format!("{:#?}", loaded.settings)
}

#[test]
fn what_config_prints_is_taken_again_and_means_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let made = params.self_signed(&own).unwrap();
    let key = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    for (name, content) in [("a.crt", made.pem()), ("a.key", own.serialize_pem()), ("jwks.json", key.to_owned())] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().join("proxy.yaml");
    let load =
        |yaml: &str| load_bytes(&path, yaml.as_bytes(), &environment).unwrap_or_else(|told| panic!("{told}\n{yaml}"));
    for general in [
        "",
        "limits: {memory: 32MiB, connections: 9, replay_total: 1000, wrong_keys: {rate: 7/m}}\nclient: {header_count: 50}\n",
        "defaults: {limits: {rate: 50/s, burst: 7, concurrency: 4, body_rate: 0}, access: {deny: [10.1.0.0/16]}}\n",
        "defaults: {limits: {rate: 50/s, body_rate: 200, waiting: 3}, timeouts: {body: 90s}, access: public}\n",
        "defaults: {limits: {rate: [{rate: 50/s}, {rate: 1/h, burst: 3, per: key}]}}\nlimits: {wrong_keys: {burst: 3}}\n",
    ] {
        let yaml = format!("{LISTENERS}{general}{ROUTES}").replace("inherits, match", {
            // A burst of its own beside the rate of all.
            if general.contains("rate: 50/s,") { "inherits, limits: {burst: 5}, match" } else { "inherits, match" }
        });
        let yaml = if general.contains("access") { yaml } else { yaml.replace("deny: ['fd00::/8']", "deny: []") };
        for format in [Format::Yaml, Format::Json] {
            let loaded = load(&yaml);
            let printed = effective(&loaded, format);
            assert_eq!(editor::complaint(&printed), None, "{printed}");
            let again = load(&printed);
            assert_eq!(effective(&again, format), printed);
            assert_eq!(meant(loaded), meant(again), "{printed}");
        }
    }
}
