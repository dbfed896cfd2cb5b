//! Row 29: a herd of requests for one token.
