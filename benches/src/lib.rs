//! What the measurements share.
//!
//! * [`flow`] sends messages through a server, from the publisher's bytes to the subscribers' bytes, without sockets.
//! * [`samples`] has packets, topics and filters.
//!
//! Relates to: `benches/` (time), `src/bin/instructions.rs` (instructions), `tests/` (allocations and memory). Leaves
//! out: load over sockets, which is a command of `gantline-cli`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot begin may panic")]

pub mod flow;
pub mod samples;
