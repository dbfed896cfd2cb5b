//! What an answer does: when it is a refusal of the token, and what of it comes back changed.

use http::header::SET_COOKIE;

use super::account::{MASK, readable, title};
use crate::cli::words;
use crate::config::Loaded;
use crate::model::{BaseUrl, JsonMatch};
use crate::proxy::preview::Sending;
use crate::route::{Credential, Forward};

/// When an answer says that the token was at fault, and what is done then.
pub(super) struct Refused {
    /// The statuses that say so.
    pub(super) statuses: Vec<u16>,
    /// The pointer into a JSON answer, and what the text there must match.
    pub(super) json: Option<(String, String)>,
    /// Whether the token is replaced; one of the configuration cannot be.
    pub(super) is_replaced: bool,
    /// The longest body that is kept for sending again, and of all of them together.
    pub(super) kept: (u64, u64),
    /// The length of the request's body, where one was given.
    body: Option<u64>,
}

impl Refused {
    pub(super) fn of(loaded: &Loaded, credential: &Credential, forward: &Forward, body: Option<u64>) -> Self {
        let rule = &credential.refused_when;
        let json = rule.json.as_ref().map(|json| {
            let names: Vec<String> =
                json.pointer.iter().map(|name| name.replace('~', "~0").replace('/', "~1")).collect();
            let matches = match &json.matches {
                JsonMatch::Pattern(regex) => {
                    format!("matches {}", shown(loaded, credential, "matches", regex.as_str()))
                }
                JsonMatch::Rule(_) => "is an error of tokens or sessions to the provider".to_owned(),
            };
            (shown(loaded, credential, "pointer", &format!("/{}", names.join("/"))), matches)
        });
        Self {
            statuses: rule.status.iter().map(http::StatusCode::as_u16).collect(),
            json,
            is_replaced: credential.vendor.token_url().is_some(),
            kept: (forward.limits.replay, loaded.settings.replay_budget),
            body,
        }
    }

    /// Whether the request can be sent again; `None` where that depends on its body.
    pub(super) fn is_sent_again(&self) -> Option<bool> {
        match self.body {
            _ if !self.is_replaced || !self.is_recognised() => Some(false),
            Some(length) => Some(length <= self.kept.0),
            None => None,
        }
    }

    fn is_recognised(&self) -> bool {
        !self.statuses.is_empty() || self.json.is_some()
    }

    /// Which answers these are: `401, or JSON whose /status/code matches ...`.
    pub(super) fn sign(&self) -> String {
        let statuses: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
        let status = (!statuses.is_empty())
            .then(|| format!("an answer of {}", words::any_of(statuses.iter().map(String::as_str))));
        let json = self.json.as_ref().map(|(pointer, matches)| format!("a JSON answer whose {pointer} {matches}"));
        match (status, json) {
            (None, None) => "by no answer (`refused_when`)".to_owned(),
            (one, other) => one.into_iter().chain(other).collect::<Vec<_>>().join(", or "),
        }
    }

    /// What is done then, a sentence each.
    pub(super) fn consequences(&self) -> Vec<String> {
        if !self.is_recognised() {
            return Vec::new();
        }
        if !self.is_replaced {
            return vec!["the answer passes: a token of the configuration cannot be replaced".to_owned()];
        }
        let (most, together) = (words::size(self.kept.0), words::size(self.kept.1));
        let replaced = "the token is replaced, once, and the request sent again; refused again, the answer passes";
        match self.body {
            Some(length) if length > self.kept.0 => vec![format!(
                "the token is replaced, but this body is longer than {most} (`limits.replay`) and not kept: \
                 the client gets 503 with Retry-After"
            )],
            Some(_) => vec![replaced.to_owned()],
            None => vec![
                replaced.to_owned(),
                format!(
                    "a body is kept for it up to {most} (all of them up to {together}); with a longer one the client \
                     gets 503 with Retry-After"
                ),
            ],
        }
    }
}

/// A text of the credential's rule, masked where it came from a reference.
fn shown(loaded: &Loaded, credential: &Credential, field: &str, text: &str) -> String {
    // A name with other characters is no part of a path, and what stands there is not found.
    if !credential.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return MASK.to_owned();
    }
    let path = format!("credentials.{}.refused_when.json.{field}", credential.name);
    words::plain(loaded.masked(&path).unwrap_or(text))
}

/// What comes back changed.
pub(super) struct Back {
    /// Whether what points into the upstream is mapped at all.
    pub(super) is_rewritten: bool,
    /// Headers, as the upstream may write them and as the client sees them.
    pub(super) mapped: Vec<(String, String, String)>,
    /// What `response_headers` sets and removes.
    pub(super) set: Vec<(String, String)>,
    pub(super) removed: Vec<String>,
}

impl Back {
    pub(super) fn of(
        loaded: &Loaded,
        place: usize,
        sending: &Sending<'_>,
        upstream: Option<(&BaseUrl, Option<&str>)>,
    ) -> Self {
        let hides_upstream = upstream.is_some_and(|(_, hidden)| hidden.is_some());
        let hides_path = ["path", "path_exact", "path_regex"]
            .iter()
            .any(|field| loaded.masked(&format!("routes[{place}].match.{field}")).is_some());
        let set = format!("routes[{place}].response_headers.set");
        let edits = &sending.forward.response_headers;
        Self {
            is_rewritten: sending.forward.rewrite_response,
            mapped: sending
                .mapped
                .iter()
                .map(|mapped| {
                    let answered = match upstream {
                        Some((base, Some(hidden))) if mapped.name != SET_COOKIE => {
                            let base = format!("{}{}", base.origin(), base.path());
                            let rest = mapped.answered.strip_prefix(&base).unwrap_or_default();
                            format!("{}{rest}", hidden.trim_end_matches('/'))
                        }
                        _ if hides_upstream => format!("id=1; Domain={MASK}; Path={MASK}; Secure"),
                        _ => mapped.answered.clone(),
                    };
                    let seen = if hides_path { MASK.to_owned() } else { mapped.seen.clone() };
                    (title(&mapped.name), words::plain(&answered), words::plain(&seen))
                })
                .collect(),
            set: edits
                .set
                .iter()
                .map(|(name, value)| {
                    let shown = loaded.masked_header(&set, name.as_str());
                    (title(name), shown.map_or_else(|| readable(value), str::to_owned))
                })
                .collect(),
            removed: edits.remove.iter().map(title).collect(),
        }
    }
}
