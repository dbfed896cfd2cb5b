//! The scripts on a real server do what the model says: random sequences, every answer and every
//! message compared.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use redis::{Cmd, IntoConnectionInfo, PushInfo, PushKind, Value};
use tokio::runtime::{Builder, Handle};

use super::board::{self, Board, Tell};
use super::event::{Event, Kind};
use super::link::{Ask, Link};
use super::redis_server::RedisServer;
use super::script::{self, Fresh, Place};
use super::server::Server;
use crate::token::TokenKey;
use crate::vendor::Identity;

/// Long enough that nothing runs out by itself: what does, is said so.
const LONG: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
enum Step {
    Turn { beyond: u64, holder: usize, over_fault: bool, again: bool },
    Lay { fence: u64, holder: usize, suspect: bool, body: u8 },
    GiveBack { fence: u64, holder: usize, pause: bool, heard: bool },
    Reserve { own: u64 },
    Place { fence: u64, own: u64, suspect: bool, body: u8 },
    Read,
    Expire(&'static str),
}

/// Numbers stay small, so that they meet.
fn step() -> impl Strategy<Value = Step> {
    let (fence, holder) = (0..8u64, 0..3usize);
    prop_oneof![
        4 => (fence.clone(), holder.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(beyond, holder, over_fault, again)| Step::Turn { beyond, holder, over_fault, again }),
        4 => (1..8u64, holder.clone(), any::<bool>(), 0..3u8)
            .prop_map(|(fence, holder, suspect, body)| Step::Lay { fence, holder, suspect, body }),
        2 => (1..8u64, holder, any::<bool>(), any::<bool>())
            .prop_map(|(fence, holder, pause, heard)| Step::GiveBack { fence, holder, pause, heard }),
        2 => fence.clone().prop_map(|own| Step::Reserve { own }),
        2 => (1..8u64, fence, any::<bool>(), 0..3u8)
            .prop_map(|(fence, own, suspect, body)| Step::Place { fence, own, suspect, body }),
        1 => Just(Step::Read),
        2 => prop::sample::select(vec!["token", "lease", "fence", "fault"]).prop_map(Step::Expire),
    ]
}

/// A step's answer in words that both sides have.
#[derive(PartialEq, Debug)]
enum Said {
    Token(u64, bool, u8),
    Fence(u64),
    Kept(bool),
    Word(&'static str),
}

/// As the model does it.
fn on_board(board: &mut Board<u8, ()>, step: &Step) -> (Said, Vec<Tell>) {
    let token = |stored: board::Stored<u8>| Said::Token(stored.fence, stored.suspect, stored.body);
    let numbered = |numbered| match numbered {
        board::Numbered::Fence(fence) => Said::Fence(fence),
        board::Numbered::Stored(stored) => token(stored),
    };
    match *step {
        Step::Turn { beyond, holder, over_fault, again } => {
            let said = match board.turn(beyond, holder, over_fault, again) {
                board::Asked::Stored(stored) => token(stored),
                board::Asked::Fault(()) => Said::Word("fault"),
                board::Asked::Busy => Said::Word("busy"),
                board::Asked::Lease(fence) => Said::Fence(fence),
            };
            (said, Vec::new())
        }
        Step::Lay { fence, holder, suspect, body } => {
            let (kept, told) = board.lay(fence, holder, suspect, body);
            (Said::Kept(kept), told)
        }
        Step::GiveBack { fence, holder, pause, heard } => {
            let (kept, told) = board.give_back(fence, holder, pause.then_some(()), heard);
            (Said::Kept(kept), told)
        }
        Step::Reserve { own } => (numbered(board.reserve(own)), Vec::new()),
        Step::Place { fence, own, suspect, body } => {
            let (answer, told) = board.place(fence, own, suspect, body);
            (numbered(answer), told)
        }
        Step::Read => (board.token.map_or(Said::Word("none"), token), Vec::new()),
        Step::Expire(what) => {
            match what {
                "token" => board.token = None,
                "lease" => board.expire_lease(),
                "fence" => board.counter = 0,
                _ => board.fault = None,
            }
            (Said::Word("over"), Vec::new())
        }
    }
}

/// As the scripts do it.
async fn on_server(link: &Link, place: &Place, step: &Step) -> Said {
    let token = |stored: script::Stored| {
        assert!(stored.left > LONG / 2 && stored.left <= LONG && stored.life == LONG && !stored.of_refusal);
        Said::Token(stored.fence, stored.suspect, stored.sealed[0])
    };
    let numbered = |numbered| match numbered {
        script::Numbered::Fence(fence) => Said::Fence(fence),
        script::Numbered::Stored(stored) => token(stored),
    };
    let fresh = |suspect, body| Fresh { suspect, of_refusal: false, life: LONG, left: LONG, sealed: body };
    match *step {
        Step::Turn { beyond, holder, over_fault, again } => {
            match place.turn(link, beyond, &holder.to_string(), LONG, (over_fault, again)).await.unwrap() {
                script::Asked::Stored(stored) => token(stored),
                script::Asked::Fault(text, pause) => {
                    assert!(text == b"why" && pause > LONG / 2);
                    Said::Word("fault")
                }
                script::Asked::Busy(left) => {
                    assert!(left > LONG / 2 && left <= LONG);
                    Said::Word("busy")
                }
                script::Asked::Lease(fence) => Said::Fence(fence),
            }
        }
        Step::Lay { fence, holder, suspect, body } => {
            Said::Kept(place.lay(link, fence, &holder.to_string(), &fresh(suspect, &[body])).await.unwrap())
        }
        Step::GiveBack { fence, holder, pause, heard } => {
            let pause = if pause { LONG } else { Duration::ZERO };
            Said::Kept(place.give_back(link, fence, &holder.to_string(), (b"why", pause), heard).await.unwrap())
        }
        Step::Reserve { own } => numbered(place.reserve(link, own).await.unwrap()),
        Step::Place { fence, own, suspect, body } => {
            numbered(place.place(link, (fence, own), "9", &fresh(suspect, &[body])).await.unwrap())
        }
        Step::Read => place.read(link).await.unwrap().map_or(Said::Word("none"), token),
        Step::Expire(what) => {
            let mut del = redis::cmd("DEL");
            link.ask(Ask::Command(del.arg(format!("conformance:{{{}}}:{what}", place.hex)))).await.unwrap();
            Said::Word("over")
        }
    }
}

/// A link to a server, and all that is told there.
struct Bench {
    link: Link,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Bench {
    async fn new(server: &RedisServer) -> Self {
        let address = Arc::new(Server::new(server.url().into_connection_info().unwrap(), None));
        let told: Arc<Mutex<Vec<Event>>> = Arc::default();
        let inbox = Arc::clone(&told);
        let heard = move |push: PushInfo| -> Result<(), ()> {
            if let (PushKind::Message, Some(Value::BulkString(payload))) = (&push.kind, push.data.get(1)) {
                inbox.lock().unwrap().push(Event::read(payload).unwrap());
            }
            Ok(())
        };
        let (mut connection, driver) = address.connect(Some(heard)).await.unwrap();
        tokio::spawn(driver);
        connection.subscribe(script::channel("conformance").as_str()).await.unwrap();
        tokio::spawn(async move {
            // The connection lasts as long as somebody has it.
            let _connection = connection;
            std::future::pending::<()>().await;
        });
        Self { link: Link::new(address, Duration::from_secs(10), Handle::current()), told }
    }

    /// All that was told since the last time: a mark behind it comes in last.
    async fn told(&self) -> Vec<(Kind, u64)> {
        let mark = Event { key: String::new(), kind: Kind::Confirm, fence: 0, from: String::new(), ms: 0 };
        let publish = Cmd::publish(script::channel("conformance"), mark.text());
        self.link.ask(Ask::Command(&publish)).await.unwrap();
        loop {
            {
                let mut told = self.told.lock().unwrap();
                if told.last() == Some(&mark) {
                    told.pop();
                    return told.drain(..).map(|event| (event.kind, event.fence)).collect();
                }
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
}

#[test]
fn the_scripts_on_a_real_server_do_what_the_model_says() {
    let server = RedisServer::start();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new(&server));
    let case = std::sync::atomic::AtomicU32::new(0);
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..40), |steps| {
        let number = case.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let identity = Identity { parts: vec![("case", number)], secrets: Vec::new() };
        let place = Place::new("conformance", &TokenKey::of("test", &identity));
        runtime.block_on(async {
            let (mut board, mut expected) = (Board::default(), Vec::new());
            for (at, step) in steps.iter().enumerate() {
                let (said, told) = on_board(&mut board, step);
                prop_assert_eq!(on_server(&bench.link, &place, step).await, said, "step {}: {:?}", at, step);
                expected.extend(told.into_iter().map(|tell| match tell {
                    Tell::Token(fence) => (Kind::Token, fence),
                    Tell::Release(fence) => (Kind::Release, fence),
                }));
            }
            prop_assert_eq!(bench.told().await, expected);
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
