//! What the doors must do with any bytes at all: a way in for the targets of `fuzz/`, which panic if
//! something does not hold. Nothing of the server comes here.

pub use crate::api::fuzz::query;
pub use crate::event_loop::fuzz::{proxy, websocket};
