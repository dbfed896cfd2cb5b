//! What two processes say to each other: one line of JSON each way.
//!
//! A question is told from the others by its first field, an answer has the fields that it needs, and
//! both may get more: neither end minds a field that it does not know.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::token::{Carried, SecretVersion};
use crate::vendor::LifetimeSource;

/// The longest question.
pub(super) const LONGEST_QUESTION: usize = 4 << 10;
/// The longest answer: ten thousand tokens of a few KiB.
pub(super) const LONGEST_ANSWER: usize = 64 << 20;
/// What is understood of [`Question::Take`].
pub(super) const TAKE: u32 = 1;

/// The first line of a connection.
#[derive(Serialize, Deserialize, Debug)]
#[serde(untagged)]
pub(super) enum Question {
    /// A new process asks for all that the running one has. Answered by sockets and tokens; then
    /// comes a [`Serving`], answered by [`Answer::yours`].
    Take {
        /// [`TAKE`].
        take: u32,
        /// Of the new process, for the log.
        version: String,
    },
    /// The live token of this key, without a login. Answered by one token or none.
    Peek {
        /// In hex.
        peek: String,
    },
    /// A process that drains needs a newer token than it has. Answered by one token.
    Want {
        /// The key, in hex.
        want: String,
        /// The SHA-256 of the token that it has, in hex.
        not: String,
        /// Whether that one was refused, or is past its end.
        refused: bool,
    },
}

/// The new process serves, and the old one may leave.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Serving {
    pub(super) serving: bool,
}

/// Any answer.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct Answer {
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Of the running process, for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// In the order of the descriptors; the handover socket's own comes behind them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) listeners: Vec<Socket>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tokens: Vec<Held>,
    /// All of it is the new process's now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) yours: bool,
}

impl Answer {
    pub(super) fn error(why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), ..Self::default() }
    }
}

/// A listening socket.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Socket {
    /// The address in the configuration by which it was bound.
    pub(crate) configured: String,
    /// Whether the file of a Unix socket is somebody else's, such as the service manager's.
    #[serde(default)]
    pub(crate) keeps_file: bool,
}

/// A token on its way.
#[derive(Serialize, Deserialize)]
pub(crate) struct Held {
    /// [`crate::token::TokenKey::hex`].
    pub(super) key: String,
    /// In the process that tells it.
    pub(super) generation: u64,
    #[serde(with = "veiled")]
    token: Secret,
    fence: u64,
    left_ms: u64,
    life_ms: u64,
    source: Source,
    #[serde(with = "version")]
    secret: SecretVersion,
    of_refusal: bool,
    suspect: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Source {
    Answer,
    Token,
    Configured,
}

impl Held {
    pub(super) fn new(key: String, generation: u64, carried: Carried) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            key,
            generation,
            fence: carried.fence,
            left_ms: millis(carried.left),
            life_ms: millis(carried.life),
            source: match carried.source {
                LifetimeSource::Answer => Source::Answer,
                LifetimeSource::Token => Source::Token,
                LifetimeSource::Configured => Source::Configured,
            },
            secret: carried.secret,
            of_refusal: carried.of_refusal,
            suspect: carried.suspect,
            token: carried.token,
        }
    }

    /// The token, after this time on its way; `None` where it has not outlived that.
    pub(super) fn carried(&self, on_its_way: Duration) -> Option<Carried> {
        let left = Duration::from_millis(self.left_ms).checked_sub(on_its_way).filter(|left| !left.is_zero())?;
        Some(Carried {
            fence: self.fence,
            token: self.token.clone(),
            left,
            life: Duration::from_millis(self.life_ms),
            source: match self.source {
                Source::Answer => LifetimeSource::Answer,
                Source::Token => LifetimeSource::Token,
                Source::Configured => LifetimeSource::Configured,
            },
            secret: self.secret,
            of_refusal: self.of_refusal,
            suspect: self.suspect,
        })
    }
}

/// In base64: text that needs no escapes is read where it lies, and no copy of it is left unwiped.
mod veiled {
    use super::*;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(secret.expose())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let mut bytes = Zeroizing::new(vec![0; text.len()]);
        let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| D::Error::custom("not base64"))?;
        let token = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        token.map(Secret::new).ok_or_else(|| D::Error::custom("not text"))
    }
}

mod version {
    use super::*;

    pub(super) fn serialize<S: Serializer>(version: &SecretVersion, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(version.hex()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretVersion, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        SecretVersion::from_hex(text).ok_or_else(|| D::Error::custom("not a version"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Identity;

    fn carried() -> Carried {
        Carried {
            fence: 7,
            token: Secret::new("a \"quoted\" \\ token"),
            left: Duration::from_millis(1500),
            life: Duration::from_secs(60),
            source: LifetimeSource::Token,
            secret: SecretVersion::of(&Identity { parts: Vec::new(), secrets: vec![Secret::new("s")] }),
            of_refusal: true,
            suspect: false,
        }
    }

    #[test]
    fn a_token_arrives_as_it_was_sent_but_for_the_time_on_its_way() {
        let answer = Answer { tokens: vec![Held::new("abc".to_owned(), 3, carried())], ..Answer::default() };
        let line = serde_json::to_string(&answer).unwrap();
        assert!(!line.contains("quoted") && !line.contains('\\'), "{line}");
        let read: Answer = serde_json::from_str(&line).unwrap();
        let held = &read.tokens[0];
        assert_eq!((held.key.as_str(), held.generation), ("abc", 3));
        let at_once = held.carried(Duration::ZERO).unwrap();
        assert_eq!(at_once, carried());
        let later = held.carried(Duration::from_millis(500)).unwrap();
        assert_eq!((later.left, later.life), (Duration::from_secs(1), Duration::from_secs(60)));
        assert!(held.carried(Duration::from_millis(1500)).is_none(), "dead on arrival");
    }

    #[test]
    fn a_question_is_told_by_its_field_and_may_have_more() {
        let read = |line| serde_json::from_str::<Question>(line);
        assert!(matches!(read(r#"{"take":1,"version":"9","more":[]}"#), Ok(Question::Take { take: 1, .. })));
        assert!(matches!(read(r#"{"peek":"ab"}"#), Ok(Question::Peek { .. })));
        assert!(matches!(read(r#"{"want":"ab","not":"cd","refused":true}"#), Ok(Question::Want { refused: true, .. })));
        for wrong in ["", "{}", "[]", "GET / HTTP/1.1", r#"{"take":-1,"version":""}"#, r#"{"want":"ab"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
