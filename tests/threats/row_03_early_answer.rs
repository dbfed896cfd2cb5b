//! Row 3: an answer before the body had come.
