//! The token's places that are no headers: which body has to be read whole for them, and what
//! query and body become.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use zeroize::Zeroizing;

use super::headers::barred;
use super::media::is_json;
use super::refusal::Refusal;
use super::upload::{Outbound, ReplayBudget, Upload};
use crate::model::{BodyPace, Place};
use crate::route::Forward;
use crate::secret::wiped_bytes;
use crate::token::Guard;
use crate::token::inject::{JsonShape, JsonSpliceError, json_shape, remove_parameter, splice_json, splice_query};

/// A request's body, as far as it concerns the sending.
pub(super) enum Inbound {
    /// None.
    Empty,
    /// Read whole, because a token goes into it: a JSON object, or nothing at all.
    Object(Bytes),
    /// Read whole, and of no kind that a token goes into.
    Other(Bytes),
    /// Streamed.
    Upload(Rc<Upload>),
}

impl Inbound {
    /// Whether it can be sent again.
    pub(super) fn replayable(&self) -> bool {
        match self {
            Self::Empty | Self::Object(_) | Self::Other(_) => true,
            Self::Upload(upload) => upload.replayable(),
        }
    }

    /// Bytes that have come of it.
    pub(super) fn received(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Object(bytes) | Self::Other(bytes) => bytes.len() as u64,
            Self::Upload(upload) => upload.read(),
        }
    }

    pub(super) fn upload(&self) -> Option<&Rc<Upload>> {
        match self {
            Self::Upload(upload) => Some(upload),
            _ => None,
        }
    }

    pub(super) fn into_upload(self) -> Option<Rc<Upload>> {
        match self {
            Self::Upload(upload) => Some(upload),
            _ => None,
        }
    }
}

/// The place that may need the body, if there is one. `json`, which needs it always, decides also
/// where a `parameter` stands before it.
fn place(places: &[Place]) -> Option<&Place> {
    let json = places.iter().find(|place| matches!(place, Place::Json { .. }));
    json.or_else(|| places.iter().find(|place| matches!(place, Place::Parameter { .. })))
}

/// The query parameter that carries the token, if one may.
pub(super) fn query_name(places: &[Place]) -> Option<&str> {
    places.iter().find_map(|place| match place {
        Place::Query { name } | Place::Parameter { name } => Some(name.as_str()),
        Place::Header { .. } | Place::Json { .. } => None,
    })
}

/// What has to be done with a body that is not empty, by the head's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// It is streamed as it is.
    Stream,
    /// It is read whole, since the token goes into it.
    Whole,
}

impl Need {
    /// Judges by the headers as they go upstream.
    pub(super) fn of(headers: &HeaderMap, places: &[Place]) -> Result<Self, Refusal> {
        let json = headers.get(CONTENT_TYPE).map(is_json);
        let whole = match place(places) {
            Some(Place::Json { .. }) => true,
            Some(Place::Parameter { .. }) => json == Some(true),
            _ => false,
        };
        if !whole {
            return Ok(Self::Stream);
        }
        let coded = headers.get(CONTENT_ENCODING).is_some_and(|c| !c.as_bytes().eq_ignore_ascii_case(b"identity"));
        if coded || json == Some(false) { Err(Refusal::NotSpliceable) } else { Ok(Self::Whole) }
    }
}

impl Inbound {
    /// No body at all.
    pub(super) fn none(places: &[Place]) -> Self {
        if matches!(place(places), Some(Place::Json { .. })) { Self::Object(Bytes::new()) } else { Self::Empty }
    }

    /// A body that was read whole.
    pub(super) fn whole(bytes: Bytes, headers: &HeaderMap, places: &[Place]) -> Result<Self, Refusal> {
        let must = matches!(place(places), Some(Place::Json { .. }));
        match json_shape(&bytes) {
            Ok(JsonShape::Object) => Ok(Self::Object(bytes)),
            Ok(JsonShape::Empty) if must => Ok(Self::Object(Bytes::new())),
            _ if must && !headers.contains_key(CONTENT_TYPE) => Err(Refusal::NotSpliceable),
            Ok(JsonShape::Other) if must => Err(Refusal::NotSpliceable),
            Ok(JsonShape::Empty | JsonShape::Other) => Ok(Self::Other(bytes)),
            Err(_) => Err(Refusal::BadJson),
        }
    }
}

/// Takes in a body that is not empty: read whole where a token goes into it, else made ready to stream.
pub(super) async fn take_in(
    body: Incoming,
    headers: &HeaderMap,
    forward: &Forward,
    budget: &Arc<ReplayBudget>,
    places: &[Place],
) -> Result<Inbound, Refusal> {
    match Need::of(headers, places)? {
        Need::Stream => {
            let barred = barred(places, &forward.request_headers);
            Ok(Inbound::Upload(Upload::new(body, forward.limits, barred, Arc::clone(budget))))
        }
        Need::Whole => {
            let limit = forward.limits.splice.min(forward.limits.body);
            // Boxed, as all that is seldom awaited: a warm request carries no room for it about.
            let pace = (forward.timeouts.body, forward.limits.body_pace);
            let bytes = Box::pin(read_whole(body, limit, pace)).await?;
            Inbound::whole(bytes, headers, places)
        }
    }
}

/// Reads a body whole: no byte may take longer than the patience, nor all of them longer than the pace
/// allows. The first frame is the common case and is not copied.
pub(super) async fn read_whole(
    mut body: Incoming,
    limit: u64,
    (patience, pace): (Duration, BodyPace),
) -> Result<Bytes, Refusal> {
    let began = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    if body.size_hint().lower() > limit {
        return Err(Refusal::SpliceTooLarge);
    }
    loop {
        let read = (first.len() + rest.len()) as u64;
        let left = pace.left(began.elapsed(), read);
        let frame = match tokio::time::timeout(patience.min(left), body.frame()).await {
            Err(_) => return Err(Refusal::SlowBody),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Refusal::BodyBroken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if (first.len() + rest.len() + data.len()) as u64 > limit {
            return Err(Refusal::SpliceTooLarge);
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// What becomes of the query.
pub(super) enum Query {
    /// It stays as it came.
    Kept,
    /// It is this now, which may hold the token; `None` where nothing of it is left.
    Changed(Option<Zeroizing<String>>),
}

impl Query {
    /// The query as it is now, if it was `before`.
    pub(super) fn now<'a>(&'a self, before: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Kept => before,
            Self::Changed(query) => query.as_ref().map(|query| query.as_str()),
        }
    }
}

/// What one sending carries.
pub(super) struct Injected {
    pub(super) query: Query,
    pub(super) body: Outbound,
    /// Whether there was no body and an object was made.
    pub(super) body_made: bool,
}

/// Writes the token into query and body, taking out first what the client sent there.
pub(super) fn inject(
    places: &[Place],
    guard: Option<&Guard>,
    query: Option<&str>,
    body: &Inbound,
) -> Result<Injected, Refusal> {
    let mut injected = Injected { query: Query::Kept, body: Outbound::Empty, body_made: false };
    let mut spliced: Option<Bytes> = None;
    for place in places {
        let Some(token) = guard.map(Guard::text) else { break };
        let in_body = match place {
            Place::Header { .. } => continue,
            Place::Query { .. } => false,
            Place::Json { .. } => true,
            Place::Parameter { .. } => matches!(body, Inbound::Object(_)),
        };
        let (Place::Query { name } | Place::Json { name } | Place::Parameter { name }) = place else { continue };
        let now = injected.query.now(query);
        match (in_body, place) {
            (false, _) => {
                injected.query = Query::Changed(Some(Zeroizing::new(splice_query(now, name, token))));
            }
            (true, Place::Parameter { .. }) => {
                if let Some(now) = now {
                    injected.query = Query::Changed(remove_parameter(now, name).map(Zeroizing::new));
                }
            }
            (true, _) => {}
        }
        if in_body && let Inbound::Object(object) = body {
            let before = spliced.as_ref().unwrap_or(object);
            injected.body_made |= before.is_empty();
            let after = splice_json(before, name, token).map_err(|error| match error {
                JsonSpliceError::Malformed(_) => Refusal::BadJson,
                JsonSpliceError::NotAnObject => Refusal::NotSpliceable,
            })?;
            spliced = Some(wiped_bytes(Zeroizing::new(after)));
        }
    }
    injected.body = match (spliced, body) {
        (Some(bytes), _) => Outbound::Whole(Some(bytes)),
        (None, Inbound::Empty) => Outbound::Empty,
        (None, Inbound::Object(bytes) | Inbound::Other(bytes)) if bytes.is_empty() => Outbound::Empty,
        (None, Inbound::Object(bytes) | Inbound::Other(bytes)) => Outbound::Whole(Some(bytes.clone())),
        (None, Inbound::Upload(upload)) => upload.outbound(),
    };
    Ok(injected)
}
