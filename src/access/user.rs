//! Users who log in by Basic (RFC 7617).

use zeroize::Zeroizing;

use super::denied::Denied;
use super::passwords::Passwords;
use super::seen::Mark;
use crate::model::{BasicUser, PasswordHash};
use std::sync::Arc;

/// What came of a look at a user and their password.
pub(super) enum Judged<'a> {
    /// Who it is: the password was found right before.
    Known(&'a str),
    /// Their password has to be checked.
    Asked(PasswordCheck<'a>),
}

/// A check that is to be made.
pub(super) struct PasswordCheck<'a> {
    passwords: &'a Arc<Passwords>,
    /// `None` for someone unknown, who is let wait as long as the others.
    user: Option<&'a str>,
    hash: &'a PasswordHash,
    password: Zeroizing<Vec<u8>>,
    mark: Mark,
}

/// Looks for who presents this.
pub(super) fn judge<'a>(
    users: &'a [BasicUser],
    passwords: &'a Arc<Passwords>,
    pair: &[u8],
) -> Result<Judged<'a>, Denied> {
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(Denied::User)?;
    let (name, password) = pair.split_at_checked(colon).ok_or(Denied::User)?;
    let password = password.get(1..).unwrap_or_default();
    let user = users.iter().find(|user| user.name.as_bytes() == name);
    // Whether there is such a user is not to be told by how long it takes.
    let stand_in = || users.iter().max_by_key(|user| user.password.cost());
    let judged_by = user.or_else(stand_in).ok_or(Denied::User)?;
    let mut mark = passwords.mark(&judged_by.password, password);
    match user {
        Some(user) if passwords.is_known(&mark) => return Ok(Judged::Known(&user.name)),
        Some(_) => {}
        // Nobody waits for another one's check, nor is it remembered as theirs.
        None => mark.reverse(),
    }
    Ok(Judged::Asked(PasswordCheck {
        passwords,
        user: user.map(|user| user.name.as_str()),
        hash: &judged_by.password,
        password: Zeroizing::new(password.to_vec()),
        mark,
    }))
}

impl<'a> PasswordCheck<'a> {
    /// Waits for it.
    pub(super) async fn settle(self) -> Result<&'a str, Denied> {
        let keeps = self.user.is_some();
        let is_right = self.passwords.check(self.mark, self.hash, self.password, keeps).await?;
        self.user.filter(|_| is_right).ok_or(Denied::User)
    }

    /// Makes it here and now.
    pub(super) fn at_once(self) -> Result<&'a str, Denied> {
        let is_right = self.hash.is_of(&self.password).map_err(|_| Denied::Crowded)?;
        self.user.filter(|_| is_right).ok_or(Denied::User)
    }
}
