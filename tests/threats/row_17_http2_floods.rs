//! Frames that cost more than they bring: the flooding connection ends with GOAWAY, and nobody else
//! notices, even on the same worker. A moment of each in `make test`, half a minute in `make soak`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::bystanders::Bystanders;
use crate::harness::eventually_within;
use crate::harness::flood::{Flood, Toll};
use crate::harness::frames::{
    CONTINUATION, DATA, END_STREAM, GOAWAY, HEADERS, Http2, Outcome, PING, PRIORITY, RST_STREAM, SETTINGS, block,
    frame, get, head, initial_window, post, reset, window_update,
};
use crate::harness::process::Process;
use crate::harness::raw::{End, Wire, soon as waited};
use crate::harness::soak::{figure, long_or, open_files, time};
use crate::harness::yaml::{one_route, routes};

/// How long after its first frame a flooding connection may live: GOAWAY is due within a second, and
/// half of one is what the machine takes to notice. In `make test` it may be busy with anything.
fn soon() -> Duration {
    long_or(Duration::from_millis(1500), Duration::from_secs(5))
}

/// What a flood may add to the process's memory, in KiB.
const GROWTH: u64 = 48 << 10;
/// The bodies of `/big` and `/huge`.
const BIG: usize = 1 << 20;
const HUGE: usize = 64 << 20;

/// `/slow` is answered after half a minute, `/big` with a megabyte, `/huge` with 64 of them, `/events`
/// with an event stream that says nothing, everything else at once.
async fn upstream() -> Wire {
    Wire::start(|mut caller| async move {
        while let Some(request) = caller.end.request().await {
            match request.target() {
                "/slow" => tokio::time::sleep(Duration::from_secs(30)).await,
                "/events" => {
                    caller.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
                    caller.end.is_over().await;
                }
                path @ ("/big" | "/huge" | "/patient/big") => {
                    let length = if path == "/huge" { HUGE } else { BIG };
                    caller.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
                    for _ in 0..length / (16 * 1024) {
                        if !caller.end.send_all(&[b'x'; 16 * 1024]).await {
                            break;
                        }
                    }
                }
                _ => caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
            }
        }
    })
    .await
}

/// One worker: bystanders share it with the flood.
fn proxy(upstream: &Wire, more: &str) -> Process {
    open_files();
    Process::start(&one_route(&upstream.url(""), more), &[])
}

fn floods() -> Vec<Flood> {
    let rapid = |stream| [get(stream, "/slow"), reset(stream)].concat();
    let slower = Flood::of_streams("rapid reset, ten at a time", 10, rapid);
    // Each opened by a byte, twenty large answers would pay for PINGs if their frames did (CVE-2019-9511).
    let streams = || (0..20).map(|n| 2 * n + 1);
    let bytes = streams().map(|stream| [window_update(stream, 1), frame(PING, 0, 0, &[0; 8]).repeat(3)].concat());
    let dribble = [vec![initial_window(0)], streams().map(|stream| get(stream, "/big")).collect()].concat().concat();
    vec![
        Flood::of_streams("rapid reset", 100, rapid),
        // Fewer than the library lets pile up before it looks at them.
        Flood { pause: Duration::from_millis(1), ..slower },
        Flood::of("CONTINUATION", frame(HEADERS, 0, 1, &block(&head("GET", "/"))), &frame(CONTINUATION, 0, 1, &[])),
        Flood::of("empty DATA", post(1, "/"), &frame(DATA, 0, 1, &[])),
        Flood::of("DATA of a byte", post(1, "/slow"), &frame(DATA, 0, 1, b"x")),
        Flood::of("SETTINGS", Vec::new(), &frame(SETTINGS, 0, 0, &[])),
        Flood { answered: true, ..Flood::of("PING", Vec::new(), &frame(PING, 0, 0, &[0; 8])) },
        Flood::of("PRIORITY", Vec::new(), &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
        Flood::of("unknown frames", Vec::new(), &frame(0xbb, 0, 0, b"x")),
        Flood::of("unknown frames of 16 KiB", Vec::new(), &frame(0xbb, 0, 0, &[b'x'; 16 << 10])),
        Flood {
            name: "windows of a byte",
            opening: dribble,
            round: Arc::new(move |_| (80 * 5, bytes.clone().collect::<Vec<_>>().concat().repeat(5))),
            pause: Duration::ZERO,
            answered: false,
        },
        Flood::of("WINDOW_UPDATE", Vec::new(), &window_update(0, 1)),
        // The server is made to reset: a window that is opened by nothing (CVE-2025-8671).
        Flood::of_streams("MadeYouReset", 50, |stream| [get(stream, "/slow"), window_update(stream, 0)].concat()),
        // As many streams as there may be, and then more.
        Flood::of_streams("refused streams", 50, |stream| [post(stream, "/slow"), Vec::new()].concat()),
    ]
}

#[tokio::test]
async fn a_flood_of_frames_ends_with_goaway_and_nobody_else_notices() {
    let upstream = upstream().await;
    let time = time(30, 600);
    let process = proxy(&upstream, "");
    let quiet = Bystanders::start(process.address, "/ok");
    tokio::time::sleep(long_or(Duration::from_secs(5), Duration::from_millis(500))).await;
    figure(format!("no flood: {}", quiet.stop().await));
    for flood in floods() {
        let before = process.memory_kib("VmRSS");
        let bystanders = Bystanders::start(process.address, "/ok");
        let (toll, most) = tokio::join!(told(&flood, &process, time), most_memory(&process, time));
        let seen = bystanders.stop().await;
        let after = process.memory_kib("VmRSS");
        let name = flood.name;
        let Toll { connections, frames, goaways, silent, longest, open } = &toll;
        figure(format!(
            "{name}, {:.1} s: {frames} frames on {connections} connections, closed by GOAWAY {goaways:?} (code: count), \
             {silent} without, {open} open at the end, longest {:.0} ms; RSS {before} KiB, at most {most}, after {after}; {seen}",
            time.as_secs_f64(),
            longest.as_secs_f64() * 1000.0,
        ));
        seen.assert_all_served(long_or(50, 3), name);
        seen.assert_quick(name);
        assert!(*longest < soon() && *open == 0, "{name}: {toll:?}");
        assert!(goaways.values().sum::<u64>() > 0, "{name}: {toll:?}");
        // A GOAWAY is lost where the reset behind it overtakes a reader that has no time to read.
        let few = if flood.answered { *connections } else { connections / 20 };
        assert!(*silent <= long_or(few, *connections), "{name}: {toll:?}");
        assert!(most < before + GROWTH, "{name}: {before} KiB became {most}");
    }
}

/// What comes of a flood; where no connection lived to read its GOAWAY, what comes of the next.
async fn told(flood: &Flood, process: &Process, time: Duration) -> Toll {
    let mut toll = flood.run(process.address, 2, time, soon()).await;
    for _ in 0..long_or(0, 5) {
        if toll.goaways.is_empty() {
            toll.add(flood.run(process.address, 2, time, soon()).await);
        }
    }
    toll
}

/// The most that the process had, in KiB.
async fn most_memory(process: &Process, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(process.memory_kib("VmRSS"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    most
}

/// Streams whose answers nobody takes: without a window, and with the largest one on a socket that
/// is not read.
#[tokio::test]
async fn answers_that_nobody_reads_cost_bounded_memory_and_nobody_else() {
    let connections: u32 = long_or(8, 3);
    let streams: u32 = long_or(100, 40);
    let upstream = upstream().await;
    let time = time(30, 1000);
    for (name, window) in [("window 0", 0), ("a window without end, and a socket that is not read", 0x7fff_ffff)] {
        let process = proxy(&upstream, "");
        let bystanders = Bystanders::start(process.address, "/ok");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = process.memory_kib("VmRSS");
        let mut clients = Vec::new();
        for _ in 0..connections {
            let mut client = Http2::connect(process.address).await;
            client.send(initial_window(window)).await;
            if window > 0 {
                client.send(window_update(0, 0x7fff_ffff - 65_535)).await;
            }
            client.send((0..streams).flat_map(|n| get(2 * n + 1, "/big")).collect::<Vec<u8>>()).await;
            clients.push(client);
        }
        let most = most_memory(&process, time).await;
        let seen = bystanders.stop().await;
        figure(format!(
            "{name}, {} streams of a megabyte each: RSS {before} KiB, at most {most}; {seen}",
            connections * streams
        ));
        seen.assert_all_served(3, name);
        // A part of 128 KiB each in h2's queue, in the answer that waits for it, and in the upstream's
        // connection: hyper's own read-ahead of 400 KiB would be thrice that.
        assert!(
            most < before + u64::from(connections * streams) * 3 * 136 + (8 << 10),
            "{name}: {before} KiB became {most}"
        );
    }
}

/// The bound on `timeouts.body` holds where the socket is read, and the window is not opened.
#[tokio::test]
async fn a_client_that_opens_no_window_is_given_up_and_one_that_does_is_not() {
    let upstream = upstream().await;
    let process = proxy(&upstream, "timeouts: {body: 1s}\n");
    let mut idle = Http2::connect(process.address).await;
    idle.send([initial_window(0), get(1, "/big")].concat()).await;
    assert_eq!(idle.outcome(1).await, Outcome::Status(200));
    let mut slow = Http2::connect(process.address).await;
    slow.send([initial_window(0), get(1, "/big")].concat()).await;
    let begun = Instant::now();
    let reading = async {
        while begun.elapsed() < Duration::from_secs(4) {
            slow.send(window_update(1, 100)).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        slow.send([window_update(0, 2 << 20), window_update(1, 2 << 20)].concat()).await;
        let mut came = 0;
        while let Some(frame) = slow.frame().await {
            came += if frame.kind == DATA { frame.payload.len() } else { 0 };
            if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        came
    };
    let given_up = async {
        let outcome = idle.outcome(1).await;
        (outcome, begun.elapsed())
    };
    let (came, (outcome, took)) = tokio::join!(reading, given_up);
    assert_eq!(came, 1 << 20, "whoever reads slowly gets it all");
    assert_eq!(outcome, CANCELLED);
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(10), "{took:?}");
    // It is the stream that is given up: the connection goes on.
    idle.send(get(3, "/ok")).await;
    assert_eq!(idle.outcome(3).await, Outcome::Status(200));
}

const CANCELLED: Outcome = Outcome::Reset(8);

/// A route for `/patient` whose clients may take a minute, and one for the rest with a second.
fn patient_and_not(upstream: &Wire) -> String {
    let url = upstream.url("");
    routes(&format!(
        "- {{name: patient, match: {{path: /patient}}, upstream: \"{url}\", credential: fixed, timeouts: {{body: 60s}}}}\n\
         - {{name: short, upstream: \"{url}\", credential: fixed, timeouts: {{body: 1s}}}}\n"
    ))
}

#[tokio::test]
async fn an_event_stream_lifts_the_bound_on_unread_answers_for_itself_alone() {
    let upstream = upstream().await;
    let process = Process::start(&patient_and_not(&upstream), &[]);
    let mut client = Http2::connect(process.address).await;
    client.send([initial_window(0), get(1, "/big"), get(3, "/big"), get(5, "/events")].concat()).await;
    let mut outcomes = std::collections::BTreeMap::new();
    while !(outcomes.get(&1) == Some(&CANCELLED) && outcomes.get(&3) == Some(&CANCELLED)) {
        let frame = tokio::time::timeout(Duration::from_secs(10), client.frame()).await;
        let frame = frame.expect("both are given up in time").expect("the connection goes on");
        match frame.kind {
            HEADERS => drop(outcomes.insert(frame.stream, Outcome::Status(frame.status()))),
            RST_STREAM => drop(outcomes.insert(frame.stream, Outcome::Reset(frame.code()))),
            _ => {}
        }
    }
    assert_eq!(outcomes.get(&5), Some(&Outcome::Status(200)), "{outcomes:?}");
}

#[tokio::test]
async fn a_route_with_little_patience_ends_no_other_routes_stream() {
    let upstream = upstream().await;
    let process = Process::start(&patient_and_not(&upstream), &[]);
    let mut client = Http2::connect(process.address).await;
    client.send([initial_window(0), get(1, "/patient/big")].concat()).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    // One that is answered whole, and one that is given up.
    client.send([get(3, "/ok"), window_update(3, 100)].concat()).await;
    assert_eq!(client.outcome(3).await, Outcome::Status(200));
    client.send(get(5, "/big")).await;
    assert_eq!(client.outcome(5).await, Outcome::Status(200));
    assert_eq!(client.outcome(5).await, CANCELLED);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.send([window_update(0, 2 << 20), window_update(1, 2 << 20)].concat()).await;
    assert_eq!(taken(&mut client, 1, |_, _| Vec::new()).await, BIG);
}

/// Takes a stream's body to its end, and answers each part of it with what this makes of its stream
/// and length; how much came.
async fn taken(client: &mut Http2, stream: u32, answer: impl Fn(u32, u32) -> Vec<u8>) -> usize {
    let mut came = 0;
    loop {
        let frame = client.frame().await.expect("the connection goes on");
        assert!(![RST_STREAM, GOAWAY].contains(&frame.kind), "after {came} bytes: {frame:?}");
        if frame.kind != DATA || frame.stream != stream {
            continue;
        }
        came += frame.payload.len();
        if frame.flags & END_STREAM != 0 {
            return came;
        }
        client.send(answer(stream, u32::try_from(frame.payload.len()).unwrap())).await;
    }
}

/// Each window of a byte makes a frame of ours, which must not pay for PINGs (CVE-2019-9511).
#[tokio::test]
async fn windows_that_are_opened_byte_by_byte_earn_no_credit_for_pings() {
    let upstream = upstream().await;
    let process = proxy(&upstream, "");
    let mut client = Http2::connect(process.address).await;
    let streams = || (0..100).map(|n| 2 * n + 1);
    client
        .send([vec![initial_window(0)], streams().map(|stream| get(stream, "/big")).collect()].concat().concat())
        .await;
    let round = [streams().map(|stream| window_update(stream, 1)).collect(), vec![frame(PING, 0, 0, &[0; 8]); 300]];
    let round = round.concat().concat();
    let mut heads = 0;
    while heads < 100 {
        heads += usize::from(client.frame().await.expect("a frame").kind == HEADERS);
    }
    let (begun, mut rounds) = (Instant::now(), 0);
    // In step, since windows that are opened faster than they are used make fewer frames.
    'flood: loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "still open after {rounds} rounds");
        client.send(&round).await;
        let (mut bytes, mut pongs) = (0, 0);
        while bytes < 100 || pongs < 300 {
            match client.frame().await.map(|frame| (frame.kind, frame.payload.len())) {
                Some((DATA, length)) => bytes += length,
                Some((PING, _)) => pongs += 1,
                Some((GOAWAY, _)) | None => break 'flood,
                Some(_) => {}
            }
        }
        rounds += 1;
    }
}

/// What Go's client does: each read of 4 KiB opens the windows of the stream and of the connection.
#[tokio::test]
async fn a_large_download_in_reads_of_4_kib_is_no_flood() {
    const READ: u32 = 4096;
    let upstream = upstream().await;
    let process = proxy(&upstream, "");
    let mut client = Http2::connect(process.address).await;
    client.send([initial_window(1 << 20), window_update(0, 1 << 20), get(1, "/huge")].concat()).await;
    let came = taken(&mut client, 1, |stream, length| {
        let reads = (length.div_ceil(READ)) as usize;
        [window_update(0, length.min(READ)), window_update(stream, length.min(READ))].concat().repeat(reads)
    });
    assert_eq!(came.await, HUGE);
}

/// gRPC's clients measure the way with a PING a round trip while answers come.
#[tokio::test]
async fn a_ping_with_each_part_of_a_download_is_no_flood() {
    let upstream = upstream().await;
    let process = proxy(&upstream, "");
    let mut client = Http2::connect(process.address).await;
    client.send([initial_window(1 << 20), get(1, "/huge")].concat()).await;
    let came = taken(&mut client, 1, |stream, length| {
        [window_update(0, length), window_update(stream, length), frame(PING, 0, 0, &[2; 8])].concat()
    });
    assert_eq!(came.await, HUGE);
}

/// What Go's client does when a page of requests is cancelled, again and again.
#[tokio::test]
async fn whoever_cancels_all_that_it_asked_for_now_and_then_is_no_flood() {
    let upstream = upstream().await;
    let process = proxy(&upstream, "");
    let mut client = Http2::connect(process.address).await;
    for round in 0..4 {
        let streams: Vec<u32> = (0..60).map(|n| (round * 61 + n) * 2 + 1).collect();
        for stream in &streams {
            client.send(get(*stream, "/slow")).await;
        }
        // Looked at, so that it is not the library's own bound that is met.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for stream in &streams {
            client.send([reset(*stream), frame(PING, 0, 0, &[1; 8])].concat()).await;
        }
        let last = (round * 61 + 60) * 2 + 1;
        client.send(get(last, "/ok")).await;
        assert_eq!(client.outcome(last).await, Outcome::Status(200));
    }
}

/// A whole answer, streamed to a client that opens its windows again after each frame.
#[tokio::test]
async fn a_download_whose_windows_are_opened_frame_by_frame_is_no_flood() {
    let upstream = upstream().await;
    let process = proxy(&upstream, "");
    let mut client = Http2::connect(process.address).await;
    client.send(initial_window(1000)).await;
    for round in 0..8 {
        let stream = round * 2 + 1;
        client.send(get(stream, "/big")).await;
        let mut came = 0;
        while came < 1 << 20 {
            let frame = client.frame().await.expect("a frame");
            if frame.kind != DATA {
                continue;
            }
            came += frame.payload.len();
            let length = u32::try_from(frame.payload.len()).unwrap();
            client.send([window_update(0, length), window_update(stream, length)].concat()).await;
        }
    }
}

/// Closed with frames unread, the connection would be reset, and the GOAWAY with it that waits behind
/// the answers to thousands of PINGs.
#[tokio::test]
async fn a_flooding_client_that_is_late_to_read_is_told_why_it_is_closed() {
    let upstream = upstream().await;
    let process = proxy(&upstream, "");
    // It is waited for a moment only, in which a busy machine may not have sent all.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        let mut client = Http2::connect(process.address).await;
        client.send(frame(PING, 0, 0, &[0; 8]).repeat(20_000)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        match client.outcome(1).await {
            Outcome::GoAway(_) => return,
            outcome => assert_eq!(outcome, Outcome::Closed),
        }
    }
    panic!("nobody was told");
}

/// A GOAWAY is the last word: the connection is closed, and what its requests held is let go.
#[tokio::test]
async fn the_requests_of_a_flooding_connection_are_let_go() {
    let (ended, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Wire::start(move |mut caller| {
        let ended = ended.clone();
        async move {
            if caller.request().await.is_some() {
                assert!(caller.end.is_over().await);
                ended.send(()).unwrap();
            }
        }
    })
    .await;
    let process = proxy(&upstream, "");
    let mut client = Http2::connect(process.address).await;
    client.send(get(1, "/")).await;
    eventually_within(Duration::from_secs(10), "it is on its way", || !upstream.seen().is_empty()).await;
    client.send(frame(PING, 0, 0, &[0; 8]).repeat(20_000)).await;
    // What is told of it is lost where its reader is too late.
    assert!(matches!(client.outcome(1).await, Outcome::GoAway(_) | Outcome::Closed));
    waited("its request's end", inbox.recv()).await.unwrap();
    let mut next = End::connect(process.address).await;
    next.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually_within(Duration::from_secs(10), "others go on", || upstream.seen().len() == 2).await;
}
