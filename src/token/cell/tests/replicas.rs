//! Cells of several replicas that share a token, under a paused clock. The vendor is strict: of an
//! exclusive credential it holds the last token valid that it gave.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::*;
use crate::model::Place;
use crate::token::Lane;
use crate::token::store::memory::MemoryShares;
use crate::upstream::Destination;

/// As `assemble` makes it of the defaults.
const LEASE: Duration = Duration::from_secs(14);

/// The vendor and what it holds valid.
struct Vendor {
    script: Arc<Script>,
    valid: Arc<AtomicU64>,
}

impl Vendor {
    /// Logins take 20 ms; the token changes in the middle of that.
    fn new(life: u64) -> Self {
        Self::failing(life, |_| false)
    }

    /// The same; those logins fail of which `fails` holds, with a 503 that changed nothing.
    fn failing(life: u64, fails: impl Fn(u64) -> bool + Send + 'static) -> Self {
        let valid = Arc::new(AtomicU64::new(0));
        let now_valid = Arc::clone(&valid);
        let script = Script::new(move |number| {
            if fails(number) {
                return slow(20, down());
            }
            let valid = Arc::clone(&now_valid);
            let change = move || {
                valid.store(number, Ordering::SeqCst);
                slow(10, Reply::Good(life))
            };
            slow(10, Reply::Then(Box::new(change)))
        });
        script.allow_together();
        Self { script, valid }
    }

    /// Whether it takes this token.
    fn takes(&self, token: &str) -> bool {
        token == format!("token-{}", self.valid.load(Ordering::SeqCst))
    }
}

/// One replica: its cell, and requests through it.
struct Replica {
    cell: Arc<Cell>,
    lane: Lane,
}

impl Replica {
    fn new(vendor: &Vendor, shares: &MemoryShares) -> Self {
        let share = Some(shares.share());
        let settings = CellSettings { exclusive: true, share, ..settings(&vendor.script) };
        let cell = cell_with(settings);
        let lane = Lane::new(Arc::clone(&cell), Arc::new(vec![Place::bearer()]), Destination::anywhere());
        Self { cell, lane }
    }

    /// A request of so long, sent again as the proxy does. How often the vendor refused it, and the
    /// token that it was answered with.
    async fn request(&self, vendor: &Vendor, took: Duration) -> Result<(u32, u64), Unavailable> {
        let mut refused = 0;
        loop {
            let guard = self.lane.acquire(PATIENCE).await?;
            let taken = vendor.takes(guard.text());
            sleep(took).await;
            let generation = guard.generation;
            drop(guard);
            if taken {
                self.lane.worked(generation);
                return Ok((refused, generation));
            }
            refused += 1;
            assert!(refused < 50, "refused again and again");
            let after = self.cell.refused(generation);
            assert_eq!(after, AfterRefusal::Again, "the vendor's refusal reaches the client");
        }
    }
}

fn replicas(vendor: &Vendor, shares: &MemoryShares, count: usize) -> Vec<Replica> {
    (0..count).map(|_| Replica::new(vendor, shares)).collect()
}

/// Requests at every replica, one after the other for so long; the requests and their refusals, those
/// that got no token, and the longest that one took.
async fn drive(vendor: &Vendor, replicas: &[Replica], time: Duration) -> (u32, u32, u32, Duration) {
    let end = Instant::now() + time;
    let (mut all, mut refused, mut unserved, mut longest) = (0, 0, 0, Duration::ZERO);
    while Instant::now() < end {
        for replica in replicas {
            let began = Instant::now();
            match replica.request(vendor, millis(3)).await {
                Ok((times, _)) => refused += times,
                Err(_) => unserved += 1,
            }
            all += 1;
            longest = longest.max(began.elapsed());
        }
    }
    (all, refused, unserved, longest)
}

fn assert_one_token(vendor: &Vendor, replicas: &[Replica]) {
    for replica in replicas {
        let token = replica.cell.warm().expect("a live token");
        assert!(vendor.takes(token.secret.expose()), "a token that the vendor does not take");
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_log_in_once_for_all_of_them() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 3);
    let (all, refused, unserved, _) = drive(&vendor, &replicas, seconds(5)).await;
    assert!(all > 1000);
    assert_eq!((refused, unserved, vendor.script.calls(), shares.leases()), (0, 0, 1, 1));
    assert!(replicas.iter().all(|replica| replica.cell.status().fence == 1 && replica.cell.generation() == 1));
}

#[tokio::test(start_paused = true)]
async fn cold_replicas_that_are_asked_together_log_in_once() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let cells: Vec<_> = replicas(&vendor, &shares, 3).into_iter().map(|replica| replica.cell).collect();
    let mut requests = JoinSet::new();
    for number in 0..300 {
        let cell = Arc::clone(&cells[number % 3]);
        requests.spawn(async move { used(&cell).await });
    }
    assert!(requests.join_all().await.iter().all(|token| token == "token-1"));
    assert_eq!(vendor.script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_barrier_spans_replicas_and_no_request_meets_the_end_of_its_token() {
    let (vendor, shares) = (Vendor::new(2), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 3);
    let (all, refused, unserved, longest) = drive(&vendor, &replicas, seconds(60)).await;
    assert!(all > 5_000, "{all}");
    assert_eq!((refused, unserved), (0, 0));
    assert!((30..=45).contains(&vendor.script.calls()), "{} logins", vendor.script.calls());
    assert!(longest <= millis(300), "{longest:?}");
    assert_one_token(&vendor, &replicas);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_of_the_messages_costs_refusals_and_no_failure() {
    let (vendor, shares) = (Vendor::new(2), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 3);
    shares.set_losing(true);
    let (all, refused, unserved, longest) = drive(&vendor, &replicas, seconds(60)).await;
    assert!(all > 5_000 && refused > 0, "{refused} refused of {all}");
    assert!(refused <= all / 20, "{refused} refused of {all}");
    assert_eq!(unserved, 0);
    assert!(longest < seconds(2), "{longest:?}");
    assert!(vendor.script.calls() <= 45, "{} logins", vendor.script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_refusals_at_all_replicas_makes_one_login() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 3);
    drive(&vendor, &replicas, seconds(6)).await;
    vendor.valid.store(0, Ordering::SeqCst); // revoked at the vendor
    let (_, refused, unserved, _) = drive(&vendor, &replicas, seconds(2)).await;
    assert!((1..=3).contains(&refused), "{refused}");
    assert_eq!((unserved, vendor.script.calls()), (0, 2));
    assert_one_token(&vendor, &replicas);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_with_the_lease_costs_no_more_than_the_leases_time() {
    let lease = seconds(3);
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(lease));
    let mut replicas = replicas(&vendor, &shares, 3);
    drive(&vendor, &replicas, seconds(1)).await;
    // The vendor has heard the dying one's login: everybody's token is dead.
    let dying = shares.share();
    let turn = dying.turn(crate::token::Wanted { beyond: 1, secret: version("first"), proves: false }).await.unwrap();
    assert!(matches!(turn, crate::token::Turn::Login(_)));
    vendor.valid.store(0, Ordering::SeqCst);
    drop(replicas.pop());
    let (_, _, unserved, longest) = drive(&vendor, &replicas, seconds(10)).await;
    assert_eq!(unserved, 0);
    assert!(longest >= seconds(2) && longest <= lease + millis(500), "{longest:?}");
    assert_eq!(vendor.script.calls(), 2);
    assert_one_token(&vendor, &replicas);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_its_lease_while_logging_in_ends_up_with_everybodys_token() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 2);
    drive(&vendor, &replicas, seconds(1)).await;
    // Both logins are heard, the lost one's last or first.
    replicas[0].cell.refused(1);
    sleep(millis(5)).await;
    shares.expire_lease();
    replicas[1].cell.refused(1);
    sleep(seconds(1)).await;
    let (_, refused, unserved, _) = drive(&vendor, &replicas, seconds(5)).await;
    assert_eq!(unserved, 0);
    assert!(refused <= 4, "{refused}");
    assert!(vendor.script.calls() <= 4, "{} logins", vendor.script.calls());
    assert_one_token(&vendor, &replicas);
}

#[tokio::test(start_paused = true)]
async fn one_replicas_failed_login_spares_the_others_theirs() {
    let (vendor, shares) = (Vendor::failing(100, |_| true), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 3);
    let end = Instant::now() + seconds(5);
    while Instant::now() < end {
        for replica in &replicas {
            assert!(replica.cell.acquire(PATIENCE).await.is_err());
        }
        sleep(millis(20)).await;
    }
    assert!(vendor.script.calls() <= 12, "{} logins of three replicas in five seconds", vendor.script.calls());
}

#[tokio::test(start_paused = true)]
async fn without_the_store_tokens_serve_to_their_end() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 3);
    drive(&vendor, &replicas, seconds(1)).await;
    for replica in 0..3 {
        shares.set_away(replica, true);
    }
    let (_, refused, unserved, _) = drive(&vendor, &replicas, seconds(98)).await;
    assert_eq!((refused, unserved, vendor.script.calls()), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_exclusive_replicas_disturb_each_other_at_a_bounded_pace_and_then_converge() {
    for keeps in [true, false] {
        let (vendor, shares) = (Vendor::new(2), MemoryShares::new(LEASE));
        let replicas = replicas(&vendor, &shares, 3);
        drive(&vendor, &replicas, seconds(3)).await;
        let before = vendor.script.calls();
        for replica in 0..3 {
            shares.set_away(replica, true);
        }
        let mut loads = JoinSet::new();
        let (vendor, replicas) = (Rc::new(vendor), Rc::new(replicas));
        let local = tokio::task::LocalSet::new();
        let (unserved, all) = local
            .run_until(async {
                for place in 0..3 {
                    let (vendor, replicas) = (Rc::clone(&vendor), Rc::clone(&replicas));
                    loads.spawn_local(async move { drive(&vendor, &replicas[place..=place], seconds(20)).await });
                }
                let tallies = loads.join_all().await;
                (tallies.iter().map(|tally| tally.2).sum::<u32>(), tallies.iter().map(|tally| tally.0).sum::<u32>())
            })
            .await;
        assert!(unserved <= all / 20, "{unserved} of {all} requests without a token");
        let logins = vendor.script.calls() - before;
        assert!(logins <= 3 * 12, "{logins} logins of three replicas in twenty seconds");
        if !keeps {
            shares.flush();
        }
        for replica in 0..3 {
            shares.set_away(replica, false);
        }
        sleep(seconds(2)).await;
        drive(&vendor, &replicas, seconds(3)).await;
        let (_, refused, unserved, _) = drive(&vendor, &replicas, seconds(10)).await;
        assert_eq!((refused, unserved), (0, 0), "one token again");
        assert_one_token(&vendor, &replicas);
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_is_tried_though_others_hold_a_token_of_the_old_one() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 2);
    drive(&vendor, &replicas, seconds(1)).await;
    let changed = |secret| CellSettings { exclusive: true, secret: version(secret), ..settings(&vendor.script) };
    replicas[0].cell.configure(changed("second"));
    sleep(seconds(1)).await;
    assert_eq!(vendor.script.calls(), 2, "the new secret has proved itself");
    // The other replica takes that token, and sees no need to prove its own secret against it.
    drive(&vendor, &replicas, seconds(5)).await;
    assert_eq!(vendor.script.calls(), 2);
    replicas[1].cell.configure(changed("second"));
    let (_, refused, ..) = drive(&vendor, &replicas, seconds(5)).await;
    assert_eq!((refused, vendor.script.calls()), (0, 2), "a token of the new secret is there already");
}

#[tokio::test(start_paused = true)]
async fn a_request_at_a_sleeping_replica_is_not_forgotten_when_it_comes_in_anothers_login() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 2);
    drive(&vendor, &replicas[..1], seconds(1)).await;
    let under_way = replicas[0].lane.acquire(PATIENCE).await.unwrap();
    let changed = CellSettings { exclusive: true, secret: version("second"), ..settings(&vendor.script) };
    replicas[0].cell.configure(changed);
    sleep(millis(50)).await;
    assert_eq!((shares.lease(), replicas[1].cell.status().state), (Some((2, 0)), CellState::Asleep));
    let waiting = {
        let cell = Arc::clone(&replicas[1].cell);
        tokio::spawn(async move { cell.acquire(PATIENCE).await.unwrap().generation })
    };
    sleep(millis(50)).await;
    assert_eq!(replicas[1].cell.status().waiting, 1);
    drop(under_way);
    let began = Instant::now();
    assert_eq!(waiting.await.unwrap(), 2);
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_mended_secret_is_tried_at_once_whatever_the_others_failed_with() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let wrong_ones = Script::new(|_| slow(20, wrong()));
    wrong_ones.allow_together();
    let cells: Vec<_> = (0..2)
        .map(|_| {
            let share = Some(shares.share());
            cell_with(CellSettings { exclusive: true, secret: version("wrong"), share, ..settings(&wrong_ones) })
        })
        .collect();
    for _ in 0..600 {
        for cell in &cells {
            assert!(cell.acquire(PATIENCE).await.is_err());
        }
        sleep(millis(100)).await;
    }
    cells[0].configure(CellSettings { exclusive: true, secret: version("right"), ..settings(&vendor.script) });
    let began = Instant::now();
    assert_eq!(used(&cells[0]).await, "token-1");
    assert!(began.elapsed() < millis(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_replica_with_a_wrong_secret_does_not_starve_the_others() {
    let (vendor, shares) = (Vendor::new(20), MemoryShares::new(LEASE));
    let right = Replica::new(&vendor, &shares);
    let share = Some(shares.share());
    let script = Script::new(|_| slow(20, wrong()));
    let other = cell_with(CellSettings { exclusive: true, secret: version("wrong"), share, ..settings(&script) });
    for _ in 0..6000 {
        assert!(right.cell.acquire(PATIENCE).await.is_ok());
        let _ = other.acquire(PATIENCE).await;
        sleep(millis(100)).await;
    }
    assert!(script.calls() <= 15, "{} logins with a wrong secret in ten minutes", script.calls());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_idle_takes_the_token_that_the_others_use() {
    let (vendor, shares) = (Vendor::new(1000), MemoryShares::new(LEASE));
    let replicas: Vec<_> = (0..2)
        .map(|_| {
            let (share, idle_lifetime) = (Some(shares.share()), Some(seconds(10)));
            let cell = cell_with(CellSettings { exclusive: true, idle_lifetime, share, ..settings(&vendor.script) });
            let lane = Lane::new(Arc::clone(&cell), Arc::new(vec![Place::bearer()]), Destination::anywhere());
            Replica { cell, lane }
        })
        .collect();
    drive(&vendor, &replicas, seconds(1)).await;
    drive(&vendor, &replicas[..1], seconds(15)).await;
    let (_, refused, unserved, _) = drive(&vendor, &replicas, seconds(1)).await;
    assert_eq!((refused, unserved, vendor.script.calls()), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_lost_before_the_login_is_sent_makes_none() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(LEASE));
    let replicas = replicas(&vendor, &shares, 2);
    drive(&vendor, &replicas, seconds(1)).await;
    // Its own request under way holds it up while its lease runs out, and another logs in.
    let under_way = replicas[0].lane.acquire(PATIENCE).await.unwrap();
    replicas[0].cell.configure(CellSettings { exclusive: true, secret: version("second"), ..settings(&vendor.script) });
    sleep(millis(50)).await;
    assert_eq!(shares.lease(), Some((2, 0)));
    shares.expire_lease();
    let thief = shares.share();
    let wanted = crate::token::Wanted { beyond: 1, secret: version("second"), proves: true };
    assert!(matches!(thief.turn(wanted).await, Ok(crate::token::Turn::Login(_))));
    drop(under_way);
    sleep(seconds(1)).await;
    assert_eq!(vendor.script.calls(), 1, "a login under a lease that is another's");
    shares.expire_lease();
    sleep(seconds(3)).await; // the thief confirms nothing
    assert_eq!(vendor.script.calls(), 2);
    drive(&vendor, &replicas, seconds(1)).await;
    assert_one_token(&vendor, &replicas);
}

/// What is told of a login is not authenticated, and holds nobody longer than a login of one's own would.
#[tokio::test(start_paused = true)]
async fn a_hold_of_an_hour_is_over_after_seconds() {
    let (vendor, shares) = (Vendor::new(100), MemoryShares::new(seconds(7200)));
    let replicas = replicas(&vendor, &shares, 1);
    drive(&vendor, &replicas, seconds(1)).await;
    let other = shares.share();
    let wanted = crate::token::Wanted { beyond: 1, secret: version("first"), proves: false };
    let Ok(crate::token::Turn::Login(lease)) = other.turn(wanted).await else { panic!("no lease") };
    tokio::spawn(async move { other.quiet(lease, seconds(3600)).await });
    sleep(millis(50)).await;
    assert!(replicas[0].cell.warm().is_none(), "it is held");
    let began = Instant::now();
    assert_eq!(used(&replicas[0].cell).await, "token-1");
    assert!(began.elapsed() < seconds(4), "{:?}", began.elapsed());
}
