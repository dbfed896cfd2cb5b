//! Row 7: a credential to the wrong host.
