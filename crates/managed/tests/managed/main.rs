//! The managed client against the real server that comes and goes, and against a scripted one, in memory and on virtual
//! time.
//!
//! One file per behaviour; `support.rs` has both servers. One binary, so that it is linked once.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

#[path = "../../../client/tests/client/peer.rs"]
#[expect(dead_code, reason = "the scripted server of the client's tests can do more")]
mod peer;

mod chaos;
mod outbox;
mod publish;
mod reconnect;
mod stop;
mod store;
mod subscribe;
mod support;
mod two_stores;
