//! The shared store, below the token cells: what lies in Redis, what replicas see of each other, and
//! what becomes of it when the store is away.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokenferry::secret::{SealKeys, Secret};
use tokenferry::token::{
    Away, Carried, Keep, Kept, Laid, Lease, SecretVersion, Share, Shelf, Store, StoreKeep, StoreSettings, TokenKey,
    Told, Turn, Unkept, Wanted,
};
use tokenferry::vendor::{FaultClass, FaultReason, Identity, LifetimeSource, TokenFault};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::harness::redis::{Options, RedisServer};
use super::harness::tls::Authority;

const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
const OTHER_KEY: &str = "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=";
const CANARY: &str = "CANARY-token";
/// Longer than any test takes.
const LEASE: Duration = Duration::from_secs(60);
/// Tests share their machine: what is not about time has much of it.
const PATIENCE: Duration = Duration::from_secs(5);

fn settings(url: &str) -> StoreSettings {
    let server = url.into_connection_info().unwrap();
    StoreSettings { server, ca: None, key_prefix: "tokenferry".to_owned(), timeout: PATIENCE }
}

/// The stored token, where one opens.
trait There {
    async fn there(&self) -> Result<Option<Carried>, Away>;
}

impl There for Arc<dyn Share> {
    async fn there(&self) -> Result<Option<Carried>, Away> {
        Ok(match self.read().await? {
            Shelf::Token(token) => Some(token),
            Shelf::Shut | Shelf::Empty => None,
        })
    }
}

fn keys(keys: &[&str]) -> Arc<SealKeys> {
    Arc::new(SealKeys::new(&keys.iter().map(|key| Secret::new(*key)).collect::<Vec<_>>()).unwrap())
}

/// One process's store.
fn store(server: &RedisServer) -> Arc<Store> {
    Store::new(settings(&server.url()), keys(&[KEY]), Handle::current())
}

fn identity(name: &str, secret: &str) -> Identity {
    Identity { parts: vec![("name", name.to_owned())], secrets: vec![Secret::new(secret)] }
}

fn credential(name: &str) -> TokenKey {
    TokenKey::of("test", &identity(name, ""))
}

/// Where the client of this name keeps its refresh token.
fn keep(store: &Store, name: &str) -> StoreKeep {
    store.keep(&Kept::key("test", &identity(name, "")), &Secret::new("the first one"))
}

fn version(secret: &str) -> SecretVersion {
    SecretVersion::of(&identity("", secret))
}

fn token(text: &str) -> Carried {
    Carried {
        fence: 0,
        token: Secret::new(text),
        left: Duration::from_secs(500),
        life: Duration::from_secs(600),
        source: LifetimeSource::Answer,
        secret: version("first"),
        of_refusal: true,
        suspect: false,
    }
}

fn fault(heard: bool) -> TokenFault {
    let fault = TokenFault::new(FaultClass::Refused, FaultReason::Status(400));
    TokenFault { heard, code: Some("invalid_client".to_owned()), ..fault }
}

fn beyond(beyond: u64) -> Wanted {
    Wanted { beyond, secret: version("first"), proves: false }
}

async fn login(share: &Arc<dyn Share>, wanted: Wanted) -> Lease {
    match share.turn(wanted).await.unwrap() {
        Turn::Login(lease) => lease,
        turn => panic!("{turn:?}"),
    }
}

async fn taken(share: &Arc<dyn Share>, wanted: Wanted) -> Carried {
    match share.turn(wanted).await.unwrap() {
        Turn::Take(token) => token,
        turn => panic!("{turn:?}"),
    }
}

/// Waits until it is told this, past anything else.
async fn told(share: &Arc<dyn Share>, expected: Told) {
    let hearing = async { while share.told().await != expected {} };
    timeout(Duration::from_secs(10), hearing).await.unwrap_or_else(|_| panic!("was not told {expected:?}"));
}

/// A connection as an operator's tool has one.
async fn ask<T: FromRedisValue>(server: &RedisServer, command: &mut Cmd) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

/// Everything that lies in the store, keys and values.
async fn everything(server: &RedisServer) -> String {
    let mut all = Vec::new();
    for key in ask::<Vec<String>>(server, redis::cmd("KEYS").arg("*")).await {
        all.extend(format!("{key} ").into_bytes());
        let kind: String = ask(server, redis::cmd("TYPE").arg(&key)).await;
        let command = if kind == "hash" { "HGETALL" } else { "GET" };
        let value: redis::Value = ask(server, redis::cmd(command).arg(&key)).await;
        match value {
            redis::Value::BulkString(bytes) => all.extend(bytes),
            value => Vec::<Vec<u8>>::from_redis_value(value).unwrap().iter().for_each(|part| all.extend(part)),
        }
        all.push(b'\n');
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn a_token_that_one_replica_lays_is_the_others() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let (one, other) = (one.share(credential("a"), LEASE), other.share(credential("a"), LEASE));
    told(&other, Told::Back).await;
    let lease = login(&one, beyond(0)).await;
    assert_eq!(one.lay(lease, token("first")).await, Ok(Laid::Kept));
    told(&other, Told::Token(lease.fence)).await;
    let read = other.there().await.unwrap().unwrap();
    assert!(read.left > Duration::from_secs(490) && read.left <= Duration::from_secs(500), "{:?}", read.left);
    let expected = Carried { fence: lease.fence, left: read.left, ..token("first") };
    assert_eq!(read, expected, "which holds every field");
    assert_eq!(taken(&other, beyond(0)).await.token, Secret::new("first"));
    let second = login(&other, beyond(lease.fence)).await;
    assert!(second.fence > lease.fence);
}

#[tokio::test]
async fn who_waits_for_anothers_login_takes_its_token() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let (one, other) = (one.share(credential("a"), LEASE), other.share(credential("a"), LEASE));
    let lease = login(&one, beyond(0)).await;
    let waiting = {
        let other = Arc::clone(&other);
        tokio::spawn(async move { taken(&other, beyond(0)).await })
    };
    sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    one.lay(lease, token("first")).await.unwrap();
    assert_eq!(waiting.await.unwrap().token, Secret::new("first"));
}

#[tokio::test]
async fn nothing_in_the_store_shows_a_token_or_a_secret() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    let lease = login(&share, beyond(0)).await;
    share.lay(lease, token(CANARY)).await.unwrap();
    login(&share, beyond(lease.fence)).await;
    let lease = login(&store.share(credential("b"), LEASE), beyond(0)).await;
    store.share(credential("b"), LEASE).give_back(lease, fault(true), LEASE).await;
    store.share(credential("c"), LEASE).offer(token(CANARY)).await.unwrap();
    keep(&store, "a").save(&Secret::new(CANARY)).await.unwrap();
    let all = everything(&server).await;
    for part in [":token ", ":lease ", ":fence ", ":fault ", ":refresh:"] {
        assert!(all.contains(part), "{part} in\n{all}");
    }
    assert!(!all.contains(CANARY) && !all.contains(&version("first").hex()), "{all}");
    assert!(all.lines().all(|line| !line.contains("tokenferry:") || line.contains(":{")), "{all}");
}

#[tokio::test]
async fn a_key_is_rotated_without_losing_a_token() {
    let server = RedisServer::start();
    let of = |list: &[&str]| Store::new(settings(&server.url()), keys(list), Handle::current());
    let old = of(&[KEY]).share(credential("a"), LEASE);
    let lease = login(&old, beyond(0)).await;
    old.lay(lease, token("first")).await.unwrap();
    let both = of(&[OTHER_KEY, KEY]);
    let share = both.share(credential("a"), LEASE);
    assert_eq!(taken(&share, beyond(0)).await.token, Secret::new("first"));
    let lease = login(&share, beyond(lease.fence)).await;
    share.lay(lease, token("second")).await.unwrap();
    let new = of(&[OTHER_KEY]).share(credential("a"), LEASE);
    assert_eq!(taken(&new, beyond(0)).await.token, Secret::new("second"));
}

#[tokio::test]
async fn a_token_that_does_not_open_counts_as_absent_and_is_replaced() {
    let server = RedisServer::start();
    let one = store(&server).share(credential("a"), LEASE);
    let lease = login(&one, beyond(0)).await;
    one.lay(lease, token(CANARY)).await.unwrap();
    let stranger = Store::new(settings(&server.url()), keys(&[OTHER_KEY]), Handle::current());
    let other = stranger.share(credential("a"), LEASE);
    assert_eq!(other.read().await, Ok(Shelf::Shut), "there is one, but not for this key");
    let offered = other.offer(token("third")).await.unwrap();
    assert!(offered.fence > lease.fence && offered.token == Secret::new("third"));
    assert_eq!(one.there().await, Ok(None));
    assert!(login(&one, beyond(0)).await.fence > offered.fence);
}

#[tokio::test]
async fn a_sealed_token_moved_to_another_credential_is_none_there() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    let lease = login(&share, beyond(0)).await;
    share.lay(lease, token("first")).await.unwrap();
    let at = |name: &str| format!("tokenferry:{{{}}}:token", credential(name).hex());
    let _: i64 = ask(&server, redis::cmd("COPY").arg(at("a")).arg(at("b"))).await;
    assert!(share.there().await.unwrap().is_some());
    assert_eq!(store.share(credential("b"), LEASE).there().await, Ok(None));
}

#[tokio::test]
async fn a_changed_secret_asks_past_tokens_and_faults_of_the_old_one() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    let old = login(&share, beyond(0)).await;
    share.lay(old, token("first")).await.unwrap();
    let wanted = |secret: &str| Wanted { beyond: 0, secret: version(secret), proves: true };
    assert_eq!(taken(&share, wanted("first")).await.fence, old.fence);
    let new = login(&share, wanted("second")).await;
    assert!(new.fence > old.fence);
    share.give_back(new, fault(false), LEASE).await;
    let second = Wanted { secret: version("second"), ..beyond(old.fence) };
    assert!(matches!(share.turn(second).await, Ok(Turn::Leave(_))));
    login(&share, wanted("second")).await;
}

#[tokio::test]
async fn a_failed_login_is_left_alone_by_the_others_until_its_pause_is_over() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let (one, other) = (one.share(credential("a"), LEASE), other.share(credential("a"), LEASE));
    told(&other, Told::Back).await;
    let lease = login(&one, beyond(0)).await;
    one.give_back(lease, fault(true), Duration::from_millis(400)).await;
    told(&other, Told::Release(lease.fence)).await;
    let Turn::Leave(left) = other.turn(beyond(0)).await.unwrap() else { panic!("a login") };
    assert_eq!((left.class, left.reason), (FaultClass::Refused, FaultReason::Elsewhere));
    assert_eq!((left.code.as_deref(), left.heard), (Some("invalid_client"), true));
    assert!(left.retry_after.unwrap() <= Duration::from_millis(400));
    sleep(Duration::from_millis(450)).await;
    login(&other, beyond(0)).await;
}

#[tokio::test]
async fn a_login_that_may_have_been_heard_puts_the_stored_token_in_doubt() {
    let server = RedisServer::start();
    let share = store(&server).share(credential("a"), LEASE);
    for (heard, suspect) in [(false, false), (true, true)] {
        let lease = login(&share, beyond(share.there().await.unwrap().map_or(0, |token| token.fence))).await;
        share.lay(lease, token("first")).await.unwrap();
        let next = login(&share, beyond(lease.fence)).await;
        share.give_back(next, fault(heard), Duration::ZERO).await;
        assert_eq!(share.there().await.unwrap().unwrap().suspect, suspect);
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_is_anothers_and_its_token_is_lost() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let slow = one.share(credential("a"), Duration::from_millis(100));
    let other = other.share(credential("a"), LEASE);
    let lost = login(&slow, beyond(0)).await;
    let begun = Instant::now();
    let won = login(&other, beyond(0)).await;
    assert!(begun.elapsed() >= Duration::from_millis(50) && won.fence > lost.fence);
    assert_eq!(other.lay(won, token("won")).await, Ok(Laid::Kept));
    assert_eq!(slow.lay(lost, token("lost")).await, Ok(Laid::Lost));
    let stored = other.there().await.unwrap().unwrap();
    assert!(stored.suspect && stored.token == Secret::new("won"));
}

#[tokio::test]
async fn a_login_under_way_while_a_lost_one_comes_in_is_in_doubt_too() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let slow = one.share(credential("a"), Duration::from_millis(50));
    let other = other.share(credential("a"), LEASE);
    let lost = login(&slow, beyond(0)).await;
    let won = login(&other, beyond(0)).await;
    assert_eq!(slow.lay(lost, token("lost")).await, Ok(Laid::Lost));
    assert_eq!(other.lay(won, token("won")).await, Ok(Laid::Lost), "which of the two is valid, nobody knows");
    assert!(other.there().await.unwrap().unwrap().suspect);
}

#[tokio::test]
async fn all_others_hold_their_requests_before_a_login() {
    let server = RedisServer::start();
    let stores = [store(&server), store(&server), store(&server)];
    let shares = [&stores[0], &stores[1]].map(|store| store.share(credential("a"), LEASE));
    // The third process has no such credential, and is no reason to wait.
    let witness = stores[2].share(credential("b"), LEASE);
    for share in shares.iter().chain([&witness]) {
        told(share, Told::Back).await;
    }
    let lease = login(&shares[0], beyond(0)).await;
    let quiet = {
        let share = Arc::clone(&shares[0]);
        tokio::spawn(async move { share.quiet(lease, Duration::from_secs(20)).await })
    };
    told(&shares[1], Told::Hold(lease.fence, Duration::from_secs(20))).await;
    sleep(Duration::from_millis(100)).await;
    assert!(!quiet.is_finished(), "one has not confirmed");
    shares[1].confirm(lease.fence).await;
    timeout(Duration::from_secs(5), quiet).await.expect("all have confirmed").unwrap();
}

#[tokio::test]
async fn who_does_not_confirm_is_waited_for_as_long_as_was_said() {
    let server = RedisServer::start();
    let stores = [store(&server), store(&server)];
    let shares = [&stores[0], &stores[1]].map(|store| store.share(credential("a"), LEASE));
    told(&shares[0], Told::Back).await;
    told(&shares[1], Told::Back).await;
    let lease = login(&shares[0], beyond(0)).await;
    let begun = Instant::now();
    shares[0].quiet(lease, Duration::from_millis(200)).await;
    assert!(begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn alone_there_is_nobody_to_wait_for() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    told(&share, Told::Back).await;
    let lease = login(&share, beyond(0)).await;
    timeout(Duration::from_secs(5), share.quiet(lease, Duration::from_secs(60))).await.expect("at once");
}

#[tokio::test]
async fn a_dead_server_costs_one_timeout_and_then_nothing() {
    // A port that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/0", silent.local_addr().unwrap());
    let settings = StoreSettings { timeout: Duration::from_millis(100), ..settings(&url) };
    let store = Store::new(settings, keys(&[KEY]), Handle::current());
    let share = store.share(credential("a"), LEASE);
    let begun = Instant::now();
    assert_eq!(share.there().await, Err(Away));
    let first = begun.elapsed();
    assert!(first < Duration::from_millis(400), "{first:?}");
    let begun = Instant::now();
    for _ in 0..1000 {
        assert!(matches!(share.turn(beyond(0)).await, Err(Away)));
        assert_eq!(share.offer(token("first")).await, Err(Away));
    }
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_freezes_is_away_within_the_timeout_and_back_when_it_thaws() {
    let server = RedisServer::start();
    let settings = StoreSettings { timeout: Duration::from_millis(200), ..settings(&server.url()) };
    let store = Store::new(settings, keys(&[KEY]), Handle::current());
    let share = store.share(credential("a"), LEASE);
    told(&share, Told::Back).await;
    assert_eq!(share.there().await, Ok(None));
    server.freeze();
    let begun = Instant::now();
    assert_eq!(share.there().await, Err(Away));
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
    server.thaw();
    told(&share, Told::Back).await;
    assert_eq!(share.there().await, Ok(None));
}

#[tokio::test]
async fn after_a_crash_of_the_store_replicas_agree_again() {
    let mut server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let (one, other) = (one.share(credential("a"), LEASE), other.share(credential("a"), LEASE));
    for share in [&one, &other] {
        told(share, Told::Back).await;
        assert_eq!(share.there().await, Ok(None));
    }
    server.kill();
    assert_eq!(one.there().await, Err(Away));
    assert_eq!(other.there().await, Err(Away));
    server.start_again();
    told(&one, Told::Back).await;
    told(&other, Told::Back).await;
    let (first, second) = (one.offer(token("one")).await.unwrap(), other.offer(token("other")).await.unwrap());
    assert_eq!(first.token, Secret::new("one"));
    assert_eq!((second.token, second.fence), (first.token, first.fence), "there is one, and it is good");
    assert_eq!(other.offer(Carried { suspect: true, ..token("other") }).await.unwrap().fence, first.fence);
    let newer = Carried { fence: first.fence + 1, ..token("newer") };
    let newer = other.offer(newer).await.unwrap();
    assert!(newer.fence > first.fence && newer.token == Secret::new("newer"));
    told(&one, Told::Token(newer.fence)).await;
}

#[tokio::test]
async fn what_is_on_disk_is_there_again_after_a_crash() {
    let mut server = RedisServer::start_with(Options { append_only: true, ..Options::default() });
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    let lease = login(&share, beyond(0)).await;
    share.lay(lease, token("first")).await.unwrap();
    keep(&store, "a").save(&Secret::new("refresh")).await.unwrap();
    server.kill();
    server.start_again();
    // A connection from before is found dead, and another one made, within one call.
    assert_eq!(share.there().await.unwrap().unwrap().token, Secret::new("first"));
    assert_eq!(keep(&store, "a").load().await, Ok(Some(Secret::new("refresh"))));
    assert_eq!(keep(&store, "b").load().await, Ok(None));
}

#[tokio::test]
async fn a_grant_that_got_lost_is_no_lease_to_wait_for() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    // From now on the server knows the script.
    let first = login(&share, beyond(0)).await;
    share.give_back(first, fault(false), Duration::ZERO).await;
    // The command is out, and nobody waits for its answer any more.
    server.freeze();
    assert!(timeout(Duration::from_millis(100), share.turn(beyond(0))).await.is_err());
    server.thaw();
    assert!(everything(&server).await.contains(":lease "));
    let lease =
        timeout(Duration::from_secs(5), login(&share, beyond(0))).await.expect("its own lease is not in its way");
    let again = timeout(Duration::from_millis(400), share.turn(beyond(0))).await;
    assert!(again.is_err(), "a lease that is known is not given twice");
    assert_eq!(share.lay(lease, token("first")).await, Ok(Laid::Kept));
}

#[tokio::test]
async fn an_evicted_counter_never_falls_below_what_was_seen() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    let mut seen = 0;
    for _ in 0..3 {
        let lease = login(&share, beyond(seen)).await;
        share.lay(lease, token("first")).await.unwrap();
        assert!(lease.fence > seen);
        seen = lease.fence;
    }
    let hex = credential("a").hex();
    let _: i64 = ask(&server, redis::cmd("DEL").arg(format!("tokenferry:{{{hex}}}:fence"))).await;
    let stored = login(&share, beyond(seen)).await;
    assert!(stored.fence > seen);
    share.give_back(stored, fault(false), Duration::ZERO).await;
    let _: String = ask(&server, &mut redis::cmd("FLUSHALL")).await;
    assert!(login(&share, beyond(41)).await.fence > 41);
}

#[tokio::test]
async fn a_token_is_gone_from_the_store_when_its_life_is_over() {
    let server = RedisServer::start();
    let share = store(&server).share(credential("a"), LEASE);
    let lease = login(&share, beyond(0)).await;
    share.lay(lease, Carried { left: Duration::from_millis(100), ..token("first") }).await.unwrap();
    sleep(Duration::from_millis(150)).await;
    assert_eq!(share.there().await, Ok(None));
    assert!(!everything(&server).await.contains(":token "));
}

#[tokio::test]
async fn a_password_is_said_and_a_wrong_one_is_away() {
    let server = RedisServer::start_with(Options { password: Some("hunter2".to_owned()), ..Options::default() });
    assert_eq!(store(&server).share(credential("a"), LEASE).there().await, Ok(None));
    let wrong = settings(&server.url().replace("hunter2", "other"));
    let wrong = Store::new(wrong, keys(&[KEY]), Handle::current());
    assert_eq!(wrong.share(credential("a"), LEASE).there().await, Err(Away));
}

#[tokio::test]
async fn by_tls_the_server_is_judged_by_the_private_authority() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.identity(&["localhost"]).write(folder.path(), "server");
    authority.write(&path("ca.pem"));
    stranger.write(&path("stranger.pem"));
    let tls = Some((path("server.crt"), path("server.key")));
    let server = RedisServer::start_with(Options { tls, password: Some("hunter2".to_owned()), ..Options::default() });
    let of = |ca: &Path, url: &str| {
        let ca = CertificateDer::pem_file_iter(ca).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let settings = StoreSettings { ca: Some(Arc::new(ca)), ..settings(url) };
        Store::new(settings, keys(&[KEY]), Handle::current())
    };
    let good = of(&path("ca.pem"), &server.url());
    let share = good.share(credential("a"), LEASE);
    told(&share, Told::Back).await;
    let lease = login(&share, beyond(0)).await;
    assert_eq!(share.lay(lease, token("first")).await, Ok(Laid::Kept));
    let by_address = server.url().replace("localhost", "127.0.0.1");
    for (ca, url) in [("stranger.pem", server.url()), ("ca.pem", by_address)] {
        let share = of(&path(ca), &url).share(credential("a"), LEASE);
        assert_eq!(share.there().await, Err(Away), "{ca} {url}");
    }
}

#[tokio::test]
async fn no_debug_output_shows_a_password() {
    let server = "redis://user:CANARY@127.0.0.1:1/0".into_connection_info();
    let info: ConnectionInfo = server.unwrap();
    let settings = StoreSettings { server: info, ..settings("redis://127.0.0.1:1/0") };
    let shown = format!("{settings:?}");
    let store = Store::new(settings, keys(&[KEY]), Handle::current());
    let shown = format!("{shown}{store:?}{:?}{:?}", store.share(credential("a"), LEASE), keep(&store, "a"));
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[tokio::test]
async fn a_lease_lives_as_long_as_its_holder_and_three_seconds_longer() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let (holder, waiter) = (one.share(credential("a"), LEASE), other.share(credential("a"), LEASE));
    let wanted = beyond(0);
    assert!(matches!(holder.turn(wanted).await, Ok(Turn::Login(_))));
    let waiting = tokio::spawn(async move { waiter.turn(wanted).await });
    sleep(Duration::from_secs(4)).await;
    assert!(!waiting.is_finished(), "a login that takes long loses its lease");
    // As a killed process is silent.
    drop(holder);
    let silent = Instant::now();
    let turn = timeout(PATIENCE, waiting).await.expect("the lease of the dead").unwrap();
    assert!(matches!(turn, Ok(Turn::Login(_))), "{turn:?}");
    assert!(silent.elapsed() < Duration::from_millis(4500), "{:?}", silent.elapsed());
}

#[tokio::test]
async fn two_refresh_tokens_of_one_client_are_kept_apart() {
    let server = RedisServer::start();
    let store = store(&server);
    let client = Kept::key("test", &identity("app", ""));
    let (one, two) = (store.keep(&client, &Secret::new("first a")), store.keep(&client, &Secret::new("first b")));
    one.save(&Secret::new("rotated a")).await.unwrap();
    two.save(&Secret::new("rotated b")).await.unwrap();
    assert_eq!(one.load().await, Ok(Some(Secret::new("rotated a"))));
    assert_eq!(two.load().await, Ok(Some(Secret::new("rotated b"))));
}

#[tokio::test]
async fn what_failed_with_another_secret_says_nothing_of_this_one() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let (wrong, right) = (one.share(credential("a"), LEASE), other.share(credential("a"), LEASE));
    let with = |secret: &str| Wanted { secret: version(secret), ..beyond(0) };
    let lease = login(&wrong, with("wrong")).await;
    wrong.give_back(lease, fault(false), LEASE).await;
    assert!(matches!(wrong.turn(with("wrong")).await, Ok(Turn::Leave(_))));
    assert!(matches!(right.turn(with("right")).await, Ok(Turn::Login(_))));
    let all = everything(&server).await;
    assert!(!all.contains(&version("wrong").hex()), "{all}");
}

#[tokio::test]
async fn whoever_writes_to_the_store_makes_no_token_live_longer() {
    let server = RedisServer::start();
    let store = store(&server);
    let share = store.share(credential("a"), LEASE);
    let lease = login(&share, beyond(0)).await;
    let brief = Carried { life: Duration::from_secs(60), left: Duration::from_secs(60), ..token("brief") };
    share.lay(lease, brief).await.unwrap();
    let place = format!("tokenferry:{{{}}}:token", credential("a").hex());
    ask::<()>(&server, Cmd::new().arg("HSET").arg(&place).arg("life").arg(86_400_000)).await;
    ask::<()>(&server, Cmd::new().arg("PEXPIRE").arg(&place).arg(86_400_000)).await;
    let read = share.there().await.unwrap().unwrap();
    assert!(read.life == Duration::from_secs(60) && read.left <= read.life, "{read:?}");
}

#[tokio::test]
async fn a_store_that_lost_a_refresh_token_gets_the_latest_back() {
    let server = RedisServer::start();
    let store = store(&server);
    keep(&store, "a").save(&Secret::new("second")).await.unwrap();
    let place = ask::<Vec<String>>(&server, Cmd::new().arg("KEYS").arg("*:refresh:*")).await.remove(0);
    let older: Vec<u8> = ask(&server, Cmd::new().arg("GET").arg(&place)).await;
    keep(&store, "a").save(&Secret::new("third")).await.unwrap();
    ask::<()>(&server, Cmd::new().arg("FLUSHALL")).await;
    assert_eq!(keep(&store, "a").load().await, Ok(Some(Secret::new("third"))));
    // Back in the store, for other replicas and a restart.
    let replica = Store::new(settings(&server.url()), keys(&[KEY]), Handle::current());
    assert_eq!(keep(&replica, "a").load().await, Ok(Some(Secret::new("third"))));
    // From an older snapshot, which a process that had the newer one knows.
    ask::<()>(&server, Cmd::new().arg("SET").arg(&place).arg(older)).await;
    assert_eq!(keep(&store, "a").load().await, Ok(Some(Secret::new("third"))));
    // What another replica has is newer.
    keep(&replica, "a").save(&Secret::new("fourth")).await.unwrap();
    assert_eq!(keep(&store, "a").load().await, Ok(Some(Secret::new("fourth"))));
    // Sealed with a key that is not here: no login is made with an older one.
    let stranger = Store::new(settings(&server.url()), keys(&[OTHER_KEY]), Handle::current());
    assert_eq!(keep(&stranger, "a").load().await, Err(Unkept));
}
