//! What the tests of this workspace share.
//!
//! * [`certificates`] is a throw-away certificate authority.
//! * [`script`] runs golden scripts: behaviour as text.
//! * [`pair`] holds a client and a server machine on a virtual clock, without sockets.
//! * [`trace`] writes packets as one line each.
//! * [`packets`] generates packets, and reads bytes from text.
//! * [`proxies`] are SOCKS5 and HTTP proxies.
//!
//! Used from `tests/` folders only: in a `#[cfg(test)]` module the crate under test would be linked twice.

pub mod certificates;
pub mod packets;
pub mod pair;
pub mod proxies;
pub mod script;
pub mod trace;
