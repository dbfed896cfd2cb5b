//! Row 16: a request whose effect would come twice.
