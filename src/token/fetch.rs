//! The glue: sends what the vendor's pure code built and gives it the answer.

mod release;
mod traced;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;

pub use release::Releases;
pub use traced::traced;

use super::{Fetch, Keep, Unkept};
use crate::secret::{Secret, wipe};
use crate::upstream::{AGENT, ConnectError, EgressError, OnceError, Upstream, once};
use crate::vendor::{Answer, FaultClass, FaultReason, Grant, Login, Occasion, TokenFault, TokenRequest, Vendor, skew};

/// The longest answer that is read.
const ANSWER_LIMIT: usize = 64 << 10;
/// A token answer is never worth a decompressor, nor the bombs that come with one.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// A fetch of this vendor's token over this upstream. For a fixed token nothing is sent
/// (`upstream` is then `None`). With a `keep`, the refresh token of an answer is kept there before the
/// access token that came with it is given out.
pub fn fetch(
    vendor: Arc<dyn Vendor>,
    upstream: Option<Arc<Upstream>>,
    timeout: Duration,
    keep: Option<Arc<dyn Keep>>,
) -> Fetch {
    Arc::new(move || {
        let (vendor, upstream, keep) = (Arc::clone(&vendor), upstream.clone(), keep.clone());
        Box::pin(async move {
            let kept = match &keep {
                Some(keep) => keep.load().await.map_err(|fault| TokenFault { heard: false, ..unkept(fault) })?,
                None => None,
            };
            let grant = match vendor.login(&occasion(kept.clone()))? {
                Login::Fixed(token) => Grant::new(token, None),
                Login::Request(request) => {
                    let asked = ask(vendor.as_ref(), request, upstream.as_deref(), timeout).await;
                    asked.map_err(|fault| of_kept(fault, kept.as_ref(), vendor.first_refresh_token()))?
                }
            };
            // First of all, whatever is wrong with the rest: the one that was used may be dead by now.
            if let (Some(keep), Some(next)) = (&keep, &grant.refresh_token) {
                let last = kept.as_ref().or(vendor.first_refresh_token());
                if last != Some(next) {
                    keep.save(next).await.map_err(unkept)?;
                }
            }
            sendable(grant)
        })
    })
}

async fn ask(
    vendor: &dyn Vendor,
    request: TokenRequest,
    upstream: Option<&Upstream>,
    timeout: Duration,
) -> Result<Grant, TokenFault> {
    let Some(upstream) = upstream else { return Err(transient(FaultReason::Unreachable)) };
    let sent = request.fleeting.clone();
    let answer =
        once(upstream, addressed(request, upstream)?, timeout, ANSWER_LIMIT).await.map_err(|error| fault(&error))?;
    let (head, body) = answer.into_parts();
    let read = Answer { status: head.status, headers: &head.headers, body: &body, sent: &sent };
    let grant = vendor.read(&read);
    let skew = skew(&head.headers, unix_time());
    // The connection's buffer, in which the head lies too: with its connection gone it is ours alone.
    drop(head);
    wipe(body);
    Ok(Grant { skew, ..grant? })
}

fn unkept(_: Unkept) -> TokenFault {
    transient(FaultReason::Unkept)
}

/// Says it where the refresh token that was refused is not the one in the configuration: the operator
/// would look there in vain.
fn of_kept(fault: TokenFault, kept: Option<&Secret>, first: Option<&Secret>) -> TokenFault {
    match fault.reason {
        FaultReason::RefreshToken if kept.is_some() && kept != first => {
            TokenFault { reason: FaultReason::KeptRefreshToken, ..fault }
        }
        _ => fault,
    }
}

fn occasion(refresh_token: Option<Secret>) -> Occasion {
    // 192 bits; `jti` need not be a secret, only unlike any other.
    let nonce = URL_SAFE_NO_PAD
        .encode([fastrand::u64(..), fastrand::u64(..), fastrand::u64(..)].map(u64::to_ne_bytes).concat());
    Occasion { now: unix_time(), nonce, refresh_token }
}

/// Seconds since 1970 by the wall clock.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same, where the request is for this upstream: what is in it goes to no other origin than the
/// one it was made for, whatever a vendor's code builds.
fn addressed(request: TokenRequest, upstream: &Upstream) -> Result<Request<Full<Bytes>>, TokenFault> {
    if *request.url.origin() != upstream.target().origin {
        return Err(transient(FaultReason::Unsayable));
    }
    wire(request)
}

/// The request as it goes over the wire: target in origin form, `Host` from the URL (RFC 9112
/// section 3.2), and the vendor's own headers, of which none is overridden but those.
fn wire(request: TokenRequest) -> Result<Request<Full<Bytes>>, TokenFault> {
    let TokenRequest { method, url, headers, body, fleeting: _ } = request;
    // Neither fails for a URL and a body that were checked; a login that cannot be said is no login.
    let unsayable = || transient(FaultReason::Unsayable);
    let host = HeaderValue::from_str(url.origin().authority().as_str()).map_err(|_| unsayable())?;
    let target: http::Uri = url.target().parse().map_err(|_| unsayable())?;

    let mut all = HeaderMap::with_capacity(headers.len() + 4);
    all.insert(USER_AGENT, AGENT);
    all.extend(headers);
    all.insert(HOST, host);
    all.insert(ACCEPT_ENCODING, IDENTITY);
    all.remove(CONTENT_LENGTH);
    // RFC 9110 section 8.6: said also of an empty body where the method has a meaning for one.
    if !body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        all.insert(CONTENT_LENGTH, HeaderValue::from(body.expose().len()));
    }

    let mut wire = Request::new(Full::new(Bytes::from_owner(SecretBody(body))));
    *wire.method_mut() = method;
    *wire.uri_mut() = target;
    *wire.headers_mut() = all;
    Ok(wire)
}

/// A body that is sent from where it is kept: no copy that nobody wipes.
struct SecretBody(Secret);

impl AsRef<[u8]> for SecretBody {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// What every token must be, whoever read it: visible ASCII, spaces only inside (RFC 9110 section 5.5).
fn sendable(grant: Grant) -> Result<Grant, TokenFault> {
    let token = grant.token.expose();
    if token.is_empty() {
        return Err(transient(FaultReason::NoToken));
    }
    let visible = token.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !visible || token.trim_matches(' ').len() != token.len() {
        return Err(transient(FaultReason::BadToken));
    }
    Ok(grant)
}

fn transient(reason: FaultReason) -> TokenFault {
    TokenFault::new(FaultClass::Transient, reason)
}

/// None of these says anything of the credentials: all may be over in a moment. Why is told in place
/// of a code. The URL is not: it may have come from a reference, and what did is in no message.
fn fault(error: &OnceError) -> TokenFault {
    let mut fault = transient(match error {
        OnceError::Connect(ConnectError::Egress(EgressError::Refused(status))) => {
            FaultReason::EgressStatus(status.as_u16())
        }
        OnceError::Connect(ConnectError::Egress(_)) => FaultReason::Egress,
        OnceError::Connect(ConnectError::Timeout) | OnceError::Timeout { .. } => FaultReason::Timeout,
        OnceError::Connect(cause) if cause.is_certificate() => FaultReason::Certificate,
        OnceError::Connect(_) | OnceError::Broken(_) => FaultReason::Unreachable,
        OnceError::TooLarge => FaultReason::TooLarge,
    });
    fault.code = error.cause();
    fault.heard = !matches!(error, OnceError::Connect(_) | OnceError::Timeout { sent: false });
    fault
}

#[cfg(test)]
mod tests {
    use std::io;

    use http_body_util::BodyExt;

    use super::*;
    use crate::model::{EndpointUrl, Placement, RefusedWhen};
    use crate::vendor::{Defaults, Identity, OwnCall, OwnEndpoint};

    #[derive(Debug)]
    struct Fixed(&'static str);

    impl Vendor for Fixed {
        fn provider(&self) -> &'static str {
            "fixed"
        }
        fn identity(&self) -> Identity {
            Identity { parts: Vec::new(), secrets: Vec::new() }
        }
        fn token_url(&self) -> Option<&EndpointUrl> {
            None
        }
        fn login(&self, _: &Occasion) -> Result<Login, TokenFault> {
            Ok(Login::Fixed(Secret::new(self.0)))
        }
        fn read(&self, _: &Answer<'_>) -> Result<Grant, TokenFault> {
            Err(transient(FaultReason::Unreadable))
        }
        fn own_endpoints(&self) -> Vec<OwnEndpoint> {
            Vec::new()
        }
        fn placeholder(&self, _: OwnCall, _: &str, _: Duration) -> String {
            String::new()
        }
        fn defaults(&self) -> Defaults {
            let refused_when = RefusedWhen::default();
            Defaults { inject: Placement::new(), lifetime: None, exclusive: false, refused_when }
        }
    }

    fn request(method: Method, url: &str, body: &str) -> TokenRequest {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HOST, HeaderValue::from_static("elsewhere.example"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        TokenRequest {
            method,
            url: EndpointUrl::parse(url).unwrap(),
            headers,
            body: Secret::new(body),
            fleeting: Vec::new(),
        }
    }

    fn text(headers: &HeaderMap, name: http::HeaderName) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_login_goes_out_with_its_own_body_and_the_hosts_name() {
        let sent = wire(request(Method::POST, "https://Login.Example:8443/a/token?x=%20y", "{\"s\":1}")).unwrap();
        assert_eq!((sent.method(), sent.uri().to_string().as_str()), (&Method::POST, "/a/token?x=%20y"));
        let headers = sent.headers();
        assert_eq!(text(headers, HOST), ["login.example:8443"]);
        assert_eq!(text(headers, CONTENT_LENGTH), ["7"]);
        assert_eq!(text(headers, ACCEPT_ENCODING), ["identity"]);
        assert_eq!(text(headers, http::header::CONTENT_TYPE), ["application/json"]);
        assert_eq!(text(headers, USER_AGENT), [format!("tokenferry/{}", env!("CARGO_PKG_VERSION"))]);
        assert_eq!(sent.into_body().collect().await.unwrap().to_bytes(), "{\"s\":1}");
    }

    #[test]
    fn an_empty_body_says_its_length_only_where_the_method_has_one() {
        let empty = |method| wire(request(method, "https://login.example/token", "")).unwrap();
        assert_eq!(text(empty(Method::POST).headers(), CONTENT_LENGTH), ["0"]);
        assert!(text(empty(Method::GET).headers(), CONTENT_LENGTH).is_empty());
        assert_eq!(empty(Method::GET).uri(), "/token");
    }

    #[tokio::test]
    async fn a_fixed_token_is_there_at_once_and_for_ever() {
        let grant = fetch(Arc::new(Fixed("k3y")), None, Duration::ZERO, None)().await.unwrap();
        assert_eq!((grant.token.expose(), grant.lifetime), ("k3y", None));
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_sent_is_refused_here_too() {
        for (token, reason) in [
            ("", FaultReason::NoToken),
            ("a\r\nb", FaultReason::BadToken),
            ("a\tb", FaultReason::BadToken),
            (" a", FaultReason::BadToken),
            ("a ", FaultReason::BadToken),
            ("schlüssel", FaultReason::BadToken),
            ("a\u{7f}", FaultReason::BadToken),
        ] {
            let fault = fetch(Arc::new(Fixed(token)), None, Duration::ZERO, None)().await.unwrap_err();
            assert_eq!((fault.class, fault.reason), (FaultClass::Transient, reason), "{token:?}");
        }
        assert!(fetch(Arc::new(Fixed("a b~!")), None, Duration::ZERO, None)().await.is_ok());
    }

    #[test]
    fn what_happened_to_a_login_is_told_from_its_error() {
        let tls = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let unknown = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        for (error, reason) in [
            (OnceError::Connect(ConnectError::Tcp(reset())), FaultReason::Unreachable),
            (OnceError::Connect(ConnectError::Dns(reset())), FaultReason::Unreachable),
            (OnceError::Connect(ConnectError::Tls(reset())), FaultReason::Unreachable),
            (OnceError::Connect(ConnectError::Tls(tls(rustls::Error::DecryptError))), FaultReason::Unreachable),
            (OnceError::Connect(ConnectError::Tls(tls(unknown()))), FaultReason::Certificate),
            (OnceError::Connect(ConnectError::Tls(io::Error::other(tls(unknown())))), FaultReason::Certificate),
            (OnceError::Connect(ConnectError::Timeout), FaultReason::Timeout),
            (OnceError::Timeout { sent: true }, FaultReason::Timeout),
            (OnceError::TooLarge, FaultReason::TooLarge),
        ] {
            let fault = fault(&error);
            assert_eq!((fault.class, fault.reason), (FaultClass::Transient, reason), "{error:?}");
        }
    }
}
