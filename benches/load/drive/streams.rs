//! Closed loop over one HTTP/2 connection with prior knowledge: so many streams at a time, each the next request as
//! soon as the one before is answered.

use super::GRACE;
use super::tally::{Tally, kind};
use crate::args::Job;
use crate::figures::sample::Round;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, Uri};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

const STREAMS: u32 = 100;

struct Shared {
    request: Request<()>,
    tally: RefCell<Tally>,
    over: Cell<bool>,
}

pub(crate) fn run(job: &Job) -> Round {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, measure(job))
}

async fn measure(job: &Job) -> Round {
    let tally = RefCell::new(Tally::new(job.seconds));
    let shared = Rc::new(Shared { request: request(job), tally, over: Cell::new(false) });
    let mut streams = JoinSet::new();
    match connect(job).await {
        Ok(sender) => {
            for _ in 0..STREAMS {
                streams.spawn_local(keep_asking(sender.clone(), shared.clone()));
            }
        }
        Err(what) => shared.tally.borrow_mut().error(&what),
    }
    sleep(Duration::from_secs_f64(job.warm_up)).await;
    let begun = Instant::now();
    shared.tally.borrow_mut().begin(begun);
    let before = shared.tally.borrow().answered;
    println!("begin");
    sleep(Duration::from_secs_f64(job.seconds)).await;
    println!("end");
    let seconds = begun.elapsed().as_secs_f64();
    let requests = shared.tally.borrow().answered - before;
    shared.over.set(true);
    let _ = timeout(GRACE, async { while streams.join_next().await.is_some() {} }).await;
    let lost = streams.len() as u64;
    let mut tally = shared.tally.replace(Tally::new(0.0));
    tally.errors("no answer in time", lost);
    tally.round(requests, seconds)
}

fn request(job: &Job) -> Request<()> {
    let uri = Uri::builder().scheme("http").authority(job.host.as_str()).path_and_query(job.path.as_str());
    let request = Request::builder().method(Method::GET).uri(uri.build().unwrap());
    request.header("user-agent", "load").header("authorization", "Bearer from-the-client").body(()).unwrap()
}

async fn connect(job: &Job) -> Result<SendRequest<Bytes>, String> {
    let stream = TcpStream::connect(job.address).await.map_err(|e| kind(&e))?;
    stream.set_nodelay(true).map_err(|e| kind(&e))?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
    let (sender, connection) = builder.handshake(stream).await.map_err(|e| e.to_string())?;
    spawn_local(connection);
    Ok(sender)
}

async fn keep_asking(mut sender: SendRequest<Bytes>, shared: Rc<Shared>) {
    while !shared.over.get() {
        let started = Instant::now();
        match ask(&mut sender, &shared.request).await {
            Ok(()) => {
                let now = Instant::now();
                shared.tally.borrow_mut().answered(now, now - started);
            }
            Err(what) => {
                shared.tally.borrow_mut().error(&what);
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn ask(sender: &mut SendRequest<Bytes>, request: &Request<()>) -> Result<(), String> {
    std::future::poll_fn(|context| sender.poll_ready(context)).await.map_err(|e| e.to_string())?;
    let (answer, _) = sender.send_request(request.clone(), true).map_err(|e| e.to_string())?;
    let (head, mut body) = answer.await.map_err(|e| e.to_string())?.into_parts();
    while let Some(data) = body.data().await {
        let length = data.map_err(|e| e.to_string())?.len();
        body.flow_control().release_capacity(length).map_err(|e| e.to_string())?;
    }
    if head.status == 200 { Ok(()) } else { Err(format!("status {}", head.status.as_u16())) }
}
