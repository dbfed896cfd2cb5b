//! `check`.

use http::{Response, StatusCode};
use http_body_util::Full;
use tokenferry::demo::Fault;

use super::{partner, ran, ran_async, ran_with};
use crate::harness::issuer::{Issuer, jwks};
use crate::harness::process;
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;

const GOOD: &str = "\
listeners: [{address: 127.0.0.1:8080}]
credentials:
  key: {provider: static, token: x}
routes:
  - {name: one, match: {path: /one}, upstream: https://api.example.com/v1, credential: key}
  - {name: two, match: {path: /two}, respond: 403}
";

#[test]
fn a_good_file_is_told_in_one_line() {
    assert_eq!(ran(GOOD, &["check"]).done(), "proxy.yaml: ok, 2 routes, 1 credential\n");
}

#[test]
fn the_shipped_file_is_good_once_its_variables_are_set() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/proxy.yaml")).unwrap();
    let variables = [
        "CREWMOJO_CLIENT_ID",
        "CREWMOJO_CLIENT_SECRET",
        "CRM_KEY",
        "CRAYON_CLIENT_ID",
        "CRAYON_CLIENT_SECRET",
        "CRAYON_USERNAME",
        "CRAYON_PASSWORD",
    ]
    .map(|name| (name, "x"));
    assert_eq!(ran_with(&shipped, &["check"], &variables).done(), "proxy.yaml: ok, 4 routes, 3 credentials\n");
}

#[test]
fn every_error_is_told_with_its_place_its_line_and_the_mend() {
    let bad = GOOD.replace("credential: key", "credential: kee").replace("respond: 403", "respnd: 403");
    let ran = ran(&bad, &["check"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(78), ""));
    assert_eq!(
        ran.err,
        "\
error: routes[0].credential: there is no credential of this name
 --> proxy.yaml:5:88
  |
5 |   - {name: one, match: {path: /one}, upstream: https://api.example.com/v1, credential: kee}
  |                                                                                        ^
  |
  = help: did you mean `key`?

error: routes[1].respnd: unknown field `respnd`
 --> proxy.yaml:6:38
  |
6 |   - {name: two, match: {path: /two}, respnd: ***}
  |                                      ^
  |
  = help: did you mean `respond`?

tokenferry: proxy.yaml is invalid: 2 errors
"
    );
}

#[test]
fn warnings_do_not_make_a_file_invalid() {
    let odd = GOOD.replace("match: {path: /two}", "match: {path: /one}");
    let ran = ran(&odd, &["check"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "proxy.yaml: ok, 2 routes, 1 credential, 1 warning\n"));
    assert!(
        ran.err.starts_with("warning: routes[1]: the route two can never match: one always goes first\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("proxy.yaml:6:5"), "{}", ran.err);
}

#[test]
fn an_answer_to_logins_that_cannot_work_is_warned_of() {
    let yaml = |access: &str, more: &str| {
        format!(
            "\
listeners: [{{address: 127.0.0.1:8080}}]
credentials:
  partner: {{provider: oauth2, token_url: https://api.example/token, grant: client_credentials, client_id: a, client_secret: b{more}}}
routes:
  - {{name: one, upstream: https://api.example/v1, credential: partner, access: {{{access}}}}}
"
        )
    };
    let jwt = "jwt: {issuer: i, audience: a, jwks: 'https://login.example/keys'}";
    let vain = "warning: routes[0]: logins of clients' own are answered, but cannot work";
    let warned = |yaml: &str| {
        let ran = ran(yaml, &["check"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.err.contains(vain)
    };
    assert!(warned(&yaml(jwt, "")));
    assert!(!warned(&yaml(jwt, "").replace("access:", "token_endpoint: refuse, access:")));
    assert!(!warned(&yaml("api_keys: [{name: billing, key: k3y-of-billing-and-more}]", "")));
    assert!(!warned(&yaml(jwt, ", inject: {header: X-Token}")));
}

#[tokio::test]
async fn connecting_asks_issuers_for_their_keys_and_tells_what_is_wrong() {
    let issuer = Issuer::new("one");
    let keys = jwks(&[&issuer]);
    let server = Upstream::answering(move |seen| {
        let text = match seen.path() {
            "/keys" => keys.clone(),
            "/.well-known/openid-configuration" => r#"{"issuer": "i", "jwks_uri": "https://x/keys"}"#.to_owned(),
            _ => return Response::builder().status(404).body(Full::default()).unwrap(),
        };
        Response::new(Full::from(text))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    stranger.write(&folder.path().join("ca.pem"));
    let tls = authority.identity(&["localhost"]).server(&["http/1.1"], None);
    let secured = Upstream::tls_answering(tls, |_| Response::new(Full::default())).await;
    let secured = format!("https://localhost:{}/keys", secured.address.port());
    let route = |name: &str, jwks: &str| {
        let jwt = format!("{{issuer: i, audience: a, jwks: '{jwks}'}}");
        format!("  - {{name: {name}, match: {{path: /{name}}}, respond: 204, access: {{jwt: {jwt}}}}}\n")
    };
    let head = "listeners: [{address: 127.0.0.1:8080}]\nroutes:\n";
    let of = |target: &str| server.url(target);
    let (keys, discovery, none) = (of("/keys?secret=1"), of("/.well-known/openid-configuration"), of("/none"));
    let good = [head, &route("a", &keys), &route("b", &keys)].concat();
    assert_eq!(
        ran_async(&good, &["check", "--connect"]).await.done(),
        format!("proxy.yaml: ok, 2 routes, 0 credentials\n{}: 1 key\n", of("/keys"))
    );
    assert_eq!(server.seen().len(), 1, "both routes have the same keys");
    let tls = route("c", &secured).replace("jwks:", "ca: ca.pem, jwks:");
    let yaml = [head, &route("a", &discovery), &route("b", &none), &tls].concat();
    std::fs::write(folder.path().join("proxy.yaml"), &yaml).unwrap();
    let bad = super::in_folder(folder.path(), &["check", "--connect"]).await;
    assert_eq!((bad.code, bad.err.as_str()), (Some(1), ""), "{}", bad.out);
    assert_eq!(
        bad.out,
        format!(
            "proxy.yaml: ok, 3 routes, 0 credentials\n\
             {discovery}: no keys: the answer is an OpenID configuration, no JWK set; name as `jwks` what it has as \
             `jwks_uri`\n\
             {none}: no keys: the answer is 404 Not Found, not 200; name the URL that answers with the keys \
             themselves: no redirect is followed\n\
             {secured}: no keys: cannot connect: invalid peer certificate: UnknownIssuer; name the authority of its \
             certificate as `ca` beside `jwks`, or have the certificate mended\n"
        )
    );
    let json = super::in_folder(folder.path(), &["check", "--connect", "--format", "json"]).await;
    assert_eq!(json.code, Some(1));
    let json = json.json();
    assert_eq!(json["jwt_keys"][1]["url"], none);
    assert_eq!(json["jwt_keys"][1]["error"], "the answer is 404 Not Found, not 200");
}

#[test]
fn what_only_assembling_finds_is_told_in_the_same_way_and_all_of_it() {
    let long = "a".repeat(64);
    let yaml = format!(
        "\
listeners: [{{address: 127.0.0.1:8080}}]
credentials:
  partner: {{provider: oauth2, token_url: https://{long}/token, grant: client_credentials, client_id: a, client_secret: b}}
routes:
  - {{name: one, upstream: https://{long}/v1, credential: partner}}
"
    );
    for command in [&["check"][..], &["run"]] {
        let ran = ran(&yaml, command);
        assert_eq!(ran.code, Some(78), "{ran:?}");
        let told: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(
            told,
            [
                "error: credentials.partner: its host is no name that a certificate can hold",
                "error: routes[0].upstream: its host is no name that a certificate can hold",
            ]
        );
        assert!(ran.err.contains("proxy.yaml:3:3") && ran.err.contains("proxy.yaml:5:27"), "{}", ran.err);
    }
}

#[test]
fn a_machine_without_root_certificates_is_told_of_once() {
    let two = GOOD.replace("respond: 403", "upstream: https://other.example.com, credential: none");
    let ran = ran_with(&two, &["check"], &[("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")]);
    assert_eq!(ran.code, Some(78));
    let told: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(
        told,
        ["error: routes[0].upstream: nothing to judge its certificate by: this system has no root certificates"]
    );
    assert!(ran.err.contains("install ca-certificates"), "{}", ran.err);
}

#[test]
fn programs_get_one_object() {
    let good = ran(GOOD, &["check", "--format", "json"]).json();
    assert_eq!(
        good,
        serde_json::json!({"file": "proxy.yaml", "ok": true, "routes": 2, "credentials": 1, "problems": []})
    );
    let ran = ran(&GOOD.replace("respond: 403", "respond: 99"), &["check", "--format", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(78), ""));
    let bad = ran.json();
    assert_eq!(bad["ok"], false);
    let problem = &bad["problems"][0];
    assert_eq!(
        [&problem["severity"], &problem["line"], &problem["column"], &problem["path"]],
        [&serde_json::json!("error"), &6.into(), &47.into(), &"routes[1].respond".into()]
    );
}

#[tokio::test]
async fn connecting_tells_each_tokens_life_and_where_it_is_known_from() {
    let (vendor, yaml) = partner().await;
    let yaml = yaml.replace("routes:", "  key: {provider: static, token: x}\nroutes:");
    let ran = ran_async(&yaml, &["check", "--connect"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.out,
        "\
proxy.yaml: ok, 1 route, 2 credentials, 1 warning
key: a token that never expires
partner: a token for 1h, as the vendor's answer says
"
    );
    assert_eq!(vendor.token_requests(), 1);
}

#[tokio::test]
async fn a_login_that_fails_is_told_with_the_vendors_code_and_fails_the_check() {
    let (vendor, yaml) = partner().await;
    let yaml = yaml.replace("demo/oauth2+secret", "wrong");
    let ran = ran_async(&yaml, &["check", "--connect"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{}", ran.out);
    assert_eq!(
        ran.out,
        "\
proxy.yaml: ok, 1 route, 1 credential
partner: no token: the token endpoint answered 401 (invalid_client); check the credential's ids and secrets, and that they are for this environment
"
    );
    vendor.adjust(|options| options.token_fault = Some(Fault::status(StatusCode::BAD_GATEWAY)));
    let json = ran_async(&yaml, &["check", "--connect", "--format", "json"]).await;
    assert_eq!(json.code, Some(1));
    let json = json.json();
    assert_eq!(json["connect"][0]["credential"], "partner");
    assert_eq!(json["connect"][0]["outcome"], "no token");
    assert_eq!(json["connect"][0]["fault"]["message"], "the token endpoint answered 502");
    assert_eq!(json["connect"][0]["fault"]["refused"], false);
}

#[tokio::test]
async fn an_exclusive_token_is_left_alone_unless_forced() {
    let (vendor, yaml) = partner().await;
    let yaml = yaml.replace("    grant:", "    exclusive: true\n    grant:");
    let spared = ran_async(&yaml, &["check", "--connect"]).await.done();
    assert_eq!(
        spared.lines().last().unwrap(),
        "partner: not tried: a new token of this credential invalidates the earlier ones, and so the one that a running proxy may be using; --force logs in all the same"
    );
    assert_eq!(vendor.token_requests(), 0);
    let forced = ran_async(&yaml, &["check", "--connect", "--force"]).await.done();
    assert!(forced.ends_with("partner: a token for 1h, as the vendor's answer says\n"), "{forced}");
    assert_eq!(vendor.token_requests(), 1);
    assert_eq!(ran(&yaml, &["check", "--force"]).code, Some(2), "--force means nothing without --connect");
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = process::command(folder.path()).args(["check", "-c", "none.yaml"]).output().unwrap();
    let ran = super::Ran::from(output);
    assert_eq!(ran.code, Some(78));
    assert_eq!(
        ran.err,
        "\
error: there is no such file
--> none.yaml
 = help: name the configuration with -c FILE or TOKENFERRY_CONFIG; the shipped proxy.yaml is an example

tokenferry: none.yaml is invalid: 1 error
"
    );
}
