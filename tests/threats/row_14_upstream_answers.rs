//! Row 14: answers that no client may be shown as they are. Each is 502 or breaks off, none is another
//! answer, and nothing goes over its connection any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::answers_of_its_own::is_problem;
use crate::harness::bystanders::Bystanders;
use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Field, HEADERS, Http2, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, block, field,
    frame, window_update,
};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire, exchange, soon};
use crate::harness::yaml::{one_route, routes};

#[tokio::test]
async fn an_upstream_that_breaks_off_or_answers_nonsense_is_502_and_its_connection_is_not_used_again() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "SMTP ready\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        let upstream = Wire::start(move |mut caller| async move {
            // Stays open unless the answer is unfinished: who reuses it is seen.
            while caller.request().await.is_some() {
                caller.say(answer).await;
                if !answer.ends_with('\n') && !answer.ends_with("ok") {
                    return;
                }
            }
        })
        .await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
        for _ in 0..2 {
            let got = exchange(proxy.address(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").await;
            is_problem(&got, 502, "upstream_broke_off");
        }
        let connections: Vec<_> = upstream.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 1], "{answer:?}");
    }
}

/// What a client gets of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comes {
    /// 502.
    Refused,
    /// Its beginning at most.
    Cut,
    /// This body, and it is the right one.
    Whole(&'static str),
}
use Comes::{Cut, Refused, Whole};

impl Comes {
    fn of(answer: Option<&Message>) -> Result<Self, String> {
        match answer {
            None => Ok(Cut),
            Some(answer) if answer.status() == 502 => Ok(Refused),
            Some(answer) if !answer.whole => Ok(Cut),
            Some(answer) => Err(answer.text()),
        }
    }

    /// Whether that is what came.
    fn is(self, came: &Result<Self, String>) -> bool {
        match (self, came) {
            (Whole(body), Err(text)) => body == text,
            (expected, Ok(came)) => expected == *came,
            _ => false,
        }
    }
}

/// What an upstream says to one request.
struct Says {
    method: &'static str,
    /// The pieces come with a pause between them.
    pieces: Vec<Vec<u8>>,
    /// Whether it closes then.
    closes: bool,
    comes: Comes,
}

fn says(method: &'static str, text: impl AsRef<[u8]>, comes: Comes) -> Says {
    Says { method, pieces: vec![text.as_ref().to_vec()], closes: false, comes }
}

fn says_and_closes(text: &str, comes: Comes) -> Says {
    Says { closes: true, ..says("GET", text, comes) }
}

fn says_late(method: &'static str, first: &str, then: &str, comes: Comes) -> Says {
    let pieces = [first, then].map(|piece| piece.as_bytes().to_vec()).to_vec();
    Says { method, pieces, closes: false, comes }
}

/// `LINES` are the lines behind the status line.
fn head(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n")
}

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";

fn refused() -> Vec<Says> {
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    let mut all: Vec<Says> = [
        // Lengths.
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: 2,3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length: 2;\r\n",
        "Content-Length: \"2\"\r\n",
        "Content-Length:\r\n",
        "Content-Length: 2\x0b\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        // Fields that are none.
        "X: a\r\n b\r\nContent-Length: 2\r\n",
        "X: a\r\n\tContent-Length: 7\r\nContent-Length: 2\r\n",
        " X: a\r\nContent-Length: 2\r\n",
        "X : a\r\nContent-Length: 2\r\n",
        "X: a\0b\r\nContent-Length: 2\r\n",
        "X: a\rContent-Length: 7\r\nContent-Length: 2\r\n",
        "X: a\x07b\r\nContent-Length: 2\r\n",
        ": a\r\nContent-Length: 2\r\n",
        "X Y: a\r\nContent-Length: 2\r\n",
        "X\r\nContent-Length: 2\r\n",
        "Caf\u{e9}: a\r\nContent-Length: 2\r\n",
    ]
    .into_iter()
    .map(|lines| says("GET", head(lines) + "ok", Refused))
    .collect();
    all.extend(
        [
            // Codings, and both framings.
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 0\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: cow\r\n",
            "Transfer-Encoding: ,chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
        ]
        .into_iter()
        .map(|lines| says("GET", head(lines) + chunks, Refused)),
    );
    all.extend(
        [
            // No status line.
            "hello\r\n\r\n",
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            "220 smtp ready\r\n\r\n",
            "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/11 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 +200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
            "<html>502</html>\r\n\r\n",
            "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0\0\r\n\r\n",
            "\x15\x03\x01\0\x02\x02\x50",
            // Nobody asked for them.
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nEVIL",
            "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
            // Chunks that HTTP/1.0 does not know.
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ]
        .into_iter()
        .map(|answer| says("GET", answer, Refused)),
    );
    // Nothing, or not all of a head.
    all.extend(
        ["", "H", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"]
            .map(|t| says_and_closes(t, Refused)),
    );
    all.push(says_and_closes("HTTP/1.1 103 Early Hints\r\n\r\n", Refused));
    // Too much of a head.
    let many: String = (0..101).map(|n| format!("X{n}: y\r\n")).collect();
    all.push(says("GET", head(&format!("{many}Content-Length: 2\r\n")) + "ok", Refused));
    all.push(says("GET", head(&format!("X: {}\r\nContent-Length: 2\r\n", "y".repeat(600 << 10))) + "ok", Refused));
    all.push(says("GET", "x".repeat(600 << 10), Refused));
    // Interim answers without end, of which none is the answer.
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    all.push(says("GET", interim.repeat((3 << 20) / interim.len()) + &head("Content-Length: 2\r\n") + "ok", Refused));
    all
}

fn cut() -> Vec<Says> {
    let chunked = head("Transfer-Encoding: chunked\r\n");
    let mut all: Vec<Says> = [
        "2\r\nok\r\nXX\r\n",
        "2\r\nokXX\r\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "2\nok\n0\n\n",
        "2;\nok\r\n0\r\n\r\n",
        "\r\n2\r\nok\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\nX y\r\n\r\n",
        "2\r\nok\r\n0\r\nX: a\0b\r\n\r\n",
        "2\r\nok\r\n0\r\nX: a\r\n b\r\n\r\n",
        "2\r\nok\r\n0\r\nX : a\r\n\r\n",
        "2\r\nok\r\n0\rX\r\n",
        "EVIL",
    ]
    .into_iter()
    .map(|body| says("GET", format!("{chunked}{body}"), Cut))
    .collect();
    let endings = [
        "",
        "2",
        "2\r\n",
        "2\r\no",
        "2\r\nok",
        "2\r\nok\r\n",
        "2\r\nok\r\n0",
        "2\r\nok\r\n0\r\n",
        "2\r\nok\r\n0\r\nX: a\r\n",
    ];
    all.extend(endings.map(|body| says_and_closes(&format!("{chunked}{body}"), Cut)));
    all.push(says_and_closes(&(head("Content-Length: 10\r\n") + "ok"), Cut));
    all.push(says_and_closes(&head("Content-Length: 10\r\n"), Cut));
    all
}

fn whole() -> Vec<Says> {
    let ok = head("Content-Length: 2\r\n") + "ok";
    let hundred = "HTTP/1.1 100 Continue\r\n\r\n";
    vec![
        // Bytes behind an answer are no answer.
        says("GET", format!("{ok}{EVIL}"), Whole("ok")),
        says("GET", format!("{ok}\r\n"), Whole("ok")),
        says("GET", format!("{ok}x"), Whole("ok")),
        says("GET", format!("{}2\r\nok\r\n0\r\n\r\n{EVIL}", head("Transfer-Encoding: chunked\r\n")), Whole("ok")),
        says("GET", format!("{}{EVIL}", head("Content-Length: 0\r\n")), Whole("")),
        says("HEAD", format!("{}{EVIL}", head("Content-Length: 51\r\n")), Whole("")),
        says("HEAD", format!("{}2\r\nok\r\n0\r\n\r\n", head("Transfer-Encoding: chunked\r\n")), Whole("")),
        says("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}"), Whole("")),
        says("GET", format!("HTTP/1.1 204 No Content\r\nContent-Length: 51\r\n\r\n{EVIL}"), Whole("")),
        says("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n", Whole("")),
        says("GET", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 51\r\n\r\n{EVIL}"), Whole("")),
        says("GET", format!("HTTP/1.1 304 Not Modified\r\n\r\n{EVIL}"), Whole("")),
        // The same, later.
        says_late("GET", &ok, EVIL, Whole("ok")),
        says_late("HEAD", &head("Content-Length: 51\r\n"), EVIL, Whole("")),
        says_late("GET", "HTTP/1.1 204 No Content\r\n\r\n", EVIL, Whole("")),
        says_late("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 51\r\n\r\n", EVIL, Whole("")),
        says_late("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 51\r\n\r\n", EVIL, Whole("")),
        // Promised where there may be none, and not sent.
        says("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 51\r\n\r\n", Whole("")),
        // A 1xx has no body, whatever it says.
        says("GET", format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 51\r\n\r\n{EVIL}{EVIL}"), Whole("EVIL")),
        says("GET", format!("{}{ok}{EVIL}", hundred.repeat(1000)), Whole("ok")),
        // HTTP/1.0 has one answer a connection, and ends it.
        says(
            "GET",
            format!("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok{EVIL}"),
            Whole("ok"),
        ),
        says_and_closes("HTTP/1.0 200 OK\r\n\r\nok", Whole("ok")),
        says_and_closes("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", Whole("ok")),
    ]
}

#[tokio::test]
async fn no_malformed_answer_comes_whole_and_its_connection_carries_nothing_any_more() {
    let cases: Arc<Vec<Says>> = Arc::new(refused().into_iter().chain(cut()).chain(whole()).collect());
    let its = Arc::clone(&cases);
    let upstream = Wire::start(move |mut caller| {
        let cases = Arc::clone(&its);
        async move {
            while let Some(request) = caller.request().await {
                let Some(number) = request.target().strip_prefix("/bad/") else {
                    let target = request.target();
                    caller.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len())).await;
                    continue;
                };
                let case = &cases[number.parse::<usize>().unwrap()];
                for (place, piece) in case.pieces.iter().enumerate() {
                    if place > 0 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    caller.say(piece).await;
                }
                if case.closes {
                    return;
                }
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let address = proxy.address();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let told = String::from_utf8_lossy(&case.pieces.concat()).chars().take(120).collect::<String>();
        let mut client = End::connect(address).await;
        client.send(format!("{} /bad/{number} HTTP/1.1\r\nHost: x\r\n\r\n", case.method)).await;
        let answer = client.answer_if_any(case.method).await;
        let came = Comes::of(answer.as_ref());
        if !case.comes.is(&came) {
            wrong.push(format!("{told:?}: {came:?}, not {:?}", case.comes));
        }
        if let Some(answer) = &answer {
            let lengths = answer.all("content-length").len() + answer.all("transfer-encoding").len();
            if answer.status() == 204 && lengths > 0 {
                wrong.push(format!("{told:?}: a length where there is no content: {answer:?}"));
            }
        }
        if case.pieces.len() > 1 {
            // It has said what it has to say, and nobody has asked.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        for next in 0..2 {
            let target = format!("/next/{number}/{next}");
            let next = exchange(address, format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            if next.text() != target {
                wrong.push(format!("{told:?}: another client got {next:?}"));
            }
        }
        let seen = upstream.seen();
        let place = seen.iter().rposition(|seen| seen.target() == format!("/bad/{number}")).unwrap();
        if seen[place + 1..].iter().any(|later| later.connection == seen[place].connection) {
            wrong.push(format!("{told:?}: its connection was used again"));
        }
    }
    println!("{} malformed answers, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What an HTTP/2 upstream answers: heads and data, the last of which ends the stream.
struct Speaks {
    name: &'static str,
    heads: Vec<Vec<Field>>,
    data: Option<&'static str>,
    trailers: Vec<Field>,
    status: u16,
    comes: Comes,
}

fn speaks(name: &'static str, fields: &[(&str, &str)], data: Option<&'static str>, comes: Comes) -> Speaks {
    let heads = vec![fields.iter().map(|(name, value)| field(name, value)).collect()];
    let status = fields[0].1.parse().unwrap_or_default();
    Speaks { name, heads, data, trailers: Vec::new(), status, comes }
}

impl Speaks {
    fn frames(&self, stream: u32) -> Vec<u8> {
        let ends = |more: bool| if more { 0 } else { END_STREAM };
        let mut frames = Vec::new();
        for (place, head) in self.heads.iter().enumerate() {
            let last = place + 1 == self.heads.len() && self.data.is_none();
            frames.extend(frame(HEADERS, END_HEADERS | ends(!last), stream, &block(head)));
        }
        if let Some(data) = self.data {
            frames.extend(frame(DATA, ends(!self.trailers.is_empty()), stream, data.as_bytes()));
        }
        if !self.trailers.is_empty() {
            frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&self.trailers)));
        }
        frames
    }
}

fn over_http2() -> Vec<Speaks> {
    let ok = [(":status", "200"), ("content-length", "2")];
    let with = |name, value| [ok[0], ok[1], (name, value)];
    let trailing = |name, fields: &[(&str, &str)]| Speaks {
        trailers: fields.iter().map(|(name, value)| field(name, value)).collect(),
        ..speaks(name, &ok[..1], Some("ok"), Whole("ok"))
    };
    let mut early = speaks("a length of an interim answer", &ok, Some("ok"), Whole("ok"));
    early.heads.insert(0, vec![field(":status", "103"), field("content-length", "5")]);
    vec![
        speaks("204 with a length and DATA", &[(":status", "204"), ("content-length", "5")], Some("hello"), Whole("")),
        speaks("204 with a length", &[(":status", "204"), ("content-length", "5")], None, Whole("")),
        speaks("204 with DATA", &[(":status", "204")], Some("hello"), Whole("")),
        speaks("204 with another spelling", &[(":status", "204"), ("content_length", "5")], None, Whole("")),
        speaks("304 with a length and DATA", &[(":status", "304"), ("content-length", "5")], Some("hello"), Whole("")),
        speaks("304 with a length", &[(":status", "304"), ("content-length", "5")], None, Whole("")),
        early,
        speaks("a name that HTTP/1 has not", &with("x\"y", "1"), Some("ok"), Whole("ok")),
        speaks("a name of quotation marks", &with("\"", "1"), Some("ok"), Whole("ok")),
        trailing("trailers of framing", &[("content-length", "9"), ("x\"y", "1"), ("transfer_encoding", "chunked")]),
        speaks("two lengths", &with("content-length", "2"), Some("ok"), Refused),
        speaks("two lengths that differ", &with("content-length", "3"), Some("ok"), Refused),
        speaks("a length with a sign", &[ok[0], ("content-length", "+2")], Some("ok"), Refused),
        speaks("more than its length", &ok, Some("hello"), Cut),
        speaks("less than its length", &ok, Some("o"), Cut),
        speaks("a coding", &with("transfer-encoding", "chunked"), Some("ok"), Refused),
        speaks("a connection header", &with("connection", "close"), Some("ok"), Refused),
        speaks("101", &[(":status", "101"), ("upgrade", "websocket")], Some("EVIL"), Refused),
        speaks("no status", &[(":path", "/")], Some("ok"), Refused),
        speaks("plain", &ok, Some("ok"), Whole("ok")),
    ]
}

/// An upstream that answers the first request of each connection so, and every further one with `next`.
async fn speaker(case: Arc<Speaks>) -> Wire {
    let next = Arc::new(speaks("next", &[(":status", "200"), ("content-length", "4")], Some("next"), Whole("next")));
    let asked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    Wire::start(move |caller| {
        let (case, next, asked) = (Arc::clone(&case), Arc::clone(&next), Arc::clone(&asked));
        async move {
            let mut end = Http2 { end: caller.end };
            end.end.exactly(PREFACE.len()).await;
            end.send(frame(SETTINGS, 0, 0, &[])).await;
            while let Some(came) = end.frame().await {
                match came.kind {
                    SETTINGS if came.flags == 0 => end.send(frame(SETTINGS, 1, 0, &[])).await,
                    PING if came.flags == 0 => end.send(frame(PING, 1, 0, &came.payload)).await,
                    HEADERS => {
                        let first = !asked.swap(true, std::sync::atomic::Ordering::SeqCst);
                        end.send(if first { &case } else { &next }.frames(came.stream)).await;
                    }
                    _ => {}
                }
            }
        }
    })
    .await
}

/// The same promise where an upstream speaks HTTP/2, whose framing HTTP/1 clients do not see: what they are
/// told of it is read by nobody as the beginning or the end of another answer.
#[tokio::test]
async fn nothing_that_an_http_2_upstream_says_frames_an_answer_for_an_http_1_client() {
    let mut wrong = Vec::new();
    for case in over_http2().into_iter().map(Arc::new) {
        let upstream = speaker(Arc::clone(&case)).await;
        let proxy = Proxy::start(&one_route(&format!("{{url: '{}', protocol: h2c}}", upstream.url("")), "")).await;
        let mut client = End::connect(proxy.address()).await;
        client.send("GET /a HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n").await;
        let answer = client.answer_if_any("GET").await;
        let came = Comes::of(answer.as_ref());
        if !case.comes.is(&came) {
            wrong.push(format!("{}: {came:?}, not {:?}", case.name, case.comes));
        }
        let Some(answer) = answer.filter(|answer| matches!(case.comes, Whole(_)) && answer.whole) else { continue };
        if answer.status() != case.status {
            wrong.push(format!("{}: {answer:?}", case.name));
        }
        let lengths = answer.all("content-length").len() + answer.all("transfer-encoding").len();
        if answer.status() == 204 && (lengths > 0 || answer.header("content_length").is_some()) {
            wrong.push(format!("{}: a length where there is no content: {answer:?}", case.name));
        }
        if answer.head.contains('"') || answer.trailers.contains('"') || !answer.trailers.is_empty() {
            wrong.push(format!("{}: {answer:?} {}", case.name, answer.trailers));
        }
        // Over the same connection: who had read a body that did not come reads on in this one.
        client.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await;
        match client.answer_if_any("GET").await {
            Some(next) if next.status() == 200 && next.text() == "next" => {}
            next => wrong.push(format!("{}: then {next:?}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An upstream over HTTP/2 that answers a request with these frames, again and again until it is closed.
async fn flooding(flood: Vec<u8>) -> (Wire, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (closed, inbox) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Wire::start(move |caller| {
        let (closed, many) = (closed.clone(), flood.repeat(500));
        async move {
            let mut end = Http2 { end: caller.end };
            end.end.exactly(PREFACE.len()).await;
            end.send([frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()).await;
            while end.frame().await.is_some_and(|came| came.kind != HEADERS) {}
            // What is answered to it is read, lest the flood waits for its reader.
            let (mut reader, mut writer) = tokio::io::split(end.end.into_parts().1);
            let reading = async { drop(tokio::io::copy(&mut reader, &mut tokio::io::sink()).await) };
            let writing = async { while writer.write_all(&many).await.is_ok() {} };
            tokio::join!(reading, writing);
            closed.send(()).unwrap();
        }
    })
    .await;
    (upstream, inbox)
}

#[tokio::test]
async fn an_http_2_upstream_that_sends_frames_without_an_answer_is_closed_and_others_are_served() {
    let calm = Wire::ok().await;
    for (name, flood) in [
        ("103", frame(HEADERS, END_HEADERS, 1, &block(&[field(":status", "103")]))),
        (
            "103 of 16 KiB",
            frame(HEADERS, END_HEADERS, 1, &block(&[field(":status", "103"), field("link", "x".repeat(16_000))])),
        ),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("unknown frames", frame(0xbb, 0, 0, b"x")),
        // Of a stream that is over, for which a moment is granted.
        ("RST_STREAM", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
    ] {
        let (upstream, mut closed) = flooding(flood).await;
        let proxy = Proxy::start(&routes(&format!(
            "- {{name: flood, match: {{path: /flood}}, upstream: {{url: '{}', protocol: h2c}}, credential: fixed}}\n\
             - {{name: ok, upstream: {}, credential: fixed}}\n",
            upstream.url(""),
            calm.url("")
        )))
        .await;
        let bystanders = Bystanders::start(proxy.address(), "/ok");
        let mut got = None;
        // A machine may be so busy that it takes fewer frames than anybody may send.
        for _ in 0..5 {
            let asked = exchange(proxy.address(), "POST /flood HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            got = tokio::time::timeout(Duration::from_secs(10), asked).await.ok();
            if got.is_some() {
                break;
            }
        }
        is_problem(&got.expect("the end of the flood"), 502, "upstream_broke_off");
        soon(name, closed.recv()).await.unwrap();
        bystanders.stop().await.assert_all_served(3, name);
    }
}
