//! Row 34: panics, and no descriptors, memory or disk left.
