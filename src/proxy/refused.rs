//! Whether an answer says inside, in JSON, that the token was refused.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Frame;

use super::json_scan::{PointerScan, Scan};
use super::media::is_json;
use crate::model::JsonRefusal;
use crate::upstream::Answer;

/// How far into an answer is looked. An answer that does not show a refusal by then passes.
const LOOK_AHEAD: usize = 64 * 1024;

/// Whether the answer is of a kind that could tell: JSON, in plain text.
pub(super) fn may_tell(response: &Response<Answer>) -> bool {
    let headers = response.headers();
    headers.get(CONTENT_TYPE).is_some_and(is_json)
        && headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Reads as far as needed to know; gives back what it read, so that nothing is lost to the client.
/// An answer that breaks off meanwhile is an error: its head has not gone out yet.
pub(super) async fn look_ahead(
    answer: &mut Answer,
    rule: &JsonRefusal,
    patience: Duration,
) -> Result<(VecDeque<Frame<Bytes>>, bool), hyper::Error> {
    let mut ahead = VecDeque::new();
    let mut text: Vec<u8> = Vec::new();
    let mut scan = PointerScan::new(&rule.pointer);
    // A silent or ended answer has not shown a refusal: it passes, as far as it came.
    while let Ok(Some(frame)) = tokio::time::timeout(patience, answer.frame()).await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
        ahead.push_back(frame);
        match scan.scan(&text) {
            Scan::Found(value) => return Ok((ahead, rule.matches.is_match(&value))),
            Scan::More if text.len() < LOOK_AHEAD => {}
            Scan::More | Scan::Absent => return Ok((ahead, false)),
        }
    }
    Ok((ahead, false))
}
