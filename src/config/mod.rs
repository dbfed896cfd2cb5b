//! What the operator said: the file as written, the settings as meant, and every problem between.

mod de;
mod files;
mod interpolate;
mod nearest;
mod report;
mod settings;
mod source;
mod spot;
mod tree;

pub use settings::{
    ClientSettings, CredentialSettings, ForwardSettings, ListenAddress, ListenerSettings, RouteAction, RouteSettings,
    Settings,
};
