//! A worker's own handles onto the Snapshot: lanes to tokens, pools of connections. Nothing here is
//! touched by another thread, so a warm request takes no lock and writes to no shared memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Version};

use super::headers::{Peer, via};
use super::kept::Room;
use super::record::Tag;
use super::reply::OnIdle;
use super::request_id::Mint;
use super::upload::{Outbound, ReplayBudget};
use crate::limit::Guesses;
use crate::live;
use crate::live::{Door, Live, Snapshot, Voucher};
use crate::model::{ClientCertificate, Visitor};
use crate::route::Action;
use crate::telemetry::metrics::{Connected, Metrics, NO_ROUTE, Sheet, Side};
use crate::token::Lane;
use crate::upstream::{Pool, Upstream};

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// What is in force.
    pub live: Arc<Live>,
    /// The bound on bodies kept for replay.
    pub budget: Arc<ReplayBudget>,
    /// Where requests and connections are counted.
    pub metrics: Arc<Metrics>,
    /// Wrong keys, by where they came from.
    pub guesses: Guesses,
    /// This process's name in `Via`, by which it recognises its own requests (RFC 9110 section 7.6.3).
    pub pseudonym: String,
}

impl Shared {
    /// With a pseudonym of this process's own.
    pub fn new(live: Arc<Live>, replay_budget: u64, metrics: Arc<Metrics>) -> Arc<Self> {
        let pseudonym = format!("tokenferry-{:08x}", fastrand::u32(..));
        let (budget, guesses) = (Arc::new(ReplayBudget::new(replay_budget)), Guesses::new(Instant::now()));
        Arc::new(Self { live, budget, metrics, guesses, pseudonym })
    }
}

/// Who is asking, for as long as their connection lasts.
#[derive(Clone, Debug)]
pub struct Client {
    /// The socket's address, or the one that a trusted proxy tells; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether that is a trusted proxy of which nobody knows for whom it asks: its PROXY protocol named
    /// nobody, and what the client writes in a header would be all there is.
    pub nameless: bool,
    /// The connection, as upstreams are told of it.
    pub told: Peer,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// What the client showed in the handshake, and the listener's `client_ca` that vouched for it then.
    pub certificate: Option<(Rc<ClientCertificate>, Voucher)>,
    /// Whether answers are written with the header names' case as the upstream wrote them.
    pub preserve_case: bool,
    /// Told when requests begin and end.
    pub connection: Rc<dyn OnIdle>,
}

impl Client {
    /// Who asks, as access rules know them. A certificate counts as long as a listener still has the
    /// `client_ca` that vouched for it: a connection outlives a reload.
    pub(super) fn visitor(&self, doors: &[Door]) -> Visitor<'_> {
        let vouched = self.certificate.as_ref().filter(|(_, voucher)| {
            doors.iter().filter_map(|door| door.voucher.as_ref()).any(|now| Arc::ptr_eq(now, voucher) || now == voucher)
        });
        Visitor { address: self.peer, certificate: vouched.map(|(certificate, _)| &**certificate) }
    }
}

/// One worker's proxy.
#[derive(Debug)]
pub struct Proxy {
    pub(super) shared: Arc<Shared>,
    /// What this worker counts.
    pub(super) sheet: Arc<Sheet>,
    view: RefCell<Rc<View>>,
    via: [HeaderValue; 3],
    /// Names requests.
    pub(super) mint: Mint,
    /// For heads that may be sent again.
    pub(super) room: Room,
    /// When a kind of failure was last told of a route.
    told: RefCell<HashMap<(String, &'static str), Instant>>,
}

/// A Snapshot, with this worker's handles beside each of its routes.
#[derive(Debug)]
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    /// In the order of the Snapshot's entries.
    pub(super) handles: Vec<Handles>,
    /// For requests that no route takes.
    pub(super) nowhere: Rc<Tag>,
    pools: Vec<Rc<Pool<Outbound>>>,
}

/// What one route needs of this worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Handles {
    pub(super) tag: Rc<Tag>,
    pub(super) pool: Option<Rc<Pool<Outbound>>>,
    pub(super) lane: Option<Rc<Lane>>,
    /// The route's `Host`, copied: a clone counts in memory that it shares with its original, and each request
    /// makes one.
    pub(super) host: Option<HeaderValue>,
}

impl Proxy {
    /// A worker's proxy over what all share.
    pub fn new(shared: Arc<Shared>) -> Rc<Self> {
        let snapshot = shared.live.load();
        let sheet = shared.metrics.sheet();
        let view = RefCell::new(Rc::new(View::new(Arc::clone(&snapshot), &[], &sheet)));
        drop(snapshot);
        let via = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2].map(|version| {
            // Hex digits behind a word always make a header value.
            via(version, &shared.pseudonym).unwrap_or(HeaderValue::from_static("1.1 tokenferry"))
        });
        Rc::new(Self {
            shared,
            sheet,
            view,
            via,
            mint: Mint::default(),
            room: Room::default(),
            told: RefCell::default(),
        })
    }

    /// What is in force now, with this worker's handles.
    pub(super) fn view(&self) -> Rc<View> {
        let live = self.shared.live.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&live, &view.snapshot) {
            *view = Rc::new(View::new(Arc::clone(&live), &view.pools, &self.sheet));
        }
        Rc::clone(&view)
    }

    /// What this proxy writes into `Via` for a request of this version.
    pub(super) fn via(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.via[0],
            Version::HTTP_2 => &self.via[2],
            _ => &self.via[1],
        }
    }

    /// Whether a failure of this kind was not told of this route a moment ago: an outage is one line
    /// now and then, not one a request.
    pub(super) fn is_news(&self, route: &str, code: &'static str) -> bool {
        /// Between two lines of one kind.
        const QUIET: Duration = Duration::from_secs(10);

        let now = Instant::now();
        let mut told = self.told.borrow_mut();
        told.retain(|_, last| now.duration_since(*last) < QUIET);
        match told.entry((route.to_owned(), code)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(first) => {
                first.insert(now);
                true
            }
        }
    }

    /// A client's connection, which is counted for as long as what is returned is held.
    pub fn connected(&self) -> Connected {
        self.sheet.connected(Side::Client)
    }

    /// Counts a connection that was refused before its first request. Where the log is to be told of it:
    /// how many it was not told of.
    pub fn connection_refused(&self, listener: &Arc<str>, reason: &'static str) -> Option<u64> {
        self.shared.metrics.connection_refused(listener, reason, Instant::now())
    }

    /// Whether whoever is at this address may say whose connection it passes on.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.shared.live.load().trusted_proxies.as_ref().is_some_and(|trusted| trusted.trusts(peer))
    }

    /// Patience with clients, as it is in force now. While there is too little of something, there is
    /// none with connections that nobody uses.
    pub fn patience(&self) -> crate::live::Patience {
        /// Whoever has not asked for so long is hardly about to.
        const SHORT: Duration = Duration::from_secs(5);

        let live = &self.shared.live;
        let mut patience = live.load().client;
        if live.strain().wants_room() {
            patience.idle = patience.idle.min(SHORT);
        }
        patience
    }

    /// Closes connections that have been idle or alive for too long, and lets go of a Snapshot that
    /// is no longer in force even if no request comes.
    pub fn tick(&self, now: Instant) {
        for pool in &self.view().pools {
            pool.reap(now);
        }
    }
}

impl View {
    /// Pools whose target is unchanged are carried over, and routes with equal targets share one.
    fn new(snapshot: Arc<Snapshot>, before: &[Rc<Pool<Outbound>>], sheet: &Arc<Sheet>) -> Self {
        let mut pools: HashMap<*const Upstream, Rc<Pool<Outbound>>> =
            before.iter().map(|pool| (Arc::as_ptr(pool.upstream()), Rc::clone(pool))).collect();
        let mut used: HashMap<*const Upstream, Rc<Pool<Outbound>>> = HashMap::new();
        let handles = snapshot
            .entries
            .iter()
            .map(|entry| match &entry.route.action {
                Action::Respond(_) => Handles { tag: tag(entry, None, sheet), ..Handles::default() },
                Action::Forward(forward) => {
                    let pool = pools
                        .entry(Arc::as_ptr(&forward.upstream))
                        .or_insert_with(|| Pool::counted(Arc::clone(&forward.upstream), Arc::clone(sheet)));
                    used.entry(Arc::as_ptr(&forward.upstream)).or_insert_with(|| Rc::clone(pool));
                    let lane = forward.credential.as_ref().map(|c| {
                        Rc::new(Lane::new(Arc::clone(&c.cell), Arc::clone(&c.placement), c.destination.clone()))
                    });
                    let credential = forward.credential.as_ref().map(|credential| credential.name.clone());
                    let host = forward.host.as_ref().and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
                    Handles { tag: tag(entry, credential, sheet), pool: Some(Rc::clone(pool)), lane, host }
                }
            })
            .collect();
        let nowhere = Rc::new(Tag { meter: sheet.route(NO_ROUTE), ..Tag::default() });
        Self { snapshot, handles, nowhere, pools: used.into_values().collect() }
    }
}

fn tag(entry: &live::Entry, credential: Option<String>, sheet: &Sheet) -> Rc<Tag> {
    Rc::new(Tag { route: entry.route.name.clone(), credential, meter: sheet.route(&entry.route.name) })
}
