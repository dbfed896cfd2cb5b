//! Row 31: clocks that jump and lifetimes that make no sense.
