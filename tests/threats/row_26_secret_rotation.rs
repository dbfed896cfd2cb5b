//! Row 26: secret files that are swapped.
