//! TCP and TLS to an origin, within a time.
