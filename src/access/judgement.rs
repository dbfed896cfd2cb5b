//! How a request was let in, or what it takes to say so.

use std::borrow::Cow;

use super::denied::Denied;
use super::token::TokenCheck;
use super::user::PasswordCheck;

/// How a request was let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted<'a> {
    /// Who it is, where a rule says so: the name of the key, the user, the token's subject, the
    /// certificate's name; with `+` between them where several do. May be logged.
    pub who: Option<Cow<'a, str>>,
}

impl<'a> Admitted<'a> {
    /// One more rule holds, which knows who it is by this name.
    pub(super) fn and(&mut self, name: Option<&'a str>) {
        self.and_owned(name.map(Cow::Borrowed));
    }

    /// The same, of a name that may be made for it.
    pub(super) fn and_owned(&mut self, name: Option<Cow<'a, str>>) {
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
        let who = match self.check {
            Check::Password(check) => Some(Cow::Borrowed(check.settle().await?)),
            Check::Token(check) => check.settle().await?,
        };
        self.admitted.and_owned(who);
        Ok(self.admitted)
    }

    fn at_once(mut self) -> Result<Admitted<'a>, Denied> {
        match self.check {
            Check::Password(check) => self.admitted.and_owned(Some(Cow::Borrowed(check.at_once()?))),
            // Nobody is asked for newer keys.
            Check::Token(_) => return Err(Denied::Token { presented: true }),
        }
        Ok(self.admitted)
    }
}
