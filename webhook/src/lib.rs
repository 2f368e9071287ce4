//! What a receiver gets: payloads, signatures, order, retries and bounded delivery.
//!
//! Delivery is at least once; a receiver deduplicates by the event's `id`. The modules are the
//! steps of one event's way out: [`level`] decides whether the endpoint hears of it, [`payload`]
//! writes it, [`lane`] says when it may be tried (order per user, pauses, dead letters),
//! [`signature`] signs it and [`deliver`] makes one attempt. Only [`deliver`] does I/O; everything
//! else is a plain function of state, input and the time it is given.
//!
//! Not here: where events come from, where waiting events and dead letters are kept, which
//! endpoints there are.

pub mod address;
pub mod deliver;
pub mod lane;
pub mod level;
pub mod outcome;
pub mod payload;
pub mod schedule;
pub mod signature;
