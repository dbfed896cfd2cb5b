//! A worker's own view of a cell: the token rendered as it is sent, copied once a generation, so
//! that a warm request touches no memory that another core writes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{Cell, Unavailable};
use crate::model::{Place, Placement};
use crate::secret::Secret;

/// A token as it is sent.
#[derive(Debug)]
pub struct Rendered {
    /// Its generation.
    pub generation: u64,
    /// The headers to set, values marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The token, for queries and bodies.
    pub secret: Secret,
}

/// A request's right to use a token of one generation. Dropped at the final response head, and
/// always before another one is waited for.
#[derive(Clone, Debug)]
pub struct Guard(Rc<Rendered>);

impl std::ops::Deref for Guard {
    type Target = Rendered;

    fn deref(&self) -> &Rendered {
        &self.0
    }
}

/// One worker's view of one cell.
#[derive(Debug)]
pub struct Lane {
    cell: Arc<Cell>,
    placement: Arc<Placement>,
    rendered: RefCell<Option<Rc<Rendered>>>,
}

impl Lane {
    /// A view of `cell` that renders for these places.
    pub fn new(cell: Arc<Cell>, placement: Arc<Placement>) -> Self {
        Self { cell, placement, rendered: RefCell::default() }
    }

    /// The cell.
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Where the token goes.
    pub fn places(&self) -> &[Place] {
        &self.placement
    }

    /// A guard if a token may be used now, without waiting.
    pub fn warm(&self) -> Option<Guard> {
        let _ = &self.rendered;
        todo!()
    }

    /// A guard, waiting for a token if need be.
    pub async fn acquire(&self, patience: Duration) -> Result<Guard, Unavailable> {
        let _ = patience;
        todo!()
    }
}
