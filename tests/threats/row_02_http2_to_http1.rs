//! Row 2: HTTP/2 requests that say something else over HTTP/1.
