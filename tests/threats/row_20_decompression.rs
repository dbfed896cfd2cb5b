//! Row 20: decompression bombs.
