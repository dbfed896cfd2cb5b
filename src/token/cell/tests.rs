//! The cell under a paused clock, against an endpoint that numbers its tokens.

mod counts;
mod exclusive;
mod replicas;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::script::{Reply, Script, down, settings, slow, version, wrong};
use super::{AfterRefusal, Cell, CellSettings, CellState, Token};
use crate::model::Margin;
use crate::token::Unavailable;
use crate::token::clock::TestClock;
use crate::vendor::{FaultClass, FaultReason, LifetimeSource, TokenFault};

const PATIENCE: Duration = Duration::from_secs(15);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn cell_with(settings: CellSettings) -> Arc<Cell> {
    Cell::new(settings, TestClock::new(), Handle::current())
}

fn cell(script: &Arc<Script>) -> Arc<Cell> {
    cell_with(settings(script))
}

async fn used(cell: &Arc<Cell>) -> String {
    cell.acquire(PATIENCE).await.unwrap().secret.expose().to_owned()
}

/// What requests are told, one every 20 ms for so long, each with its own patience.
async fn load(cell: &Arc<Cell>, time: Duration) -> Vec<Result<Arc<Token>, Unavailable>> {
    let end = tokio::time::Instant::now() + time;
    let mut requests = JoinSet::new();
    while tokio::time::Instant::now() < end {
        let cell = Arc::clone(cell);
        requests.spawn(async move { cell.acquire(PATIENCE).await });
        sleep(millis(20)).await;
    }
    requests.join_all().await
}

fn fault(outcome: Result<Arc<Token>, Unavailable>) -> (TokenFault, Duration) {
    match outcome.unwrap_err() {
        Unavailable::Fault { fault, retry_after } => (fault, retry_after),
        other => panic!("{other}"),
    }
}

// One flight.

#[tokio::test(start_paused = true)]
async fn five_hundred_cold_requests_make_one_login() {
    let script = Script::good();
    let cell = cell(&script);
    assert_eq!(cell.status().state, CellState::Asleep);
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        let cell = Arc::clone(&cell);
        requests.spawn(async move { used(&cell).await });
    }
    sleep(millis(10)).await;
    assert_eq!((cell.status().waiting, cell.status().state), (500, CellState::Fetching));
    assert!(requests.join_all().await.iter().all(|token| token == "token-1"));
    assert_eq!((script.calls(), cell.status().waiting, cell.status().state), (1, 0, CellState::Live));
}

#[tokio::test(start_paused = true)]
async fn a_cell_asleep_logs_in_for_nobody() {
    let script = Script::good();
    let cell = cell(&script);
    sleep(seconds(3600)).await;
    assert!(cell.warm().is_none());
    assert_eq!(cell.status().generation, 0);
    assert_eq!(script.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_login_goes_on_when_the_request_that_began_it_goes() {
    let script = Script::new(|_| slow(1000, Reply::Good(60)));
    let cell = cell(&script);
    let leader = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { used(&cell).await }
    });
    sleep(millis(100)).await;
    let follower = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { used(&cell).await }
    });
    sleep(millis(100)).await;
    leader.abort();
    assert_eq!(follower.await.unwrap(), "token-1");
    assert_eq!((script.calls(), cell.status().waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_leaves_at_its_own_patience_and_the_login_goes_on() {
    let script = Script::new(|_| slow(1000, Reply::Good(60)));
    let cell = cell(&script);
    let begun = tokio::time::Instant::now();
    let error = cell.acquire(millis(300)).await.unwrap_err();
    assert!(matches!(error, Unavailable::Timeout { .. }), "{error}");
    assert_eq!((begun.elapsed(), cell.status().waiting), (millis(300), 0));
    assert_eq!(used(&cell).await, "token-1");
}

#[tokio::test(start_paused = true)]
async fn waiters_are_bounded_and_the_rest_is_told_at_once() {
    let script = Script::new(|_| slow(1000, Reply::Good(60)));
    let cell = cell_with(CellSettings { waiting: 3, ..settings(&script) });
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let cell = Arc::clone(&cell);
        requests.spawn(async move { cell.acquire(PATIENCE).await });
    }
    sleep(millis(1)).await;
    for _ in 0..7 {
        let crowded = requests.try_join_next().expect("told at once").unwrap().unwrap_err();
        assert!(matches!(crowded, Unavailable::Crowded { .. }), "{crowded}");
    }
    assert!(requests.join_all().await.iter().all(Result::is_ok));
    assert_eq!(used(&cell).await, "token-1");
}

#[tokio::test(start_paused = true)]
async fn a_bound_of_none_still_lets_one_wait() {
    let script = Script::good();
    let cell = cell_with(CellSettings { waiting: 0, ..settings(&script) });
    assert_eq!(used(&cell).await, "token-1");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_panics_is_a_fault_and_no_waiter_is_forgotten() {
    let script = Script::new(|number| if number == 1 { slow(10, Reply::Panic) } else { Reply::Good(60) });
    let cell = cell(&script);
    let (first, second) = tokio::join!(cell.acquire(PATIENCE), cell.acquire(PATIENCE));
    for outcome in [first, second] {
        let (fault, retry_after) = fault(outcome);
        assert_eq!((fault.class, fault.reason), (FaultClass::Transient, FaultReason::Interrupted));
        assert!(retry_after <= millis(250));
    }
    sleep(millis(250)).await;
    assert_eq!(used(&cell).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_before_its_future_harms_only_itself() {
    let script = Script::good();
    let cell = cell_with(CellSettings { fetch: Arc::new(|| panic!("as the test wants it")), ..settings(&script) });
    assert_eq!(fault(cell.acquire(PATIENCE).await).0.reason, FaultReason::Interrupted);
}

#[test]
fn a_cell_whose_runtime_is_gone_answers_instead_of_hanging() {
    let gone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spawner = gone.handle().clone();
    drop(gone);
    let here = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    here.block_on(async {
        let cell = Cell::new(settings(&Script::good()), TestClock::new(), spawner);
        assert_eq!(fault(cell.acquire(PATIENCE).await).0.reason, FaultReason::Interrupted);
    });
}

#[test]
fn requests_on_many_threads_share_one_login_and_never_see_a_dead_token() {
    let control = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let spawner = control.handle().clone();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let control = std::thread::spawn(move || control.block_on(ended));
    let script = Script::new(|_| slow(5, Reply::Good(3600)));
    let clock = Arc::new(crate::token::BootClock);
    let cell = Cell::new(settings(&script), clock, spawner);
    let refusals = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let worker = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let mut last = 0;
                for round in 0..2000 {
                    let token = worker.block_on(cell.acquire(PATIENCE)).unwrap();
                    assert!(token.generation >= last, "generations only grow");
                    assert_eq!(token.secret.expose(), format!("token-{}", token.generation));
                    last = token.generation;
                    if round % 500 == 0 && cell.refused(last) == AfterRefusal::Again {
                        refusals.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        assert_ne!(cell.warm().map(|token| token.generation), Some(last));
                    }
                }
            });
        }
    });
    assert!(script.calls() <= 1 + refusals.into_inner());
    assert_eq!(cell.status().waiting, 0);
    drop(end);
    control.join().unwrap().unwrap_err();
}

// Ahead of time.

#[tokio::test(start_paused = true)]
async fn a_token_in_use_is_renewed_ahead_of_its_end_and_nobody_waits() {
    let script = Script::new(|_| slow(200, Reply::Good(60)));
    let cell = cell(&script);
    used(&cell).await;
    for _ in 0..600 {
        sleep(millis(500)).await;
        let token = cell.warm().expect("a warm token at any time");
        assert!(cell.status().expires_in.unwrap() > seconds(10) || cell.status().state == CellState::Renewing);
        assert_eq!(token.secret.expose(), format!("token-{}", token.generation));
    }
    // 300 s; each token serves 60 s less a margin of 12 s, give or take a tenth.
    assert!((6..=7).contains(&script.calls()), "{}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_uses_is_not_renewed() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    sleep(seconds(36_000)).await;
    assert!(cell.warm().is_none());
    assert_eq!((script.calls(), cell.status().live), (1, false));
    assert_eq!(used(&cell).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_life_shorter_than_the_margin_is_served_to_its_end() {
    let script = Script::new(|_| slow(50, Reply::Good(2)));
    let refresh_before = Margin::Fixed(seconds(60));
    let cell = cell_with(CellSettings { refresh_before, ..settings(&script) });
    let told = load(&cell, seconds(60)).await;
    assert!(told.iter().all(Result::is_ok));
    assert!((29..=31).contains(&script.calls()), "{}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_slow_login_is_begun_in_time() {
    // 20 % of 20 s is 4 s, but this vendor takes 6.
    let script = Script::new(|_| slow(6000, Reply::Good(20)));
    let cell = cell(&script);
    used(&cell).await;
    for _ in 0..1000 {
        sleep(millis(100)).await;
        assert!(cell.warm().is_some());
    }
}

// How long it lives.

#[tokio::test(start_paused = true)]
async fn a_life_counts_from_before_the_login_was_sent() {
    let script = Script::new(|_| slow(4000, Reply::Good(10)));
    let cell = cell(&script);
    used(&cell).await;
    assert_eq!(cell.status().expires_in, Some(seconds(6)));
    assert_eq!(cell.status().lifetime_source, Some(LifetimeSource::Answer));
}

#[tokio::test(start_paused = true)]
async fn a_life_of_which_nothing_is_said_is_the_configured_one() {
    let script = Script::new(|_| Reply::Silent("token".into()));
    let cell = cell(&script);
    used(&cell).await;
    assert_eq!(cell.status().expires_in, Some(seconds(300)));
    assert_eq!(cell.status().lifetime_source, Some(LifetimeSource::Configured));
}

#[tokio::test(start_paused = true)]
async fn an_absurd_life_is_cut_to_a_day_and_none_is_taken_for_silence() {
    for (said, expected) in [(u64::MAX, 86_400), (86_401, 86_400), (1, 1), (0, 300)] {
        let cell = cell(&Script::new(move |_| Reply::Good(said)));
        used(&cell).await;
        assert_eq!(cell.status().expires_in, Some(seconds(expected)), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_dead_on_arrival_is_a_fault_and_no_login_a_request() {
    let script = Script::new(|_| slow(1500, Reply::Good(1)));
    let cell = cell(&script);
    let told = load(&cell, seconds(10)).await;
    assert!(told.into_iter().all(|outcome| fault(outcome).0.reason == FaultReason::Timeout));
    assert!(script.calls() <= 7, "{}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_dead_after_a_suspend_that_outlasts_it() {
    let script = Script::good();
    let clock = TestClock::new();
    let cell = Cell::new(settings(&script), Arc::clone(&clock) as _, Handle::current());
    used(&cell).await;
    clock.suspend(seconds(3600));
    assert!(cell.warm().is_none());
    assert_eq!(used(&cell).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_token_for_ever_is_asked_for_once() {
    let script = Script::new(|_| Reply::Silent("key".into()));
    let cell = cell_with(CellSettings { lifetime: None, ..settings(&script) });
    used(&cell).await;
    sleep(seconds(1_000_000)).await;
    assert_eq!(cell.warm().unwrap().secret.expose(), "key");
    assert_eq!((script.calls(), cell.status().expires_in, cell.status().live), (1, None, true));
}

#[tokio::test(start_paused = true)]
async fn an_idle_token_dies_and_is_not_renewed_while_unused() {
    let script = Script::good();
    let idle_lifetime = Some(seconds(60));
    let cell = cell_with(CellSettings { idle_lifetime, ..settings(&script) });
    used(&cell).await;
    for _ in 0..10 {
        sleep(seconds(59)).await;
        assert!(cell.warm().is_some(), "each use lengthens its life");
    }
    sleep(seconds(60)).await;
    assert!(!cell.status().live);
    assert!(cell.warm().is_none());
    assert_eq!(script.calls(), 1);
    assert_eq!(used(&cell).await, "token-2");
}

// Failure classes.

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_gets_a_dozen_logins_in_five_seconds_and_requests_fail_at_once() {
    for _ in 0..50 {
        let script = Script::new(|_| slow(1, down()));
        let told = load(&cell(&script), seconds(5)).await;
        for outcome in told {
            let (fault, retry_after) = fault(outcome);
            assert_eq!(fault.reason, FaultReason::Status(503));
            assert!(retry_after <= seconds(4));
        }
        assert!((5..=12).contains(&script.calls()), "{}", script.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_tried_a_few_times_in_ten_minutes() {
    let script = Script::new(|_| slow(1, wrong()));
    let cell = cell(&script);
    load(&cell, seconds(5)).await;
    assert!((1..=2).contains(&script.calls()), "{}", script.calls());
    assert_eq!(cell.status().state, CellState::Failing);
    load(&cell, seconds(595)).await;
    assert!((10..=15).contains(&script.calls()), "{}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_and_told() {
    let limited = TokenFault {
        retry_after: Some(seconds(30)),
        ..TokenFault::new(FaultClass::Transient, FaultReason::Status(429))
    };
    let script = Script::new(move |number| if number == 1 { Reply::Fault(limited.clone()) } else { Reply::Good(60) });
    let cell = cell(&script);
    assert_eq!(fault(cell.acquire(PATIENCE).await).1, seconds(30));
    sleep(seconds(20)).await;
    assert_eq!(fault(cell.acquire(PATIENCE).await).1, seconds(10));
    assert_eq!(cell.status().retry_after, Some(seconds(10)));
    sleep(seconds(10)).await;
    assert_eq!(used(&cell).await, "token-2");
    assert_eq!(cell.status().retry_after, None);
}

#[tokio::test(start_paused = true)]
async fn a_live_token_serves_to_its_end_while_its_renewal_fails_and_recovery_is_quick() {
    let script = Script::new(|_| Reply::Good(60));
    let cell = cell(&script);
    used(&cell).await;
    script.turn(|_| slow(1, down()));
    let told = load(&cell, millis(59_900)).await;
    assert!(told.iter().all(|outcome| outcome.as_ref().unwrap().generation == 1));
    assert!((4..=30).contains(&script.calls()), "{}", script.calls());
    let status = cell.status();
    assert_eq!((status.state, status.live), (CellState::Failing, true));
    assert!(status.fault.is_some());
    sleep(millis(100)).await;
    assert!(load(&cell, seconds(20)).await.iter().all(Result::is_err));

    script.turn(|_| slow(1, Reply::Good(60)));
    let back = tokio::time::Instant::now();
    while cell.acquire(PATIENCE).await.is_err() {
        sleep(millis(20)).await;
    }
    assert!(back.elapsed() <= millis(4050), "{:?}", back.elapsed());
    assert_eq!((cell.status().generation, cell.status().fault), (2, None));
}

#[tokio::test(start_paused = true)]
async fn a_success_clears_the_back_off() {
    let script = Script::new(|number| if number <= 6 { down() } else { Reply::Good(60) });
    let cell = cell(&script);
    while cell.acquire(PATIENCE).await.is_err() {
        sleep(millis(20)).await;
    }
    sleep(seconds(60)).await;
    script.turn(|_| down());
    assert!(fault(cell.acquire(PATIENCE).await).1 <= millis(250));
}

// Refused tokens.

#[tokio::test(start_paused = true)]
async fn a_storm_of_refusals_of_one_generation_makes_one_login() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    let mut requests = JoinSet::new();
    for request in 0..500 {
        let cell = Arc::clone(&cell);
        requests.spawn(async move {
            sleep(millis(request / 10)).await; // some before, some during, some after the new login
            assert_eq!(cell.refused(1), AfterRefusal::Again);
            used(&cell).await
        });
    }
    assert!(requests.join_all().await.iter().all(|token| token == "token-2"));
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_never_handed_out_again() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    script.turn(|_| slow(10, down()));
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert!(cell.warm().is_none());
    assert!(!cell.status().live);
    assert!(load(&cell, seconds(5)).await.iter().all(Result::is_err));
    script.turn(|_| Reply::Good(60));
    sleep(seconds(4)).await;
    assert_eq!(cell.acquire(PATIENCE).await.unwrap().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_refused_while_the_back_off_runs_makes_no_login_before_its_end() {
    let script = Script::new(|number| if number == 1 { Reply::Good(10) } else { wrong() });
    let cell = cell(&script);
    used(&cell).await;
    sleep(millis(9000)).await;
    assert!(cell.warm().is_some());
    sleep(millis(10)).await;
    assert_eq!((script.calls(), cell.status().state), (2, CellState::Failing));
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(fault(cell.acquire(PATIENCE).await).0.reason, FaultReason::Status(401));
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_older_token_makes_no_login() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    cell.refused(1);
    used(&cell).await;
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(cell.refused(0), AfterRefusal::Again);
    assert_eq!((used(&cell).await.as_str(), script.calls()), ("token-2", 2));
}

/// A request as the proxy makes it against a vendor that refuses every token: once again at most.
async fn refused_request(cell: &Arc<Cell>) {
    for _ in 0..2 {
        let Ok(token) = cell.acquire(PATIENCE).await else { return };
        sleep(millis(5)).await;
        if cell.refused(token.generation) == AfterRefusal::Pass {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_refuses_every_token_sees_a_handful_of_logins() {
    let script = Script::good();
    let cell = cell(&script);
    let storm = |cell: &Arc<Cell>, time: Duration| {
        let cell = Arc::clone(cell);
        async move {
            let end = tokio::time::Instant::now() + time;
            let mut requests = JoinSet::new();
            while tokio::time::Instant::now() < end {
                let cell = Arc::clone(&cell);
                requests.spawn(async move { refused_request(&cell).await });
                sleep(millis(10)).await;
            }
            requests.join_all().await;
        }
    };
    storm(&cell, seconds(4)).await;
    assert_eq!(script.calls(), 2, "the token, and the one in its place");
    storm(&cell, seconds(596)).await;
    assert!((8..=16).contains(&script.calls()), "{}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn short_lives_do_not_hurry_the_logins_of_a_vendor_that_refuses_every_token() {
    let script = Script::new(|_| slow(5, Reply::Good(3)));
    let cell = cell(&script);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < seconds(72) {
        refused_request(&cell).await;
        sleep(millis(25)).await;
    }
    // Renewed every 2.4 s as any token, and a few times more.
    assert!((30..=40).contains(&script.calls()), "{}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_newborn_tokens_refusal_passes_and_it_stays() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(used(&cell).await, "token-2");
    sleep(millis(4900)).await;
    assert_eq!(cell.refused(2), AfterRefusal::Pass);
    assert_eq!(cell.warm().unwrap().generation, 2);
    sleep(millis(200)).await;
    assert_eq!(cell.refused(2), AfterRefusal::Again, "5 s after its birth it is a newborn no more");
    assert_eq!(used(&cell).await, "token-3");
    sleep(millis(9900)).await;
    assert_eq!(cell.refused(3), AfterRefusal::Pass, "twice as long, since the one before was refused too");
    sleep(seconds(30)).await;
    assert_eq!(cell.refused(3), AfterRefusal::Again);
    assert_eq!(used(&cell).await, "token-4");
    sleep(seconds(30)).await;
    assert_eq!(cell.refused(4), AfterRefusal::Again, "it lived well for longer than the 20 s");
    assert_eq!(used(&cell).await, "token-5");
    sleep(seconds(6)).await;
    assert_eq!(cell.refused(5), AfterRefusal::Again, "and so the time is 5 s again");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_gives_the_refused_token_again_is_not_asked_in_a_loop() {
    let script = Script::new(|_| slow(5, Reply::Token("same".into(), 3600)));
    let cell = cell(&script);
    used(&cell).await;
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(cell.acquire(PATIENCE).await.unwrap().generation, 2);
    for _ in 0..100 {
        assert_eq!(cell.refused(2), AfterRefusal::Pass);
        assert!(cell.warm().is_some());
    }
    assert_eq!(script.calls(), 2);
    for _ in 0..6000 {
        refused_request(&cell).await;
        sleep(millis(95)).await;
    }
    assert!(script.calls() <= 16, "10 min: {}", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_brings_the_token_refused_meanwhile_has_replaced_nothing() {
    for (token, after) in [("same", AfterRefusal::Pass), ("other", AfterRefusal::Again)] {
        let script = Script::new(|_| Reply::Token("same".into(), 60));
        let cell = cell(&script);
        used(&cell).await;
        script.turn(move |_| slow(100, Reply::Token(token.into(), 60)));
        sleep(seconds(55)).await;
        assert!(cell.warm().is_some());
        sleep(millis(10)).await;
        assert_eq!((cell.status().state, cell.refused(1)), (CellState::Renewing, AfterRefusal::Again));
        assert_eq!(cell.acquire(PATIENCE).await.unwrap().generation, 2);
        assert_eq!(cell.refused(2), after, "{token}");
        assert_eq!(script.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_after_its_end_is_fine() {
    let script = Script::new(|_| Reply::Token("same".into(), 10));
    let cell = cell(&script);
    used(&cell).await;
    sleep(seconds(11)).await;
    assert_eq!(cell.acquire(PATIENCE).await.unwrap().generation, 2);
    assert_eq!(cell.refused(2), AfterRefusal::Again);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_tokens_refusal_passes_at_once_and_it_is_never_away() {
    let script = Script::new(|_| Reply::Silent("key".into()));
    let cell = cell_with(CellSettings { lifetime: None, ..settings(&script) });
    used(&cell).await;
    for _ in 0..100 {
        assert_eq!(cell.refused(1), AfterRefusal::Pass);
        assert!(cell.warm().is_some());
        sleep(seconds(7)).await;
    }
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_token_is_suspect_after_a_login_whose_answer_was_lost() {
    for (exclusive, after) in [(true, AfterRefusal::Again), (false, AfterRefusal::Pass)] {
        let script = Script::new(|_| slow(5, Reply::Good(10)));
        let refresh_before = Margin::Fixed(seconds(7));
        let cell = cell_with(CellSettings { refresh_before, exclusive, ..settings(&script) });
        used(&cell).await;
        cell.refused(1);
        used(&cell).await;
        script.turn(|_| Reply::Fault(TokenFault::new(FaultClass::Transient, FaultReason::Timeout)));
        sleep(seconds(4)).await; // in the margin, and born of a refusal less than 5 s ago
        assert!(cell.warm().is_some());
        sleep(millis(10)).await;
        assert_eq!(script.calls(), 3);
        assert_eq!(cell.warm().unwrap().generation, 2, "a suspect is still used");
        assert_eq!(cell.refused(2), after, "exclusive: {exclusive}");
    }
}

// Changed secrets.

fn with_secret(script: &Arc<Script>, secret: &str) -> CellSettings {
    CellSettings { secret: version(secret), ..settings(script) }
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_fetches_nothing() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    for _ in 0..100 {
        cell.configure(settings(&script));
        assert_eq!(used(&cell).await, "token-1");
    }
    sleep(seconds(1)).await;
    assert_eq!((script.calls(), cell.status().fetches), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_tried_at_once_if_the_cell_is_awake() {
    let (old, new) = (Script::good(), Script::new(|_| slow(20, Reply::Token("new".into(), 60))));
    let asleep = cell(&old);
    asleep.configure(with_secret(&new, "second"));
    sleep(seconds(1)).await;
    assert_eq!(new.calls(), 0);

    let cell = cell(&old);
    used(&cell).await;
    cell.configure(with_secret(&new, "second"));
    assert_eq!(cell.warm().unwrap().secret.expose(), "token-1", "until the new one has proved itself");
    sleep(millis(30)).await;
    assert_eq!(cell.warm().unwrap().secret.expose(), "new");
    assert_eq!((old.calls(), new.calls(), cell.status().generation), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn with_a_wrong_new_secret_the_old_token_serves_and_the_fault_is_seen() {
    let (old, new) = (Script::good(), Script::new(|_| slow(5, wrong())));
    let cell = cell(&old);
    used(&cell).await;
    cell.configure(with_secret(&new, "wrong"));
    let told = load(&cell, seconds(60)).await;
    assert!(told.iter().all(|outcome| outcome.as_ref().unwrap().secret.expose() == "token-1"));
    assert_eq!(cell.status().fault.unwrap().reason, FaultReason::Status(401));
    assert!((4..=5).contains(&new.calls()), "tried again as the back-off allows: {}", new.calls());

    // Mended: tried at once, whatever the back-off.
    let mended = Script::new(|_| slow(5, Reply::Token("mended".into(), 60)));
    cell.configure(with_secret(&mended, "right"));
    sleep(millis(10)).await;
    assert_eq!(used(&cell).await, "mended");
    assert_eq!((cell.status().fault, cell.status().state), (None, CellState::Live));
}

#[tokio::test(start_paused = true)]
async fn back_to_the_old_secret_needs_no_login() {
    let (old, new) = (Script::good(), Script::new(|_| wrong()));
    let cell = cell(&old);
    used(&cell).await;
    cell.configure(with_secret(&new, "wrong"));
    sleep(seconds(1)).await;
    cell.configure(settings(&old));
    sleep(seconds(1)).await;
    assert_eq!((used(&cell).await.as_str(), old.calls()), ("token-1", 1));
    assert_eq!((cell.status().state, cell.status().fault), (CellState::Live, None));
}

#[tokio::test(start_paused = true)]
async fn back_to_the_old_secret_while_the_wrong_one_is_tried_needs_no_login_either() {
    let (old, new) = (Script::good(), Script::new(|_| slow(500, wrong())));
    let cell = cell(&old);
    used(&cell).await;
    cell.configure(with_secret(&new, "wrong"));
    sleep(millis(100)).await;
    cell.configure(settings(&old));
    sleep(seconds(1)).await;
    assert_eq!((used(&cell).await.as_str(), old.calls(), new.calls()), ("token-1", 1, 1));
    assert_eq!((cell.status().state, cell.status().fault), (CellState::Live, None));
}

#[tokio::test(start_paused = true)]
async fn a_mended_secret_ends_the_back_off_of_a_cell_that_never_had_a_token() {
    let (old, new) = (Script::new(|_| wrong()), Script::good());
    let cell = cell(&old);
    for _ in 0..4 {
        let (_, wait) = fault(cell.acquire(PATIENCE).await);
        sleep(wait).await;
    }
    let (_, wait) = fault(cell.acquire(PATIENCE).await);
    assert!(wait >= seconds(60));
    cell.configure(with_secret(&old, "wrong too"));
    let (_, wait) = fault(cell.acquire(PATIENCE).await);
    assert!(wait <= millis(5500), "counted anew: {wait:?}");
    cell.configure(with_secret(&new, "right"));
    assert_eq!(used(&cell).await, "token-1");
}

#[tokio::test(start_paused = true)]
async fn a_login_with_the_old_secret_under_way_serves_only_until_the_new_one_proves_itself() {
    let (old, new) =
        (Script::new(|_| slow(2000, Reply::Good(60))), Script::new(|_| slow(100, Reply::Token("new".into(), 60))));
    let cell = cell(&old);
    let waiter = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { used(&cell).await }
    });
    sleep(millis(100)).await;
    cell.configure(with_secret(&new, "second"));
    sleep(seconds(1)).await;
    assert_eq!(new.calls(), 0, "one login at a time");
    assert_eq!(waiter.await.unwrap(), "token-1");
    sleep(millis(150)).await;
    assert_eq!((used(&cell).await.as_str(), old.calls(), new.calls()), ("new", 1, 1));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_for_a_login_with_the_old_secret_get_the_new_ones_token_when_it_fails() {
    let (old, new) = (Script::new(|_| slow(500, wrong())), Script::good());
    let cell = cell(&old);
    let waiter = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { cell.acquire(PATIENCE).await.map(|token| token.generation) }
    });
    sleep(millis(100)).await;
    cell.configure(with_secret(&new, "second"));
    assert_eq!(waiter.await.unwrap().unwrap(), 1);
    assert_eq!((old.calls(), new.calls(), cell.status().waiting), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_changed_fetch_with_the_same_secret_holds_for_the_next_login() {
    let (first, second) = (Script::good(), Script::new(|_| Reply::Token("other".into(), 60)));
    let cell = cell(&first);
    used(&cell).await;
    cell.configure(settings(&second));
    assert_eq!((used(&cell).await.as_str(), second.calls()), ("token-1", 0));
    cell.refused(1);
    assert_eq!(used(&cell).await, "other");
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_that_was_changed_is_replaced_at_once() {
    let key = |key: &'static str| Script::new(move |_| Reply::Silent(key.into()));
    let cell = cell_with(CellSettings { lifetime: None, ..settings(&key("old")) });
    assert_eq!(used(&cell).await, "old");
    cell.configure(CellSettings { lifetime: None, ..with_secret(&key("new"), "second") });
    tokio::task::yield_now().await;
    assert_eq!(used(&cell).await, "new");
}

#[tokio::test(start_paused = true)]
async fn what_a_cell_prints_holds_no_token() {
    let cell = cell(&Script::good());
    let token = cell.acquire(PATIENCE).await.unwrap();
    let printed = format!("{cell:?} {token:?} {:?}", cell.status());
    assert!(!printed.contains("token-1") && printed.contains("test"), "{printed}");
    assert_eq!(cell.status().state.to_string(), "live");
}

// What the log is told.

/// A log that a test reads.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The outcomes told so far, with their levels; then forgotten.
    fn outcomes(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        assert!(!text.contains("token-") && !text.contains("s3cret"), "{text}");
        let line = |line: &str| {
            assert!(line.contains("tokenferry::credential") && line.contains("credential=\"test\""), "{line}");
            let level = line.split_whitespace().next().unwrap().to_lowercase();
            let outcome = line.split("outcome=\"").nth(1).unwrap().split('"').next().unwrap();
            format!("{level} {outcome}")
        };
        text.lines().map(line).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_of_state_is_one_event_and_none_holds_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // While there is only one subscriber, an event that another thread's test comes by first is off
    // for good: that thread, which has none, is asked whether anybody wants it. Two are both asked.
    let second = tracing_subscriber::fmt().with_writer(std::io::sink).with_max_level(tracing::Level::TRACE).finish();
    let _second = tracing::Dispatch::new(second);

    let script = Script::new(|_| slow(5, Reply::Good(60)));
    let cell = cell(&script);
    load(&cell, seconds(1)).await;
    assert_eq!(log.outcomes(), ["info obtained"]);

    for _ in 0..10 {
        cell.refused(1);
    }
    used(&cell).await;
    assert_eq!(log.outcomes(), ["info refused", "info replaced"]);

    for _ in 0..10 {
        cell.refused(2);
    }
    assert_eq!(log.outcomes(), ["warn passed"]);

    script.turn(|_| slow(5, down()));
    load(&cell, seconds(70)).await;
    let outcomes = log.outcomes();
    assert_eq!(outcomes[0], "warn failed");
    assert!(outcomes.len() > 2 && outcomes[1..].iter().all(|outcome| outcome == "debug failed"), "{outcomes:?}");

    script.turn(|_| Reply::Good(60));
    sleep(seconds(4)).await;
    used(&cell).await;
    assert_eq!(log.outcomes(), ["info recovered"]);

    cell.configure(with_secret(&Script::new(|_| wrong()), "s3cret"));
    sleep(seconds(1)).await;
    assert_eq!(log.outcomes(), ["info secret changed", "warn failed"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_its_token_replaced_once_however_slowly_the_vendor_refuses() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    assert!(cell.is_current(1));
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    used(&cell).await;
    sleep(seconds(60)).await; // no newborn any more
    assert!(cell.is_current(2) && !cell.is_current(1));
    assert_eq!(cell.refused_again(1), AfterRefusal::Again, "an older one's refusal is none of the current one");
    assert_eq!(cell.refused_again(2), AfterRefusal::Pass);
    assert_eq!((script.calls(), cell.is_current(2)), (2, true));
    assert_eq!(cell.refused(2), AfterRefusal::Again, "another request's refusal replaces it");
}
