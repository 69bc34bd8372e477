//! Programs to read and to start from, one idea each: `cargo run --example NAME`. There is no library here.
