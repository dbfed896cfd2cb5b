//! What the operator said: the file as written, the settings as meant, and every problem between.

mod settings;

pub use settings::{
    ClientSettings, CredentialSettings, ForwardSettings, ListenAddress, ListenerSettings, RouteAction, RouteSettings,
    Settings,
};
