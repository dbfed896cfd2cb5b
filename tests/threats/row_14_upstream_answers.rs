//! Row 14: answers that are no HTTP, or two.
