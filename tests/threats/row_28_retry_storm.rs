//! Row 28: storms of token calls.
