//! Row 9: paths that two servers could read differently.
