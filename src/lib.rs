//! `tokenferry`: an authenticating reverse proxy.
//!
//! The modules stand in the order in which things happen. Lower floors never name higher ones;
//! imports are written `use crate::module::Symbol`, and `tests/house.rs` reads them and enforces
//! the table below. From floor 3 up everyone may stand on the ground floor without listing it.
//!
//! | floor | module | may import |
//! | --- | --- | --- |
//! | 0 | `secret`, `model` | nothing of ours |
//! | 1 | `telemetry` | model |
//! | 1 | `limit` | model (pure: the time is an argument) |
//! | 1 | `vendor` | secret, model (pure: no I/O, no clock, no async) |
//! | 2 | `upstream` | telemetry, limit (for what it keeps of descriptors, and what frames may cost), secret, model |
//! | 2 | `config` | vendor, secret, model; only `assemble`, `app`, `cli` import it |
//! | 3 | `token` | vendor, upstream (in `fetch` and `lane` only), secret, telemetry, model |
//! | 4 | `route`, `access` | token, upstream and vendor (for its placeholder answers), as handles |
//! | 5 | `live` | route, access, limit, telemetry, token (as handles, for what is told of it) |
//! | 6 | `proxy` | live, route, access, limit, token, upstream, vendor, telemetry |
//! | 7 | `server` | proxy, live, limit, telemetry |
//! | 7 | `admin` | live, limit (for what there is too little of, and how a wait is told), access (for how a token is presented), token, vendor (for a fault's words), telemetry |
//! | 8 | `assemble` | config, vendor, live, route, access, limit, token, upstream, telemetry, server (for what it listens with) |
//! | 9 | `app`, `demo`, `cli` | anything below, and those to the left |

// The ground floor: values that know nothing of the rest.
pub mod model;
pub mod secret;

// What operators see, and what clients may ask of this process.
pub mod limit;
pub mod telemetry;

// What each vendor asks for and answers.
pub mod vendor;

// What the operator said, and the way out into the world.
pub mod config;
pub mod upstream;

// With what key.
pub mod token;

// Where to, and who may.
pub mod access;
pub mod route;

// What is in force now.
pub mod live;

// The walk of a request, and the door it comes in by; the operator's own door.
pub mod admin;
pub mod proxy;
pub mod server;

// From what was said to what is run, and the programs around it.
pub mod app;
pub mod assemble;
pub mod cli;
pub mod demo;
