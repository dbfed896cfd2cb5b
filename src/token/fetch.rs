//! The glue: sends what the vendor's pure code built and gives it the answer.

use std::sync::Arc;
use std::time::Duration;

use super::Fetch;
use crate::upstream::Upstream;
use crate::vendor::Vendor;

/// A fetch of this vendor's token over this upstream. For a fixed token nothing is sent
/// (`upstream` is then `None`).
pub fn fetch(vendor: Arc<dyn Vendor>, upstream: Option<Arc<Upstream>>, timeout: Duration) -> Fetch {
    let _ = (vendor, upstream, timeout);
    todo!()
}
