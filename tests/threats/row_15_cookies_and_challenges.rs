//! Row 15: cookies and challenges of an upstream.
