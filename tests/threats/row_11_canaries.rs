//! Row 11: secrets in what is told.
