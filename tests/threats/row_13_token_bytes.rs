//! Row 13: bytes in a token that no header can hold.
