//! Row 18: clients that are slow on purpose.
