//! Passwords as they are kept: argon2 hashes in PHC strings.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::Error as Fault;
use argon2::{Argon2, Params, PasswordVerifier as _};

/// Memory that one check may take, in KiB: several run at once.
const MOST_MEMORY: u32 = 256 << 10;
/// Passes over the memory: with the most of it, a check of some seconds.
const MOST_PASSES: u32 = 16;
/// Lanes are computed one after the other: more of them help only who guesses with more cores.
const MOST_LANES: u32 = 16;

/// Less is cheap to guess at (OWASP, Password Storage: 7 MiB and 5 passes, or 19 MiB and 2).
const LEAST_MEMORY: u32 = 7 << 10;
const LEAST_COST: u64 = 5 * LEAST_MEMORY as u64;

/// A password's argon2 hash, with its salt and what it costs.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<Hash>);

#[derive(PartialEq, Eq)]
struct Hash {
    read: argon2::PasswordHash,
    cost: u64,
    weakness: Option<&'static str>,
}

/// Why a text was not taken for a password's hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordHashError {
    /// A password as it is, most likely.
    #[error("is no hash of a password")]
    Plain,
    /// bcrypt, crypt(3), `{SHA}` and the like.
    #[error("is a hash of another kind than argon2")]
    Kind,
    /// It begins as one, and cannot be read.
    #[error("is no sound argon2 hash")]
    Broken,
    /// More than a check may take.
    #[error("asks for more than 256 MiB of memory, 16 passes or 16 lanes")]
    Costly,
}

/// A check that was not made: no memory for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no memory for the check of a password")]
pub struct Unchecked;

impl PasswordHash {
    /// Reads a PHC string, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`; argon2i and argon2d too.
    pub fn parse(text: &str) -> Result<Self, PasswordHashError> {
        if !text.starts_with('$') && !text.starts_with('{') {
            return Err(PasswordHashError::Plain);
        }
        if !["$argon2id$", "$argon2i$", "$argon2d$"].iter().any(|kind| text.starts_with(kind)) {
            return Err(PasswordHashError::Kind);
        }
        let read = argon2::PasswordHash::new(text).map_err(|_| PasswordHashError::Broken)?;
        let params = Params::try_from(&read).map_err(|_| PasswordHashError::Broken)?;
        let known_version = read.version.is_none_or(|version| argon2::Version::try_from(version).is_ok());
        if read.salt.is_none() || read.hash.is_none() || !known_version {
            return Err(PasswordHashError::Broken);
        }
        let (memory, passes) = (params.m_cost(), params.t_cost());
        if memory > MOST_MEMORY || passes > MOST_PASSES || params.p_cost() > MOST_LANES {
            return Err(PasswordHashError::Costly);
        }
        let cost = u64::from(memory) * u64::from(passes);
        let weakness = if !text.starts_with("$argon2id$") {
            Some("is not of argon2id, the kind that withstands most")
        } else if memory < LEAST_MEMORY || cost < LEAST_COST {
            Some("is cheap to guess at: it takes too little memory, or too few passes")
        } else {
            None
        };
        Ok(Self(Arc::new(Hash { read, cost, weakness })))
    }

    /// Whether this is the password. Takes as long as the hash says: milliseconds, and memory.
    pub fn is_of(&self, password: &[u8]) -> Result<bool, Unchecked> {
        match Argon2::default().verify_password(password, &self.0.read) {
            Ok(()) => Ok(true),
            Err(Fault::OutOfMemory) => Err(Unchecked),
            Err(_) => Ok(false),
        }
    }

    /// How costly a check is, to compare it with others.
    pub fn cost(&self) -> u64 {
        self.0.cost
    }

    /// Why it is weaker than it should be, where it is.
    pub fn weakness(&self) -> Option<&'static str> {
        self.0.weakness
    }

    /// What tells it from every other: salt and hash.
    pub fn identity(&self) -> impl Iterator<Item = &[u8]> {
        let Hash { read, .. } = &*self.0;
        read.salt.iter().map(AsRef::as_ref).chain(read.hash.iter().map(argon2::password_hash::phc::Output::as_bytes))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // "hunter2", with the least that argon2 takes.
    fn hash(algorithm: argon2::Algorithm) -> String {
        use argon2::PasswordHasher as _;
        let params = Params::new(8, 1, 1, None).unwrap();
        Argon2::new(algorithm, argon2::Version::V0x13, params).hash_password(b"hunter2").unwrap().to_string()
    }

    #[test]
    fn every_kind_of_argon2_is_read_and_knows_its_password_alone() {
        use argon2::Algorithm::{Argon2d, Argon2i, Argon2id};
        for kind in [Argon2d, Argon2i, Argon2id] {
            let hash = PasswordHash::parse(&hash(kind)).unwrap();
            assert_eq!(hash.is_of(b"hunter2"), Ok(true));
            for wrong in [&b"hunter3"[..], b"", b"hunter2 "] {
                assert_eq!(hash.is_of(wrong), Ok(false));
            }
            assert_eq!((format!("{hash:?}").as_str(), hash.identity().count()), ("***", 2));
        }
    }

    #[test]
    fn what_is_no_argon2_hash_or_costs_too_much_is_refused() {
        let sound = hash(argon2::Algorithm::Argon2id);
        for (text, error) in [
            ("hunter2", PasswordHashError::Plain),
            ("", PasswordHashError::Plain),
            ("$2b$12$eImiTXuWVxfM37uY4JANjQ==", PasswordHashError::Kind),
            ("$6$salt$hash", PasswordHashError::Kind),
            ("$apr1$salt$hash", PasswordHashError::Kind),
            ("{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", PasswordHashError::Kind),
            ("$argon2id$", PasswordHashError::Broken),
            ("$argon2id$v=19$m=8,t=1,p=1", PasswordHashError::Broken),
            ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ", PasswordHashError::Broken),
            (&sound.replace("v=19", "v=20"), PasswordHashError::Broken),
            (&sound.replace("m=8,", "m=1,"), PasswordHashError::Broken),
            (&sound.replace("m=8,", "m=262145,"), PasswordHashError::Costly),
            (&sound.replace("t=1,", "t=17,"), PasswordHashError::Costly),
            (&sound.replace("m=8,t=1,p=1", "m=136,t=1,p=17"), PasswordHashError::Costly),
        ] {
            assert_eq!(PasswordHash::parse(text).err(), Some(error), "{text}");
        }
        assert!(PasswordHash::parse(&sound.replace("m=8,t=1,", "m=262144,t=16,")).is_ok());
    }
}
