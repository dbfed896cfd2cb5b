//! Row 22: guessing of inbound keys.
