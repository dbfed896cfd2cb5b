//! The vendors' simulators: strict servers on loopback, for the `demo` command, the tests and the
//! benches. [`Simulator`] is what they share; a vendor's file holds that vendor's [`Rules`] and the
//! credentials that it takes.
//!
//! A data call is answered with what arrived (method, path, query, headers, length of the body) and
//! with the *number* of the token that came along, never the token.

mod crayon;
mod crewmojo;
mod crm_com;
mod knobs;
mod ledger;
mod message;
mod oauth2;
mod server;
mod stage;
#[cfg(test)]
mod tests;

pub use crayon::Crayon;
pub use crewmojo::Crewmojo;
pub use crm_com::CrmCom;
pub use knobs::{Fault, Options};
pub use ledger::{Desk, Ticket};
pub use message::Reply;
pub use oauth2::{Book, Issuer, OAuth2};
pub use server::{Call, Refusal, Rules, Simulator};
pub use stage::Stage;
