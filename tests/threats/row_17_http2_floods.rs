//! Row 17: HTTP/2 floods.
