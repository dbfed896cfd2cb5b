//! Row 8: redirects.
