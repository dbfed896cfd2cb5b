//! A token that the vendor refuses is replaced and the request sent again, unseen; but not for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokenferry::demo::{Crewmojo, CrmCom, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::client::{self, assert_unavailable, get, json, send, text, token_number};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, crm, partner, route, simulate};

async fn crewmojo_proxy(simulator: &Simulator, upstream: &str, more: &str) -> Proxy {
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", upstream, "crewmojo", more)]);
    Proxy::start(&yaml).await
}

fn request(method: &Method, target: &str, body: Bytes) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(target).header("content-type", "text/csv");
    request.body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn a_revoked_token_is_replaced_and_get_post_and_delete_are_sent_again_unseen() {
    let csv: Bytes = (0..60_000_u32).map(|i| b'a' + u8::try_from(i % 26).unwrap()).collect::<Vec<_>>().into();
    for (method, body) in [(Method::GET, Bytes::new()), (Method::POST, csv), (Method::DELETE, Bytes::new())] {
        let simulator = simulate(Crewmojo::default()).await;
        let tap = Upstream::before(simulator.origin()).await;
        let proxy = crewmojo_proxy(&simulator, &tap.url("/v1"), "").await;
        assert_eq!(token_number(&get(proxy.address(), "/crewmojo/a").await), Some(1));
        simulator.revoke_all();
        let answer = send(proxy.address(), request(&method, "/crewmojo/humans?x=1", body.clone())).await;
        assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(2)), "{method}: {}", text(&answer));
        assert_eq!(json(&answer)["body_length"], body.len());
        let [_, refused, again] = tap.seen().try_into().unwrap();
        assert_ne!(refused.bearer(), again.bearer());
        for seen in [&refused, &again] {
            assert_eq!((&seen.method, seen.target.as_str(), &seen.body), (&method, "/v1/humans?x=1", &body));
        }
        assert_eq!((simulator.token_requests(), simulator.refused()), (2, 1), "{method}");
    }
}

#[tokio::test]
async fn requests_of_all_kinds_at_once_survive_a_revocation_with_one_login() {
    let simulator = simulate(Crewmojo::default()).await;
    let proxy = crewmojo_proxy(&simulator, &format!("{}/v1", simulator.origin()), "").await;
    let load = Load::start(proxy.address(), 12, Duration::from_millis(5), |number| {
        let (method, length) = [(Method::GET, 0), (Method::POST, 60_000), (Method::DELETE, 0)][number % 3].clone();
        request(&method, "/crewmojo/humans", Bytes::from(vec![b'x'; length]))
    });
    eventually("the load is on", || simulator.data_requests() >= 50).await;
    simulator.revoke_all();
    let refused_at = simulator.data_requests();
    eventually("the load goes on", || simulator.data_requests() >= refused_at + 100).await;
    load.stop().await.assert_all_served(100);
    assert!(simulator.refused() > 0);
    assert_eq!(simulator.token_requests(), 2);
}

/// Each renewal kills the token of the requests that would be under way at that moment.
#[tokio::test]
async fn renewals_of_an_exclusive_token_under_load_lose_no_request() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| {
        options.lifetime = Some(Duration::from_secs(1));
        options.data_delay = Duration::from_millis(30);
    });
    let proxy = crewmojo_proxy(&simulator, &format!("{}/v1", simulator.origin()), "").await;
    let load = Load::start(proxy.address(), 12, Duration::from_millis(5), |number| {
        let (method, length) = [(Method::GET, 0), (Method::POST, 60_000), (Method::DELETE, 0)][number % 3].clone();
        request(&method, "/crewmojo/humans", Bytes::from(vec![b'x'; length]))
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    load.stop().await.assert_all_served(100);
    // Requests under way were let finish first; a machine that stands still may be late for one or another.
    let (refused, all) = (simulator.refused(), simulator.data_requests());
    assert!(refused <= all / 20, "{refused} of {all} requests met the end of their token");
    // One a second of life, at four fifths of it; where the machine stood still, one more each time.
    assert!((4..=12).contains(&simulator.token_requests()), "{} token requests", simulator.token_requests());
}

#[tokio::test]
async fn a_body_too_large_to_be_kept_gets_503_and_the_next_request_succeeds() {
    let simulator = simulate(Crewmojo::default()).await;
    let upstream = format!("{}/v1", simulator.origin());
    let proxy = crewmojo_proxy(&simulator, &upstream, ", limits: {replay: 16KiB}").await;
    assert_eq!(get(proxy.address(), "/crewmojo/a").await.status(), 200);
    simulator.revoke_all();
    let large = || request(&Method::POST, "/crewmojo/humans", Bytes::from(vec![b'x'; 100_000]));
    assert_unavailable(&send(proxy.address(), large()).await, "token_replaced");
    let next = send(proxy.address(), large()).await;
    assert_eq!((next.status().as_u16(), token_number(&next)), (200, Some(2)), "{}", text(&next));
    assert_eq!(simulator.token_requests(), 2);
}

#[tokio::test]
async fn crm_coms_refusal_inside_a_200_is_a_refusal() {
    for post in [false, true] {
        let simulator = simulate(CrmCom::default()).await;
        let origin = simulator.origin();
        let upstream = format!("{origin}/crmapi/rest/v2");
        let proxy = Proxy::start(&config(&[crm(origin, "")], &[route("crm", &upstream, "crm", "")])).await;
        assert_eq!(token_number(&get(proxy.address(), "/crm/a").await), Some(1));
        simulator.revoke_all();
        let answer = if post {
            let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(60_000));
            client::post(proxy.address(), "/crm/contact_information/create", "application/json", body).await
        } else {
            get(proxy.address(), "/crm/contact_information/show?number=CI1").await
        };
        assert_eq!(json(&answer)["status"]["code"], "OK", "{}", text(&answer));
        assert_eq!((token_number(&answer), simulator.token_requests(), simulator.refused()), (Some(2), 2, 1));
    }
}

#[tokio::test]
async fn crm_coms_other_errors_inside_a_200_pass() {
    let simulator = simulate(CrmCom::default()).await;
    let code = r#"{"data":{},"status":{"code":"INVALID_ACCESS_TOKEN_IDENTIFIER","message":"no such token"}}"#;
    let upstream = Upstream::answering(move |_| {
        Response::builder().header("content-type", "application/json").body(Full::from(code)).unwrap()
    })
    .await;
    let yaml = config(&[crm(simulator.origin(), "")], &[route("crm", &upstream.url("/crmapi/rest/v2"), "crm", "")]);
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(text(&get(proxy.address(), "/crm/a").await), code);
    assert_eq!((simulator.token_requests(), upstream.seen().len()), (1, 1));
}

#[tokio::test]
async fn what_counts_as_a_refusal_is_the_operators_to_say() {
    let simulator = simulate(tokenferry::demo::OAuth2::default()).await;
    let upstream = Upstream::before(simulator.origin()).await;
    // This vendor says 401 for something else, and tells of dead tokens in its body.
    let rule = ", refused_when: {status: [418], json: {pointer: /error, matches: \"^invalid_tok\"}}";
    let yaml = config(&[partner(simulator.origin(), rule)], &[route("partner", &upstream.url("/"), "partner", "")]);
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(get(proxy.address(), "/partner/a").await.status(), 200);
    simulator.revoke_all();
    let answer = get(proxy.address(), "/partner/a").await;
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(2)));
}

/// The vendor's 401s pass, and what it is asked for tokens stays a handful.
async fn refuses_all(simulator: &Simulator, proxy: &Proxy, target: &'static str) {
    simulator.adjust(|options| options.refuse_every_token = true);
    let load = Load::of_gets(proxy.address(), 4, Duration::from_millis(5), target);
    // Long enough for a proxy that tries again and again to show itself: past the first five seconds,
    // in which a token born of a refusal is not replaced.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let tally = load.stop().await;
    assert!(
        tally.lost.is_empty() && tally.answers.len() > 100,
        "{} answers, lost {:?}",
        tally.answers.len(),
        tally.lost
    );
    assert!(simulator.token_requests() <= 4, "{} token requests", simulator.token_requests());
    for answer in tally.answers {
        assert!(text(&answer.response).contains("nauthorized") || text(&answer.response).contains("INVALID_TOKEN"));
        assert!(answer.response.status() == 401 || answer.response.status() == 200);
        assert!(!answer.response.headers().contains_key("proxy-status"));
    }
    simulator.adjust(|options| options.refuse_every_token = false);
    assert_eq!(token_number(&get(proxy.address(), target).await), Some(simulator.tokens_issued()));
}

#[tokio::test]
async fn a_vendor_that_refuses_every_token_is_asked_for_a_handful_while_its_401s_pass() {
    let simulator = simulate(Crewmojo::default()).await;
    let proxy = crewmojo_proxy(&simulator, &format!("{}/v1", simulator.origin()), "").await;
    refuses_all(&simulator, &proxy, "/crewmojo/a").await;
}

#[tokio::test]
async fn crm_com_that_refuses_every_token_is_asked_for_a_handful_while_its_answers_pass() {
    let simulator = simulate(CrmCom::default()).await;
    let origin = simulator.origin();
    let upstream = format!("{origin}/crmapi/rest/v2");
    let proxy = Proxy::start(&config(&[crm(origin, "")], &[route("crm", &upstream, "crm", "")])).await;
    refuses_all(&simulator, &proxy, "/crm/a").await;
}

/// Refuses the first request once so many bytes of its body have come, while the client is still
/// sending, and takes the second.
async fn hasty(listener: TcpListener, requests: Arc<AtomicU64>, bytes: usize) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let requests = Arc::clone(&requests);
        let service = service_fn(move |request: Request<Incoming>| {
            let requests = Arc::clone(&requests);
            async move {
                let mut body = request.into_body();
                if requests.fetch_add(1, Ordering::SeqCst) == 0 {
                    let mut read = 0;
                    while read < bytes {
                        read += body.frame().await.unwrap().unwrap().data_ref().map_or(0, Bytes::len);
                    }
                    let refusal = Response::builder().status(401).body(Full::<Bytes>::from("no"));
                    return Ok::<_, Infallible>(refusal.unwrap());
                }
                Ok(Response::new(Full::from(body.collect().await.unwrap().to_bytes())))
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// A proxy before such an upstream, a connection to it, and the number of requests that came through.
async fn before_a_hasty_one(bytes: usize, more: &str) -> (Simulator, Proxy, TcpStream, Arc<AtomicU64>) {
    let simulator = simulate(Crewmojo::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU64::new(0));
    tokio::spawn(hasty(listener, Arc::clone(&requests), bytes));
    let proxy = crewmojo_proxy(&simulator, &upstream, more).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (simulator, proxy, client, requests)
}

#[tokio::test]
async fn a_body_that_still_streams_when_its_token_is_refused_arrives_whole() {
    let (simulator, _proxy, mut client, requests) = before_a_hasty_one(1, "").await;
    let head = b"POST /crewmojo/slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    client.write_all(head).await.unwrap();
    client.write_all(b"5\r\nfirst\r\n").await.unwrap();
    eventually("the request was sent again", || requests.load(Ordering::SeqCst) == 2).await;
    for _ in 0..10 {
        client.write_all(b"6\r\n, more\r\n").await.unwrap();
        tokio::task::yield_now().await;
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(client::status(&answer), 200, "{answer}");
    assert!(answer.ends_with(&format!("first{}", ", more".repeat(10))), "{answer}");
    assert_eq!(simulator.token_requests(), 2);
}

#[tokio::test]
async fn a_large_body_that_still_streams_when_its_token_is_refused_gets_503_at_once() {
    let (simulator, _proxy, mut client, requests) = before_a_hasty_one(4096, ", limits: {replay: 1KiB}").await;
    client.write_all(b"POST /crewmojo/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
    client.write_all(&[b'x'; 8192]).await.unwrap();
    // The rest never comes: the answer must not wait for it.
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(10), client.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert_eq!(client::status(&answer), 503, "{answer}");
    assert!(answer.contains("Retry-After: ") && answer.contains("token_replaced"), "{answer}");
    eventually("another token is there", || simulator.token_requests() == 2).await;
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}
