//! A request as each protocol wants it, an answer's framing as this proxy takes it, and hyper's
//! settings.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::{Malformed, Target};
use crate::model::{HeaderCase, Origin, Scheme};

/// A stream's flow-control window. Together with the connection's window it says how much of
/// answers that nobody reads is kept, and how fast one stream may be: 20 MiB/s at 50 ms.
const STREAM_WINDOW: u32 = 1 << 20;
/// The connection's window: sixteen stalled readers fill it before others wait for them. hyper's
/// adaptive window is not used: it makes both windows equal, and one stalled reader would stop all.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Longest head of an HTTP/2 answer, in bytes.
const HTTP2_HEAD: u32 = 64 << 10;
/// Streams whose clients went away, remembered for a moment, so that late frames for them are no
/// protocol error.
const FORGOTTEN_STREAMS: usize = 1024;

/// Runs hyper's HTTP/2 tasks on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// What is read of an answer at once, and so the most that waits here for a client that does not
/// read; an answer's head may be as long. hyper's 400 KiB would be 50 MiB for an HTTP/2 client's streams.
const READ_AHEAD: usize = 128 * 1024;

/// An answer's head may have 100 fields: hyper's bound, without an allocation for each. Folded lines and spaces before the colon are refused.
pub(super) fn http1_builder(target: &Target) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_AHEAD);
    // Under `preserve` it serves the names that the client did not write.
    builder.title_case_headers(target.header_case != HeaderCase::Lower);
    builder.preserve_header_case(target.preserve_answers);
    builder
}

/// No pings of our own: gRPC servers end connections that ping (`too_many_pings`), and the
/// socket's keep-alive and user timeout already notice a dead peer.
pub(super) fn http2_builder() -> http2::Builder<LocalExec> {
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HTTP2_HEAD)
        .max_concurrent_reset_streams(FORGOTTEN_STREAMS);
    builder
}

/// Target in origin form and a `Host` (RFC 9112 section 3.2), whatever it was built for.
pub(super) fn as_http1<B: Body<Data = Bytes>>(request: &mut Request<B>, origin: &Origin) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        let parts = std::mem::take(request.uri_mut()).into_parts();
        let host = parts.authority.as_ref().and_then(host_value);
        *request.uri_mut() = Uri::from(parts.path_and_query.unwrap_or(PathAndQuery::from_static("/")));
        if let (Some(host), false) = (host, request.headers().contains_key(HOST)) {
            request.headers_mut().insert(HOST, host);
        }
    }
    if !request.headers().contains_key(HOST)
        && let Some(host) = host_value(origin.authority())
    {
        request.headers_mut().insert(HOST, host);
    }
    frame(request);
}

/// What hyper does not say by itself about a body, in the head.
fn frame<B: Body<Data = Bytes>>(request: &mut Request<B>) {
    let (name, value) = if request.body().is_end_stream() {
        // That an empty body is empty is said where one is expected (RFC 9110 section 8.6): some
        // servers answer 411 else.
        if !matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
            return;
        }
        (CONTENT_LENGTH, "0")
    } else {
        // hyper takes it that these methods have no body unless the head says so, and would leave
        // a body of unknown length out.
        if !matches!(*request.method(), Method::GET | Method::HEAD) || request.body().size_hint().exact().is_some() {
            return;
        }
        (TRANSFER_ENCODING, "chunked")
    };
    if !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

/// `:scheme` and `:authority` instead of `Host` (RFC 9113 section 8.3.1). The authority is what
/// `Host` said, else the origin's.
pub(super) fn as_http2<B>(request: &mut Request<B>, origin: &Origin) {
    *request.version_mut() = Version::HTTP_2;
    // What the framing below HTTP/2 does not know, and hyper would complain of.
    request.headers_mut().remove(TRANSFER_ENCODING);
    let host = request.headers_mut().remove(HOST);
    if request.uri().authority().is_some() {
        return;
    }
    let authority = host.and_then(|value| Authority::try_from(value.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(match origin.scheme() {
        Scheme::Http => UriScheme::HTTP,
        Scheme::Https => UriScheme::HTTPS,
    });
    parts.authority = Some(authority.unwrap_or_else(|| origin.authority().clone()));
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    // Scheme, authority and path are all there, which is all that `from_parts` asks for.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

fn host_value(authority: &Authority) -> Option<HeaderValue> {
    HeaderValue::from_str(authority.as_str()).ok()
}

/// Refuses what hyper would take but the next recipient might read in another way (RFC 9112
/// section 6.3, RFC 9110 section 8.6). HTTP/2 frames by itself, and its library refuses the headers of
/// connections and codings; but what it says of a length goes to HTTP/1 clients too.
pub(super) fn framing<B>(response: &Response<B>) -> Result<(), Malformed> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed::Unasked101);
    }
    let headers: &HeaderMap = response.headers();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|value| value.as_bytes().contains(&b',')) {
        return Err(Malformed::TwoLengths);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if length.is_some() {
        return Err(Malformed::TwoFramings);
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Malformed::TransferCoding);
    }
    Ok(())
}

/// Whether the connection may carry another request. An HTTP/1.0 peer's may not: hyper would
/// speak HTTP/1.0 on it from then on, where a request body of unknown length has no place. Neither
/// may one that promises a body where there is none (204, RFC 9110 section 8.6): it may yet send it.
pub(super) fn may_be_reused<B>(response: &Response<B>) -> bool {
    response.version() != Version::HTTP_10 && !promises_no_content(response)
}

fn promises_no_content<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::NO_CONTENT
        && (headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0"))
}
