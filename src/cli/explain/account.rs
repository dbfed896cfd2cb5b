//! What there is to tell of a request, without a secret in it.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::back::{Back, Refused};
use super::request::Described;
use super::verdict::{name, sentence};
use crate::access::{Access, Admitted, Denied, Flaw, Rule};
use crate::cli::ready::Ready;
use crate::cli::words;
use crate::config::{BoundSettings, EgressSettings, Loaded, RouteAction, is_hidden};
use crate::live::Entry;
use crate::model::{Place, RateRule, Severity, TokenEndpoint};
use crate::proxy::Refusal;
use crate::proxy::preview::{Fate, From, Preview, Removed, Sending, client_of, preview};
use crate::route::{Action, Credential};
use crate::secret::Secret;
use crate::token::Token;
use crate::vendor::{LifetimeSource, OwnCall};

/// What stands for what must not be seen.
pub(super) const MASK: &str = "***";

/// What is told of a request.
pub(super) struct Account {
    pub(super) method: String,
    pub(super) url: String,
    /// The route that takes it, and where that stands.
    pub(super) route: Option<(String, String)>,
    /// Why each other route does not take it.
    pub(super) others: Vec<(String, String)>,
    /// Whether the client is let in, which cannot always be said here, and the sentence for it.
    pub(super) access: Option<(Option<bool>, String)>,
    /// The answer that the proxy gives by itself.
    pub(super) answer: Option<Answer>,
    /// What would be sent.
    pub(super) sent: Option<Sent>,
    /// What else there is to know.
    pub(super) notes: Vec<String>,
}

/// The proxy's own answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The stable word of the answer's `code`; none where the HTTP library answers.
    pub(super) code: Option<&'static str>,
    pub(super) detail: String,
}

/// What would be sent.
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String, From)>,
    pub(super) removed: Vec<(String, Removed)>,
    /// The egress proxy on the way, without user and password, and what names it.
    pub(super) proxy: Option<(String, &'static str)>,
    /// The body, where the token goes into it.
    pub(super) body: Option<String>,
    /// The name of the credential whose token goes with it.
    pub(super) credential: Option<String>,
    /// Where the token goes.
    pub(super) places: Vec<String>,
    /// What an answer does that says that the token was at fault; `None` where no token goes.
    pub(super) refused: Option<Refused>,
    /// What comes back changed.
    pub(super) back: Back,
}

impl Account {
    /// Collects what there is to tell.
    pub(super) fn of(described: Described, ready: &Ready) -> Self {
        let Described { method, url, asked } = described;
        let mut account = Self {
            method,
            url,
            route: None,
            others: Vec::new(),
            access: None,
            answer: None,
            sent: None,
            notes: Vec::new(),
        };
        let Some(asked) = asked else {
            let too_long = account.url.len() > usize::from(u16::MAX);
            account.answer = Some(Answer {
                status: if too_long { 414 } else { 400 },
                code: None,
                detail: if too_long {
                    "the URL is longer than HTTP libraries take".to_owned()
                } else {
                    "the URL has a byte that no URL can hold; the HTTP library refuses it, without a body".to_owned()
                },
            });
            return account;
        };
        // Not to be met in a configuration or a request by chance, so that all of it is masked.
        let stand_in = format!("{:032x}", fastrand::u128(..));
        let token = Token {
            generation: 0,
            secret: Secret::new(stand_in.as_str()),
            expires: None,
            renew: None,
            source: LifetimeSource::Configured,
            skew: None,
        };
        if ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&account.method) && *known != account.method)
        {
            account.notes.push(format!(
                "methods are case-sensitive: {} is not {}",
                account.method,
                account.method.to_ascii_uppercase()
            ));
        }
        // Without one such a request has none.
        let bare = matches!(asked.head.method, Method::GET | Method::HEAD).then_some(0);
        let body = asked.body.as_ref().map(|body| body.len() as u64).or(bare);
        let (head_method, headers) = (asked.head.method.clone(), asked.head.headers.clone());
        let peer = client_of(&ready.assembled.snapshot, &asked);
        let preview = preview(&ready.assembled.snapshot, asked, &token);
        account.routes(&ready.loaded, &preview, &head_method, &headers);
        let entry = preview.route.and_then(|place| ready.assembled.snapshot.entries.get(place));
        if let (Some(entry), Some(admitted)) = (entry, preview.admitted.clone()) {
            let is_login = matches!(preview.fate, Fate::Login { .. });
            let why = access(&entry.access, &admitted, peer, is_login);
            // Of what cannot be judged here nothing is foretold.
            let is_judged = !matches!(admitted, Err(Denied::NoKeys | Denied::Crowded));
            account.access = Some((is_judged.then_some(admitted.is_ok()), why));
            if let Err(denied) = admitted.map(drop)
                && is_judged
            {
                account.refused(&Refusal::Denied(denied));
            }
        }
        let bounds = preview.route.and_then(|place| ready.loaded.settings.routes.get(place)).map(|route| &route.bounds);
        account.notes.extend(bounds.and_then(bounds_words));
        account.fate(ready, preview, entry, body, &stand_in);
        account
    }

    fn routes(&mut self, loaded: &Loaded, preview: &Preview<'_>, method: &Method, headers: &HeaderMap) {
        self.route = preview.route.map(|place| {
            let at = loaded.locator.problem(Severity::Warning, &format!("routes[{place}]"), "", "");
            (name(loaded, place), format!("{}:{}", at.file, at.line))
        });
        self.others = preview
            .verdicts
            .iter()
            .enumerate()
            .filter(|(place, _)| preview.route != Some(*place))
            .filter_map(|(place, verdict)| {
                Some((name(loaded, place), sentence(loaded, place, verdict, method, headers)?))
            })
            .collect();
    }

    /// Whether nothing keeps the request from being sent, as far as that can be said.
    pub(super) fn is_let_in(&self) -> bool {
        self.answer.is_none() && self.access.as_ref().is_none_or(|(admitted, _)| *admitted == Some(true))
    }

    /// The first answer stands: who is not let in learns nothing of what would follow.
    fn refused(&mut self, refusal: &Refusal) {
        let answer =
            Answer { status: refusal.status().as_u16(), code: Some(refusal.code()), detail: refusal.to_string() };
        self.answer.get_or_insert(answer);
    }

    fn fate(&mut self, ready: &Ready, preview: Preview<'_>, entry: Option<&Entry>, body: Option<u64>, stand_in: &str) {
        match preview.fate {
            Fate::Refused(refusal) => {
                self.refused(&refusal);
                if matches!(refusal, Refusal::OwnEndpoint) {
                    let owner = entry.and_then(credential_of).map_or("", |credential| &credential.name);
                    self.notes.push(format!(
                        "this is the token endpoint of {}, and the route says `token_endpoint: refuse`",
                        words::plain(owner)
                    ));
                }
            }
            Fate::Login { credential, call } => {
                let what = match call {
                    OwnCall::Login => "answers this login by itself, in the vendor's form, with a placeholder token",
                    OwnCall::Release => "answers this release by itself, with success",
                };
                let detail = format!(
                    "the proxy {what}: forwarded, it would interfere with the token of {}",
                    words::plain(&credential.name)
                );
                self.answer.get_or_insert(Answer { status: 200, code: None, detail });
                self.notes.push(
                    "`token_endpoint` of the route decides: answer (as here, the default), refuse or forward"
                        .to_owned(),
                );
            }
            Fate::Sent(sending) => {
                let place = preview.route.unwrap_or_default();
                self.notes.extend(notes(&sending, entry));
                self.sent = Some(sent(&ready.loaded, place, &sending, body, &|text| text.replace(stand_in, MASK)));
            }
        }
    }
}

fn credential_of(entry: &Entry) -> Option<&Credential> {
    match &entry.route.action {
        Action::Forward(forward) => forward.credential.as_ref(),
        Action::Respond(_) => None,
    }
}

fn access(access: &Access, admitted: &Result<Admitted<'_>, Denied>, peer: Option<IpAddr>, is_login: bool) -> String {
    let from = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
    let denied = match admitted {
        Ok(admitted) => return let_in(access, admitted, &from),
        Err(denied) => denied,
    };
    let place = if access.claims_authorization() {
        "it goes as X-Api-Key, since Authorization is for what else is asked for"
    } else {
        "it goes as Authorization: Bearer, as Basic's password or as X-Api-Key"
    };
    match denied {
        Denied::Network => match peer.and_then(|peer| access.denied_by(peer)) {
            Some(place) => {
                format!("not let in: {from} is in the network of `deny[{place}]` (--peer asks for another address)")
            }
            None => format!("not let in: {from} is not of a network in `allow` (--peer asks for another)"),
        },
        Denied::Certificate => "not let in: a client certificate is asked for, and this request shows none that is \
             allowed (--certificate-name gives one)"
            .to_owned(),
        Denied::Key { .. } if is_login && !access.claims_authorization() => {
            "an API key is asked for, and this request has no valid one: as Authorization: \
             Bearer, as Basic's password, as X-Api-Key, or as the login's client_secret (which is not looked for here)"
                .to_owned()
        }
        Denied::Key { .. } => {
            format!("not let in: an API key is asked for, and this request has no valid one; {place}")
        }
        Denied::User => "not let in: a user is asked for, and this request has no valid name and password; they go as \
             Authorization: Basic"
            .to_owned(),
        Denied::Token(Flaw::Absent) => "not let in: a token of the issuer is asked for, and this request has none; it \
             goes as Authorization: Bearer"
            .to_owned(),
        Denied::Token(flaw) => format!("not let in: the token is not valid: {flaw}"),
        Denied::NoKeys => "not judged: a token of the issuer is asked for, whose keys are at a URL that only the \
             running proxy asks"
            .to_owned(),
        Denied::Crowded => "not judged: there is no memory to check the password with".to_owned(),
    }
}

fn let_in(access: &Access, admitted: &Admitted<'_>, peer: &str) -> String {
    let rules: Vec<&str> = access
        .rules()
        .map(|rule| match rule {
            Rule::Network => "its network",
            Rule::Certificate => "the client certificate",
            Rule::Key => "the API key",
            Rule::Token => "the token",
            Rule::User => "the user",
        })
        .collect();
    match (&admitted.who, rules.as_slice()) {
        (_, []) => "everyone is let in".to_owned(),
        (None, [_]) if access.rules().eq([Rule::Network]) => format!("let in by the network of {peer}"),
        // The network goes without saying where something is named.
        (Some(name), ["its network", rule] | [rule]) => format!("let in by {rule} `{}`", words::plain(name)),
        (Some(name), rules) => format!("let in as `{}`, by {}", words::plain(name), rules.join(", ")),
        (None, rules) => format!("let in by {}", rules.join(", ")),
    }
}

fn sent(
    loaded: &Loaded,
    place: usize,
    sending: &Sending<'_>,
    body: Option<u64>,
    mask: &dyn Fn(&str) -> String,
) -> Sent {
    let forward = match loaded.settings.routes.get(place).map(|route| &route.action) {
        Some(RouteAction::Forward(forward)) => Some(forward),
        _ => None,
    };
    let target = sending.request.uri().to_string();
    let hidden =
        ["upstream", "upstream.url"].iter().find_map(|field| loaded.masked(&format!("routes[{place}].{field}")));
    let base = forward.map(|forward| &forward.upstream);
    let url = match (hidden, base) {
        (Some(hidden), Some(base)) => {
            let rest = target.strip_prefix(base.path()).unwrap_or_default();
            format!("{}{rest}", hidden.trim_end_matches('/'))
        }
        (_, base) => format!("{}{target}", base.map(|base| base.origin().to_string()).unwrap_or_default()),
    };
    let (set, wanted) = (format!("routes[{place}].request_headers.set"), format!("routes[{place}].match.headers"));
    let value = |name: &HeaderName, value: &HeaderValue, from: From| match from {
        From::Route => loaded.masked_header(&set, name.as_str()).map_or_else(|| readable(value), str::to_owned),
        From::Client
            if is_hidden(&name.as_str().replace('_', "-"))
                || loaded.masked_header(&wanted, name.as_str()).is_some() =>
        {
            MASK.to_owned()
        }
        From::Proxy if *name == HOST && hidden.is_some() => MASK.to_owned(),
        _ => mask(&readable(value)),
    };
    let mut headers: Vec<_> =
        sending.headers.iter().map(|(n, v, from)| (title(n), value(n, v, *from), *from)).collect();
    headers.sort_by_key(|(_, _, from)| *from);
    Sent {
        method: sending.request.method().to_string(),
        url: mask(&url),
        headers,
        removed: sending.removed.iter().map(|(name, why)| (title(name), *why)).collect(),
        proxy: forward.and_then(|forward| forward.egress.as_ref()).map(|egress| proxy(loaded, place, egress)),
        body: sending.request.body().as_ref().map(|body| mask(&String::from_utf8_lossy(body))),
        credential: sending.credential.map(|credential| credential.name.clone()),
        places: sending.credential.map(|c| c.placement.iter().map(place_words).collect()).unwrap_or_default(),
        refused: sending.credential.map(|credential| Refused::of(loaded, credential, sending.forward, body)),
        back: Back::of(loaded, place, sending, base.map(|base| (base, hidden))),
    }
}

fn proxy(loaded: &Loaded, place: usize, egress: &EgressSettings) -> (String, &'static str) {
    let field = format!("routes[{place}].upstream.proxy");
    let shown = if loaded.is_reference(&field) { MASK.to_owned() } else { egress.proxy.to_string() };
    (shown, egress.variable.unwrap_or("`proxy` of the upstream"))
}

fn notes(sending: &Sending<'_>, entry: Option<&Entry>) -> Vec<String> {
    let mut notes = Vec::new();
    match sending.credential {
        Some(_) => {
            if sending.request.body().is_some() {
                notes.push(format!(
                    "the body is read whole, up to {}, since the token goes into it",
                    words::size(sending.forward.limits.splice)
                ));
            }
        }
        None => match entry.and_then(credential_of) {
            Some(own) => notes.push(format!(
                "this is the token endpoint of {}, and the route says `token_endpoint: {}`: it goes on untouched, \
                 without a token",
                words::plain(&own.name),
                match own.token_endpoint {
                    TokenEndpoint::Answer => "answer",
                    TokenEndpoint::Refuse => "refuse",
                    TokenEndpoint::Forward => "forward",
                }
            )),
            None => notes.push(
                "no token goes with it: the route says `credential: none`; whatever the upstream answers passes"
                    .to_owned(),
            ),
        },
    }
    if let Some(protocol) = &sending.upgrade {
        notes.push(format!("the connection may be upgraded to {}", readable(protocol)));
    }
    notes
}

/// What the route is held to. How much of it is used up only the running proxy knows.
fn bounds_words(bounds: &BoundSettings) -> Option<String> {
    let rate = |rule: &RateRule| format!("{} (burst {}) per {}", rule.rate, rule.burst, rule.per.as_str());
    let mut all: Vec<String> = bounds.rates.iter().map(rate).collect();
    all.extend(bounds.concurrency.map(|most| format!("{most} at once")));
    let limits = all.join(", ");
    (!all.is_empty()).then(|| format!("the route's `limits` are {limits}; over them the answer is 429"))
}

fn place_words(place: &Place) -> String {
    match place {
        Place::Header { name, .. } => format!("header {}", title(name)),
        Place::Query { name } => format!("query parameter {name}"),
        Place::Json { name } => format!("JSON member {name}"),
        Place::Parameter { name } => format!("query parameter {name}, or JSON member {name} of a JSON body"),
    }
}

pub(super) fn readable(value: &HeaderValue) -> String {
    words::plain(&String::from_utf8_lossy(value.as_bytes()))
}

/// As HTTP/1 upstreams see it by default.
pub(super) fn title(name: &HeaderName) -> String {
    let words: Vec<String> = name
        .as_str()
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect();
    words.join("-")
}
