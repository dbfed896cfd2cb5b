use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::model::{HeaderCase, Protocol};
use crate::upstream::stream::Allowance;
use crate::upstream::testing::{PATIENCE, Raw, Served, Step, resolve_to, target, until};
use crate::upstream::{Malformed, Returned, Roots, Target};

mod http2;
mod limit;

const PLAN: Plan<'static> = Plan { connect: PATIENCE, reuse: true, upgrade: false, still: None };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type TestPool = Rc<Pool<Sent>>;

/// A request's body: what is in hand, or what comes through a channel.
enum Sent {
    Whole(Full<Bytes>),
    Piece(mpsc::Receiver<Bytes>),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(full) => Pin::new(full).poll_frame(cx),
            Self::Piece(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Piece(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Piece(_) => SizeHint::default(),
        }
    }
}

fn pool_of(target: Target) -> TestPool {
    Pool::new(Upstream::new(target, &Roots::none()).unwrap())
}

fn pool(raw: &Raw) -> TestPool {
    pool_of(target(&raw.url()))
}

fn request(method: Method, path: &str, body: &str) -> Request<Sent> {
    let sent = Sent::Whole(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    Request::builder().method(method).uri(path).header(header::HOST, "upstream.test").body(sent).unwrap()
}

fn get(path: &str) -> Request<Sent> {
    request(Method::GET, path, "")
}

async fn text(response: Response<Answer>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Connections that lie idle in the pool.
fn idle(pool: &TestPool) -> usize {
    pool.idle.borrow().len()
}

/// Runs a test as a worker does: one thread, one `LocalSet`.
fn worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(2 * PATIENCE, test).await.expect("the test hangs");
    });
}

#[test]
fn a_connection_is_used_again_after_every_kind_of_answer() {
    worker(async {
        let kinds: [(Method, &str, &str); 7] = [
            (Method::GET, OK, "ok"),
            (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", ""),
            (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""),
            (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ""),
            (Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n", "ok"),
            (Method::POST, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", "ok"),
        ];
        let steps: Vec<_> = kinds.iter().map(|(_, answer, _)| Step::Answer(answer)).collect();
        let raw = Raw::start(&steps).await;
        let pool = pool(&raw);
        for (method, _, expected) in kinds {
            let response = pool.send(request(method, "/", ""), PLAN).await.unwrap();
            assert_eq!(text(response).await, expected);
            until(|| idle(&pool) == 1).await;
        }
        assert_eq!(raw.accepted(), 1);
        assert_eq!(pool.upstream().connections(), 1);
    });
}

#[test]
fn an_answer_in_one_piece_gives_its_connection_back_with_its_head() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let response = pool.send(get("/"), PLAN).await.unwrap();
        assert_eq!(idle(&pool), 1, "before the body is looked at");
        let second = pool.send(get("/"), PLAN).await.unwrap();
        assert_eq!((text(response).await, text(second).await), ("ok".to_owned(), "ok".to_owned()));
        assert_eq!(raw.accepted(), 1);
    });
}

#[test]
fn a_long_answer_gives_its_connection_back_with_its_last_byte() {
    let length = 3 << 20;
    for chunked in [false, true] {
        let mut answer = if chunked {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n")
        } else {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
        };
        answer.push_str(&"x".repeat(length));
        if chunked {
            answer.push_str("\r\n0\r\nX-Trailer: end\r\n\r\n");
        }
        let answer: &'static str = answer.leak();
        worker(async move {
            let raw = Raw::start(&[Step::Answer(answer)]).await;
            let pool = pool(&raw);
            let response = pool.send(get("/"), PLAN).await.unwrap();
            let mut body = response.into_body();
            let mut read = 0;
            // As hyper's server does: no further than the last byte, or the trailers.
            while read < length || chunked {
                assert_eq!(idle(&pool), 0, "after {read} bytes");
                let frame = body.frame().await.unwrap().unwrap();
                match frame.into_data() {
                    Ok(data) => read += data.len(),
                    Err(trailers) => {
                        assert_eq!(trailers.into_trailers().unwrap()["x-trailer"], "end");
                        break;
                    }
                }
            }
            assert_eq!((read, idle(&pool)), (length, 1));
            pool.send(get("/"), PLAN).await.unwrap();
            assert_eq!(raw.accepted(), 1);
        });
    }
}

#[test]
fn the_connection_used_last_is_used_first() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let plan = Plan { reuse: false, ..PLAN };
        for _ in 0..3 {
            text(pool.send(get("/"), plan).await.unwrap()).await;
        }
        assert_eq!((raw.accepted(), idle(&pool)), (3, 3));
        for _ in 0..3 {
            text(pool.send(get("/"), PLAN).await.unwrap()).await;
        }
        let used: Vec<_> = raw.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(used, [0, 1, 2, 2, 2, 2]);
    });
}

#[test]
fn a_post_over_a_connection_that_was_closed_meanwhile_goes_out_on_a_fresh_one() {
    worker(async {
        let raw = Raw::start(&[Step::AnswerAndClose(OK), Step::Answer(OK)]).await;
        let pool = pool(&raw);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        until(|| pool.upstream().connections() == 0).await;
        text(pool.send(request(Method::POST, "/", "precious"), PLAN).await.unwrap()).await;
        let seen = raw.seen();
        assert_eq!((seen.len(), seen[1].connection), (2, 1));
        assert!(seen[1].text.ends_with("precious"));
    });
}

#[test]
fn a_post_that_a_connection_gives_back_unsent_goes_out_on_a_fresh_one() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        // Two pooled connections that look ready until the request is handed to them.
        let mut doomed = Vec::new();
        for _ in 0..2 {
            let (near, far) = tokio::io::duplex(64);
            let (sender, connection) =
                hyper::client::conn::http1::handshake::<_, Sent>(TokioIo::new(near)).await.unwrap();
            let mut connection = Box::pin(connection);
            assert!(matches!(futures_poll(connection.as_mut()), Poll::Pending));
            pool.check_in(Http1::new(sender, None, Allowance::default(), &pool));
            doomed.push((connection, far));
        }
        assert_eq!(idle(&pool), 2);
        let mut sending = Box::pin(pool.send(request(Method::POST, "/", "precious"), PLAN));
        while let Some(connection) = doomed.pop() {
            assert!(matches!(futures_poll(sending.as_mut()), Poll::Pending));
            drop(connection);
        }
        assert_eq!(text(sending.await.unwrap()).await, "ok");
        assert_eq!(raw.seen().len(), 1);
        assert!(raw.seen()[0].text.ends_with("precious"));
    });
}

fn futures_poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn an_upstream_that_closes_after_it_read_the_request_broke_off_and_is_not_asked_again() {
    worker(async {
        let raw = Raw::start(&[Step::Close, Step::Answer(OK), Step::Close, Step::Answer(OK)]).await;
        let pool = pool(&raw);
        for reused in [false, true] {
            let error = pool.send(request(Method::POST, "/", "precious"), PLAN).await.unwrap_err();
            assert!(error.is_connection_loss() && !error.is_unprocessed());
            assert_eq!(error.proxy_status(), "connection_terminated");
            assert!(matches!(error, SendError::Broken { reused: was, .. } if was == reused), "{error:?}");
            text(pool.send(get("/"), PLAN).await.unwrap()).await;
        }
        assert_eq!(raw.seen().len(), 4, "nothing was sent twice");
    });
}

#[test]
fn an_upstream_that_closes_at_once_is_tried_twice_and_the_request_given_back() {
    worker(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let pool = pool_of(target(&url));
        let error = pool.send(request(Method::POST, "/a?b", "precious"), PLAN).await.unwrap_err();
        assert_eq!(error.proxy_status(), "connection_refused");
        let SendError::Unsent { request: Returned(request), cause: ConnectError::Tcp(_) } = error else {
            panic!("{error:?}")
        };
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()[header::HOST], "upstream.test");
    });
}

#[test]
fn what_is_addressed_to_another_upstream_is_not_opened_and_nobody_hears_of_it() {
    worker(async {
        let (own, other) = (Raw::start(&[Step::Answer(OK)]).await, Raw::start(&[]).await);
        let (pool, elsewhere) = (pool(&own), pool_of(target(&other.url())));
        let envelope = Envelope::to(elsewhere.upstream(), get("/"));
        assert!(matches!(pool.deliver(envelope, PLAN).await, Err(SendError::Elsewhere)));
        // The same origin once more, with connections of its own: another credential's may be.
        let twin = pool_of(target(&own.url()));
        let to_twin = Envelope::to(twin.upstream(), get("/"));
        assert!(matches!(pool.deliver(to_twin, PLAN).await, Err(SendError::Elsewhere)));
        assert_eq!((own.accepted(), other.accepted()), (0, 0));
        let sending = pool.deliver(Envelope::to(pool.upstream(), get("/")), PLAN);
        assert_eq!(text(sending.await.unwrap()).await, "ok");
    });
}

#[test]
fn a_half_read_answer_closes_its_connection() {
    worker(async {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
        let raw = Raw::start(&[Step::Answer(half), Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let mut response = pool.send(get("/"), PLAN).await.unwrap();
        assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        drop(response);
        until(|| pool.upstream().connections() == 0).await;
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        assert_eq!(raw.seen()[1].connection, 1);
    });
}

#[test]
fn a_request_that_is_given_up_closes_its_connection() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK), Step::Hang, Step::Answer(OK)]).await;
        let pool = pool(&raw);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        let (given_up, asked) = (Rc::clone(&pool), &raw);
        tokio::select! {
            _ = async { given_up.send(get("/"), PLAN).await } => panic!("nobody answered"),
            () = until(|| asked.seen().len() == 2) => {}
        }
        until(|| pool.upstream().connections() == 0).await;
        assert_eq!(idle(&pool), 0);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        let used: Vec<_> = raw.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(used, [0, 0, 1]);
    });
}

#[test]
fn an_early_answer_gives_its_connection_back_only_when_the_request_was_sent() {
    worker(async {
        let raw = Raw::start(&[Step::AnswerEarly(OK), Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let (pieces, body) = mpsc::channel(1);
        let mut early = request(Method::POST, "/", "");
        *early.body_mut() = Sent::Piece(body);
        assert_eq!(text(pool.send(early, PLAN).await.unwrap()).await, "ok");
        assert_eq!(idle(&pool), 0);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        assert_eq!((raw.accepted(), idle(&pool)), (2, 1), "nobody shares a connection that is being written to");
        pieces.send(Bytes::from_static(b"late")).await.unwrap();
        drop(pieces);
        until(|| idle(&pool) == 2).await;
        assert!(raw.seen()[0].text.contains("late"));
    });
}

#[test]
fn an_answer_that_ends_the_connection_ends_it() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        // hyper would go on in HTTP/1.0, which has no place for a body of unknown length.
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ] {
        worker(async {
            let raw = Raw::start(&[Step::Answer(answer)]).await;
            let pool = pool(&raw);
            assert_eq!(text(pool.send(get("/"), PLAN).await.unwrap()).await, "ok");
            until(|| pool.upstream().connections() == 0).await;
            assert_eq!(idle(&pool), 0, "{answer}");
        });
    }
    worker(async {
        let raw = Raw::start(&[Step::AnswerAndClose("HTTP/1.1 200 OK\r\n\r\nuntil the end")]).await;
        let pool = pool(&raw);
        assert_eq!(text(pool.send(get("/"), PLAN).await.unwrap()).await, "until the end");
        until(|| pool.upstream().connections() == 0).await;
    });
}

/// What becomes of a malformed answer.
#[derive(PartialEq, Debug)]
enum Fate {
    Broken,
    Malformed(Malformed),
    /// The head passes, the body ends in an error.
    BodyBroken,
    /// The answer passes without what was too much.
    Cut,
}

#[test]
fn a_malformed_answer_is_an_error_and_its_connection_is_never_used_again() {
    use Fate::{BodyBroken, Broken, Cut};
    let cases = [
        ("SMTP ready\r\n\r\n", Broken),
        ("HTTP/1.1\r\n\r\n", Broken),
        ("HTTP/1.1 2000 OK\r\n\r\n", Broken),
        ("HTTP/1.1 0x1 OK\r\nContent-Length: 0\r\n\r\n", Broken),
        ("HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2", Broken),
        ("HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 2\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Fate::Malformed(Malformed::TwoLengths)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Fate::Malformed(Malformed::TwoLengths)),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Fate::Malformed(Malformed::TwoFramings),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Fate::Malformed(Malformed::TransferCoding),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Fate::Malformed(Malformed::TransferCoding),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok", Fate::Malformed(Malformed::TransferCoding)),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Broken),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Fate::Malformed(Malformed::Unasked101)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", BodyBroken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", BodyBroken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok", BodyBroken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", BodyBroken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", BodyBroken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", Cut),
        ("HTTP/1.1 204 No Content\r\n\r\nbody", Cut),
        ("HTTP/1.1 304 Not Modified\r\n\r\nbody", Cut),
    ];
    for (answer, fate) in cases {
        worker(async {
            // The upstream closes after its answer: also what ends too early is to show.
            let raw = Raw::start(&[Step::AnswerAndClose(answer), Step::Answer(OK)]).await;
            let pool = pool(&raw);
            let seen = match pool.send(get("/"), PLAN).await {
                Err(SendError::Broken { reused: false, .. }) => Broken,
                Err(SendError::Malformed(fault)) => Fate::Malformed(fault),
                Err(error) => panic!("{answer}: {error:?}"),
                Ok(response) => match response.into_body().collect().await {
                    Ok(_) => Cut,
                    Err(_) => BodyBroken,
                },
            };
            assert_eq!(seen, fate, "{answer}");
            until(|| pool.upstream().connections() == 0).await;
            text(pool.send(get("/"), PLAN).await.unwrap()).await;
            assert_eq!(raw.seen()[1].connection, 1, "{answer}");
        });
    }
}

#[test]
fn what_an_upstream_says_unasked_ends_the_connection() {
    worker(async {
        // A second answer in the same breath: to a request that was not sent, or smuggled.
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let raw = Raw::start(&[Step::Answer(two), Step::Answer(OK)]).await;
        let pool = pool(&raw);
        assert_eq!(text(pool.send(get("/"), PLAN).await.unwrap()).await, "ok");
        until(|| pool.upstream().connections() == 0).await;
        assert_eq!(text(pool.send(get("/"), PLAN).await.unwrap()).await, "ok");
        assert_eq!(raw.accepted(), 2);
    });
}

#[test]
fn a_connection_that_lay_idle_too_long_or_is_too_old_is_closed() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        for (idle_time, age) in [(30, 300), (300, 30)] {
            let target =
                Target { idle: Duration::from_secs(idle_time), age: Duration::from_secs(age), ..target(&raw.url()) };
            let pool = pool_of(target);
            text(pool.send(get("/"), PLAN).await.unwrap()).await;
            let now = Instant::now();
            pool.reap(now + Duration::from_secs(29));
            assert_eq!(idle(&pool), 1);
            pool.reap(now + Duration::from_secs(31));
            assert_eq!(idle(&pool), 0);
            until(|| pool.upstream().connections() == 0).await;
        }
    });
}

#[test]
fn what_is_too_old_is_not_used_even_before_the_tick() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        for (idle_time, age) in [(Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::ZERO)] {
            let before = raw.accepted();
            let pool = pool_of(Target { idle: idle_time, age, ..target(&raw.url()) });
            for _ in 0..2 {
                text(pool.send(get("/"), PLAN).await.unwrap()).await;
            }
            assert_eq!(raw.accepted() - before, 2);
        }
    });
}

#[test]
fn a_changed_address_is_gone_to_when_the_connections_to_the_old_one_are_of_age() {
    worker(async {
        let (old, new) = (Raw::start(&[Step::Answer(OK)]).await, Raw::start(&[Step::Answer(OK)]).await);
        resolve_to("moving.test", &[old.address]);
        let pool = pool_of(target("http://moving.test"));
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        resolve_to("moving.test", &[new.address]);
        let age = pool.upstream().target().age;
        pool.reap(Instant::now() + age.saturating_sub(Duration::from_secs(275)));
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        assert_eq!((old.accepted(), old.seen().len(), new.accepted()), (1, 2, 0), "a young connection is kept");
        pool.reap(Instant::now() + age);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        assert_eq!((old.seen().len(), new.seen().len()), (2, 1));
    });
}

#[test]
fn the_age_counts_from_the_connection_and_not_from_its_last_use() {
    worker(async {
        let (old, new) = (Raw::start(&[Step::Answer(OK)]).await, Raw::start(&[Step::Answer(OK)]).await);
        resolve_to("moving.test", &[old.address]);
        let age = Duration::from_millis(300);
        let pool = pool_of(Target { age, ..target("http://moving.test") });
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        resolve_to("moving.test", &[new.address]);
        let changed = Instant::now();
        // Never idle, and no tick.
        while new.accepted() == 0 {
            assert!(changed.elapsed() < PATIENCE, "it stays with the old address");
            text(pool.send(get("/"), PLAN).await.unwrap()).await;
        }
        assert_eq!(old.accepted(), 1);
    });
}

#[test]
fn a_dropped_pool_closes_what_is_idle_and_lets_answers_finish() {
    worker(async {
        let served = Served::plain().await;
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let pool = pool_of(Target { protocol, ..target(&format!("http://{}", served.address)) });
            let upstream = Arc::clone(pool.upstream());
            let long = "x".repeat(1 << 20);
            let response = pool.send(request(Method::POST, "/", &long), PLAN).await.unwrap();
            if protocol == Protocol::Http1 {
                text(pool.send(get("/"), PLAN).await.unwrap()).await;
                until(|| idle(&pool) == 1).await;
                assert_eq!(upstream.connections(), 2);
            }
            drop(pool);
            until(|| upstream.connections() == 1).await;
            assert!(text(response).await.ends_with(&long));
            until(|| upstream.connections() == 0).await;
        }
    });
}

#[test]
fn header_names_are_written_as_the_target_says() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        for (case, expected) in [
            (HeaderCase::Title, "X-Request-Id: 1\r\n"),
            (HeaderCase::Lower, "x-request-id: 1\r\n"),
            (HeaderCase::Preserve, "X-Request-Id: 1\r\n"),
        ] {
            let pool = pool_of(Target { header_case: case, ..target(&raw.url()) });
            let mut request = get("/");
            request.headers_mut().insert("x-request-id", header::HeaderValue::from_static("1"));
            text(pool.send(request, PLAN).await.unwrap()).await;
            let seen = raw.seen().pop().unwrap().text;
            assert!(seen.contains(expected), "{case:?}: {seen}");
        }
    });
}

#[test]
fn a_request_is_framed_so_that_its_body_arrives() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let (pieces, body) = mpsc::channel(1);
        let mut streamed = get("/");
        *streamed.body_mut() = Sent::Piece(body);
        pieces.send(Bytes::from_static(b"body of a GET")).await.unwrap();
        drop(pieces);
        text(pool.send(streamed, PLAN).await.unwrap()).await;
        let seen = raw.seen().pop().unwrap().text;
        assert!(seen.contains("Transfer-Encoding: chunked") && seen.contains("body of a GET"), "{seen}");

        text(pool.send(request(Method::POST, "/", ""), PLAN).await.unwrap()).await;
        assert!(raw.seen().pop().unwrap().text.contains("Content-Length: 0\r\n"));

        let mut bare = get("/");
        bare.headers_mut().remove(header::HOST);
        *bare.version_mut() = http::Version::HTTP_10;
        text(pool.send(bare, PLAN).await.unwrap()).await;
        let seen = raw.seen().pop().unwrap().text;
        assert!(seen.starts_with("GET / HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains(&format!("Host: {}\r\n", raw.address)), "{seen}");
    });
}

#[test]
fn an_upgrade_is_dialled_and_becomes_a_tunnel() {
    worker(async {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello";
        let raw = Raw::start(&[Step::Answer(OK), Step::Answer(switch)]).await;
        // The protocol of the target does not count: HTTP/2 has no upgrades.
        let pool = pool(&raw);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        let plan = Plan { upgrade: true, ..PLAN };
        let mut response = pool.send(get("/ws"), plan).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(raw.seen()[1].connection, 1);
        let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        let mut said = [0; 5];
        tunnel.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
        tunnel.write_all(b"GET /tunnelled HTTP/1.1\r\n\r\n").await.unwrap();
        until(|| raw.seen().len() == 3).await;
        assert_eq!((pool.upstream().connections(), idle(&pool)), (2, 1));
        drop(tunnel);
        until(|| pool.upstream().connections() == 1).await;
    });
}

#[test]
fn an_upgrade_that_is_declined_is_an_answer_and_its_connection_is_closed() {
    worker(async {
        let raw = Raw::start(&[Step::Answer("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")]).await;
        let pool = pool(&raw);
        let response = pool.send(get("/ws"), Plan { upgrade: true, ..PLAN }).await.unwrap();
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(text(response).await, "no");
        until(|| pool.upstream().connections() == 0).await;
        assert_eq!(idle(&pool), 0);
    });
}

#[test]
fn a_name_that_does_not_resolve_is_told_apart() {
    worker(async {
        let pool = pool_of(target("http://nowhere.invalid:1"));
        let error = pool.send(get("/"), PLAN).await.unwrap_err();
        assert_eq!(error.proxy_status(), "dns_error");
        assert!(matches!(error, SendError::Unsent { cause: ConnectError::Dns(_), .. }));
    });
}

#[test]
fn an_upstream_that_does_not_finish_its_handshake_is_waited_for_as_long_as_the_plan_says() {
    worker(async {
        // TCP connects by the listener's backlog; nobody ever says a word of TLS.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = target(&format!("https://{}", listener.local_addr().unwrap()));
        target.tls.insecure = true;
        let pool = pool_of(target);
        let plan = Plan { connect: Duration::from_millis(50), ..PLAN };
        let error = pool.send(get("/"), plan).await.unwrap_err();
        assert_eq!(error.proxy_status(), "connection_timeout");
        assert!(matches!(error, SendError::Unsent { cause: ConnectError::Timeout, .. }));
        until(|| pool.upstream().connections() == 0).await;
    });
}
