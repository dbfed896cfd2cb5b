//! Three replicas that share an exclusive token through a real Redis, under load: nobody notices that
//! it changes every two seconds, that a replica dies in the middle of a login, or, but for the
//! exclusive credential, that Redis is gone. Longer in `make soak`.

use std::time::{Duration, Instant};

use tokenferry::demo::{OAuth2, Simulator};

use crate::harness::client::{get, token_number};
use crate::harness::mix::{Clients, Mix, Sum};
use crate::harness::process::{Process, holds_connection_to};
use crate::harness::redis::RedisServer;
use crate::harness::vendors::{config, crewmojo, partner, route, simulate};
use crate::harness::{eventually, eventually_within};
use crate::rotation::{seconds, tell, vendor, watch};

const MIX: Mix = Mix { reads: 4, uploads: 2, late_answers: 1, late: Duration::from_secs(3), slow_uploads: 1 };

/// Replicas with an exclusive credential and one that is not; both vendors' tokens live two seconds.
struct House {
    vendor: Simulator,
    other: Simulator,
    redis: RedisServer,
    replicas: Vec<Process>,
}

impl House {
    async fn new(count: usize) -> Self {
        let (vendor, other) = (vendor().await, simulate(OAuth2::default()).await);
        other.adjust(|options| options.lifetime = Some(Duration::from_secs(2)));
        let mut house = Self { vendor, other, redis: RedisServer::start(), replicas: Vec::new() };
        house.replicas = (0..count).map(|_| house.replica()).collect();
        house
    }

    fn replica(&self) -> Process {
        let (vendor, other) = (&self.vendor, &self.other);
        let yaml = config(
            &[crewmojo(vendor.login_origin(), ", timeout: 1s"), partner(other.origin(), "")],
            &[
                route("crewmojo", &format!("{}/v1", vendor.origin()), "crewmojo", ""),
                route("partner", &format!("{}/api", other.origin()), "partner", ""),
            ],
        );
        let store = format!(
            "store: {{kind: redis, url: \"{}\", encryption_key: q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=}}\n",
            self.redis.url()
        );
        Process::start(&format!("{store}{yaml}"), &[])
    }

    /// Clients of each replica, of this route.
    fn clients(&self, mix: Mix, target: &'static str) -> Vec<Clients> {
        let addresses: Vec<_> = self.replicas.iter().map(|replica| replica.address).collect();
        addresses.into_iter().map(|address| mix.start(target, move |_, _| address)).collect()
    }
}

async fn sum(clients: Vec<Clients>) -> Sum {
    let mut all = Sum::default();
    for clients in clients {
        all.add(clients.stop().await);
    }
    all
}

#[tokio::test]
async fn nobody_notices_that_the_shared_token_changes_every_two_seconds() {
    let house = House::new(3).await;
    let clients = house.clients(MIX, "/crewmojo/humans");
    let rotations = watch(&house.vendor, seconds()).await;
    let sum = sum(clients).await;
    tell("three replicas", &sum, &rotations, &house.vendor);
    sum.assert_all_served(300);
    // One login for all of them, at each change.
    let logins = house.vendor.token_requests();
    assert!(logins <= seconds() + 2, "{logins} logins in {} s", seconds());
}

#[tokio::test]
async fn nobody_else_notices_that_a_replica_is_killed_in_the_middle_of_a_login() {
    let mut house = House::new(3).await;
    let kills = (seconds() / 10).clamp(1, 6);
    let mut all = Sum::default();
    for _ in 0..kills {
        let mut clients = house.clients(Mix { late_answers: 0, ..MIX }, "/crewmojo/humans");
        // Long enough to be caught in the middle of.
        let before = house.vendor.token_requests();
        house.vendor.adjust(|options| options.token_delay = Duration::from_millis(300));
        eventually("a login is under way", || house.vendor.token_requests() > before).await;
        let port = house.vendor.login_origin().rsplit(':').next().unwrap().parse().unwrap();
        let holder = house.replicas.iter().position(|replica| holds_connection_to(replica.pid(), port));
        let holder = holder.expect("a login that nobody makes");
        drop(house.replicas.remove(holder));
        house.vendor.adjust(|options| options.token_delay = Duration::ZERO);
        // Its clients would be the balancer's to send elsewhere.
        drop(clients.remove(holder));
        let after = house.vendor.tokens_issued();
        eventually("the others log in once its lease is over", || house.vendor.tokens_issued() > after + 1).await;
        all.add(sum(clients).await);
        house.replicas.push(house.replica());
    }
    tell(&format!("{kills} replicas killed in the middle of a login"), &all, &[], &house.vendor);
    all.assert_all_served(50);
}

#[tokio::test]
async fn without_redis_only_the_exclusive_credential_suffers_and_all_converge_when_it_is_back() {
    let mut house = House::new(3).await;
    let quick = Mix { late_answers: 0, slow_uploads: 0, ..MIX };
    let exclusive = house.clients(quick, "/crewmojo/humans");
    let others = house.clients(Mix { reads: 2, uploads: 0, ..quick }, "/partner/data");
    eventually("the load is on", || house.vendor.data_requests() > 100 && house.other.data_requests() > 100).await;
    house.redis.kill();
    tokio::time::sleep(Duration::from_secs(seconds().clamp(6, 30))).await;
    let back = Instant::now();
    house.redis.start_again();
    // One token for all: each answers with the one that the others answer with, three times in a row.
    let mut agreed = 0;
    while agreed < 3 {
        let mut numbers = Vec::new();
        for replica in &house.replicas {
            numbers.push(token_number(&get(replica.address, "/crewmojo/a").await));
        }
        let newest = Some(house.vendor.tokens_issued());
        agreed = if numbers.iter().all(|number| *number == newest) { agreed + 1 } else { 0 };
        assert!(back.elapsed() < Duration::from_secs(10), "no common token: {numbers:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let converged = back.elapsed();
    let refused = house.vendor.refused();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused_after = house.vendor.refused() - refused;
    let (exclusive, others) = (sum(exclusive).await, sum(others).await);
    tell("without Redis, exclusive", &exclusive, &[], &house.vendor);
    tell("without Redis, not exclusive", &others, &[], &house.other);
    println!("one token {:.1} s after the return of Redis", converged.as_secs_f64());
    others.assert_all_served(100);
    let (failed, all) = (exclusive.failed(), exclusive.all());
    assert!(failed <= all / 20, "{failed} of {all} failed: {:?} {:?}", exclusive.statuses, exclusive.first_failure);
    assert!(exclusive.statuses.keys().all(|status| matches!(status, 200 | 503)), "{:?}", exclusive.statuses);
    assert!(refused_after <= 10, "{refused_after} refused although all share one token again");
    eventually_within(Duration::from_secs(10), "the log tells that the store is back", || {
        house.replicas.iter().all(|replica| replica.log().contains("the store is back"))
    })
    .await;
}
