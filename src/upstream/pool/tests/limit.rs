//! `limits.connections`.

use super::*;

fn limited(raw: &Raw, connections: u32) -> TestPool {
    pool_of(Target { connections: Some(connections), ..target(&raw.url()) })
}

#[test]
fn beyond_the_limit_a_request_waits_for_a_connection_that_comes_idle() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = limited(&raw, 2);
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let pool = Rc::clone(&pool);
            tasks.push(spawn_local(async move { text(pool.send(get("/"), PLAN).await.unwrap()).await }));
        }
        for task in tasks {
            assert_eq!(task.await.unwrap(), "ok");
        }
        assert_eq!((raw.accepted(), raw.seen().len()), (2, 20));
    });
}

#[test]
fn a_request_that_waited_too_long_is_given_back() {
    worker(async {
        let raw = Raw::start(&[Step::Hang]).await;
        let pool = limited(&raw, 1);
        let hanging = Rc::clone(&pool);
        let task = spawn_local(async move { hanging.send(get("/"), PLAN).await.map(drop) });
        until(|| raw.seen().len() == 1).await;
        for reuse in [true, false] {
            let plan = Plan { connect: Duration::from_millis(20), reuse, upgrade: false, still: None };
            let error = pool.send(get("/"), plan).await.unwrap_err();
            assert_eq!(error.proxy_status(), "connection_limit_reached");
            assert!(matches!(error, SendError::Unsent { cause: ConnectError::Limit, .. }));
        }
        pool.reap(Instant::now());
        assert_eq!(pool.queue.borrow().len(), 0, "those who gave up are forgotten");
        assert_eq!((pool.waiting.get(), raw.accepted()), (0, 1));
        task.abort();
    });
}

#[test]
fn one_who_must_dial_gets_the_permit_of_an_idle_connection() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = limited(&raw, 1);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
        text(pool.send(get("/"), Plan { reuse: false, ..PLAN }).await.unwrap()).await;
        assert_eq!((raw.accepted(), idle(&pool)), (2, 1));
    });
}

#[test]
fn an_idle_connection_is_given_up_for_another_worker_that_waits() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let one = limited(&raw, 1);
        let other: TestPool = Pool::new(Arc::clone(one.upstream()));
        text(one.send(get("/"), PLAN).await.unwrap()).await;
        let waiting = Rc::clone(&other);
        let task = spawn_local(async move { text(waiting.send(get("/"), PLAN).await.unwrap()).await });
        until(|| one.upstream().limit.as_ref().unwrap().waiting() == 1).await;
        // The tick of the worker that has it.
        one.reap(Instant::now());
        assert_eq!(task.await.unwrap(), "ok");
        assert_eq!((idle(&one), idle(&other), raw.accepted()), (0, 1, 2));
    });
}

#[test]
fn a_connection_that_comes_idle_goes_to_the_worker_that_waits() {
    worker(async {
        let raw = Raw::start(&[Step::AnswerEarly(OK), Step::Answer(OK)]).await;
        let one = limited(&raw, 1);
        let other: TestPool = Pool::new(Arc::clone(one.upstream()));
        let (pieces, body) = mpsc::channel(1);
        let mut slow = request(Method::POST, "/", "");
        *slow.body_mut() = Sent::Piece(body);
        text(one.send(slow, PLAN).await.unwrap()).await;
        let waiting = Rc::clone(&other);
        let task = spawn_local(async move { text(waiting.send(get("/"), PLAN).await.unwrap()).await });
        until(|| one.upstream().limit.as_ref().unwrap().waiting() == 1).await;
        drop(pieces);
        assert_eq!(task.await.unwrap(), "ok");
        assert_eq!((idle(&one), idle(&other), raw.accepted()), (0, 1, 2));
    });
}

#[test]
fn a_tunnel_counts_until_it_is_closed() {
    worker(async {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        let raw = Raw::start(&[Step::AnswerAndHang(switch), Step::Answer(OK)]).await;
        let pool = limited(&raw, 1);
        let mut response = pool.send(get("/ws"), Plan { upgrade: true, ..PLAN }).await.unwrap();
        let tunnel = hyper::upgrade::on(&mut response).await.unwrap();
        let plan = Plan { connect: Duration::from_millis(20), ..PLAN };
        assert_eq!(pool.send(get("/"), plan).await.unwrap_err().proxy_status(), "connection_limit_reached");
        drop(tunnel);
        text(pool.send(get("/"), PLAN).await.unwrap()).await;
    });
}
