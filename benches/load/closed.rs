//! Closed loop: each connection sends its next request as soon as the one before is answered.

use crate::args::Job;
use crate::drive::{GRACE, Round, Tally};
use crate::wire::{Intake, answer};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

struct Shared {
    address: SocketAddr,
    request: Vec<u8>,
    tally: RefCell<Tally>,
    over: Cell<bool>,
}

pub(crate) fn run(job: &Job, request: Vec<u8>) -> Round {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, measure(job, request))
}

async fn measure(job: &Job, request: Vec<u8>) -> Round {
    let shared =
        Rc::new(Shared { address: job.address, request, tally: RefCell::new(Tally::new()), over: Cell::new(false) });
    let mut connections = JoinSet::new();
    for _ in 0..job.connections {
        connections.spawn_local(keep_asking(shared.clone()));
    }
    sleep(Duration::from_secs_f64(job.warm_up)).await;
    shared.tally.borrow_mut().latency.reset();
    println!("begin");
    let begun = Instant::now();
    sleep(Duration::from_secs_f64(job.seconds)).await;
    println!("end");
    let seconds = begun.elapsed().as_secs_f64();
    let requests = shared.tally.borrow().latency.len();
    shared.over.set(true);
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    let lost = connections.len() as u64;
    let mut tally = shared.tally.replace(Tally::new());
    tally.errors("no answer in time", lost);
    tally.round(requests, seconds)
}

async fn keep_asking(shared: Rc<Shared>) {
    while !shared.over.get() {
        if let Err(what) = converse(&shared).await {
            shared.tally.borrow_mut().error(&what);
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// One connection's life; a server may close it politely between two answers.
async fn converse(shared: &Shared) -> Result<(), String> {
    let mut stream = TcpStream::connect(shared.address).await.map_err(|e| e.kind().to_string())?;
    stream.set_nodelay(true).map_err(|e| e.kind().to_string())?;
    let mut intake = Intake::new(answer);
    while !shared.over.get() {
        let started = Instant::now();
        stream.write_all(&shared.request).await.map_err(|e| e.kind().to_string())?;
        let verdict = loop {
            let count = stream.read(intake.space()).await.map_err(|e| e.kind().to_string())?;
            if let Some(verdict) = intake.took(count)? {
                break verdict;
            }
        };
        if verdict.code != 200 {
            return Err(format!("status {}", verdict.code));
        }
        shared.tally.borrow_mut().answered(started.elapsed());
    }
    Ok(())
}
