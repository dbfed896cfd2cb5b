//! Upgraded connections: asked for only where the route allows it, and a tunnel only after the 101
//! (RFC 9110 section 7.8). Bytes that came early stay in the client's buffer until then.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::headers::{clean_response, requested_upgrade, set_upgrade};
use super::refusal::Refusal;
use super::reply::{Busy, Reply};
use super::view::Client;
use crate::limit::Present;
use crate::telemetry::metrics::{Sheet, Side};
use crate::upstream::Answer;

/// The protocol that the client asks for, if the route lets it through. A WebSocket's opening
/// handshake has no body (RFC 6455 section 4.1): one that has asks for nothing.
pub(super) fn wanted(headers: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    let asked = requested_upgrade(headers)?;
    if asked.eq_ignore_ascii_case("websocket") && has_body(headers) {
        return None;
    }
    let known = allowed.iter().find(|protocol| protocol.eq_ignore_ascii_case(asked))?;
    HeaderValue::try_from(known.as_str()).ok()
}

/// Whether an HTTP/1.1 request has a body.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Answers the client's upgrade with the upstream's, and carries bytes both ways from then on: as long as
/// it does, the request is under way.
pub(super) fn tunnel(
    mut response: Response<Answer>,
    protocol: &HeaderValue,
    client: OnUpgrade,
    connection: &Client,
    (sheet, present): (&Arc<Sheet>, Option<Present>),
) -> Result<Response<Reply>, Refusal> {
    let agreed = response.headers().get(UPGRADE);
    if !agreed.is_some_and(|agreed| agreed.as_bytes().eq_ignore_ascii_case(protocol.as_bytes())) {
        return Err(Refusal::wrong_switch());
    }
    let upstream = hyper::upgrade::on(&mut response);
    // A tunnel is as slow as its ends like.
    connection.connection.stall_after(None);
    let busy = Busy::new(std::rc::Rc::clone(&connection.connection));
    let sheet = Arc::clone(sheet);
    tokio::task::spawn_local(async move {
        let _under_way = (busy, present);
        let (Ok(client), Ok(upstream)) = (client.await, upstream.await) else { return };
        // As connections of HTTP they have ended.
        let _counted = [Side::Client, Side::Upstream].map(|side| sheet.connected(side));
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        // Either side may go at any time; how a tunnel ends is its ends' own business.
        match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
            Ok((up, down)) => tracing::debug!(up, down, "tunnel closed"),
            Err(error) => tracing::debug!(%error, "tunnel broke off"),
        }
    });
    clean_response(response.headers_mut(), StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_11);
    let headers = response.headers_mut();
    set_upgrade(headers, protocol.clone());
    response.extensions_mut().clear();
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(|_| Reply::empty()))
}
