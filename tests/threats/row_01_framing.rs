//! Row 1: message framing that two servers could read differently.
