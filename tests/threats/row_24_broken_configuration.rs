//! Row 24: a broken or hostile configuration.
