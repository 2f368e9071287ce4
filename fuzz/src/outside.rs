//! The doors of the server, whose readers are its own business: `server::fuzzing` has the checks.

pub use server::fuzzing::{proxy, query, websocket};
