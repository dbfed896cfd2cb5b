//! What is asked for, and how.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use percent_encoding::percent_decode_str;

use super::answer::{Answer, Refusal, file, json, line};
use super::port::Admin;

/// A body is read, so that its sender reads the answer, and is of no further use.
const LARGEST_BODY: usize = 64 << 10;
/// For the whole of it.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// A wrong token is answered so much later.
const WRONG_TOKEN: Duration = Duration::from_millis(100);

const READ: &str = "GET, HEAD";
const WRITE: &str = "POST";

/// The places that there are.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Alive,
    Ready,
    Metrics,
    Page(&'static str, &'static str),
    Status,
    Reload,
    /// Of the credential of this name.
    Refresh(String),
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        const HTML: &str = "text/html; charset=utf-8";
        const CSS: &str = "text/css; charset=utf-8";
        const JS: &str = "text/javascript; charset=utf-8";

        Some(match path {
            "/healthz" | "/livez" => Self::Alive,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/" => Self::Page(HTML, include_str!("page/index.html")),
            "/status.css" => Self::Page(CSS, include_str!("page/status.css")),
            "/status.js" => Self::Page(JS, include_str!("page/status.js")),
            "/api/v1/status" => Self::Status,
            "/api/v1/reload" => Self::Reload,
            _ => {
                let name = path.strip_prefix("/api/v1/credentials/")?.strip_suffix("/refresh")?;
                let name = percent_decode_str(name).decode_utf8().ok()?;
                Self::Refresh(name.into_owned())
            }
        })
    }

    /// Whether it tells no more than that the proxy runs, and is asked by machines that have no token.
    fn is_health(&self) -> bool {
        matches!(self, Self::Alive | Self::Ready)
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Reload | Self::Refresh(_) => WRITE,
            _ => READ,
        }
    }
}

impl Admin {
    /// Answers a request.
    pub(super) async fn answer<B>(self: &Arc<Self>, peer: Option<IpAddr>, head: Parts, body: B) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // First, so that also an answer that refuses is read before the connection is closed.
        let read = read(body).await;
        match self.walk(peer, &head).await {
            Ok(place) => match read {
                Ok(()) => self.serve(place, peer, &head).await,
                Err(refusal) => refusal.answer(),
            },
            Err(refusal) => refusal.answer(),
        }
    }

    /// The place that is asked for, by somebody who may.
    async fn walk(&self, peer: Option<IpAddr>, head: &Parts) -> Result<Place, Refusal> {
        self.gate.admit(head).inspect_err(|_| self.note_denied())?;
        let place = Place::of(head.uri.path());
        if !place.as_ref().is_some_and(Place::is_health)
            && let Err(refusal) = self.admit_token(peer, &head.headers)
        {
            // A browser asks without one first, each time.
            if head.headers.contains_key(AUTHORIZATION) {
                self.note_denied();
                if refusal == Refusal::Token {
                    tokio::time::sleep(WRONG_TOKEN).await;
                }
            }
            return Err(refusal);
        }
        let place = place.ok_or(Refusal::Path)?;
        if !place.methods().split(", ").any(|method| head.method == *method) {
            return Err(Refusal::Method(place.methods()));
        }
        if head.method == Method::POST && !is_json_or_nothing(&head.headers) {
            return Err(Refusal::Media);
        }
        Ok(place)
    }

    /// Judges the token. As with clients' keys, none is looked at from where too many wrong ones came, but
    /// for the one that let in from there before.
    fn admit_token(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Refusal> {
        let (Some(peer), Some(shown)) = (peer, headers.get(AUTHORIZATION)) else {
            return self.gate.admit_token(headers);
        };
        let print = self.guesses.fingerprint(peer, shown.as_bytes());
        if self.guesses.knows(print) {
            return self.gate.admit_token(headers);
        }
        let guess = self.guesses.take(peer, self.live.load().guesses, Instant::now());
        let guess = guess.map_err(|slowed| Refusal::WrongTokens(slowed.wait))?;
        self.gate.admit_token(headers)?;
        guess.was_right(print);
        Ok(())
    }

    async fn serve(self: &Arc<Self>, place: Place, peer: Option<IpAddr>, head: &Parts) -> Answer {
        match place {
            Place::Alive => line(StatusCode::OK, "ok"),
            Place::Ready => match self.unready() {
                None => line(StatusCode::OK, "ready"),
                Some(why) => {
                    let may_know = self.admit_token(peer, &head.headers).is_ok();
                    line(StatusCode::SERVICE_UNAVAILABLE, &why.told(may_know))
                }
            },
            Place::Metrics => self.exposition(&head.headers).await,
            Place::Page(media, text) => file(media, text),
            Place::Status => {
                let admin = Arc::clone(self);
                // Off the thread on which tokens are renewed: there may be thousands of routes.
                let told = tokio::task::spawn_blocking(move || json(StatusCode::OK, &admin.status())).await;
                told.unwrap_or_else(|_| Refusal::Internal.answer())
            }
            Place::Reload => self.reload().await,
            Place::Refresh(name) => self.refresh(&name).await,
        }
    }
}

/// A form of another site can send other types without asking; nothing here reads any.
fn is_json_or_nothing(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().all(|value| {
        let media = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        media.is_empty() || media.eq_ignore_ascii_case(b"application/json")
    })
}

async fn read<B>(mut body: B) -> Result<(), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut left = LARGEST_BODY;
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|_| Refusal::BrokenBody)?.into_data().unwrap_or_default();
            left = left.checked_sub(data.len()).ok_or(Refusal::Body)?;
        }
        Ok(())
    };
    tokio::time::timeout(BODY_WITHIN, reading).await.unwrap_or(Err(Refusal::SlowBody))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_name_may_have_any_letters() {
        for (path, name) in [
            ("/api/v1/credentials/crewmojo/refresh", Some("crewmojo")),
            ("/api/v1/credentials/a%20b%2Fc/refresh", Some("a b/c")),
            ("/api/v1/credentials/caf%C3%A9/refresh", Some("café")),
            ("/api/v1/credentials/%ff/refresh", None),
            ("/api/v1/credentials/refresh", None),
        ] {
            assert_eq!(Place::of(path), name.map(|name| Place::Refresh(name.to_owned())), "{path}");
        }
    }
}
