//! Closed loop: each connection sends its next request as soon as the one before is answered.

use super::GRACE;
use super::tally::{Tally, kind};
use crate::args::Job;
use crate::figures::sample::Round;
use crate::line::Line;
use crate::poll::{Interest, Poll};
use crate::wire::{Intake, answer};
use rustls::ClientConfig;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the first answers may take beyond the warm-up: each may cost two TLS handshakes.
const GREETINGS: Duration = Duration::from_secs(10);

/// How long a connection that failed is left alone.
const PAUSE: Duration = Duration::from_millis(5);

struct Crew<'a> {
    job: &'a Job,
    request: &'a [u8],
    tls: Option<Arc<ClientConfig>>,
    /// Whether each request has a connection of its own.
    fresh: bool,
    poll: Poll,
    askers: Vec<Option<Asker>>,
    /// Whose connection failed.
    failed: Vec<usize>,
    /// Who has had an answer, and how many that are.
    greeted: Vec<bool>,
    greetings: usize,
    tally: Tally,
    /// No further requests are sent.
    over: bool,
}

struct Asker {
    line: Line,
    intake: Intake,
    started: Instant,
    /// How much of the request is sent.
    sent: usize,
    waiting_to_write: bool,
}

pub(crate) fn run(job: &Job, request: &[u8], tls: Option<Arc<ClientConfig>>, fresh: bool) -> Round {
    let askers = (0..job.connections).map(|_| None).collect();
    let failed = (0..job.connections as usize).collect();
    let greeted = vec![false; job.connections as usize];
    let (poll, tally) = (Poll::new().unwrap(), Tally::new(job.seconds));
    let mut crew = Crew { job, request, tls, fresh, poll, askers, failed, greeted, greetings: 0, tally, over: false };
    crew.work_until(Instant::now() + Duration::from_secs_f64(job.warm_up), |_| false);
    // What it costs to open a connection that is then kept is not what is measured.
    crew.work_until(Instant::now() + GREETINGS, |crew| crew.fresh || crew.greetings == crew.greeted.len());
    let (begun, before) = (Instant::now(), crew.tally.answered);
    crew.tally.begin(begun);
    println!("begin");
    crew.work_until(begun + Duration::from_secs_f64(job.seconds), |_| false);
    println!("end");
    let seconds = begun.elapsed().as_secs_f64();
    let requests = crew.tally.answered - before;
    crew.over = true;
    crew.work_until(Instant::now() + GRACE, |crew| crew.askers.iter().all(Option::is_none));
    let lost = crew.askers.iter().flatten().count() as u64;
    crew.tally.errors("no answer in time", lost);
    crew.tally.round(requests, seconds)
}

impl Crew<'_> {
    fn work_until(&mut self, end: Instant, enough: impl Fn(&Self) -> bool) {
        let mut ready = Vec::new();
        while !enough(self) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if !self.over {
                for index in std::mem::take(&mut self.failed) {
                    self.start(index);
                }
            }
            let patience = if self.failed.is_empty() { left } else { left.min(PAUSE) };
            self.poll.wait(Some(patience), &mut ready).unwrap();
            for &index in &ready {
                self.go_on(index);
            }
        }
    }

    /// A new connection, and its first request.
    fn start(&mut self, index: usize) {
        let started = Instant::now();
        match self.open(index, started) {
            Ok(asker) => self.askers[index] = Some(asker),
            Err(error) => self.fail(index, &kind(&error)),
        }
    }

    fn open(&self, index: usize, started: Instant) -> io::Result<Asker> {
        let stream = TcpStream::connect(self.job.address)?;
        let line = match &self.tls {
            Some(config) => Line::client(stream, config)?,
            None => Line::plain(stream)?,
        };
        self.poll.add(&line, index, Interest::Read)?;
        let intake = Intake::new(answer);
        let mut asker = Asker { line, intake, started, sent: 0, waiting_to_write: false };
        asker.send(self.request, &self.poll, index)?;
        Ok(asker)
    }

    fn fail(&mut self, index: usize, what: &str) {
        self.askers[index] = None;
        self.failed.push(index);
        self.tally.error(what);
    }

    fn go_on(&mut self, index: usize) {
        // The same wake-up may have told of a connection that is gone by now.
        let Some(asker) = &mut self.askers[index] else { return };
        match asker.receive(self.request, &self.poll, index) {
            Ok(None) => {}
            Err(what) => self.fail(index, &what),
            Ok(Some(code)) => {
                let now = Instant::now();
                let took = now - asker.started;
                if code != 200 {
                    return self.fail(index, &format!("status {code}"));
                }
                self.tally.answered(now, took);
                self.greetings += usize::from(!std::mem::replace(&mut self.greeted[index], true));
                if self.over || self.fresh {
                    self.askers[index] = None;
                    if !self.over {
                        self.start(index);
                    }
                    return;
                }
                asker.started = now;
                asker.sent = 0;
                if let Err(error) = asker.send(self.request, &self.poll, index) {
                    self.fail(index, &kind(&error));
                }
            }
        }
    }
}

impl Asker {
    /// The rest of the request, as much as there is room for.
    fn send(&mut self, request: &[u8], poll: &Poll, index: usize) -> io::Result<()> {
        let mut all = true;
        while self.sent < request.len() && all {
            match self.line.write(&request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => all = false,
                Err(error) => return Err(error),
            }
        }
        let waiting = !(all && self.line.flush()?);
        if waiting != self.waiting_to_write {
            self.waiting_to_write = waiting;
            poll.change(&self.line, index, if waiting { Interest::Write } else { Interest::Read })?;
        }
        Ok(())
    }

    /// The status of the answer, once it is whole.
    fn receive(&mut self, request: &[u8], poll: &Poll, index: usize) -> Result<Option<u16>, String> {
        if self.waiting_to_write {
            self.send(request, poll, index).map_err(|e| kind(&e))?;
            if self.waiting_to_write {
                return Ok(None);
            }
        }
        loop {
            let count = match self.line.read(self.intake.space()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                count => count.map_err(|e| kind(&e))?,
            };
            if let Some(verdict) = self.intake.took(count)? {
                return Ok(Some(verdict.code));
            }
        }
    }
}
