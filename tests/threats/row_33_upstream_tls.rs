//! Row 33: upstream certificates that do not hold.
