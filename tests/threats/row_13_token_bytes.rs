//! Row 13: line ends and odd bytes in a token. No header, query or body is ever built from it.

use tokenferry::demo::{Crayon, Crewmojo, CrmCom, Fault, OAuth2, Simulator};

use crate::harness::client::{assert_unavailable, get, post};
use crate::harness::proxy::Proxy;
use crate::harness::raw::Wire;
use crate::harness::vendors::{config, crayon, crewmojo, crm, partner, route, simulate};

/// As JSON writes them: line ends, NUL, DEL, a tab, spaces at the ends, what is no ASCII.
const BAD: &[&str] = &[
    r"a\r\nX-Evil: 1",
    r"a\nb",
    r"a\rb",
    r"a\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
    r"a\u0000b",
    r"a\u007fb",
    r"a\u0080b",
    r"a\tb",
    r" a",
    r"a ",
    r"a\u2028b",
    r"schl\u00fcssel",
    "schlüssel",
    r"\ud83d\ude00",
    "",
    " ",
];

/// Each place of a token alone, and all of them together.
const PLACES: &[&str] = &["{header: X-Key}", "{query: key}", "{json: key}", "[{header: token}, {parameter: token}]"];

async fn refuses(simulator: &Simulator, credential: impl Fn(&str) -> String, name: &str, answer: &str) {
    let upstream = Wire::ok().await;
    let mut credentials = Vec::new();
    let mut routes = Vec::new();
    for (number, place) in PLACES.iter().enumerate() {
        // Unlike one another, or they would be one login.
        let line = credential(&format!(", inject: {place}, timeout: {}s", 10 + number));
        let own = format!("{name}{number}");
        credentials.push(line.replacen(&format!("  {name}:"), &format!("  {own}:"), 1));
        routes.push(route(&own, &upstream.url("/"), &own, ""));
    }
    for bad in BAD {
        simulator.adjust(|options| options.token_fault = Some(Fault::body(answer.replace("TOKEN", bad))));
        for (credential, line) in credentials.iter().zip(&routes) {
            let proxy = Proxy::start(&config(std::slice::from_ref(credential), std::slice::from_ref(line))).await;
            let path = format!("/{}/x", line.split("name: ").nth(1).unwrap().split(',').next().unwrap());
            assert_unavailable(&get(proxy.address(), &path).await, "token_unavailable");
            assert_unavailable(&post(proxy.address(), &path, "application/json", "{}").await, "token_unavailable");
        }
    }
    assert_eq!(upstream.accepted(), 0, "{name}: a request left with such a token, or without one");
}

#[tokio::test]
async fn a_token_with_bytes_that_no_header_holds_is_no_token_of_crewmojo() {
    let simulator = simulate(Crewmojo::default()).await;
    refuses(&simulator, |more| crewmojo(simulator.origin(), more), "crewmojo", r#"{"access_token":"TOKEN"}"#).await;
}

#[tokio::test]
async fn a_token_with_bytes_that_no_header_holds_is_no_token_of_crm_com() {
    let simulator = simulate(CrmCom::default()).await;
    let answer = r#"{"status":{"code":"OK"},"data":{"token":"TOKEN"}}"#;
    refuses(&simulator, |more| crm(simulator.origin(), more), "crm", answer).await;
}

#[tokio::test]
async fn a_token_with_bytes_that_no_header_holds_is_no_token_of_crayon() {
    let simulator = simulate(Crayon::default()).await;
    refuses(&simulator, |more| crayon(simulator.origin(), more), "crayon", r#"{"AccessToken":"TOKEN"}"#).await;
}

#[tokio::test]
async fn a_token_with_bytes_that_no_header_holds_is_no_token_of_an_oauth_2_endpoint() {
    let simulator = simulate(OAuth2::default()).await;
    refuses(&simulator, |more| partner(simulator.origin(), more), "partner", r#"{"access_token":"TOKEN"}"#).await;
}

#[tokio::test]
async fn a_token_with_bytes_that_no_header_holds_is_no_token_of_a_login_of_ones_own() {
    let simulator = simulate(OAuth2::default()).await;
    let own = |more: &str| {
        format!(
            "  own: {{provider: custom, request: {{url: \"{}/oauth2/token\", json: {{pass: k3y}}}}, \
             response: {{token: /session}}{more}}}\n",
            simulator.origin()
        )
    };
    refuses(&simulator, own, "own", r#"{"session":"TOKEN"}"#).await;
}

#[test]
fn a_fixed_token_with_such_bytes_is_refused_with_the_configuration() {
    for bad in BAD.iter().filter(|bad| !bad.starts_with(r"\ud83d")) {
        // What YAML writes as JSON does.
        let yaml = format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\ncredentials:\n  fixed: {{provider: static, token: \"{bad}\"}}\n\
             routes: [{{name: a, upstream: 'http://127.0.0.1:1', credential: fixed}}]\n"
        );
        let output = crate::harness::process::run(&yaml, &["check"], &[]);
        assert_eq!(output.status.code(), Some(78), "{bad}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
