//! Row 35: the end of the process.
