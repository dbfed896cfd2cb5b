//! One connection, from its first byte to its last, through hyper.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
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
use super::opening::{Opened, open};
use super::roster::{Member, Verdict};
use super::socket::{Plain, Socket};
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

/// Serves a connection until it closes.
pub(super) async fn serve(knock: Knock, member: Rc<Member>, proxy: Rc<Proxy>) {
    let _counted = proxy.connected();
    let patience = proxy.patience();
    let watch = Arc::clone(&member.watch);
    let (header_case, record_case) = (knock.door.header_case, knock.door.record_case);
    let tls = knock.door.tls.is_some();
    let voucher = knock.door.voucher.clone();
    let opened = {
        // Boxed, as all that only a part of a connection's life needs: what is parked is small.
        let mut opening = Box::pin(open(knock, watch, &patience, &proxy));
        poll_fn(|cx| match member.verdict(cx.waker()) {
            // A client that has said nothing yet has nothing to finish.
            Verdict::Close | Verdict::Finish => Poll::Ready(None),
            Verdict::GoOn | Verdict::Park => opening.as_mut().poll(cx),
        })
        .await
    };
    let Some(Opened { socket, http2, peer, nameless, certificate }) = opened else { return };
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
    if http2 {
        member.watch.speaks_http2();
        let mut connection = Box::new(http2_builder(&patience).serve_connection(TokioIo::new(socket), service));
        drive(&mut *connection, &member, http2::Connection::graceful_shutdown).await;
    } else {
        http1(socket, &http1_builder(&patience, header_case, record_case), service, &member).await;
    }
}

/// Serves a connection over HTTP/1. While nobody uses it, it is parked: hyper's part of it, which holds
/// two buffers of 8 KiB and room for a request's whole walk, is taken down, and built anew when the client
/// says something.
async fn http1<S>(mut socket: Socket, builder: &http1::Builder, mut service: S, member: &Member)
where
    S: HttpService<Incoming, ResBody = Reply, Error = Infallible> + Unpin,
    S::Future: 'static,
{
    loop {
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(socket), service).with_upgrades());
        if drive(&mut *connection, member, http1::UpgradeableConnection::graceful_shutdown).await == Turn::Over {
            return;
        }
        let Some(parts) = connection.into_parts() else { return };
        tracing::trace!("connection parked");
        let Parts { io, read_buf, service: its, .. } = parts;
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

fn http1_builder(patience: &Patience, header_case: HeaderCase, record_case: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The roster keeps the time of heads: it tells an idle connection from a slow head.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .max_buf_size(patience.head_size.max(8192))
        .title_case_headers(header_case == HeaderCase::Title)
        // An answer is written in the case that its extensions record; the walk clears them where
        // the listener does not want that.
        .preserve_header_case(record_case || header_case == HeaderCase::Preserve);
    // Said, it would cost an allocation a request even where it is what hyper has anyway.
    if patience.header_count != HYPERS_HEADERS {
        builder.max_headers(patience.header_count);
    }
    builder
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
