//! Row 12: what a token endpoint's error says.
