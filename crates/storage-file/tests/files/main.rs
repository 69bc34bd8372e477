//! The store on real files: what it keeps, what it survives, and what a server does with it.
//!
//! One binary, so that it is linked once. `kill.rs` and `full.rs` start this binary once more, to be killed and
//! to find no room.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

#[cfg(all(feature = "client", feature = "managed"))]
mod clients;
mod damage;
mod full;
mod kill;
#[cfg(all(feature = "client", feature = "managed"))]
mod managed;
mod server;
mod store;
mod support;
