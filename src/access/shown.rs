//! What a request shows of what can be guessed, read once.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::key::X_API_KEY;
use super::presented::{pair_in, presented_in};
use super::{is_doubled, single};

/// Where a key may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyPlace {
    /// `Authorization: Bearer`, or Basic's password.
    Authorization,
    /// `X-Api-Key`.
    Own,
    /// `client_secret` of a login's body.
    Body,
}

impl KeyPlace {
    /// All, in the order in which they are looked at.
    pub const ALL: [Self; 3] = [Self::Authorization, Self::Own, Self::Body];
}

/// Keys, and a user's name with a password; each only where its route asks for it. Has no `Debug`.
#[derive(Default)]
pub struct Shown<'h> {
    takes_key: bool,
    takes_body: bool,
    authorization: Option<Zeroizing<Vec<u8>>>,
    own: Option<&'h [u8]>,
    body: Option<&'h [u8]>,
    user: Option<Zeroizing<Vec<u8>>>,
}

impl<'h> Shown<'h> {
    /// Reads it. A place that is written twice is not guessed at.
    pub(super) fn read(headers: &'h HeaderMap, takes_key: bool, takes_user: bool, claims: bool) -> Self {
        let mut shown = Self { takes_key, takes_body: takes_key && !claims, ..Self::default() };
        if takes_key && !is_doubled(headers, &AUTHORIZATION) && !is_doubled(headers, &X_API_KEY) {
            shown.authorization = headers.get(AUTHORIZATION).filter(|_| !claims).and_then(presented_in);
            shown.own = headers.get(&X_API_KEY).map(HeaderValue::as_bytes);
        }
        if takes_user {
            shown.user = single(headers, &AUTHORIZATION).and_then(pair_in);
        }
        shown
    }

    /// With this `client_secret` of a login's body. It is no key where more is asked for than a key: a
    /// login then presents it as every other request does.
    #[must_use]
    pub fn in_body(mut self, secret: Option<&'h [u8]>) -> Self {
        self.body = secret.filter(|_| self.takes_body);
        self
    }

    /// Whether there is nothing that could be right.
    pub fn is_nothing(&self) -> bool {
        self.user.is_none() && self.key_places().next().is_none()
    }

    /// What stands there.
    pub fn key(&self, place: KeyPlace) -> Option<&[u8]> {
        let key = match place {
            KeyPlace::Authorization => self.authorization.as_ref().map(|key| key.as_slice()),
            KeyPlace::Own => self.own,
            KeyPlace::Body => self.body,
        };
        // An empty key is one that was not given.
        key.filter(|key| !key.is_empty())
    }

    /// Name, colon and password.
    pub(super) fn user(&self) -> Option<&[u8]> {
        self.user.as_ref().map(|pair| pair.as_slice())
    }

    /// Everything that would have to be right to let in by the key at this place: to make a
    /// fingerprint of, and nothing else. How it was written does not matter.
    pub fn proof(&self, place: Option<KeyPlace>) -> (Option<&[u8]>, Option<&[u8]>) {
        (place.and_then(|place| self.key(place)), self.user())
    }

    /// Where there is a key; `None` alone where none is asked for.
    pub fn places(&self) -> impl Iterator<Item = Option<KeyPlace>> {
        let user_alone = (!self.takes_key).then_some(None);
        self.key_places().map(Some).chain(user_alone)
    }

    fn key_places(&self) -> impl Iterator<Item = KeyPlace> {
        KeyPlace::ALL.into_iter().filter(|place| self.key(*place).is_some())
    }
}
