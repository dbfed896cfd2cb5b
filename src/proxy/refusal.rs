//! The one window by which every refusal leaves, and the only place that picks a status.
//!
//! Answers are problem details (RFC 9457) with a `Proxy-Status` (RFC 9209). They hold no token, no
//! secret and no text of a vendor's.

use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::framing::Malformed;
use super::reply::Reply;
use crate::access::Denied;
use crate::limit::{Over, seconds_up};
use crate::model::PathError;
use crate::token::Unavailable;
use crate::upstream::{self, ConnectError, EgressError};

/// The code of an answer that the route is told to give: no failure.
pub(super) const RESPOND: &str = "respond";

/// Why a request is answered by the proxy itself.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Ambiguous framing, a missing or doubled Host.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A path that another server could read differently.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A byte in the query that a URI cannot hold.
    #[error("the query has a byte that a URI cannot hold")]
    Query,
    /// CONNECT and TRACE.
    #[error("this method is not forwarded")]
    Method,
    /// The request came by this proxy before.
    #[error("the request has been here before: the upstream leads back to this proxy")]
    Loop,
    /// No route takes it.
    #[error("no route takes this request")]
    NoRoute,
    /// Not let in.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Too many wrong keys came from the client's address: this one is not looked at until then.
    #[error("too many wrong keys came from this address; come again later")]
    WrongKeys(Duration),
    /// Over one of the route's bounds.
    #[error("{}", over(*.0))]
    Over(Over),
    /// More header lines than `client.header_count`.
    #[error("the request has more header lines than this proxy takes")]
    TooManyHeaders,
    /// This process has no memory for new work.
    #[error("the proxy has too much to do; come again in a moment")]
    Overloaded,
    /// The route answers by itself.
    #[error("this route answers by itself")]
    Respond(StatusCode),
    /// A vendor's own endpoint on a route that refuses it.
    #[error("logging in through the proxy is refused on this route; requests need no token of their own")]
    OwnEndpoint,
    /// More than `limits.body`.
    #[error("the body is larger than this route takes")]
    BodyTooLarge,
    /// More than `limits.splice`, on a route whose token goes into the body.
    #[error("the body is larger than this route can put a token into")]
    SpliceTooLarge,
    /// Not JSON though it says so, where the token goes into the body.
    #[error("the body is not the JSON that its content type promises")]
    BadJson,
    /// The token goes into a JSON object, and the body is none or is encoded.
    #[error("the body cannot take a token: it must be a JSON object without a content coding")]
    NotSpliceable,
    /// The client's body stood still for `timeouts.body`.
    #[error("the body did not arrive in time")]
    SlowBody,
    /// The client broke its body off.
    #[error("the body broke off")]
    BodyBroken,
    /// No token.
    #[error("no token for the upstream is to be had at present")]
    Token(#[source] Unavailable),
    /// The vendor refused a token, a new one is fetched, and the body was not kept.
    #[error("the upstream refused its token and the body was too large to be kept for sending again; send it again")]
    NotKept,
    /// No connection.
    #[error("the upstream cannot be reached")]
    Connect(#[source] ConnectError),
    /// The egress proxy on the way does not lead there.
    #[error("the egress proxy on the way to the upstream does not lead there")]
    Egress(#[source] EgressError),
    /// It broke off before its head, or answered nonsense.
    #[error("the upstream broke off before it answered, or its answer is no HTTP")]
    Upstream {
        /// What happened; for the log.
        #[source]
        cause: UpstreamFault,
        /// The error type of RFC 9209 section 2.3.
        proxy_error: &'static str,
    },
    /// Not within `timeouts.response`.
    #[error("the upstream did not answer in time")]
    UpstreamTimeout,
    /// A fault of the proxy.
    #[error("a fault of the proxy")]
    Internal,
    /// A fault of the proxy that broke off the walk.
    #[error("a fault of the proxy; nothing else was harmed by it")]
    Panicked,
}

fn over(over: Over) -> &'static str {
    match over {
        Over::Rate(_) => "more requests than this route takes in a time; come again later",
        Over::Crowd => "more requests at once than this route takes; come again in a moment",
    }
}

/// What an upstream did instead of answering.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// The connection ended, or what came over it was no HTTP.
    #[error(transparent)]
    Broke(hyper::Error),
    /// The answer's framing is ambiguous.
    #[error(transparent)]
    Malformed(upstream::Malformed),
    /// It switched to a protocol that was not asked for.
    #[error("it switched to a protocol that was not asked for")]
    Switch,
}

/// What a refusal looks like from outside.
struct Face {
    status: StatusCode,
    /// A stable word for programs.
    code: &'static str,
    /// The `error` parameter of RFC 9209 section 2.3.
    proxy_error: &'static str,
}

impl Refusal {
    fn face(&self) -> Face {
        let face = |status, code, proxy_error| Face { status, code, proxy_error };
        match self {
            Self::Malformed(_) => face(StatusCode::BAD_REQUEST, "malformed_request", "http_request_error"),
            Self::Path(_) => face(StatusCode::BAD_REQUEST, "bad_path", "http_request_error"),
            Self::Query => face(StatusCode::BAD_REQUEST, "bad_query", "http_request_error"),
            Self::Method => face(StatusCode::METHOD_NOT_ALLOWED, "method_not_forwarded", "http_request_denied"),
            Self::Loop => face(StatusCode::LOOP_DETECTED, "loop", "proxy_loop_detected"),
            Self::NoRoute => face(StatusCode::NOT_FOUND, "no_route", "destination_not_found"),
            Self::Denied(Denied::Key { .. }) => face(StatusCode::UNAUTHORIZED, "key_required", "http_request_denied"),
            Self::Denied(Denied::User) => face(StatusCode::UNAUTHORIZED, "user_required", "http_request_denied"),
            Self::Denied(Denied::Token(_)) => face(StatusCode::UNAUTHORIZED, "jwt_required", "http_request_denied"),
            Self::Denied(Denied::Network) => face(StatusCode::FORBIDDEN, "network_denied", "http_request_denied"),
            Self::WrongKeys(_) => face(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_keys", "http_request_denied"),
            Self::Over(Over::Rate(_)) => face(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "http_request_denied"),
            Self::Over(Over::Crowd) => face(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "http_request_denied"),
            Self::TooManyHeaders => {
                face(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers", "http_request_error")
            }
            Self::Overloaded => face(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "proxy_internal_response"),
            Self::Denied(Denied::Certificate) => {
                face(StatusCode::FORBIDDEN, "certificate_denied", "http_request_denied")
            }
            Self::Denied(Denied::Crowded) => {
                face(StatusCode::SERVICE_UNAVAILABLE, "too_many_passwords", "http_request_denied")
            }
            Self::Denied(Denied::NoKeys) => {
                face(StatusCode::SERVICE_UNAVAILABLE, "jwt_keys_unavailable", "http_request_denied")
            }
            Self::Respond(status) => face(*status, RESPOND, "http_request_denied"),
            Self::OwnEndpoint => face(StatusCode::FORBIDDEN, "token_endpoint_refused", "http_request_denied"),
            Self::BodyTooLarge => face(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "http_request_error"),
            Self::SpliceTooLarge => face(StatusCode::PAYLOAD_TOO_LARGE, "splice_too_large", "http_request_error"),
            Self::BadJson => face(StatusCode::BAD_REQUEST, "bad_json", "http_request_error"),
            Self::NotSpliceable => face(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_spliceable", "http_request_error"),
            Self::SlowBody => face(StatusCode::REQUEST_TIMEOUT, "body_timeout", "http_request_error"),
            Self::BodyBroken => face(StatusCode::BAD_REQUEST, "body_broken", "http_request_error"),
            Self::Token(Unavailable::Fault { .. }) => {
                face(StatusCode::SERVICE_UNAVAILABLE, "token_unavailable", "destination_unavailable")
            }
            Self::Token(Unavailable::Timeout { .. }) => {
                face(StatusCode::SERVICE_UNAVAILABLE, "token_timeout", "destination_unavailable")
            }
            Self::Token(Unavailable::Crowded { .. }) => {
                face(StatusCode::SERVICE_UNAVAILABLE, "too_many_waiting", "destination_unavailable")
            }
            Self::NotKept => face(StatusCode::SERVICE_UNAVAILABLE, "token_replaced", "destination_unavailable"),
            Self::Connect(ConnectError::Timeout) => {
                face(StatusCode::GATEWAY_TIMEOUT, "upstream_connect_timeout", "connection_timeout")
            }
            Self::Connect(ConnectError::Limit) => {
                face(StatusCode::SERVICE_UNAVAILABLE, "upstream_connections", "connection_limit_reached")
            }
            // Nothing is wrong with the upstream.
            Self::Connect(cause) if cause.is_shortage() => {
                face(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "proxy_internal_response")
            }
            Self::Connect(cause) => face(StatusCode::BAD_GATEWAY, "upstream_unreachable", cause.proxy_status()),
            Self::Egress(EgressError::Timeout) => {
                face(StatusCode::GATEWAY_TIMEOUT, "egress_proxy", "connection_timeout")
            }
            Self::Egress(EgressError::Unreached(cause)) if cause.is_shortage() => {
                face(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "proxy_internal_response")
            }
            Self::Egress(cause) => face(StatusCode::BAD_GATEWAY, "egress_proxy", cause.proxy_status()),
            Self::Upstream { proxy_error, .. } => face(StatusCode::BAD_GATEWAY, "upstream_broke_off", proxy_error),
            Self::UpstreamTimeout => face(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "http_response_timeout"),
            Self::Internal => face(StatusCode::INTERNAL_SERVER_ERROR, "internal", "proxy_internal_error"),
            Self::Panicked => face(StatusCode::INTERNAL_SERVER_ERROR, "panic", "proxy_internal_error"),
        }
    }

    /// The upstream switched protocols in a way that was not agreed on.
    pub(super) fn wrong_switch() -> Self {
        Self::Upstream { cause: UpstreamFault::Switch, proxy_error: "http_upgrade_failed" }
    }

    /// The status that a client sees.
    pub fn status(&self) -> StatusCode {
        self.face().status
    }

    /// The stable word for programs and logs.
    pub fn code(&self) -> &'static str {
        self.face().code
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Token(unavailable) => Some(unavailable.retry_after()),
            Self::WrongKeys(wait) | Self::Over(Over::Rate(wait)) => Some(*wait),
            Self::Connect(cause) if cause.is_shortage() => Some(Duration::from_secs(1)),
            Self::Egress(EgressError::Unreached(cause)) if cause.is_shortage() => Some(Duration::from_secs(1)),
            Self::Overloaded | Self::Over(Over::Crowd) | Self::NotKept | Self::Connect(ConnectError::Limit) => {
                Some(Duration::from_secs(1))
            }
            Self::Denied(denied) => denied.retry_after(),
            _ => None,
        }
    }

    fn extra_header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method => Some((ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))),
            // RFC 9112 section 11.2: where it is in doubt what a request is, what follows it is too.
            // Over HTTP/2, where streams tell, hyper leaves it out.
            // And a connection takes memory, too: whoever comes again waits until there is some.
            Self::Malformed(_) | Self::Overloaded => Some((CONNECTION, HeaderValue::from_static("close"))),
            Self::Denied(denied) => {
                let challenge = match denied {
                    // RFC 6750 section 3.1: who presented no token is told of no error; why one is invalid is
                    // for nobody to learn who made it up.
                    Denied::Token(flaw) if flaw.is_of_a_token() => {
                        "Bearer realm=\"tokenferry\", error=\"invalid_token\""
                    }
                    Denied::Key { beside_user: false } | Denied::Token(_) => "Bearer realm=\"tokenferry\"",
                    // RFC 7617 section 2.1.
                    Denied::User | Denied::Key { beside_user: true } => "Basic realm=\"tokenferry\", charset=\"UTF-8\"",
                    Denied::Network | Denied::Certificate | Denied::Crowded | Denied::NoKeys => return None,
                };
                Some((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
            }
            _ => None,
        }
    }

    /// The answer: problem+json, `Proxy-Status`, and `Retry-After` where it helps.
    pub fn answer(&self, request_id: &str) -> Response<Reply> {
        let face = self.face();
        let mut response = Response::new(Reply::empty());
        *response.status_mut() = face.status;
        let headers = response.headers_mut();
        if !matches!(self, Self::Respond(_)) {
            // The name is a token and the error a word of RFC 9209: both fit a structured field.
            if let Ok(value) = HeaderValue::try_from(format!("tokenferry; error={}", face.proxy_error)) {
                headers.insert(HeaderName::from_static("proxy-status"), value);
            }
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(wait)));
        }
        if let Some((name, value)) = self.extra_header() {
            headers.insert(name, value);
        }
        if has_body(face.status) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let problem = serde_json::json!({
                "type": "about:blank",
                "title": face.status.canonical_reason().unwrap_or("Refused"),
                "status": face.status.as_u16(),
                "detail": self.to_string(),
                "code": face.code,
                "request_id": request_id,
            });
            *response.body_mut() = Reply::whole(problem.to_string());
        }
        response
    }
}

fn has_body(status: StatusCode) -> bool {
    !(status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong_as_problem_details() {
        let answer = Refusal::NoRoute.answer("id");
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["proxy-status"], "tokenferry; error=destination_not_found");
    }

    #[test]
    fn the_proxys_own_trouble_with_a_token_is_never_a_401() {
        for refusal in [
            Refusal::NotKept,
            Refusal::Token(Unavailable::Timeout { retry_after: Duration::from_secs(3) }),
            Refusal::Token(Unavailable::Crowded { retry_after: Duration::from_secs(3) }),
        ] {
            let answer = refusal.answer("id");
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
        }
    }
}
