//! Row 25: reloads under load.
