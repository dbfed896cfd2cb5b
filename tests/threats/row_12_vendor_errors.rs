//! Row 12: what a token endpoint says of a failure. A vendor may quote what it was sent; the client sees a
//! fixed answer, and the log no more than the vendor's code, cut and without what was sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::client::{get, json as read, text};
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, route};

/// Words that stand in no message of ours.
const PROSE: &str = "Zyxwvut says that your account is locked";
const SECRET: &str = "s3cr3t-client-secret/+&";
const PASSWORD: &str = "s3cr3t p4ssw0rd & more";

/// A login endpoint that says back all that it was sent, in every part of its answer.
async fn talker(status: u16) -> Upstream {
    Upstream::answering(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let auth = seen.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let decoded = auth.as_deref().and_then(|auth| auth.strip_prefix("Basic ")).map_or_else(String::new, |basic| {
            String::from_utf8_lossy(&STANDARD.decode(basic).unwrap_or_default()).into_owned()
        });
        let custom = seen.headers.get("x-secret").map_or("", |value| value.to_str().unwrap());
        let said = format!("E_{}_{decoded}_{body}_{custom}", auth.unwrap_or_default());
        let long = format!("{said}{}", "x".repeat(4000));
        let answer = json!({
            "error": long, "error_description": PROSE, "error_uri": said, "Error": long, "errorMessage": PROSE,
            "status": {"code": long, "message": PROSE, "description": said}, "message": said,
        });
        let quoted = STANDARD.encode(&said);
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("location", format!("/x?{quoted}"))
            .header("www-authenticate", format!("Bearer error=\"{quoted}\", error_description=\"{PROSE}\""))
            .header("x-debug", quoted)
            .body(Full::from(answer.to_string()))
            .unwrap()
    })
    .await
}

/// Every provider, with the talker in the vendor's place.
fn credentials(talker: &Upstream) -> Vec<(&'static str, String)> {
    let url = talker.url("/token");
    let client = format!("client_id: me, client_secret: \"{SECRET}\"");
    vec![
        ("crew", format!("provider: crewmojo, token_url: \"{url}\", {client}")),
        (
            "crm",
            format!(
                "provider: crm_com, base_url: \"{}\", method: password, username: me, organisation: O, password: \"{PASSWORD}\"",
                talker.url("/rest")
            ),
        ),
        (
            "key",
            format!("provider: crm_com, base_url: \"{}\", method: web_api_key, key: \"{SECRET}\"", talker.url("/k")),
        ),
        ("crayon", format!("provider: crayon, token_url: \"{url}\", {client}, username: me, password: \"{PASSWORD}\"")),
        ("basic", format!("provider: oauth2, token_url: \"{url}\", {client}")),
        (
            "body",
            format!(
                "provider: oauth2, token_url: \"{url}\", grant: password, client_auth: body, {client}, username: me, password: \"{PASSWORD}\""
            ),
        ),
        (
            "own",
            format!(
                "provider: custom, request: {{url: \"{url}\", headers: {{X-Secret: \"{SECRET}\"}}, json: {{pass: \"{PASSWORD}\"}}}}, response: {{token: /token}}"
            ),
        ),
    ]
}

/// Every way in which a secret may be written.
fn spellings() -> Vec<String> {
    let mut all = Vec::new();
    for secret in [SECRET, PASSWORD] {
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let basic = STANDARD.encode(format!("me:{secret}"));
        let percent = form.replace('+', "%20");
        all.extend([secret.to_owned(), form.clone(), percent, basic, STANDARD.encode(format!("me:{form}"))]);
        // Half of one is too much, too.
        all.push(secret[..10].to_owned());
    }
    all
}

#[tokio::test]
async fn a_client_sees_a_fixed_503_and_the_log_a_short_code_without_what_was_sent() {
    for status in [400, 401, 403, 429, 500, 200, 302] {
        let talker = talker(status).await;
        let upstream = Upstream::start().await;
        let all = credentials(&talker);
        let lines: Vec<_> = all.iter().map(|(name, fields)| format!("  {name}: {{{fields}}}\n")).collect();
        let routes: Vec<_> = all.iter().map(|(name, _)| route(name, &upstream.url("/"), name, "")).collect();
        let process = Process::start(&config(&lines, &routes), &[("TOKENFERRY_LOG", "trace")]);
        let mut bodies = Vec::new();
        for (name, _) in &all {
            let answer = get(process.address, &format!("/{name}/x")).await;
            assert_eq!(answer.status(), 503, "{name}, {status}: {}", text(&answer));
            let whole = format!("{:?} {}", answer.headers(), text(&answer));
            assert!(!whole.contains("Zyxwvut") && !whole.contains("x-debug") && !whole.contains("xxxx"), "{whole}");
            assert!(spellings().iter().all(|secret| !whole.contains(secret.as_str())), "{name}, {status}: {whole}");
            let mut problem = read(&answer);
            assert!(problem["request_id"].take().is_string(), "{whole}");
            bodies.push(problem);
        }
        assert!(bodies.iter().all(|body| same_but_for_the_wait(body, &bodies[0])), "{status}: {bodies:#?}");
        eventually("each failure is logged", || process.log().matches("login failed").count() >= all.len()).await;
        assert!(upstream.seen().is_empty(), "{status}: a request left without a token");
        process.signal("TERM");
        let (_, log) = process.ended().await;
        for secret in spellings() {
            let line = log.lines().find(|line| line.contains(&secret));
            assert!(line.is_none(), "{status}: {secret} is in the log: {line:?}");
        }
        assert!(!log.contains("Zyxwvut") && !log.contains(&"x".repeat(201)), "{status}: {log}");
        let longest = log.lines().filter(|line| line.contains("login failed")).map(str::len).max().unwrap();
        assert!(longest < 700, "{status}: a line of {longest} bytes");
    }
}

/// The same words; how long to wait is the credential's own back-off.
fn same_but_for_the_wait(one: &Value, other: &Value) -> bool {
    ["type", "title", "status", "detail", "code"].iter().all(|field| one[field] == other[field])
}
