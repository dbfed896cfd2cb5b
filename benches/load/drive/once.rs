//! One request a connection.

use super::tally::{Tally, kind};
use crate::args::Job;
use crate::figures::sample::Round;
use crate::line::Line;
use crate::poll::{Interest, Poll};
use crate::process::monotonic_ns;
use crate::wire::{Intake, answer};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the answers of a storm may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One after the other; then prints `held` and keeps the connections until its parent closes stdin.
pub(crate) fn hold(job: &Job, request: &[u8]) -> ExitCode {
    let mut held = Vec::new();
    let mut tally = Tally::new(0.0);
    // One buffer for all: theirs is the memory that is measured, but ours is the machine's too.
    let mut space = vec![0; 64 * 1024];
    for _ in 0..job.connections {
        match greet(job, request, &mut space) {
            Ok(stream) => held.push(stream),
            Err(what) => tally.error(&what),
        }
    }
    let round = tally.round(held.len() as u64, 0.0);
    println!("held {}", serde_json::to_string(&round).unwrap());
    crate::family::outlive_no_parent()
}

fn greet(job: &Job, request: &[u8], space: &mut [u8]) -> Result<TcpStream, String> {
    let told = |error: std::io::Error| kind(&error);
    let mut stream = TcpStream::connect_timeout(&job.address, PATIENCE).map_err(told)?;
    stream.set_nodelay(true).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    stream.write_all(request).map_err(told)?;
    let mut filled = 0;
    loop {
        let count = stream.read(&mut space[filled..]).map_err(told)?;
        filled += count;
        let bytes = &space[..filled];
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        match head {
            Some(length) => {
                let verdict = answer(&bytes[..length])?;
                if verdict.code != 200 {
                    return Err(format!("status {}", verdict.code));
                }
                if filled - length >= verdict.body {
                    return Ok(stream);
                }
            }
            None if count == 0 => return Err("connection closed".into()),
            None => {}
        }
        if count == 0 {
            return Err("connection closed".into());
        }
    }
}

struct Waiter {
    line: Line,
    intake: Intake,
    answered: bool,
}

/// Connects them all, sends all their requests, and waits for all the answers. Nobody hangs up before the last one
/// has his: what closing costs is not what is measured.
pub(crate) fn storm(job: &Job, request: &[u8]) -> Round {
    let mut poll = Poll::new().unwrap();
    let mut tally = Tally::new(0.0);
    let connect = || TcpStream::connect(job.address).and_then(Line::plain);
    let mut waiters: Vec<Option<Waiter>> = Vec::new();
    for key in 0..job.connections as usize {
        let line = connect().and_then(|line| poll.add(&line, key, Interest::Read).map(|()| line));
        let line = line.map_err(|error| tally.error(&kind(&error)));
        // An answer of 1 KiB and its head.
        waiters.push(line.ok().map(|line| Waiter { line, intake: Intake::with_room(answer, 4096), answered: false }));
    }
    // All are accepted before the first one asks.
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    tally.begin(begun);
    for waiter in &mut waiters {
        let Some(held) = waiter else { continue };
        if held.line.write(request).is_ok_and(|count| count == request.len()) {
            continue;
        }
        tally.error("the request was not taken");
        *waiter = None;
    }
    let sent_ns = monotonic_ns();
    let mut left = waiters.iter().flatten().count();
    let mut last_ns = sent_ns;
    let mut ready = Vec::new();
    while left > 0 && begun.elapsed() < PATIENCE {
        poll.wait(Some(Duration::from_secs(1)), &mut ready).unwrap();
        for &key in &ready {
            let Some(waiter) = &mut waiters[key] else { continue };
            if waiter.answered {
                continue;
            }
            match waiter.receive() {
                Ok(None) => continue,
                Ok(Some(200)) => {
                    let now = Instant::now();
                    tally.answered(now, now - begun);
                    last_ns = monotonic_ns();
                    waiter.answered = true;
                }
                Ok(Some(code)) => {
                    tally.error(&format!("status {code}"));
                    waiters[key] = None;
                }
                Err(what) => {
                    tally.error(&what);
                    waiters[key] = None;
                }
            }
            left -= 1;
        }
    }
    tally.errors("no answer in time", left as u64);
    let requests = tally.answered;
    Round { sent_ns, last_ns, ..tally.round(requests, begun.elapsed().as_secs_f64()) }
}

impl Waiter {
    fn receive(&mut self) -> Result<Option<u16>, String> {
        match self.line.read(self.intake.space()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(kind(&error)),
            Ok(count) => Ok(self.intake.took(count)?.map(|verdict| verdict.code)),
        }
    }
}
