//! The server as its clients see it, over streams in memory and on virtual time.
//!
//! One file per topic; `peer.rs` is the client, which can misbehave. One binary, so that it is linked once. Leaves out:
//! the real client, with which `gantline` tests both.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod administration;
mod authentication;
mod chaos;
mod conformance_3_1_1;
mod conformance_5_0;
mod conformance_5_0_flows;
mod connect;
mod delivering;
mod events;
mod hooks;
mod inflight;
mod keep_alive;
mod limits;
mod listening;
mod local;
mod metrics;
mod peer;
mod publish;
mod retained;
mod retained_store;
mod runtimes;
mod sessions;
mod shared;
mod shutdown;
mod slow;
mod subscribe;
mod sys;
mod takeover;
#[cfg(feature = "tls")]
mod tls;
mod tracing;
mod validation;
mod wills;
