//! Row 20: decompression bombs. Nothing is decompressed here: on its way through, a coded body is bytes like
//! any other; at a token endpoint it is no answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokenferry::demo::{Crayon, Crewmojo, CrmCom, Fault, OAuth2, Simulator};

use crate::harness::client::{assert_unavailable, get, send};
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crayon, crewmojo, crm, partner, route, simulate};

/// What it becomes is 158 times as large (RFC 1951 section 3.2.6: fixed codes; each repeats the last byte 258
/// times, in 13 bits).
fn bomb(bytes: usize) -> Bytes {
    let mut bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    let (mut byte, mut filled) = (0u8, 0u32);
    let mut push = |bit: u8, bomb: &mut Vec<u8>| {
        byte |= bit << filled;
        filled += 1;
        if filled == 8 {
            bomb.push(byte);
            (byte, filled) = (0, 0);
        }
    };
    // The last block, with fixed codes; then the byte that is repeated.
    for bit in [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0] {
        push(bit, &mut bomb);
    }
    while bomb.len() < bytes {
        for bit in [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0] {
            push(bit, &mut bomb);
        }
    }
    for bit in [0; 15] {
        push(bit, &mut bomb);
    }
    bomb.extend_from_slice(&[0; 8]);
    Bytes::from(bomb)
}

/// In KiB: far less than what a bomb becomes.
const GROWTH: u64 = 24 << 10;

fn coded(body: Bytes, coding: &'static str) -> Fault {
    let headers = vec![
        (HeaderName::from_static("content-type"), HeaderValue::from_static("application/json")),
        (HeaderName::from_static("content-encoding"), HeaderValue::from_static(coding)),
    ];
    Fault::Answer { status: StatusCode::OK, headers, body }
}

#[tokio::test]
async fn a_bomb_passes_byte_for_byte_both_ways_and_takes_no_memory() {
    let answer = bomb(1 << 20);
    let sent = answer.clone();
    let upstream = Upstream::answering(move |_| {
        let response =
            Response::builder().header("content-encoding", "gzip").header("content-type", "application/json");
        response.body(Full::from(answer.clone())).unwrap()
    })
    .await;
    // One that reads answers for a refusal, and one that does not.
    let reads =
        "  reads: {provider: static, token: k3y, refused_when: {json: {pointer: /status/code, matches: INVALID}}}\n";
    let plain = "  plain: {provider: static, token: k3y2}\n";
    let routes = [route("reads", &upstream.url("/"), "reads", ""), route("plain", &upstream.url("/"), "plain", "")];
    let process = Process::start(&config(&[reads.to_owned(), plain.to_owned()], &routes), &[]);
    for name in ["reads", "plain"] {
        let answer = get(process.address, &format!("/{name}/warm")).await;
        assert_eq!(answer.body(), &sent);
    }
    let before = process.memory_kib("VmHWM");
    for name in ["reads", "plain"] {
        let request = Request::post(format!("/{name}/a"))
            .header("content-encoding", "gzip")
            .header("content-type", "application/json")
            .header("accept-encoding", "gzip, br")
            .body(Full::from(sent.clone()))
            .unwrap();
        let answer = send(process.address, request).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["content-encoding"].as_bytes()), (200, &b"gzip"[..]));
        assert!(*answer.body() == sent, "{name}: the answer was changed");
        let seen = upstream.last();
        assert!(seen.body == sent && seen.header("content-encoding") == Some("gzip"), "{name}: the body was changed");
    }
    let most = process.memory_kib("VmHWM");
    assert!(most < before + GROWTH, "{before} KiB became {most}");
}

#[tokio::test]
async fn a_bomb_in_whose_json_a_token_would_go_is_refused_unread() {
    let upstream = Upstream::start().await;
    let credential = "  inside: {provider: static, token: k3y, inject: {json: token}}\n".to_owned();
    let proxy = Proxy::start(&config(&[credential], &[route("inside", &upstream.url("/"), "inside", "")])).await;
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip"] {
        let request = Request::post("/inside/a").header("content-type", "application/json");
        let request = request.header("content-encoding", coding).body(Full::from(bomb(64 << 10))).unwrap();
        assert_eq!(send(proxy.address(), request).await.status(), 415, "{coding}");
    }
    assert!(upstream.seen().is_empty());
}

/// Asks for no coding, and takes none; reads no more than its bound.
async fn takes_no_bomb(simulator: &Simulator, credential: impl Fn(&str) -> String, name: &str) {
    let upstream = Upstream::start().await;
    let tap = Upstream::before(simulator.origin()).await;
    let credential = credential(&tap.url(""));
    let process = Process::start(&config(&[credential], &[route("data", &upstream.url("/"), name, "")]), &[]);
    let before = process.memory_kib("VmHWM");
    let plain = Bytes::from_static(b"{\"access_token\":\"t\",\"AccessToken\":\"t\"}");
    for (body, coding) in [
        (bomb(32 << 10), "gzip"),
        (bomb(4 << 20), "gzip"),
        // No bomb, and said to be coded: still nothing that was asked for.
        (plain, "br"),
    ] {
        simulator.adjust(|options| options.token_fault = Some(coded(body, coding)));
        let logins = simulator.token_requests();
        let deadline = Instant::now() + Duration::from_secs(20);
        while simulator.token_requests() == logins {
            assert!(Instant::now() < deadline, "{name}: no login");
            assert_unavailable(&get(process.address, "/data/x").await, "token_unavailable");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_unavailable(&get(process.address, "/data/x").await, "token_unavailable");
    assert!(upstream.seen().is_empty(), "{name}: a request left without a token");
    assert!(tap.seen().iter().all(|seen| seen.header("accept-encoding") == Some("identity")), "{name}");
    let most = process.memory_kib("VmHWM");
    assert!(most < before + GROWTH, "{name}: {before} KiB became {most}");
}

#[tokio::test]
async fn a_bomb_at_crewmojos_token_endpoint_is_no_token() {
    takes_no_bomb(&simulate(Crewmojo::default()).await, |origin| crewmojo(origin, ""), "crewmojo").await;
}

#[tokio::test]
async fn a_bomb_at_crm_coms_token_endpoint_is_no_token() {
    takes_no_bomb(&simulate(CrmCom::default()).await, |origin| crm(origin, ""), "crm").await;
}

#[tokio::test]
async fn a_bomb_at_crayons_token_endpoint_is_no_token() {
    takes_no_bomb(&simulate(Crayon::default()).await, |origin| crayon(origin, ""), "crayon").await;
}

#[tokio::test]
async fn a_bomb_at_an_oauth_2_token_endpoint_is_no_token() {
    takes_no_bomb(&simulate(OAuth2::default()).await, |origin| partner(origin, ""), "partner").await;
}
