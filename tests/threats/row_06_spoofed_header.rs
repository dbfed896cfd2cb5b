//! Row 6: a client that sends the injected header itself.
