//! Requests that found no idle connection: which of them dial, and who takes what comes back.

use super::*;
use crate::upstream::pool::queue::DIALS;

/// Runs a test in which no timer fires while anything is under way: nobody is let dial by the clock.
fn frozen(test: impl Future<Output = ()>) {
    worker(async {
        tokio::time::pause();
        let begun = Instant::now();
        // Time goes on where nothing is to be done, and so at the latest when the test hangs.
        let busy = spawn_local(async move {
            while begun.elapsed() < PATIENCE {
                tokio::task::yield_now().await;
            }
        });
        test.await;
        busy.abort();
    });
}

/// Waits for a condition, also where no timer fires.
async fn soon(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "the condition never held");
        tokio::task::yield_now().await;
    }
}

/// An upstream's side of a connection.
type Far = tokio::io::DuplexStream;

/// A connection that comes back to the pool: to nobody, or to whoever waits.
async fn connection(pool: &TestPool) -> (Rc<Http1<Sent>>, Far) {
    let (near, far) = tokio::io::duplex(1024);
    let (sender, connection) = hyper::client::conn::http1::handshake::<_, Sent>(TokioIo::new(near)).await.unwrap();
    spawn_local(connection);
    let link = Http1::new(sender, None, Allowance::default(), pool);
    until(|| link.may_be_used(Instant::now(), pool.upstream().target())).await;
    (link, far)
}

/// What the other side has read when a head is whole.
async fn head(far: &mut Far) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert!(far.read_buf(&mut read).await.unwrap() > 0, "closed");
    }
    String::from_utf8(read).unwrap()
}

async fn is_closed(far: &mut Far) -> bool {
    far.read(&mut [0; 1]).await.unwrap() == 0
}

/// As many requests at once.
fn burst(pool: &TestPool, count: usize) -> Vec<tokio::task::JoinHandle<Result<String, SendError<Sent>>>> {
    let one = |_| {
        let pool = Rc::clone(pool);
        spawn_local(async move {
            match pool.send(get("/"), PLAN).await {
                Ok(response) => Ok(text(response).await),
                Err(error) => Err(error),
            }
        })
    };
    (0..count).map(one).collect()
}

#[test]
fn a_burst_is_served_over_the_connections_of_its_first_few() {
    frozen(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        for task in burst(&pool, 10 * DIALS) {
            assert_eq!(task.await.unwrap().unwrap(), "ok");
        }
        assert_eq!(raw.seen().len(), 10 * DIALS);
        assert!(raw.accepted() <= DIALS, "{}", raw.accepted());
        soon(|| idle(&pool) == raw.accepted()).await;
        pool.reap(Instant::now());
        assert_eq!((pool.queue.places(), pool.queue.is_empty()), ((0, 0), true));
    });
}

#[test]
fn a_slow_upstream_gets_as_many_connections_as_there_are_requests() {
    worker(async {
        let raw = Raw::start(&[Step::Hang]).await;
        let pool = pool(&raw);
        let tasks = burst(&pool, 5 * DIALS);
        until(|| raw.seen().len() == 5 * DIALS).await;
        assert_eq!(raw.accepted(), 5 * DIALS);
        for task in tasks {
            task.abort();
        }
        until(|| pool.upstream().connections() == 0).await;
        // The next has a connection at once.
        let task = burst(&pool, 1);
        until(|| raw.accepted() == 5 * DIALS + 1).await;
        task[0].abort();
    });
}

#[test]
fn where_nobody_listens_each_request_of_a_burst_learns_it_without_delay() {
    frozen(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let pool = pool_of(target(&url));
        let begun = tokio::time::Instant::now();
        for task in burst(&pool, 10 * DIALS) {
            let error = task.await.unwrap().unwrap_err();
            assert!(matches!(error, SendError::Unsent { cause: ConnectError::Tcp(_), .. }), "{error:?}");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_connection_that_comes_back_goes_to_who_has_waited_longest() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let places = [pool.queue.join(), pool.queue.join(), pool.queue.join()];
        let (first, _far) = connection(&pool).await;
        let (second, _far) = connection(&pool).await;
        pool.check_in(Rc::clone(&first));
        pool.check_in(Rc::clone(&second));
        assert!(Rc::ptr_eq(&places[0].handed().await, &first));
        assert!(Rc::ptr_eq(&places[1].handed().await, &second));
        assert!(matches!(futures_poll(std::pin::pin!(places[2].handed())), Poll::Pending));
        assert_eq!(idle(&pool), 0);
    });
}

#[test]
fn what_was_handed_to_a_request_that_goes_away_is_handed_on() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let (gone, next) = (pool.queue.join(), pool.queue.join());
        let (link, _far) = connection(&pool).await;
        pool.check_in(Rc::clone(&link));
        drop(gone);
        assert!(Rc::ptr_eq(&next.handed().await, &link));
        drop(next);
        let last = pool.queue.join();
        pool.check_in(Rc::clone(&link));
        drop(last);
        assert_eq!(idle(&pool), 1);
    });
}

#[test]
fn whoever_gets_a_connection_that_came_back_leaves_the_one_he_dialled_to_the_pool() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let (link, mut far) = connection(&pool).await;
        let task = burst(&pool, 1).remove(0);
        // Until it dials.
        soon(|| !pool.queue.is_empty()).await;
        pool.check_in(link);
        assert!(head(&mut far).await.starts_with("GET / HTTP/1.1\r\n"));
        until(|| idle(&pool) == 1).await;
        assert_eq!((raw.accepted(), raw.seen().len()), (1, 0));
        far.write_all(OK.as_bytes()).await.unwrap();
        assert_eq!(task.await.unwrap().unwrap(), "ok");
        until(|| idle(&pool) == 2).await;
    });
}

#[test]
fn a_request_is_asked_for_once_more_when_it_was_handed_its_connection() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let pool = pool(&raw);
        let (link, mut far) = connection(&pool).await;
        let still = || false;
        let mut sending = Box::pin(pool.send(get("/"), Plan { still: Some(&still), ..PLAN }));
        assert!(matches!(futures_poll(sending.as_mut()), Poll::Pending));
        pool.check_in(link);
        assert!(matches!(sending.await, Err(SendError::Unwanted)));
        until(|| idle(&pool) == 2).await;
        drop(pool);
        assert!(is_closed(&mut far).await, "something was sent");
    });
}

#[test]
fn a_request_whose_turn_does_not_come_in_time_is_given_back() {
    worker(async {
        let raw = Raw::start(&[Step::Hang]).await;
        let pool = pool(&raw);
        let before: Vec<_> = (0..DIALS).map(|_| pool.queue.join()).collect();
        tokio::time::pause();
        let plan = Plan { connect: Duration::from_millis(1), ..PLAN };
        let error = pool.send(get("/"), plan).await.unwrap_err();
        assert!(matches!(error, SendError::Unsent { cause: ConnectError::Timeout, .. }), "{error:?}");
        tokio::time::resume();
        assert_eq!(raw.accepted(), 0);
        // Those who go without dialling are in nobody's way.
        drop(before);
        let task = burst(&pool, 1).remove(0);
        soon(|| raw.accepted() == 1).await;
        task.abort();
    });
}

#[test]
fn a_crowd_below_the_limit_on_two_threads_does_not_dial_for_each_request() {
    worker(async {
        let raw = Raw::start(&[Step::Answer(OK)]).await;
        let one = pool_of(Target { connections: Some(2), ..target(&raw.url()) });
        let other: TestPool = Pool::new(Arc::clone(one.upstream()));
        let tasks = [burst(&one, 100), burst(&other, 100)];
        for task in tasks.into_iter().flatten() {
            assert_eq!(task.await.unwrap().unwrap(), "ok");
        }
        assert_eq!(raw.seen().len(), 200);
        assert!(raw.accepted() < 100, "{}", raw.accepted());
    });
}
