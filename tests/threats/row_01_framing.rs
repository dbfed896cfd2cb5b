//! Row 1: message framing that two servers could read differently.
//!
//! Crafted requests are sent through the proxy, each followed by a request that a careless reader
//! finds in its body, and by an honest one. What reached the upstream is then read as servers of
//! different habits would read it: all must see the same requests, and they must be the ones that
//! the proxy answered.

mod crafted;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::habits::{self, Habits, LENIENT, Request, STRICT};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire};
use crate::harness::yaml::one_route;
use crafted::{Crafted, crafted, honest_body};

const BEARER: &str = "Bearer T0K3N";

/// In `make test`; a soak has so many for each of its seconds.
const CRAFTED: usize = 10_000;
const CRAFTED_A_SECOND: usize = 2_000;

/// Clients at a time.
const CLIENTS: usize = 128;

/// A client that hears nothing for so long has no more to say.
const SILENCE: Duration = Duration::from_millis(400);

/// Long enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// An upstream that keeps every byte, a list a connection, and answers each request that it can read
/// by the letter with its mark and its body.
struct Recorder {
    wire: Wire,
    streams: Streams,
}

type Streams = Arc<Mutex<Vec<Vec<u8>>>>;

impl Recorder {
    async fn start() -> Self {
        let streams = Streams::default();
        let its = Arc::clone(&streams);
        let wire = Wire::start(move |caller| {
            let streams = Arc::clone(&its);
            async move {
                let place = {
                    let mut streams = streams.lock().unwrap();
                    streams.push(Vec::new());
                    streams.len() - 1
                };
                let (mut bytes, mut stream) = caller.end.into_parts();
                loop {
                    let (requests, end) = STRICT.read(&bytes);
                    for request in &requests {
                        if stream.write_all(answer(request).as_bytes()).await.is_err() {
                            return;
                        }
                    }
                    let done = requests.last().map_or(0, |request| request.end);
                    bytes.drain(..done);
                    if end == habits::End::Refused {
                        // Its way out is read to its end, so that others can judge of it.
                        while let Ok(read @ 1..) = read_some(&mut stream, &mut bytes).await {
                            let from = bytes.len() - read;
                            streams.lock().unwrap()[place].extend_from_slice(&bytes[from..]);
                        }
                        return;
                    }
                    let Ok(read @ 1..) = read_some(&mut stream, &mut bytes).await else { return };
                    let from = bytes.len() - read;
                    streams.lock().unwrap()[place].extend_from_slice(&bytes[from..]);
                }
            }
        })
        .await;
        Self { wire, streams }
    }

    fn streams(&self) -> Vec<Vec<u8>> {
        self.streams.lock().unwrap().clone()
    }
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    bytes.reserve(4096);
    stream.read_buf(bytes).await
}

fn answer(request: &Request) -> String {
    let Request { mark, body, .. } = request;
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nX-Mark: {mark}\r\nX-Length: {length}\r\nX-Body: {:x}\r\nContent-Length: 0\r\n\r\n",
        digest(body)
    )
}

fn digest(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a client was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    status: u16,
    mark: String,
    body: String,
}

/// What a client saw of the connection that it sent one of the crafted on.
struct Seen {
    number: usize,
    answers: Vec<Answer>,
}

async fn send(address: SocketAddr, crafted: Crafted) -> Seen {
    let Crafted { number, bytes } = crafted;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut answers, mut buffer) = (Vec::new(), Vec::new());
    let _ = stream.write_all(&bytes).await;
    let (last, mut patience) = (format!("{number}h"), SILENCE);
    while answers.last().is_none_or(|answer: &Answer| answer.mark != last) {
        match tokio::time::timeout(patience, read_some(&mut stream, &mut buffer)).await {
            Ok(Ok(1..)) => {}
            // More of a body is waited for, and will not come.
            Err(_) if patience == SILENCE => {
                patience = PATIENCE;
                let _ = stream.shutdown().await;
            }
            Ok(_) => break,
            Err(elapsed) => panic!("{number}: neither an answer nor an end: {elapsed}"),
        }
        while let Some(answer) = take_answer(&mut buffer) {
            answers.push(answer);
        }
    }
    Seen { number, answers }
}

fn take_answer(buffer: &mut Vec<u8>) -> Option<Answer> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let field = |name: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
    // An answer to HEAD has none of it, and is a refusal: nothing comes behind it.
    if buffer.len() < end + length && !head.contains(" 400 ") {
        return None;
    }
    buffer.drain(..buffer.len().min(end + length));
    let status = crate::harness::client::status(&head);
    let body = format!("{}:{}", field("x-length").unwrap_or_default(), field("x-body").unwrap_or_default());
    Some(Answer { status, mark: field("x-mark").unwrap_or_default(), body })
}

/// Reads a stream as everybody does, and says who sees something else than the view of the one that
/// sent it.
fn disagree(view: &[Request], bytes: &[u8], readers: &[Habits]) -> Vec<&'static str> {
    let others = readers.iter().filter(|habits| {
        let (requests, end) = habits.read(bytes);
        // Who refuses what is no more to its taste is safe: it closes the connection.
        let safe = end == habits::End::Refused && view.starts_with(&requests);
        !safe && requests != view
    });
    others.map(|habits| habits.name).collect()
}

/// Holds against each other what a client was answered and what its requests were to the upstream.
fn out_of_step(seen: &Seen, reached: &HashMap<String, Vec<String>>) -> Option<String> {
    let Seen { number, answers } = seen;
    let kinds = ["c", "s", "h"].map(|kind| format!("{number}{kind}"));
    let mut next = 0;
    for (place, answer) in answers.iter().enumerate() {
        if answer.status != 200 {
            if !(400..500).contains(&answer.status) {
                return Some(format!("answered {}", answer.status));
            }
            continue;
        }
        let Some(kind) = kinds.iter().position(|kind| *kind == answer.mark) else {
            return Some(format!("answer {place} is another's: {answer:?}"));
        };
        if kind < next {
            return Some(format!("answer {place} comes late: {answer:?}"));
        }
        next = kind + 1;
        if reached.get(&answer.mark).is_none_or(|bodies| bodies[..] != [answer.body.clone()]) {
            return Some(format!("{answer:?}, but there came {:?}", reached.get(&answer.mark)));
        }
        let honest = honest_body(*number);
        if kind == 2 && answer.body != format!("{}:{:x}", honest.len(), digest(honest.as_bytes())) {
            return Some(format!("the honest one came with another body: {answer:?}"));
        }
        if kind == 1 && !answer.body.starts_with("0:") {
            return Some(format!("the one in between came with a body: {answer:?}"));
        }
    }
    // What is behind a refusal is nobody's request, and what the client was not answered ended there.
    let answered = |mark: &String| answers.iter().any(|answer| answer.mark == *mark);
    let refused = answers.iter().any(|answer| answer.status != 200);
    let unasked = kinds.iter().filter(|mark| reached.contains_key(*mark) && !answered(mark)).count();
    if unasked > usize::from(!refused) {
        return Some(format!("{unasked} of its requests reached the upstream and were not answered: {answers:?}"));
    }
    None
}

#[tokio::test]
async fn no_server_whatever_its_habits_sees_other_requests_than_the_proxy_forwarded() {
    let count = match std::env::var("TOKENFERRY_SOAK_SECONDS").ok().and_then(|text| text.parse::<usize>().ok()) {
        Some(seconds) => seconds * CRAFTED_A_SECOND,
        None => CRAFTED,
    };
    let upstream = Recorder::start().await;
    let proxy = Proxy::start(&one_route(&upstream.wire.url(""), "")).await;
    let address = proxy.address();
    let queue: Arc<Mutex<VecDeque<Crafted>>> = Arc::new(Mutex::new(crafted(count).collect()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let Some(next) = queue.lock().unwrap().pop_front() else { return seen };
                    seen.push(send(address, next).await);
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for client in clients {
        seen.extend(client.await.unwrap());
    }

    let (mut faults, mut reached) = (Vec::new(), HashMap::<String, Vec<String>>::new());
    for stream in upstream.streams() {
        let (view, end) = STRICT.read(&stream);
        if end == habits::End::Refused {
            let from = view.last().map_or(0, |request| request.end);
            faults.push(format!("not by the letter: {}", String::from_utf8_lossy(&stream[from..])));
        }
        let others = disagree(&view, &stream, &habits::ALL);
        if !others.is_empty() {
            faults.push(format!("{others:?} see other requests than {view:?}"));
        }
        for request in view {
            let body = format!("{}:{:x}", request.body.len(), digest(&request.body));
            reached.entry(request.mark).or_default().push(body);
        }
    }
    for seen in &seen {
        faults.extend(out_of_step(seen, &reached).map(|fault| format!("{}: {fault}", seen.number)));
    }
    let all = |kind: char| reached.keys().filter(|mark| mark.ends_with(kind)).count();
    let strangers = reached.keys().filter(|mark| !mark.ends_with(['c', 's', 'h'])).count();
    println!(
        "{count} crafted, {} reached the upstream ({} behind them, {} honest ones), {} desynchronised",
        all('c'),
        all('s'),
        all('h'),
        faults.len() + strangers
    );
    faults.truncate(5);
    assert!(faults.is_empty() && strangers == 0, "{faults:#?}");
    assert_eq!(seen.len(), count);
    // How many of those behind them did depends on how soon a busy machine answers.
    assert!(all('c') > count / 50, "most are refused, but not all");
}

/// The judge of the test above is not blind: a relay that forwards what it gets as it came, and takes
/// it for what a lenient server would, is found out.
#[tokio::test]
async fn a_relay_that_forwards_bytes_as_they_came_is_found_out_by_the_same_judge() {
    const FEW: usize = 2_000;
    let upstream = Recorder::start().await;
    let (listener, to) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), upstream.wire.address);
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    for crafted in crafted(FEW) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&crafted.bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let streams = upstream.streams();
    assert_eq!(streams.len(), FEW);
    let out: Vec<_> = streams.iter().filter(|s| !disagree(&LENIENT.read(s).0, s, &habits::ALL).is_empty()).collect();
    println!("{FEW} crafted through a careless relay, {} desynchronised", out.len());
    assert!(out.len() > FEW / 20, "{}", out.len());
    // And each server that reads more than the letter is found out by itself.
    for habits in &habits::ALL[2..] {
        let alone = std::slice::from_ref(habits);
        assert!(streams.iter().any(|s| !disagree(&LENIENT.read(s).0, s, alone).is_empty()), "{}", habits.name);
    }
}

/// What a head comes to.
enum Fate {
    /// This status; nothing reaches an upstream.
    Refused(u16),
    /// One request with this body.
    Forwarded(&'static str),
}
use Fate::{Forwarded, Refused};

#[tokio::test]
async fn ambiguous_framing_is_refused_or_framed_anew() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (lines, body, fate) in [
        // Both framings: the length is dropped, and the connection closed behind it.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "hi", Forwarded("hi")),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "hi!", Refused(400)),
        ("Content-Length: 2, 2\r\n", "hi", Refused(400)),
        ("Content-Length: +2\r\n", "hi", Refused(400)),
        ("Content-Length: -2\r\n", "hi", Refused(400)),
        ("Content-Length: 0x2\r\n", "hi", Refused(400)),
        ("Content-Length: 2 2\r\n", "hi", Refused(400)),
        ("Content-Length: 2a\r\n", "hi", Refused(400)),
        ("Content-Length: \r\n", "", Refused(400)),
        ("Content-Length: 99999999999999999999999\r\n", "hi", Refused(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: gzip, chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: cow, chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: ,chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked,\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked, identity\r\n", "hi", Refused(400)),
        ("Transfer-Encoding: identity\r\n", "hi", Refused(400)),
        ("Transfer-Encoding: xchunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \"chunked\"\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding:\x0bchunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding : chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: CHUNKED\r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Transfer-Encoding:\tchunked \r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        // Another name to a server that takes one for the other: never forwarded.
        ("Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", "hi", Forwarded("hi")),
        ("Content_Length: 7\r\nContent-Length: 2\r\n", "hi", Forwarded("hi")),
        // Folds, bare line ends, NUL, no name.
        ("X: a\r\n b\r\n", "", Refused(400)),
        ("X: a\r\n\tTransfer-Encoding: chunked\r\n", "", Refused(400)),
        (" X: a\r\n", "", Refused(400)),
        ("X: a\0b\r\n", "", Refused(400)),
        ("X: a\rTransfer-Encoding: chunked\r\n", "", Refused(400)),
        (": a\r\n", "", Refused(400)),
        ("X Y: a\r\n", "", Refused(400)),
        ("X\r\n", "", Refused(400)),
        // Chunks.
        ("Transfer-Encoding: chunked\r\n", "+2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "0x2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "2\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "2\r\nhi0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "10000000000000002\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "2;a=b\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Transfer-Encoding: chunked\r\n", "002\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
    ] {
        let before = upstream.seen().len();
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("POST /first HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}{smuggled}")).await;
        let answer = client.answer().await;
        client.rest_until_quiet().await;
        let seen: Vec<_> =
            upstream.seen().split_off(before).into_iter().filter(|seen| seen.target() != "/smuggled").collect();
        // What is left of a refused request is never a request.
        let smuggled = upstream.seen().len() - before - seen.len();
        match fate {
            Refused(status) => {
                assert_eq!(answer.status(), status, "{lines:?} {body:?}");
                assert!(seen.iter().all(|seen| !seen.whole), "{lines:?} {body:?}: {seen:?}");
                assert_eq!(smuggled, 0, "{lines:?} {body:?}");
            }
            Forwarded(expected) => {
                assert_eq!(answer.status(), 200, "{lines:?} {body:?}");
                assert_eq!(seen.len(), 1, "{lines:?} {body:?}: {seen:?}");
                let seen = &seen[0];
                assert_eq!((seen.text().as_str(), seen.whole), (expected, true), "{lines:?} {body:?}");
                let framings = seen.all("content-length").len() + seen.all("transfer-encoding").len();
                assert_eq!(framings, 1, "{lines:?}: {seen:?}");
                assert!(!seen.head.contains('_'), "{lines:?}: {seen:?}");
                assert_eq!(seen.header("authorization"), Some(BEARER));
                if lines.contains("Length") && lines.contains("Encoding: chunked") && !lines.contains('_') {
                    assert_eq!(smuggled, 0, "closed behind an ambiguous request: {lines:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_or_is_no_chunks_never_reaches_the_upstream_whole() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for body in ["5\r\nhello\r\nXYZ\r\n", "5\r\nhelloWORLD\r\n0\r\n\r\n", "-1\r\n", "fffffffffffffffff\r\nx"] {
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}")).await;
        assert_eq!(client.answer().await.status(), 400, "{body:?}");
        assert!(client.is_over().await);
    }
    assert!(upstream.seen().iter().all(|seen| !seen.whole), "{:?}", upstream.seen());
}
