//! Each vendor, end to end: its upstream sees the right token, in its places, once, and nothing that
//! the client sent there.

use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tokenferry::demo::{Crayon, Crewmojo, CrmCom, OAuth2};

use crate::harness::client::{self, get, json, send, text, token_number};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::{Seen, Upstream};
use crate::harness::vendors::{config, crayon, crewmojo, crm, crm_by, partner, route, simulate};

/// Tokens of the client's own, in every spelling of `Authorization`.
fn with_authorization_of_its_own(target: &str) -> Request<Full<bytes::Bytes>> {
    Request::get(target)
        .header("Authorization", "Bearer theirs")
        .header("authorization", "Basic dGhlaXJz")
        .body(Full::default())
        .unwrap()
}

/// What came for data, logins left out.
fn data(tap: &Upstream) -> Vec<Seen> {
    tap.seen().into_iter().filter(|seen| !seen.path().contains("token")).collect()
}

#[tokio::test]
async fn crewmojo_sees_its_token_once_and_not_the_clients() {
    let simulator = simulate(Crewmojo::default()).await;
    let tap = Upstream::before(simulator.origin()).await;
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &tap.url("/v1"), "crewmojo", "")]);
    let proxy = Proxy::start(&yaml).await;

    let answer = send(proxy.address(), with_authorization_of_its_own("/crewmojo/employees?page=2&token=mine")).await;
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{}", text(&answer));
    assert_eq!(json(&answer)["path"], "/v1/employees");
    let body = r#"{"startDate":20240101,"endDate":20241231,"contentType":"json"}"#;
    let report =
        client::post(proxy.address(), "/crewmojo/integrations/download/oneonone.summary", "application/json", body)
            .await;
    assert_eq!((report.status().as_u16(), token_number(&report)), (200, Some(1)));

    let [first, second] = data(&tap).try_into().unwrap();
    assert_eq!(first.target, "/v1/employees?page=2&token=mine", "the query is not the token's place here");
    assert_eq!(first.bearer(), second.bearer());
    assert_eq!(second.body, body);
    assert_eq!(simulator.token_requests(), 1);
}

#[tokio::test]
async fn headers_that_differ_from_the_tokens_by_case_or_underscore_do_not_reach_the_upstream() {
    let tap = Upstream::start().await;
    let credential = "  keys: {provider: static, token: k3y, inject: [{header: X-Api-Key}, {header: Authorization, scheme: Token}]}\n";
    let proxy = Proxy::start(&config(&[credential.to_owned()], &[route("keyed", &tap.url("/"), "keys", "")])).await;
    let head = "GET /keyed/a HTTP/1.1\r\nHost: a\r\nX_Api_Key: theirs\r\nx-api-key: theirs\r\nX-API-KEY: theirs\r\n\
                AUTHORIZATION: Token theirs\r\nX-Api_Key: theirs\r\nX-Api-Keys: other\r\nConnection: close\r\n\r\n";
    assert_eq!(client::status(&client::raw(proxy.address(), head).await), 200);
    let seen = tap.last();
    assert_eq!((seen.header("x-api-key"), seen.header("authorization")), (Some("k3y"), Some("Token k3y")));
    assert_eq!(seen.header("x-api-keys"), Some("other"));
    assert!(seen.headers.values().all(|value| value != "theirs" && value != "Token theirs"), "{:?}", seen.headers);
}

#[tokio::test]
async fn crm_com_sees_its_token_in_query_or_body_and_header_by_each_of_its_logins() {
    let rules = CrmCom::default();
    let CrmCom { username, password, organisation, key, authentication_code, identifier, pass_code, jwt } = &rules;
    for method in [
        format!(
            "method: password, username: {username}, password: {password}, organisation: {organisation}, unit: \"1\""
        ),
        format!("method: web_api_key, key: {key}"),
        format!("method: web_api_key, key: {key}, unit: \"7\""),
        format!(
            "method: consumer_application_key, key: {key}, access_token_identifier: {{authentication_code: {authentication_code}}}"
        ),
        format!(
            "method: consumer_application_key, key: {key}, access_token_identifier: {{identifier: {identifier}, pass_code: {pass_code}}}"
        ),
        format!("method: consumer_application_key, jwt: {jwt}, organisation: {organisation}"),
    ] {
        let simulator = simulate(CrmCom::default()).await;
        let tap = Upstream::before(simulator.origin()).await;
        // The login goes through the tap as well: its path follows from the base URL.
        let yaml =
            config(&[crm_by(&method, &tap.url(""), "")], &[route("crm", &tap.url("/crmapi/rest/v2"), "crm", "")]);
        let proxy = Proxy::start(&yaml).await;

        let query = "/crm/contact_information/show?contact_information_identifier=number=CI1&%74oken=theirs&fields_set=a,b+%7e&token=theirs";
        let request = Request::get(query).header("Token", "theirs").body(Full::default()).unwrap();
        let answer = send(proxy.address(), request).await;
        assert_eq!(token_number(&answer), Some(1), "{method}: {}", text(&answer));
        assert_eq!(json(&answer)["status"]["code"], "OK");

        let body = r#" {"a":1.50, "token": "theirs","b":[1, 2],"tok\u0065n":null,"name":"token"}"#;
        let answer =
            client::post(proxy.address(), "/crm/contact_information/create?token=theirs&x=1", "application/json", body)
                .await;
        assert_eq!(token_number(&answer), Some(1), "{method}: {}", text(&answer));

        let [query, body] = data(&tap).try_into().unwrap();
        let token = query.header("token").unwrap().to_owned();
        assert_eq!(
            query.target,
            format!(
                "/crmapi/rest/v2/contact_information/show?contact_information_identifier=number=CI1&fields_set=a,b+%7e&token={token}"
            )
        );
        assert_eq!(body.target, "/crmapi/rest/v2/contact_information/create?x=1");
        assert_eq!(body.header("token"), Some(token.as_str()));
        assert_eq!(body.body, format!(r#" {{"token":"{token}","a":1.50,"b":[1, 2],"name":"token"}}"#));
        assert_eq!((simulator.token_requests(), simulator.refused()), (1, 0), "{method}");
    }
}

#[tokio::test]
async fn crm_com_gets_a_post_without_json_with_its_token_in_the_query() {
    let simulator = simulate(CrmCom::default()).await;
    let tap = Upstream::start().await;
    let yaml = config(&[crm(simulator.origin(), "")], &[route("crm", &tap.url("/crmapi/rest/v2"), "crm", "")]);
    let proxy = Proxy::start(&yaml).await;
    for (content_type, body) in [("text/csv", "token,theirs"), ("application/json", r#"["token"]"#)] {
        client::post(proxy.address(), "/crm/import?a=1", content_type, body).await;
        let seen = tap.last();
        let token = seen.header("token").unwrap().to_owned();
        assert_eq!(seen.target, format!("/crmapi/rest/v2/import?a=1&token={token}"));
        assert_eq!(seen.body, body);
    }
}

#[tokio::test]
async fn crayon_sees_its_token_once_and_not_the_clients() {
    let simulator = simulate(Crayon::default()).await;
    let tap = Upstream::before(simulator.origin()).await;
    let yaml = config(&[crayon(simulator.origin(), "")], &[route("crayon", &tap.url("/api/v1"), "crayon", "")]);
    let proxy = Proxy::start(&yaml).await;
    let answer = send(proxy.address(), with_authorization_of_its_own("/crayon/Organizations/?page=1")).await;
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{}", text(&answer));
    let seen = tap.last();
    assert_eq!(seen.target, "/api/v1/Organizations/?page=1");
    assert!(seen.bearer().len() > 30);
    assert_eq!(simulator.token_requests(), 1);
}

#[tokio::test]
async fn an_oauth2_endpoint_is_asked_by_each_grant_and_each_way_to_say_who_asks() {
    let rules = OAuth2::default();
    let user = format!(", grant: password, username: \"{}\", password: \"{}\"", rules.username, rules.password);
    for more in [
        String::new(),
        ", client_auth: body".to_owned(),
        ", client_auth: body, body: json, scope: read write, extra: {tenant: acme}".to_owned(),
        user.clone(),
        format!("{user}, client_auth: body"),
    ] {
        let simulator = simulate(OAuth2::default()).await;
        let tap = Upstream::before(simulator.origin()).await;
        let yaml = config(&[partner(simulator.origin(), &more)], &[route("partner", &tap.url("/api"), "partner", "")]);
        let proxy = Proxy::start(&yaml).await;
        let answer = send(proxy.address(), with_authorization_of_its_own("/partner/orders")).await;
        assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{more}: {}", text(&answer));
        assert!(tap.last().bearer().starts_with("demo-oauth2-"));
        assert_eq!(simulator.token_requests(), 1, "{more}");
    }
}

/// Answers logins with this body, and data with `ok`.
async fn endpoint(login: &'static str, answer: &'static str) -> Upstream {
    Upstream::answering(move |seen| {
        if seen.path() != login {
            return Response::new(Full::from("ok"));
        }
        Response::builder().header("content-type", "application/json").body(Full::from(answer)).unwrap()
    })
    .await
}

#[tokio::test]
async fn a_public_oauth2_client_says_its_id_and_nothing_else() {
    let upstream = endpoint("/token", r#"{"access_token":"public","token_type":"bearer","expires_in":"60"}"#).await;
    let credential = format!(
        "  open: {{provider: oauth2, token_url: \"{}\", client_id: me, client_auth: none, scope: a b}}\n",
        upstream.url("/token")
    );
    let proxy = Proxy::start(&config(&[credential], &[route("open", &upstream.url("/"), "open", "")])).await;
    assert_eq!(get(proxy.address(), "/open/x").await.status(), 200);
    let [login, data] = upstream.seen().try_into().unwrap();
    assert_eq!((login.method.as_str(), login.header("authorization")), ("POST", None));
    let mut parameters: Vec<_> = form_urlencoded::parse(&login.body).into_owned().collect();
    parameters.sort();
    let expected = [("client_id", "me"), ("grant_type", "client_credentials"), ("scope", "a b")];
    assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(data.bearer(), "public");
}

#[tokio::test]
async fn a_login_of_ones_own_is_sent_as_written_and_its_answer_read_by_pointers() {
    let answer = r#"{"status":{"code":"OK"},"data":{"session":{"id":"sess/ion"},"ttl":"60"}}"#;
    let upstream = endpoint("/login", answer).await;
    let credential = format!(
        "  acme:\n    provider: custom\n    request: {{method: PUT, url: \"{}\", headers: {{X-App: billing}}, \
         json: {{user: \"${{USER}}\", pass: \"${{PASS}}\", list: [1, true]}}}}\n    response: {{token: /data/session/id, \
         expires_in: /data/ttl, success: {{pointer: /status/code, equals: OK}}}}\n    \
         inject: [{{query: sid}}, {{json: session}}, {{header: X-Session}}]\n",
        upstream.url("/login")
    );
    let yaml = config(&[credential], &[route("acme", &upstream.url("/api"), "acme", "")]);
    let proxy = Proxy::start_with(&yaml, &[("USER", "me"), ("PASS", "pa\"ss")]).await;
    let answer =
        client::post(proxy.address(), "/acme/bill?sid=theirs&n=1", "application/json", r#"{"session":{},"n":1}"#).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    let empty = get(proxy.address(), "/acme/bill").await;
    assert_eq!(empty.status(), 200, "{}", text(&empty));

    let [login, data, empty] = upstream.seen().try_into().unwrap();
    assert_eq!((login.method.as_str(), login.header("x-app")), ("PUT", Some("billing")));
    let sent: serde_json::Value = serde_json::from_slice(&login.body).unwrap();
    assert_eq!(sent, json!({"user": "me", "pass": "pa\"ss", "list": [1, true]}));
    assert_eq!(data.target, "/api/bill?n=1&sid=sess%2Fion");
    assert_eq!(data.header("x-session"), Some("sess/ion"));
    assert_eq!(data.body, r#"{"session":"sess/ion","n":1}"#);
    assert_eq!(
        (empty.target.as_str(), empty.body.as_ref()),
        ("/api/bill?sid=sess%2Fion", &br#"{"session":"sess/ion"}"#[..])
    );
    assert_eq!(empty.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_fixed_token_is_sent_as_it_is_and_its_refusal_passes() {
    let upstream = Upstream::answering(|seen| {
        Response::builder().status(if seen.path() == "/no" { 401 } else { 200 }).body(Full::from("theirs")).unwrap()
    })
    .await;
    let credential = "  legacy-key: {provider: static, token: \"${KEY}\", inject: {header: X-Api-Key}}\n".to_owned();
    let yaml = config(&[credential], &[route("legacy", &upstream.url("/"), "legacy-key", "")]);
    let proxy = Proxy::start_with(&yaml, &[("KEY", "k3y")]).await;
    let answer = get(proxy.address(), "/legacy/yes").await;
    assert_eq!((answer.status().as_u16(), upstream.last().header("x-api-key")), (200, Some("k3y")));
    let refused = get(proxy.address(), "/legacy/no").await;
    assert_eq!((refused.status().as_u16(), text(&refused).as_str()), (401, "theirs"));
    assert_eq!(upstream.seen().len(), 2, "another login would bring the same token");
}
