//! What tests of stored sessions need. The keeper's tests in `server` and the example that measures
//! include parts of it by their path, so that none of it is in the server.

pub(crate) mod connection;
pub(crate) mod dir;

use crate::Carrier;
