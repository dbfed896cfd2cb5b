//! What the operator said: the file as written, the settings as meant, and every problem between.
//!
//! [`load`] walks: `source` (text), `tree` (YAML), `interpolate` (references), `de` and `file` (the
//! typed mirror), `check` (settings). Problems are collected all along; `locate`, `redact` and
//! `problem` tell them. `admin` finds the admin port in a file that is broken elsewhere.

mod admin;
mod check;
mod de;
mod effective;
mod egress;
mod file;
mod files;
mod interpolate;
mod load;
mod locate;
mod nearest;
mod problem;
mod redact;
mod report;
mod schema;
mod settings;
mod source;
mod spot;
mod tree;
mod watch;

pub use admin::admin;
pub use effective::{Format, effective, is_hidden};
pub use interpolate::Environment;
pub use load::{Loaded, load, load_bytes};
pub use locate::Locator;
pub use nearest::nearest;
pub use problem::{Problems, render, to_json};
pub use schema::schema;
pub use settings::{
    AdminSettings, BoundSettings, ClientSettings, CredentialSettings, EgressSettings, ForwardSettings, GuessSettings,
    ListenAddress, ListenerSettings, RedisSettings, RouteAction, RouteSettings, Settings, StateSettings, StoreSettings,
    TelemetrySettings,
};
pub use watch::Watcher;

#[cfg(test)]
mod tests;
