//! One connection, from its first byte to its last, through hyper.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::cut::LocalExecutor;
use super::fresh::Plain;
use super::opening::{Opened, open};
use super::roster::{Member, Verdict};
use super::socket::Socket;
use crate::live::{Door, Patience};
use crate::model::HeaderCase;
use crate::proxy::{Client, Peer, Proxy, Reply};

/// A connection as the listener accepted it.
#[derive(Debug)]
pub(super) struct Knock {
    pub(super) stream: Plain,
    pub(super) peer: Option<IpAddr>,
    /// The listener's address.
    pub(super) listener: Arc<str>,
    pub(super) door: Door,
}

/// A part of a connection's life: boxed, so that it takes room for as long as it lasts and no longer.
type Stage<T> = Pin<Box<dyn Future<Output = T>>>;

/// Serves a connection until it closes. Its task holds what all of its life needs and is small, since
/// there may be ten thousand that wait for their clients.
pub(super) fn serve(knock: Knock, member: Rc<Member>, proxy: Rc<Proxy>) -> impl Future<Output = ()> {
    let counted = proxy.connected();
    let opening: Stage<_> = Box::pin(begin(knock, member, proxy));
    async move {
        let _counted = counted;
        if let Some(rest) = opening.await {
            rest.await;
        }
    }
}

/// Opens a connection, and gives what serves it from then on.
async fn begin(knock: Knock, member: Rc<Member>, proxy: Rc<Proxy>) -> Option<Stage<()>> {
    let patience = proxy.patience();
    let watch = Arc::clone(&member.watch);
    let (header_case, record_case) = (knock.door.header_case, knock.door.record_case);
    let tls = knock.door.tls.is_some();
    let voucher = knock.door.voucher.clone();
    let opened = {
        let mut opening = pin!(open(knock, watch, &patience, &proxy));
        poll_fn(|cx| match member.verdict(cx.waker()) {
            // A client that has said nothing yet has nothing to finish.
            Verdict::Close | Verdict::Finish => Poll::Ready(None),
            Verdict::GoOn | Verdict::Park => opening.as_mut().poll(cx),
        })
        .await
    };
    let Opened { socket, http2, peer, nameless, certificate } = opened?;
    let connection: Rc<dyn crate::proxy::OnIdle> = Rc::<Member>::clone(&member);
    let preserve_case = header_case == HeaderCase::Preserve;
    let told = Peer::new(peer, tls);
    let certificate = certificate.zip(voucher).map(|(certificate, voucher)| (Rc::new(certificate), voucher));
    let client = Rc::new(Client { peer, nameless, told, tls, certificate, preserve_case, connection });
    let its = Rc::clone(&member);
    let service = service_fn(move |request: Request<Incoming>| {
        let (proxy, client, its) = (Rc::clone(&proxy), Rc::clone(&client), Rc::clone(&its));
        async move {
            let mut response = proxy.serve(&client, request).await;
            if its.is_leaving() && !http2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // RFC 9112 section 9.6: the client takes its next request elsewhere.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    Some(if http2 {
        member.watch.speaks_http2();
        let mut connection = http2_builder(&patience).serve_connection(TokioIo::new(socket), service);
        Box::pin(async move {
            drive(&mut connection, &member, http2::Connection::graceful_shutdown).await;
        })
    } else {
        let Patience { head_size, header_count, .. } = patience;
        Box::pin(http1(socket, Http1 { head_size, header_count, header_case, record_case }, service, member))
    })
}

/// Serves a connection over HTTP/1. While nobody uses it, it is parked: hyper's part of it, which holds
/// two buffers of 8 KiB and room for a request's whole walk, is taken down, and built anew when the client
/// says something.
///
/// Not an `async fn`, whose parameters have their room beside the variables that they become.
#[expect(clippy::manual_async_fn, reason = "see above")]
fn http1<S>(mut socket: Socket, how: Http1, mut service: S, member: Rc<Member>) -> impl Future<Output = ()>
where
    S: HttpService<Incoming, ResBody = Reply, Error = Infallible> + Unpin,
    S::Future: 'static,
{
    async move {
        loop {
            let parts = {
                let connection = how.builder().serve_connection(TokioIo::new(socket), service).with_upgrades();
                let mut connection = Box::new(connection);
                if drive(&mut *connection, &member, http1::UpgradeableConnection::graceful_shutdown).await == Turn::Over
                {
                    return;
                }
                // The box goes with this block: what was in it alone would leave it behind, empty.
                connection.into_parts()
            };
            let Some(Parts { io, read_buf, service: its, .. }) = parts else { return };
            tracing::trace!("connection parked");
            (socket, service) = (io.into_inner(), its);
            // The beginning of a head that came behind the request before.
            socket.unread(&read_buf);
            drop(read_buf);
            let woken = poll_fn(|cx| match member.verdict(cx.waker()) {
                Verdict::Close | Verdict::Finish => Poll::Ready(false),
                // What is wrong with a stream is for its reader to find.
                Verdict::GoOn | Verdict::Park => socket.poll_heard(cx).map(|()| true),
            });
            if !woken.await {
                return;
            }
            member.goes_on();
        }
    }
}

/// How HTTP/1 is spoken on a connection; hyper's own builder takes several times the room.
#[derive(Clone, Copy, Debug)]
struct Http1 {
    head_size: usize,
    header_count: usize,
    header_case: HeaderCase,
    /// Whether the case of an answer's header names is recorded in its extensions.
    record_case: bool,
}

impl Http1 {
    fn builder(self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            // The roster keeps the time of heads: it tells an idle connection from a slow head.
            .header_read_timeout(None)
            .timer(TokioTimer::new())
            .max_buf_size(self.head_size.max(8192))
            .title_case_headers(self.header_case == HeaderCase::Title)
            // An answer is written in the case that its extensions record; the walk clears them where
            // the listener does not want that.
            .preserve_header_case(self.record_case || self.header_case == HeaderCase::Preserve);
        // Said, it would cost an allocation a request even where it is what hyper has anyway.
        if self.header_count != HYPERS_HEADERS {
            builder.max_headers(self.header_count);
        }
        builder
    }
}

/// Header lines that hyper takes over HTTP/1 unless it is told otherwise.
const HYPERS_HEADERS: usize = 100;

fn http2_builder(patience: &Patience) -> http2::Builder<LocalExecutor> {
    /// What nginx and Envoy allow by default is 128 and 100.
    const STREAMS: u32 = 128;
    /// Finite, or rapid resets (CVE-2023-44487) and resets that we are made to send
    /// (CVE-2025-8671) would cost without bound.
    const RESETS: usize = 20;
    const OWN_RESETS: usize = 1024;
    /// What each stream may keep of an answer that its client does not read; hyper's default of 400
    /// KiB would be 50 MiB a connection.
    const UNREAD: usize = 64 * 1024;
    /// What a stream, and all of a connection's together, may send of bodies that nobody has taken
    /// yet: hyper's defaults, written down since memory is bounded by them.
    const WINDOW: u32 = 1024 * 1024;

    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(patience.head_size).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .max_send_buf_size(UNREAD)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    builder
}

/// How the driving of a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// It is closed, or has become a tunnel.
    Over,
    /// Nothing is under way on it, and has not been for a while.
    Parked,
}

/// Polls a connection, and tells it what the roster tells.
async fn drive<C, E>(connection: &mut C, member: &Member, finish: impl Fn(Pin<&mut C>)) -> Turn
where
    C: Future<Output = Result<(), E>> + Unpin,
    E: std::error::Error,
{
    let mut finishing = false;
    poll_fn(|cx: &mut Context<'_>| {
        match member.verdict(cx.waker()) {
            Verdict::Finish if finishing => {}
            Verdict::Finish => {
                finishing = true;
                finish(Pin::new(&mut *connection));
            }
            Verdict::Close => return Poll::Ready(Turn::Over),
            Verdict::Park if member.parks() => return Poll::Ready(Turn::Parked),
            Verdict::Park | Verdict::GoOn => {}
        }
        Pin::new(&mut *connection).poll(cx).map(|ended| {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection broke off");
            }
            Turn::Over
        })
    })
    .await
}
