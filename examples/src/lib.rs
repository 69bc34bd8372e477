//! Programs to read and to start from, one idea each: `cargo run --example NAME`. What several of them need stands
//! here: a throw-away CA.

pub mod authority;
