//! Row 32: connections that must not be used again.
