//! Row 21: TRACE, Max-Forwards and OPTIONS *.
