//! Row 5: a client that strips the injected header.
