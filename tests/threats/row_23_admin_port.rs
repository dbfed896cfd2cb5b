//! Row 23: the admin port and metrics.
