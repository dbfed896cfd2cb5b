//! HTTP/2: with prior knowledge, and by ALPN.

use super::*;
use crate::upstream::testing::{Authority, server_config};
use crate::upstream::wire;

fn h2c(served: &Served) -> TestPool {
    pool_of(Target { protocol: Protocol::H2c, ..target(&format!("http://{}", served.address)) })
}

/// A target over TLS, and its upstream that knows these protocols.
async fn secured(alpn: &[&str], protocol: Protocol) -> (Served, TestPool) {
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"], |_| {});
    let served = Served::tls(server_config(&identity, alpn)).await;
    let mut target = Target { protocol, ..target(&format!("https://{}", served.address)) };
    target.tls.ca = Some(authority.roots());
    (served, pool_of(target))
}

/// Sends this many requests at once.
async fn burst(pool: &TestPool, count: usize) -> Vec<String> {
    let mut tasks = Vec::new();
    for number in 0..count {
        let pool = Rc::clone(pool);
        let request = request(Method::POST, "/p?q", &number.to_string());
        tasks.push(spawn_local(async move { text(pool.send(request, PLAN).await.unwrap()).await }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[test]
fn requests_share_one_connection_also_those_that_came_while_it_was_dialled() {
    worker(async {
        let served = Served::plain().await;
        let pool = h2c(&served);
        for round in 0..2 {
            let answers = burst(&pool, 10).await;
            assert_eq!(answers[7], "POST http://upstream.test/p?q HTTP/2.0 host=None 7");
            assert_eq!((served.accepted(), served.requests()), (1, 10 * (round + 1)));
        }
        assert_eq!(pool.upstream().connections(), 1);
    });
}

#[test]
fn alpn_decides_what_is_spoken() {
    for (alpn, protocol, version, connections) in [
        (&["h2", "http/1.1"][..], Protocol::Auto, "HTTP/2.0", 1),
        (&["h2", "http/1.1"], Protocol::H2, "HTTP/2.0", 1),
        (&["h2", "http/1.1"], Protocol::Http1, "HTTP/1.1", 10),
        (&["http/1.1"], Protocol::Auto, "HTTP/1.1", 10),
        (&[], Protocol::Auto, "HTTP/1.1", 10),
    ] {
        worker(async {
            let (served, pool) = secured(alpn, protocol).await;
            for answer in burst(&pool, 10).await {
                assert!(answer.contains(version), "{alpn:?} {protocol:?}: {answer}");
            }
            // Known to speak HTTP/1.1, it is dialled by everyone at once.
            assert_eq!(pool.may_be_shared(), version == "HTTP/2.0");
            assert!(served.accepted() <= connections, "{alpn:?} {protocol:?}: {}", served.accepted());
        });
    }
}

#[test]
fn http2_that_is_asked_for_and_not_offered_is_an_error() {
    for alpn in [&["http/1.1"][..], &[]] {
        worker(async {
            let (served, pool) = secured(alpn, Protocol::H2).await;
            let error = pool.send(get("/"), PLAN).await.unwrap_err();
            assert!(matches!(error, SendError::Unsent { cause: ConnectError::NoHttp2, .. }), "{error:?}");
            assert_eq!(served.requests(), 0);
        });
    }
}

#[test]
fn an_upgrade_never_offers_http2() {
    worker(async {
        let (_served, pool) = secured(&["h2", "http/1.1"], Protocol::Auto).await;
        let plan = Plan { upgrade: true, ..PLAN };
        let answer = pool.send(get("/ws"), plan).await.unwrap();
        assert!(text(answer).await.contains("HTTP/1.1"));
        // One that knows nothing else finds no protocol to agree on.
        let (served, pool) = secured(&["h2"], Protocol::Auto).await;
        assert_eq!(pool.send(get("/ws"), plan).await.unwrap_err().proxy_status(), "tls_alert_received");
        assert_eq!(served.requests(), 0);
    });
}

#[test]
fn whoever_waited_for_a_dial_that_failed_learns_it_for_himself() {
    worker(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let pool = pool_of(Target { protocol: Protocol::H2c, ..target(&url) });
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let pool = Rc::clone(&pool);
                spawn_local(async move { pool.send(get("/"), PLAN).await.unwrap_err() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().proxy_status(), "connection_refused");
        }
        assert!(pool.dialling.borrow().is_none());
    });
}

#[test]
fn a_dial_whose_requester_went_away_is_done_by_another() {
    worker(async {
        let served = Served::plain().await;
        let pool = h2c(&served);
        let first = Rc::clone(&pool);
        let first = spawn_local(async move { first.send(get("/"), PLAN).await.map(drop) });
        until(|| pool.dialling.borrow().is_some() || first.is_finished()).await;
        let second = Rc::clone(&pool);
        let second = spawn_local(async move { text(second.send(get("/"), PLAN).await.unwrap()).await });
        first.abort();
        assert!(second.await.unwrap().starts_with("GET"));
    });
}

#[test]
fn a_connection_that_goes_away_finishes_its_streams_and_is_dialled_anew() {
    worker(async {
        let served = Served::plain().await;
        let pool = h2c(&served);
        let (pieces, body) = mpsc::channel(1);
        let mut slow = request(Method::POST, "/slow", "");
        *slow.body_mut() = Sent::Piece(body);
        let sender = Rc::clone(&pool);
        let slow = spawn_local(async move { text(sender.send(slow, PLAN).await.unwrap()).await });
        until(|| served.requests() == 1).await;
        served.close_gracefully();
        // When the GOAWAY arrives is not to be seen from here. Until then the old connection
        // serves; a request that crosses with it says that it may be sent again.
        while served.accepted() == 1 {
            match pool.send(get("/"), PLAN).await {
                Ok(response) => assert!(text(response).await.starts_with("GET")),
                Err(error) => assert!(error.is_unprocessed(), "{error:?}"),
            }
        }
        pieces.send(Bytes::from_static(b"late")).await.unwrap();
        drop(pieces);
        assert!(slow.await.unwrap().ends_with("late"));
        until(|| pool.upstream().connections() == 1).await;
    });
}

#[test]
fn a_connection_that_is_too_old_finishes_its_streams() {
    worker(async {
        let served = Served::plain().await;
        let pool = h2c(&served);
        let long = "x".repeat(4 << 20);
        let response = pool.send(request(Method::POST, "/", &long), PLAN).await.unwrap();
        let now = Instant::now();
        pool.reap(now + Duration::from_secs(31));
        assert!(pool.shared.borrow().is_some(), "a stream is open: it is not idle");
        pool.reap(now + Duration::from_secs(301));
        assert!(pool.shared.borrow().is_none());
        assert_eq!(pool.upstream().connections(), 1);
        assert!(text(response).await.ends_with(&long));
        until(|| pool.upstream().connections() == 0).await;
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        pool.reap(Instant::now() + Duration::from_secs(31));
        until(|| pool.upstream().connections() == 0).await;
    });
}

#[test]
fn a_request_that_is_given_up_costs_its_stream_only() {
    worker(async {
        let served = Served::plain().await;
        let pool = h2c(&served);
        let (pieces, body) = mpsc::channel(1);
        let mut slow = request(Method::POST, "/slow", "");
        *slow.body_mut() = Sent::Piece(body);
        let sender = Rc::clone(&pool);
        let slow = spawn_local(async move { sender.send(slow, PLAN).await.map(drop) });
        until(|| served.requests() == 1).await;
        slow.abort();
        until(|| pieces.is_closed()).await;
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        assert_eq!(served.accepted(), 1);
    });
}

#[test]
fn what_is_given_back_unsent_is_as_http1_wants_it() {
    worker(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let pool = pool_of(Target { protocol: Protocol::H2c, ..target(&url) });
        // A shared connection that looks alive until the request is handed to it.
        let (near, _far) = tokio::io::duplex(1024);
        let (sender, doomed) = wire::http2_builder().handshake::<_, Sent>(TokioIo::new(near)).await.unwrap();
        *pool.shared.borrow_mut() = Some(Http2::new(sender, None, &pool));
        let mut sending = Box::pin(pool.send(request(Method::POST, "/a?b", "precious"), PLAN));
        assert!(matches!(futures_poll(sending.as_mut()), Poll::Pending));
        drop(doomed);
        let unsent = sending.await.unwrap_err();
        let SendError::Unsent { request: Returned(request), cause: ConnectError::Tcp(_) } = unsent else { panic!() };
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()[header::HOST], "upstream.test");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "precious");
    });
}

#[test]
fn a_refused_stream_may_be_sent_again() {
    worker(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            // SETTINGS, then RST_STREAM of stream 1 with REFUSED_STREAM (RFC 9113 section 6.4).
            tcp.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut buffer = vec![0; 4096];
            let mut read = 0;
            while !buffer[..read].windows(8).any(|window| window == b"precious") {
                read += tcp.read(&mut buffer[read..]).await.unwrap();
            }
            tcp.write_all(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7]).await.unwrap();
            std::future::pending::<()>().await;
        });
        let pool = pool_of(Target { protocol: Protocol::H2c, ..target(&url) });
        let error = pool.send(request(Method::POST, "/", "precious"), PLAN).await.unwrap_err();
        assert!(matches!(error, SendError::Broken { .. }));
        assert!(error.is_unprocessed() && !error.is_connection_loss(), "{error:?}");
        assert_eq!(error.proxy_status(), "http_protocol_error");
    });
}
