//! Row 30: refresh tokens that rotate.
