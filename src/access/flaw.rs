//! What is wrong with a token.

use jsonwebtoken::Algorithm;

/// What is wrong with a token: for the log and for `explain`. It repeats nothing of the token but times
/// and what its head says, nor the values that the configuration asks for, which may have come from a reference.
/// The client is told nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Flaw {
    /// There is none.
    #[error("no token is presented as Authorization: Bearer")]
    Absent,
    /// There may be two.
    #[error("there is more than one Authorization")]
    Doubled,
    /// Too long to be looked at.
    #[error("it is longer than 16 KiB")]
    Long,
    /// Its head cannot be read, or names no algorithm that there is.
    #[error("it is no JWT, or its alg is none that is known")]
    Form,
    /// `crit` of RFC 7515 section 4.1.11.
    #[error("its head has crit, of which nothing is understood")]
    Critical,
    /// Not one of `algorithms`.
    #[error("its alg {0:?} is not taken")]
    Algorithm(Algorithm),
    /// The issuer has no key of this name, as it may be logged.
    #[error("the issuer has no key with its kid `{0}`")]
    UnknownKey(String),
    /// No key says by its name that it is meant, and none fits.
    #[error("none of the issuer's keys made its {0:?} signature")]
    NoKey(Algorithm),
    /// Not made by the key that it names.
    #[error("its {0:?} signature is not by the key with its kid `{1}`")]
    Signature(Algorithm, String),
    /// So many seconds ago.
    #[error("it expired {0} s ago")]
    Expired(u64),
    /// In so many seconds.
    #[error("its nbf is {0} s ahead")]
    Early(u64),
    /// A time that is not there or is none.
    #[error("its {0} is missing or is no time")]
    Time(&'static str),
    /// Not `issuer`.
    #[error("its iss is not `issuer`")]
    Issuer,
    /// None of `audience`.
    #[error("its aud is not of `audience`")]
    Audience,
    /// A claim of `claims`.
    #[error("it lacks the claim {0}")]
    Missing(String),
    /// The same, where it has another value.
    #[error("its {0} is not what `claims` asks for")]
    Claim(String),
}

impl Flaw {
    /// Whether a token was presented at all.
    pub fn is_of_a_token(&self) -> bool {
        *self != Self::Absent
    }

    /// Whether it may hold by a key that the issuer has had since.
    pub(super) fn may_be_the_keys(&self) -> bool {
        matches!(self, Self::UnknownKey(_) | Self::NoKey(_))
    }
}
