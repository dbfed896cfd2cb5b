//! Fixed rate: requests start by the clock, whether or not earlier ones are answered.
//!
//! Each connection owns every n-th start. When an answer is late the connection's next request leaves late, but its
//! latency is still counted from when it should have left, so a stall shows in full (no coordinated omission).
//! Threads, not tasks: an asynchronous timer's millisecond would be longer than what is measured.

use super::GRACE;
use super::tally::{Tally, kind};
use crate::args::Job;
use crate::figures::sample::Round;
use crate::wire::{Intake, answer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

struct Plan {
    address: SocketAddr,
    request: Vec<u8>,
    /// When the first request of all starts.
    origin: Instant,
    /// Between two starts on one connection.
    step: Duration,
    /// Starts from here on are measured.
    begin: Instant,
    end: Instant,
    seconds: f64,
    /// Answered so far; what the CPU time is divided by.
    answered: AtomicU64,
}

pub(crate) fn run(job: &Job, request: Vec<u8>) -> Round {
    // Time for the threads to start and connect.
    let origin = Instant::now() + Duration::from_millis(100);
    let begin = origin + Duration::from_secs_f64(job.warm_up);
    let between = Duration::from_secs(1) / job.rate;
    let plan = Arc::new(Plan {
        address: job.address,
        request,
        origin,
        step: between * job.connections,
        begin,
        end: begin + Duration::from_secs_f64(job.seconds),
        seconds: job.seconds,
        answered: AtomicU64::new(0),
    });
    let threads: Vec<_> = (0..job.connections)
        .map(|index| {
            let plan = plan.clone();
            let connection = move || keep_pace(&plan, between * index);
            Builder::new().stack_size(256 * 1024).spawn(connection).unwrap()
        })
        .collect();
    sleep(plan.begin.saturating_duration_since(Instant::now()));
    let before = plan.answered.load(Ordering::Relaxed);
    println!("begin");
    let begun = Instant::now();
    sleep(plan.end.saturating_duration_since(Instant::now()));
    println!("end");
    let seconds = begun.elapsed().as_secs_f64();
    let requests = plan.answered.load(Ordering::Relaxed) - before;
    let mut tally = Tally::new(job.seconds);
    tally.begin(plan.begin);
    for thread in threads {
        tally.add(&thread.join().unwrap());
    }
    tally.round(requests, seconds)
}

fn keep_pace(plan: &Plan, offset: Duration) -> Tally {
    let mut tally = Tally::new(plan.seconds);
    let mut connection = None;
    let mut start = plan.origin + offset;
    while start < plan.end {
        if Instant::now() > plan.end + GRACE {
            let left = (plan.end - start).as_nanos() / plan.step.as_nanos() + 1;
            tally.errors("never sent: too far behind", left as u64);
            break;
        }
        if connection.is_none() {
            connection = open(plan.address).map_err(|what| tally.error(&what)).ok();
        }
        sleep(start.saturating_duration_since(Instant::now()));
        if let Some((stream, intake)) = &mut connection {
            match ask(stream, intake, &plan.request) {
                Ok(()) => {
                    plan.answered.fetch_add(1, Ordering::Relaxed);
                    // What should have left before the beginning is warming up, however late it is.
                    if start >= plan.begin {
                        tally.begin(plan.begin);
                    }
                    tally.answered(Instant::now(), start.elapsed());
                }
                Err(what) => {
                    tally.error(&what);
                    connection = None;
                }
            }
        }
        start += plan.step;
    }
    tally
}

fn open(address: SocketAddr) -> Result<(TcpStream, Intake), String> {
    let stream = TcpStream::connect_timeout(&address, GRACE).map_err(|e| kind(&e))?;
    stream.set_nodelay(true).map_err(|e| kind(&e))?;
    stream.set_read_timeout(Some(GRACE)).map_err(|e| kind(&e))?;
    stream.set_write_timeout(Some(GRACE)).map_err(|e| kind(&e))?;
    Ok((stream, Intake::new(answer)))
}

fn ask(stream: &mut TcpStream, intake: &mut Intake, request: &[u8]) -> Result<(), String> {
    stream.write_all(request).map_err(|e| kind(&e))?;
    loop {
        let count = stream.read(intake.space()).map_err(|e| kind(&e))?;
        match intake.took(count)? {
            None => {}
            Some(verdict) if verdict.code == 200 => return Ok(()),
            Some(verdict) => return Err(format!("status {}", verdict.code)),
        }
    }
}
