//! How a request was let in, or what it takes to say so.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;

use super::Rule;
use super::denied::Denied;
use super::shown::KeyPlace;
use super::token::{Bearer, TokenCheck};
use super::user::PasswordCheck;

/// Who somebody is, whole, where a name may be cut and may be another kind's too: by it they are told
/// apart. It is a hash with a secret of this process, so that nobody can choose to be somebody else.
pub type Identity = u64;

/// Makes the [`Identity`] of what is given.
pub(super) fn identity(of: impl Hash) -> Identity {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SECRET.hash_one(of)
}

/// How a request was let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Admitted<'a> {
    /// Who it is, where a rule says so: the name of the key, the user, the token's subject, the
    /// certificate's name; with `+` between them where several do. May be logged.
    pub who: Option<Cow<'a, str>>,
    /// The same to tell them apart by; `None` where no rule says who it is.
    pub identity: Option<Identity>,
    /// Where the key stood that let it in.
    pub key: Option<KeyPlace>,
}

impl<'a> Admitted<'a> {
    /// The same, for as long as one likes.
    pub fn into_owned(self) -> Admitted<'static> {
        Admitted { who: self.who.map(|who| Cow::Owned(who.into_owned())), identity: self.identity, key: self.key }
    }

    /// One more rule holds, which knows who it is by this name.
    pub(super) fn and(&mut self, rule: Rule, name: Option<&'a str>) {
        if let Some(name) = name {
            self.and_owned(Some(Cow::Borrowed(name)), identity((rule, name)));
        }
    }

    /// A token holds, and is of this one.
    pub(super) fn and_bearer(&mut self, bearer: &Bearer) {
        self.and_owned(bearer.who.as_deref().map(|who| Cow::Owned(who.to_owned())), bearer.identity);
    }

    fn and_owned(&mut self, name: Option<Cow<'a, str>>, other: Identity) {
        self.identity = Some(self.identity.map_or(other, |one| identity((one, other))));
        self.who = match (self.who.take(), name) {
            (Some(one), Some(other)) => Some(Cow::Owned(format!("{one}+{other}"))),
            (one, other) => one.or(other),
        };
    }
}

/// What is said of a request at once.
#[derive(Debug)]
pub enum Judgement<'a> {
    /// It comes in.
    Admitted(Admitted<'a>),
    /// That takes a while.
    Pending(Pending<'a>),
}

impl<'a> Judgement<'a> {
    /// The same without waiting: for commands. A password is checked here and now.
    pub fn at_once(self) -> Result<Admitted<'a>, Denied> {
        match self {
            Self::Admitted(admitted) => Ok(admitted),
            Self::Pending(pending) => pending.at_once(),
        }
    }
}

/// The rest of a judgement: everything else holds.
#[derive(Debug)]
pub struct Pending<'a> {
    admitted: Admitted<'a>,
    check: Check<'a>,
}

/// What takes a while.
pub(super) enum Check<'a> {
    Password(PasswordCheck<'a>),
    Token(TokenCheck<'a>),
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Token(_) => "Token",
        })
    }
}

impl<'a> Pending<'a> {
    pub(super) fn new(admitted: Admitted<'a>, check: Check<'a>) -> Self {
        Self { admitted, check }
    }

    /// Waits for it, for a bounded time.
    pub async fn settle(mut self) -> Result<Admitted<'a>, Denied> {
        match self.check {
            Check::Password(check) => self.admitted.and(Rule::User, Some(check.settle().await?)),
            Check::Token(check) => self.admitted.and_bearer(&check.settle().await?),
        }
        Ok(self.admitted)
    }

    fn at_once(mut self) -> Result<Admitted<'a>, Denied> {
        match self.check {
            Check::Password(check) => self.admitted.and(Rule::User, Some(check.at_once()?)),
            Check::Token(check) => return Err(check.at_once()),
        }
        Ok(self.admitted)
    }
}
