//! Row 10: addresses that an answer names.
