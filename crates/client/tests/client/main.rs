//! The client against a scripted server, over streams in memory and on virtual time.
//!
//! One file per behaviour; `peer.rs` is the server. One binary, so that it is linked once. Leaves out: the real server,
//! with which `gantline` tests both.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod acknowledge;
mod authentication;
mod bounds;
mod burst;
mod cancellation;
mod conformance_5_0;
mod conformance_5_0_flows;
mod connect;
mod credentials;
mod disconnect;
mod events;
mod hostile;
mod inspector;
mod keep_alive;
mod lasting;
mod lowlevel;
mod operation_timeout;
mod peer;
mod pub_sub;
mod publish;
mod resume;
mod runtimes;
mod session_store;
mod subscribe;
mod versions;
