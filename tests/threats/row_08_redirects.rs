//! Row 8: redirects. Whoever answers with one sends the proxy nowhere: neither a request with its token nor
//! a login with its secret.

use http::{HeaderName, HeaderValue, StatusCode};
use tokenferry::demo::{Crayon, Crewmojo, CrmCom, Fault, OAuth2, Simulator};

use crate::harness::client::{get, text};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::vendors::{config, crayon, crewmojo, crm, partner, route, simulate};
use crate::harness::yaml::{TOKEN, injecting, one_route};

/// Every status that some client follows by itself, and the one that offers a choice.
const STATUSES: [u16; 6] = [300, 301, 302, 303, 307, 308];

#[tokio::test]
async fn a_redirect_of_the_upstream_is_the_clients_to_follow() {
    let second = Wire::ok().await;
    let place = second.url("/v1/x");
    let answer = format!("Location: {place}\r\nRefresh: 0;url={place}\r\nContent-Length: 0\r\n\r\n");
    for status in STATUSES {
        let upstream = Wire::always(format!("HTTP/1.1 {status} Elsewhere\r\n{answer}")).await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
        for method in ["GET", "POST", "HEAD", "PUT"] {
            let mut client = End::connect(proxy.address()).await;
            client.send(format!("{method} /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
            let answer = client.answer_to(method).await;
            assert_eq!((answer.status(), answer.header("location")), (status, Some(place.as_str())), "{method}");
        }
        assert_eq!(upstream.seen().len(), 4, "each is sent once");
        assert!(upstream.seen().iter().all(|seen| seen.header("authorization") == Some(&format!("Bearer {TOKEN}"))));
    }
    assert_eq!(second.accepted(), 0, "somebody went where the upstream pointed");
}

/// A proxy with this credential, of a simulator that redirects its logins there.
async fn redirected(simulator: &Simulator, credential: String, name: &str, second: &Wire) {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&config(&[credential], &[route("data", &upstream.url("/"), name, "")])).await;
    for status in STATUSES {
        let place = HeaderValue::try_from(second.url("/token")).unwrap();
        let headers = vec![(HeaderName::from_static("location"), place)];
        // With a token in it, for whoever reads the body of a redirect.
        let body = r#"{"access_token":"t","AccessToken":"t","data":{"token":"t"},"status":{"code":"OK"}}"#.into();
        let status = StatusCode::from_u16(status).unwrap();
        simulator.adjust(|options| options.token_fault = Some(Fault::Answer { status, headers, body }));
        let answer = get(proxy.address(), "/data/x").await;
        assert_eq!(answer.status(), 503, "{name}, {status}: {}", text(&answer));
    }
    assert!(simulator.token_requests() > 0 && upstream.accepted() == 0, "{name}");
}

#[tokio::test]
async fn no_login_goes_where_its_endpoint_points() {
    let second = Wire::ok().await;
    let simulator = simulate(Crewmojo::default()).await;
    redirected(&simulator, crewmojo(simulator.origin(), ""), "crewmojo", &second).await;
    let simulator = simulate(CrmCom::default()).await;
    redirected(&simulator, crm(simulator.origin(), ""), "crm", &second).await;
    let simulator = simulate(Crayon::default()).await;
    redirected(&simulator, crayon(simulator.origin(), ""), "crayon", &second).await;
    let simulator = simulate(OAuth2::default()).await;
    redirected(&simulator, partner(simulator.origin(), ""), "partner", &second).await;
    // The login of one's own, at the same endpoint.
    let own = format!(
        "  own: {{provider: custom, request: {{url: \"{}/oauth2/token\", json: {{pass: k3y}}}}, \
         response: {{token: /access_token}}}}\n",
        simulator.origin()
    );
    redirected(&simulator, own, "own", &second).await;
    assert_eq!(second.accepted(), 0, "a login went where its endpoint pointed");
}

#[tokio::test]
async fn a_token_is_not_given_back_where_a_redirect_points() {
    let second = Wire::ok().await;
    let simulator = simulate(CrmCom::default()).await;
    let place = second.url("/release");
    let front = crate::harness::upstream::Upstream::answering_later({
        let address = simulator.origin().trim_start_matches("http://").parse().unwrap();
        move |seen| {
            let place = place.clone();
            async move {
                if seen.path().ends_with("/release") {
                    let redirect = http::Response::builder().status(307).header("location", place);
                    return redirect.body(http_body_util::Full::default()).unwrap();
                }
                crate::harness::upstream::relay(address, seen).await
            }
        }
    })
    .await;
    let credential = crm(&front.url(""), ", release: true");
    let proxy = Proxy::start(&config(&[credential], &[route("data", &front.url("/crmapi/rest/v2"), "crm", "")])).await;
    assert_eq!(get(proxy.address(), "/data/contacts").await.status(), 200);
    proxy.stop().await;
    assert!(front.seen().iter().any(|seen| seen.path().ends_with("/release")), "it was given up");
    assert_eq!(second.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_that_tells_the_token_in_its_own_words_is_not_followed_either() {
    // Vendors that answer a login with `Refresh` or a page that goes elsewhere by itself.
    let second = Wire::ok().await;
    let page = format!("<meta http-equiv=refresh content='0;url={}'>", second.url("/"));
    let upstream = Wire::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nRefresh: 0;url={}\r\nContent-Length: {}\r\n\r\n{page}",
        second.url("/"),
        page.len()
    ))
    .await;
    let yaml = config(&[partner(&upstream.url(""), "")], &[route("data", &upstream.url("/"), "partner", "")]);
    let proxy = Proxy::start(&yaml).await;
    let answer = exchange(proxy.address(), "GET /data/x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert_eq!(second.accepted(), 0);
}

/// Lines of an answer (`N` for the header's name, `UP` for the upstream) that hold the token of the query,
/// and those that the client sees of them where they are mapped.
const TELLING: [(&[u8], &[&str]); 14] = [
    (b"N: http://UP/abc\r\nN: http://UP/abc?x=1&key=T0K3N", &["/abc", "/abc?x=1"]),
    (b"N: /a?key=T0K3N\r\nn: ?key=T0K3N&b\r\nN: b?key=T0K3N", &["/a", "?b", "b"]),
    (b"N: http://elsewhere.example/?a=1&key=T0K3N", &["http://elsewhere.example/?a=1"]),
    (b"N: //elsewhere.example/a?k%65y=%54%30K3N#b", &["//elsewhere.example/a#b"]),
    // What is no text, or has what clients drop, cannot be looked at as they do.
    (b"N: /caf\xe9?key=T0K3N", &[]),
    (b"N: http://UP/a\tb?key=T0K3N", &[]),
    (b"N: /a?k\tey=T0\tK3N", &[]),
    // In no parameter of its own.
    (b"N: /login?next=%2Fa%3Fkey%3DT0K3N", &[]),
    (b"N: /login?next=%252Fa%253Fkey%253D%25540K3N", &[]),
    (b"N: /a#key=T0K3N", &[]),
    (b"N: /T0K3N/a", &[]),
    (b"N: /a?b=1;key=T0K3N", &[]),
    (b"N: http://elsewhere.example/a\r\nN: /T0K3N", &["http://elsewhere.example/a"]),
    // Another's parameter of that name.
    (b"N: http://elsewhere.example/?key=other", &["http://elsewhere.example/?key=other"]),
];

#[tokio::test]
async fn no_line_that_leads_on_tells_the_token_of_the_query() {
    let upstream = Wire::start(|mut caller| async move {
        while let Some(request) = caller.request().await {
            let (name, number) = request.target()[1..].split_once('?').unwrap().0.split_once('/').unwrap();
            let mut answer = b"HTTP/1.1 302 Elsewhere\r\nContent-Length: 0\r\n".to_vec();
            for line in TELLING[number.parse::<usize>().unwrap()].0.split(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                answer.extend_from_slice(name.as_bytes());
                let (before, after) = match line.windows(4).position(|window| window == b"//UP") {
                    Some(at) => (&line[1..at + 2], &line[at + 4..]),
                    None => (&line[1..], &b""[..]),
                };
                answer.extend_from_slice(before);
                if !after.is_empty() {
                    answer.extend_from_slice(request.header("host").unwrap().as_bytes());
                }
                answer.extend_from_slice(&[after, b"\r\n"].concat());
            }
            caller.say([&answer[..], b"\r\n"].concat()).await;
        }
    })
    .await;
    for more in ["", "rewrite_response: false"] {
        let proxy = Proxy::start(&injecting(&upstream.url(""), "{query: key}", more)).await;
        for name in ["Location", "Content-Location"] {
            for (number, (lines, seen)) in TELLING.iter().enumerate() {
                let request = format!("GET /{name}/{number} HTTP/1.1\r\nHost: x\r\n\r\n");
                let answer = exchange(proxy.address(), request).await;
                let told = String::from_utf8_lossy(lines);
                assert_eq!(answer.status(), 302, "{told}");
                let mut head = answer.head.replace('\t', "");
                for _ in 0..3 {
                    assert!(!head.contains(TOKEN), "{name}, {more:?}: {told}: {answer:?}");
                    head = percent_encoding::percent_decode_str(&head).decode_utf8_lossy().into_owned();
                }
                if more.is_empty() {
                    assert_eq!(answer.all(name), *seen, "{told}");
                }
            }
        }
    }
    assert!(upstream.seen().iter().all(|seen| seen.target().ends_with("?key=T0K3N")));
}
