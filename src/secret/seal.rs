//! Sealing what is kept outside this process: AES-256-GCM (NIST SP 800-38D), several keys so that
//! they can be rotated.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::Secret;

/// The length of a key, in bytes.
const KEY_LENGTH: usize = 32;
/// What a sealed text begins with: another form would get another number.
const VERSION: u8 = 1;
/// Bytes of a key's digest that tell which key sealed.
const MARK_LENGTH: usize = 4;

/// Why a key is none. Holds nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealKeyError {
    /// No base64 (RFC 4648 section 4).
    #[error("is not base64")]
    Base64,
    /// Another length than 32 bytes.
    #[error("must be 32 bytes in base64, and is {0} bytes")]
    Length(usize),
    /// No key at all.
    #[error("there is no key")]
    None,
}

/// Why a text does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsealed {
    /// None of the keys sealed it.
    #[error("it was sealed with a key that is not in the configuration")]
    Key,
    /// It was changed, cut, or belongs elsewhere.
    #[error("it was not sealed for this, or was damaged")]
    Damaged,
}

/// Keys that seal and open: the first seals, all open.
pub struct SealKeys(Vec<SealKey>);

struct SealKey {
    mark: [u8; MARK_LENGTH],
    key: LessSafeKey,
}

impl SealKeys {
    /// Keys of 32 bytes, each in base64. An error names the place of the key that is none.
    pub fn new(keys: &[Secret]) -> Result<Self, (usize, SealKeyError)> {
        let parsed = keys.iter().enumerate().map(|(place, key)| SealKey::new(key).map_err(|error| (place, error)));
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        if parsed.is_empty() { Err((0, SealKeyError::None)) } else { Ok(Self(parsed)) }
    }

    /// Seals a text. Only whoever names the same `purpose` can open it: a sealed token that was moved
    /// to another credential's place is no token there. `None` where the system has no randomness.
    pub fn seal(&self, purpose: &str, text: &[u8]) -> Option<Vec<u8>> {
        let SealKey { mark, key } = self.0.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut body = text.to_vec();
        let sealed =
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut body);
        if sealed.is_err() {
            body.zeroize();
            return None;
        }
        Some([&[VERSION][..], &mark[..], &nonce[..], &body[..]].concat())
    }

    /// Opens what was sealed for the same `purpose` with any of the keys.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealed> {
        let (version, rest) = sealed.split_first().ok_or(Unsealed::Damaged)?;
        if *version != VERSION {
            return Err(Unsealed::Damaged);
        }
        let (mark, rest) = rest.split_at_checked(MARK_LENGTH).ok_or(Unsealed::Damaged)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Unsealed::Damaged)?;
        let mut known = self.0.iter().filter(|key| key.mark == mark).peekable();
        if known.peek().is_none() {
            return Err(Unsealed::Key);
        }
        for key in known {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealed::Damaged)?;
            let mut body = Zeroizing::new(body.to_vec());
            let opened = key.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut body).map(|text| text.len());
            if let Ok(length) = opened {
                body.truncate(length);
                return Ok(body);
            }
        }
        Err(Unsealed::Damaged)
    }
}

impl SealKey {
    fn new(text: &Secret) -> Result<Self, SealKeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.expose().trim()).map_err(|_| SealKeyError::Base64)?);
        if bytes.len() != KEY_LENGTH {
            return Err(SealKeyError::Length(bytes.len()));
        }
        let mut mark = [0; MARK_LENGTH];
        let digest = Sha256::new_with_prefix("tokenferry seal key").chain_update(bytes.as_slice()).finalize();
        mark.iter_mut().zip(digest).for_each(|(mark, byte)| *mark = byte);
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealKeyError::Length(bytes.len()))?;
        Ok(Self { mark, key: LessSafeKey::new(key) })
    }
}

/// Nothing of the keys.
impl std::fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret {
        Secret::new(STANDARD.encode([byte; 32]))
    }

    fn keys(bytes: &[u8]) -> SealKeys {
        SealKeys::new(&bytes.iter().map(|byte| key(*byte)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_any_of_the_keys_and_only_for_its_purpose() {
        let sealed = keys(&[1]).seal("a", b"token").unwrap();
        assert_eq!(keys(&[2, 1]).open("a", &sealed).unwrap().as_slice(), b"token");
        assert_eq!(keys(&[1]).open("b", &sealed), Err(Unsealed::Damaged));
        assert_eq!(keys(&[2]).open("a", &sealed), Err(Unsealed::Key));
    }

    #[test]
    fn the_first_key_seals_and_no_text_is_sealed_alike_twice() {
        let sealed = keys(&[1, 2]).seal("a", b"token").unwrap();
        assert_eq!(keys(&[2]).open("a", &sealed), Err(Unsealed::Key));
        assert_ne!(keys(&[1, 2]).seal("a", b"token").unwrap(), sealed);
        assert!(!sealed.windows(5).any(|part| part == b"token"));
    }

    #[test]
    fn a_sealed_text_that_was_changed_anywhere_does_not_open() {
        let keys = keys(&[1]);
        let sealed = keys.seal("a", b"token").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(keys.open("a", &changed).is_err(), "byte {place}");
            assert!(keys.open("a", &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_told_by_its_place_and_not_shown() {
        let bad = |text: &str| SealKeys::new(&[key(1), Secret::new(text)]).unwrap_err();
        assert_eq!(bad("c2hvcnQ="), (1, SealKeyError::Length(5)));
        assert_eq!(bad(""), (1, SealKeyError::Length(0)));
        assert_eq!(bad("no base64!"), (1, SealKeyError::Base64));
        assert_eq!(SealKeys::new(&[]).unwrap_err(), (0, SealKeyError::None));
        assert_eq!(format!("{:?}", keys(&[1, 2])), "SealKeys(2)");
    }
}
