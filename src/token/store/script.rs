//! What the store does in one step, as typed calls of the scripts in `lua/`.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{FromRedisValue, Script};

use super::link::{Ask, Link};
use crate::token::{Away, TokenKey};

/// The counter outlives every token (24 h at most) by far.
const FENCE_SECONDS: u64 = 30 * 24 * 3600;
/// A longer life than anybody waits for, which every server still can count.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

macro_rules! scripts {
    ($($name:ident: $file:literal),*) => {
        $(static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!(concat!("lua/", $file))));)*
    };
}

scripts! {
    TURN: "turn.lua", LAY: "lay.lua", GIVE_BACK: "give_back.lua", RESERVE: "reserve.lua", PLACE: "place.lua",
    READ: "read.lua"
}

/// Where one credential's things lie. The braces keep them on one node of a cluster.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) hex: String,
    pub(super) channel: String,
    token: String,
    lease: String,
    fence: String,
    fault: String,
}

/// A token as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    pub(super) fence: u64,
    pub(super) suspect: bool,
    pub(super) of_refusal: bool,
    pub(super) life: Duration,
    pub(super) sealed: Vec<u8>,
    /// When the store answered.
    pub(super) left: Duration,
}

/// A token to be stored.
#[derive(Clone, Debug)]
pub(super) struct Fresh<'a> {
    pub(super) suspect: bool,
    pub(super) of_refusal: bool,
    pub(super) life: Duration,
    pub(super) left: Duration,
    pub(super) sealed: &'a [u8],
}

/// Whose turn it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Stored(Stored),
    Fault(Vec<u8>, Duration),
    /// Another holds the lease, for so long still.
    Busy(Duration),
    Lease(u64),
}

/// A number of one's own, or the token that is better.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Numbered {
    Fence(u64),
    Stored(Stored),
}

impl Place {
    pub(super) fn new(prefix: &str, key: &TokenKey) -> Self {
        let hex = key.hex();
        let at = |what: &str| format!("{prefix}:{{{hex}}}:{what}");
        let (token, lease, fence, fault) = (at("token"), at("lease"), at("fence"), at("fault"));
        Self { channel: channel(prefix), token, lease, fence, fault, hex }
    }

    pub(super) async fn turn(
        &self,
        link: &Link,
        beyond: u64,
        holder: &str,
        life: Duration,
        (over_fault, again): (bool, bool),
    ) -> Result<Asked, Away> {
        let mut script = TURN.prepare_invoke();
        script.key(&self.token).key(&self.lease).key(&self.fence).key(&self.fault);
        script.arg(beyond).arg(holder).arg(milliseconds(life)).arg(u8::from(over_fault)).arg(u8::from(again));
        let answer = Answer::of(link, script.arg(FENCE_SECONDS)).await?;
        Ok(match answer.word() {
            b"stored" => Asked::Stored(answer.stored()),
            b"fault" => Asked::Fault(answer.part(1).to_vec(), Duration::from_millis(answer.number(2))),
            b"lease" => Asked::Lease(answer.number(1)),
            _ => Asked::Busy(Duration::from_millis(answer.number(1))),
        })
    }

    /// Whether it was kept.
    pub(super) async fn lay(&self, link: &Link, fence: u64, holder: &str, token: &Fresh<'_>) -> Result<bool, Away> {
        let mut script = LAY.prepare_invoke();
        script.key(&self.token).key(&self.lease).key(&self.fault);
        script.arg(fence).arg(holder);
        token.write(&mut script);
        Ok(Answer::of(link, script.arg(&self.channel).arg(&self.hex)).await?.word() == b"kept")
    }

    /// Whether the lease was held still.
    pub(super) async fn give_back(
        &self,
        link: &Link,
        fence: u64,
        holder: &str,
        fault: (&[u8], Duration),
        heard: bool,
    ) -> Result<bool, Away> {
        let mut script = GIVE_BACK.prepare_invoke();
        script.key(&self.token).key(&self.lease).key(&self.fault);
        script.arg(fence).arg(holder).arg(fault.0).arg(fault.1.min(LONGEST).as_millis().to_string());
        script.arg(u8::from(heard)).arg(&self.channel).arg(&self.hex);
        Ok(Answer::of(link, &script).await?.word() == b"kept")
    }

    pub(super) async fn reserve(&self, link: &Link, own: u64) -> Result<Numbered, Away> {
        let mut script = RESERVE.prepare_invoke();
        script.key(&self.token).key(&self.fence).arg(own);
        Ok(Answer::of(link, script.arg(FENCE_SECONDS)).await?.numbered())
    }

    pub(super) async fn place(
        &self,
        link: &Link,
        (fence, own): (u64, u64),
        from: &str,
        token: &Fresh<'_>,
    ) -> Result<Numbered, Away> {
        let mut script = PLACE.prepare_invoke();
        script.key(&self.token).key(&self.fault).arg(fence).arg(own);
        token.write(&mut script);
        Ok(Answer::of(link, script.arg(&self.channel).arg(&self.hex).arg(from)).await?.numbered())
    }

    pub(super) async fn read(&self, link: &Link) -> Result<Option<Stored>, Away> {
        let answer = Answer::of(link, READ.prepare_invoke().key(&self.token)).await?;
        Ok((answer.word() == b"stored").then(|| answer.stored()))
    }
}

/// Where processes tell each other.
pub(super) fn channel(prefix: &str) -> String {
    format!("{prefix}:events")
}

impl Fresh<'_> {
    fn write(&self, script: &mut redis::ScriptInvocation<'_>) {
        script.arg(u8::from(self.suspect)).arg(u8::from(self.of_refusal)).arg(milliseconds(self.life));
        script.arg(self.sealed).arg(milliseconds(self.left));
    }
}

/// At least 1: the store takes none that is over.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A script's answer: a word, and what goes with it.
struct Answer(Vec<Vec<u8>>);

impl Answer {
    async fn of(link: &Link, script: &redis::ScriptInvocation<'_>) -> Result<Self, Away> {
        let value = link.ask(Ask::Script(script)).await?;
        Vec::from_redis_value(value).map(Self).map_err(|_| Away)
    }

    fn word(&self) -> &[u8] {
        self.part(0)
    }

    fn part(&self, at: usize) -> &[u8] {
        self.0.get(at).map_or(&[], Vec::as_slice)
    }

    /// 0 for what is none: what somebody else has written there is no token with a number.
    fn number(&self, at: usize) -> u64 {
        std::str::from_utf8(self.part(at)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn stored(&self) -> Stored {
        Stored {
            fence: self.number(1),
            suspect: self.part(2) != b"0",
            of_refusal: self.part(3) == b"1",
            life: Duration::from_millis(self.number(4)),
            sealed: self.part(5).to_vec(),
            left: Duration::from_millis(self.number(6)),
        }
    }

    fn numbered(&self) -> Numbered {
        if self.word() == b"fence" { Numbered::Fence(self.number(1)) } else { Numbered::Stored(self.stored()) }
    }
}
