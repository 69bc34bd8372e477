//! Caller and responder against the real server, in memory and on virtual time.
//!
//! One file per side; `world.rs` is the server and its clients. One binary, so that it is linked once. Leaves out:
//! which answer belongs to which call, where no server is needed to tell (`src/calls.rs`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod calls;
mod failures;
mod json;
mod responder;
mod world;
