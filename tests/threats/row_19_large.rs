//! Row 19: heads, headers and bodies that are large on purpose.
