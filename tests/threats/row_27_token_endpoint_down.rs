//! Row 27: a token endpoint in trouble.
