//! The one integration binary: a module a promise.

mod house;
