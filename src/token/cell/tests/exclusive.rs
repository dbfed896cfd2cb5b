//! An exclusive credential: the gate around its logins, under a paused clock.

use tokio::time::Instant;

use super::*;
use crate::model::Place;
use crate::token::{Carried, Guard, Lane};
use crate::upstream::Destination;

fn exclusive(script: &Arc<Script>) -> CellSettings {
    CellSettings { exclusive: true, ..settings(script) }
}

fn lane(cell: &Arc<Cell>) -> Lane {
    Lane::new(Arc::clone(cell), Arc::new(vec![Place::bearer()]), Destination::anywhere())
}

async fn guard(lane: &Lane) -> Guard {
    lane.acquire(PATIENCE).await.unwrap()
}

/// Logins of 20 ms that bring tokens for 100 s: renewed from about 80 s on, the gate closed at the
/// latest where half of that margin is left.
fn hundred_seconds() -> Arc<Script> {
    Script::new(|_| slow(20, Reply::Good(100)))
}

/// Where a cell is whose first token has come into its margin, and a request is under way with it.
async fn in_the_margin() -> (Arc<Script>, Arc<Cell>, Lane, Guard) {
    let script = hundred_seconds();
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    drop(guard(&lane).await);
    sleep(seconds(83)).await;
    let under_way = guard(&lane).await;
    (script, cell, lane, under_way)
}

#[tokio::test(start_paused = true)]
async fn inside_the_margin_a_quiet_moment_is_waited_for_and_nobody_else_waits() {
    let (script, cell, lane, under_way) = in_the_margin().await;
    for _ in 0..50 {
        sleep(millis(20)).await;
        assert_eq!(guard(&lane).await.generation, 1, "the gate is open");
    }
    assert_eq!((script.calls(), cell.status().state), (1, CellState::Renewing));
    drop(under_way);
    sleep(millis(15)).await;
    assert!(lane.warm().is_none(), "the login is under way");
    let began = Instant::now();
    assert_eq!(guard(&lane).await.generation, 2);
    assert!(began.elapsed() <= millis(25), "{:?}", began.elapsed());
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn near_the_end_the_gate_closes_and_those_under_way_are_let_finish() {
    let (script, cell, lane, under_way) = in_the_margin().await;
    // From half of the margin on, less what a drain and a login take.
    while lane.warm().is_some() {
        sleep(millis(5)).await;
    }
    let left = cell.status().expires_in.unwrap();
    assert!(left > seconds(10) && left < seconds(15), "{left:?} left to live");
    assert_eq!(script.calls(), 1, "a request is under way");
    let waiting = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { cell.acquire(PATIENCE).await.unwrap().generation }
    });
    sleep(millis(500)).await;
    assert_eq!((script.calls(), cell.status().waiting), (1, 1));
    drop(under_way);
    assert_eq!(waiting.await.unwrap(), 2);
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_waited_for_no_longer_than_drain() {
    let (script, cell, lane, under_way) = in_the_margin().await;
    while lane.warm().is_some() {
        sleep(millis(5)).await;
    }
    let closed = Instant::now();
    assert_eq!(guard(&lane).await.generation, 2);
    let waited = closed.elapsed();
    assert!(waited >= millis(1990) && waited <= millis(2060), "{waited:?}");
    // Its refusal costs no login: the token was replaced meanwhile.
    assert_eq!(cell.refused(under_way.generation), AfterRefusal::Again);
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_a_short_life_no_more_than_a_tenth_is_spent_on_waiting() {
    let script = Script::new(|_| slow(5, Reply::Good(2)));
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    let _under_way = guard(&lane).await;
    let mut longest = Duration::ZERO;
    for _ in 0..1000 {
        let asked = Instant::now();
        drop(guard(&lane).await);
        longest = longest.max(asked.elapsed());
        sleep(millis(10)).await;
    }
    assert!((5..=7).contains(&script.calls()), "{} logins in ten seconds", script.calls());
    assert!(longest >= millis(190) && longest <= millis(215), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_its_own_client_is_not_waited_for() {
    let (script, _, lane, under_way) = in_the_margin().await;
    let slot = under_way.slot().unwrap();
    slot.rest();
    sleep(millis(15)).await;
    assert!(lane.warm().is_none(), "the login is under way");
    slot.resume();
    assert_eq!(guard(&lane).await.generation, 2);
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_and_a_closing_gate_do_not_wait_for_each_other() {
    let (script, cell, lane, under_way) = in_the_margin().await;
    while lane.warm().is_some() {
        sleep(millis(5)).await;
    }
    // The gate waits for it; it was refused, lets go of its guard, and waits for the gate.
    let generation = under_way.generation;
    drop(under_way);
    assert_eq!(cell.refused(generation), AfterRefusal::Again);
    let asked = Instant::now();
    assert_eq!(guard(&lane).await.generation, 2);
    assert!(asked.elapsed() <= millis(25));
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_while_a_quiet_moment_is_looked_for_is_replaced_at_once() {
    let (script, cell, lane, _under_way) = in_the_margin().await;
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    let asked = Instant::now();
    assert_eq!(guard(&lane).await.generation, 2);
    assert!(asked.elapsed() <= millis(25), "{:?}", asked.elapsed());
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_hangs_is_waited_for_briefly_and_the_token_in_hand_serves_on() {
    let script = Script::new(|number| if number == 1 { slow(20, Reply::Good(100)) } else { slow(10_000, down()) });
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    drop(guard(&lane).await);
    sleep(seconds(83)).await;
    drop(guard(&lane).await);
    sleep(millis(15)).await;
    assert_eq!(script.calls(), 2);
    let asked = Instant::now();
    let suspect = guard(&lane).await;
    assert!(asked.elapsed() >= millis(900) && asked.elapsed() <= millis(1100), "{:?}", asked.elapsed());
    assert_eq!((suspect.generation, cell.status().suspect), (1, true));
    // Its refusal is no news, and makes no second login beside the one under way.
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_replaced_at_its_refusal_whatever_the_back_off_says() {
    let script = Script::new(|number| match number {
        2 => Reply::Fault(TokenFault {
            retry_after: Some(seconds(30)),
            ..TokenFault::new(FaultClass::Transient, FaultReason::Timeout)
        }),
        _ => slow(20, Reply::Good(100)),
    });
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    drop(guard(&lane).await);
    sleep(seconds(83)).await;
    drop(guard(&lane).await);
    sleep(millis(15)).await;
    assert!(cell.status().suspect && cell.status().retry_after.is_some());
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(guard(&lane).await.generation, 2);
    assert_eq!(script.calls(), 3);
}

/// Whoever waited for a login that failed and comes to ask only when the next is under way.
#[tokio::test(start_paused = true)]
async fn a_login_whose_answer_was_lost_fails_nobody_who_waited_for_it() {
    let script = Script::new(|number| match number {
        2 => slow(20, Reply::Fault(TokenFault::new(FaultClass::Transient, FaultReason::Timeout))),
        _ => slow(20, Reply::Good(100)),
    });
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    drop(guard(&lane).await);
    sleep(seconds(83)).await;
    drop(guard(&lane).await);
    sleep(millis(15)).await;
    assert_eq!((script.calls(), lane.warm().is_none()), (2, true));
    // Each refuses what it gets as soon as it gets it: the first one leaves the others without a token.
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let cell = Arc::clone(&cell);
        waiting.spawn(async move {
            loop {
                let token = cell.acquire(PATIENCE).await?;
                if token.generation > 1 {
                    return Ok::<_, Unavailable>(token.generation);
                }
                cell.refused(token.generation);
            }
        });
    }
    assert!(waiting.join_all().await.into_iter().all(|outcome| outcome.unwrap() == 2));
    assert_eq!(script.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_not_heard_makes_no_suspect() {
    let script = Script::new(|number| match number {
        1 => Reply::Good(100),
        _ => Reply::Fault(TokenFault::new(FaultClass::Transient, FaultReason::Unreachable)),
    });
    let cell = cell_with(exclusive(&script));
    used(&cell).await;
    sleep(seconds(83)).await;
    used(&cell).await;
    sleep(seconds(1)).await;
    assert!(script.calls() > 1 && !cell.status().suspect);
}

#[tokio::test(start_paused = true)]
async fn a_failed_login_near_the_end_is_tried_again_before_the_end() {
    for seed in 0..20 {
        let script = Script::new(move |number| if number % 3 == 2 { slow(5, down()) } else { slow(5, Reply::Good(2)) });
        let cell = cell_with(exclusive(&script));
        fastrand::seed(seed);
        let lane = lane(&cell);
        for _ in 0..2000 {
            let _under_way = guard(&lane).await; // fails the test where there is none
            sleep(millis(5)).await;
        }
        assert!(script.calls() <= 12, "{} logins in ten seconds", script.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_not_exclusive_has_no_gate() {
    let script = hundred_seconds();
    let cell = cell(&script);
    let lane = lane(&cell);
    assert!(guard(&lane).await.slot().is_none());
    sleep(seconds(85)).await;
    while script.calls() == 1 {
        assert!(lane.warm().is_some(), "the token in hand serves while the next is fetched");
        sleep(millis(5)).await;
    }
    assert!(lane.warm().is_some());
}

/// On real threads and in real time: whoever holds a guard holds the token that the vendor holds valid.
#[test]
fn on_many_threads_no_request_begins_with_a_token_that_a_login_has_killed() {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The token that the vendor holds valid, which changes in the middle of a login.
    static VALID: AtomicU64 = AtomicU64::new(0);
    let script = Script::new(|number| {
        Reply::After(
            millis(1),
            Box::new(Reply::Then(Box::new(move || {
                VALID.store(number, Ordering::SeqCst);
                slow(1, Reply::Good(1))
            }))),
        )
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Renewed after a tenth of a second: a gate that closes ten times a second.
    let settings = CellSettings { refresh_before: Margin::Fixed(millis(890)), ..exclusive(&script) };
    let cell = Cell::new(settings, Arc::new(crate::token::BootClock), runtime.handle().clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let control = std::thread::spawn(move || runtime.block_on(stopped));
    let end = std::time::Instant::now() + seconds(2);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let cell = Arc::clone(&cell);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let lane = lane(&cell);
                let mut begun = 0_u64;
                while std::time::Instant::now() < end {
                    let asked = std::time::Instant::now();
                    let Some(guard) = lane.warm() else {
                        drop(runtime.block_on(lane.acquire(PATIENCE)).unwrap());
                        continue;
                    };
                    let number: u64 = guard.text().strip_prefix("token-").unwrap().parse().unwrap();
                    // While it is counted nobody logs in, unless it stood still for as long as a drain.
                    let valid = VALID.load(Ordering::SeqCst);
                    assert!(valid == number || asked.elapsed() > millis(50), "a dead token");
                    begun += 1;
                }
                begun
            })
        })
        .collect();
    let begun: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    drop(stop);
    let _ = control.join().unwrap();
    println!("{begun} requests, {} logins", script.calls());
    assert!(script.calls() >= 3 && begun > 1000, "{begun} requests, {} logins", script.calls());
}

// Disturbed.

#[tokio::test(start_paused = true)]
async fn tokens_that_worked_and_die_young_again_and_again_are_somebody_elses_doing() {
    let script = Script::good();
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    for round in 1..=4 {
        let guard = guard(&lane).await;
        lane.worked(guard.generation);
        sleep(seconds(10)).await;
        assert_eq!(cell.status().disturbed, round > 3, "round {round}");
        assert_eq!(cell.refused(guard.generation), AfterRefusal::Again);
        assert_eq!(cell.status().disturbances, round);
    }
    // Another replica's, in place of one that was refused there, is no sign of peace.
    cell.adopt(Carried { of_refusal: true, ..carried(9, "another's", 100) });
    assert!(cell.status().disturbed);
    // One that lives until it is replaced: it is over.
    drop(guard(&lane).await);
    sleep(seconds(85)).await;
    drop(guard(&lane).await);
    sleep(seconds(1)).await;
    drop(guard(&lane).await);
    assert_eq!((cell.status().disturbed, cell.status().disturbances), (false, 4));
}

#[tokio::test(start_paused = true)]
async fn whoever_disturbs_does_not_hurry_the_logins() {
    // Somebody else logs in every 100 ms, so that each of our tokens dies within that.
    let script = Script::good();
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    let end = Instant::now() + seconds(60);
    while Instant::now() < end {
        let guard = guard(&lane).await;
        lane.worked(guard.generation);
        sleep(millis(100)).await;
        if cell.refused(guard.generation) == AfterRefusal::Unsure {
            sleep(millis(100)).await;
            assert_eq!(cell.refused_at_last(guard.generation), AfterRefusal::Again, "no one else was served");
        }
    }
    assert!(cell.status().disturbed);
    assert!(script.calls() <= 20, "{} logins in a minute", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_young_token_that_others_are_served_with_is_not_replaced_for_one_that_is_refused_anyhow() {
    let script = Script::good();
    let cell = cell_with(exclusive(&script));
    let lane = lane(&cell);
    lane.worked(guard(&lane).await.generation);
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    assert_eq!(guard(&lane).await.generation, 2);
    // It never worked: whatever is refused now is refused for another reason.
    assert_eq!(cell.refused(2), AfterRefusal::Pass);
    lane.worked(2);
    assert_eq!(cell.refused(2), AfterRefusal::Unsure);
    lane.worked(2);
    assert_eq!(cell.refused_at_last(2), AfterRefusal::Pass);
    assert_eq!((script.calls(), cell.is_current(2)), (2, true));
}

// From one process to the next.

fn carried(fence: u64, token: &str, left: u64) -> Carried {
    Carried {
        fence,
        token: crate::secret::Secret::new(token),
        left: seconds(left),
        life: seconds(100),
        source: LifetimeSource::Answer,
        secret: version("first"),
        of_refusal: false,
        suspect: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_handed_over_with_what_is_left_of_its_life_and_no_login_is_made() {
    let old = cell_with(exclusive(&hundred_seconds()));
    assert!(old.carry().is_none());
    used(&old).await;
    sleep(seconds(30)).await;
    let carried = old.carry().unwrap();
    assert_eq!((carried.left, carried.life), (millis(69_980), seconds(100)));

    let script = Script::good();
    let new = cell_with(exclusive(&script));
    new.adopt(carried);
    assert_eq!(used(&new).await, "token-1");
    assert_eq!(script.calls(), 0);
    assert_eq!(new.status().expires_in, Some(millis(69_980)));
    sleep(seconds(70)).await;
    assert_eq!(used(&new).await, "token-1", "the new one's own login");
    assert_eq!((script.calls(), new.generation()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_paused_cell_begins_no_login_and_forgets_nobody() {
    let script = Script::good();
    let cell = cell_with(exclusive(&script));
    cell.pause(true);
    let waiting = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { used(&cell).await }
    });
    sleep(seconds(5)).await;
    cell.settled().await;
    assert_eq!((script.calls(), cell.status().waiting), (0, 1));
    cell.pause(false);
    assert_eq!(waiting.await.unwrap(), "token-1");
}

#[tokio::test(start_paused = true)]
async fn a_login_under_way_is_let_land_before_a_hand_over() {
    let script = Script::new(|_| slow(500, Reply::Good(100)));
    let cell = cell_with(exclusive(&script));
    let waiting = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { used(&cell).await }
    });
    sleep(millis(100)).await;
    cell.pause(true);
    cell.settled().await;
    assert_eq!(cell.carry().unwrap().token.expose(), "token-1");
    assert_eq!(waiting.await.unwrap(), "token-1");
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_follows_another_process_asks_it_without_a_gate() {
    let (script, cell, lane, under_way) = in_the_margin().await;
    let successor = Script::new(|_| slow(5, Reply::Token("successor".into(), 100)));
    cell.pause(true);
    cell.follow(successor.fetch());
    assert_eq!(cell.refused(under_way.generation), AfterRefusal::Again);
    assert_eq!(guard(&lane).await.text(), "successor");
    assert_eq!((script.calls(), successor.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_a_token_to_the_process_that_has_it() {
    let script = Script::good();
    let cell = cell_with(exclusive(&script));
    used(&cell).await;
    let successor = Script::new(|_| slow(5, Reply::Token("successor".into(), 100)));
    cell.follow(successor.fetch());
    cell.configure(CellSettings { secret: version("second"), ..exclusive(&script) });
    sleep(seconds(5)).await;
    cell.refused(cell.generation());
    assert_eq!(used(&cell).await, "successor");
    assert_eq!((script.calls(), successor.calls()), (1, 1));
}

/// A machine may be younger than the token that it is given.
#[test]
fn an_adopted_token_ends_when_it_ends_also_on_a_machine_that_was_just_booted() {
    let settings = exclusive(&hundred_seconds());
    let mut state = super::super::state::State::new((&settings).into(), 1);
    let now = crate::token::Moment::since_boot(seconds(60));
    let token = Carried { life: seconds(1800), ..carried(1, "theirs", 120) };
    state.adopt(now, token, &mut super::super::state::Steps::default());
    let status = state.status(now);
    assert_eq!((status.live, status.expires_in), (true, Some(seconds(120))));
    assert!(state.attention().is_some_and(|due| due <= now), "it is in its margin");
}

// What others know better.

#[tokio::test(start_paused = true)]
async fn another_replicas_token_is_taken_only_where_it_is_newer() {
    let cell = cell_with(exclusive(&Script::good()));
    cell.adopt(carried(7, "seven", 50));
    assert_eq!((used(&cell).await.as_str(), cell.generation(), cell.status().fence), ("seven", 7, 7));
    cell.adopt(carried(6, "six", 90));
    assert_eq!(used(&cell).await, "seven", "an older one");
    cell.adopt(carried(7, "seven", 50));
    assert_eq!(cell.generation(), 7, "the same one");
    cell.refused(7);
    cell.adopt(carried(7, "seven", 50));
    assert!(cell.warm().is_none(), "nothing raises the dead");
    cell.adopt(carried(9, "nine", 50));
    assert_eq!((used(&cell).await.as_str(), cell.generation()), ("nine", 9));
    cell.adopt(carried(10, "dead on arrival", 0));
    assert_eq!(used(&cell).await, "nine");
}

// Given up.

/// Settings whose tokens are given up into this list.
fn releasing(script: &Arc<Script>, released: &Arc<std::sync::Mutex<Vec<String>>>) -> CellSettings {
    let released = Arc::clone(released);
    let release: crate::token::Release = Arc::new(move |token| {
        let released = Arc::clone(&released);
        Box::pin(async move { released.lock().unwrap().push(token.expose().to_owned()) })
    });
    CellSettings { release: Some(release), ..settings(script) }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_given_up_when_nobody_refers_to_its_cell_and_only_then() {
    let released = Arc::default();
    let cell = cell_with(releasing(&Script::good(), &released));
    let lane = lane(&cell);
    let under_way = guard(&lane).await;
    drop(cell);
    sleep(seconds(1)).await;
    assert!(released.lock().unwrap().is_empty(), "a request's lane still refers to it");
    drop((under_way, lane));
    sleep(seconds(1)).await;
    assert_eq!(*released.lock().unwrap(), ["token-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_another_process_goes_on_with_or_that_is_over_is_not_given_up() {
    for over in [false, true] {
        let released = Arc::default();
        let script = Script::good();
        let cell = cell_with(releasing(&script, &released));
        used(&cell).await;
        if over {
            sleep(seconds(3600)).await;
        } else {
            cell.follow(script.fetch());
        }
        drop(cell);
        sleep(seconds(1)).await;
        assert!(released.lock().unwrap().is_empty(), "over: {over}");
    }
}
