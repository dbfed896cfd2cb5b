//! Row 4: bytes around an upgrade.
