//! The store on real files: what it keeps, what it survives, and what a server does with it.
//!
//! One binary, so that it is linked once. `kill.rs` ends processes, which are this binary once more.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

#[cfg(all(feature = "client", feature = "managed"))]
mod clients;
mod damage;
mod kill;
#[cfg(all(feature = "client", feature = "managed"))]
mod managed;
mod server;
mod store;
mod support;
