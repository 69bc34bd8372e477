//! Files as storage: the retained messages of a server in a log of JSON lines.
//!
//! [`FileStore`] is a `RetainedStore` of `gantline-server`: what changes is appended, what is there is read at the start,
//! and what has been overwritten is cleared away in the background. [`read_json`] and [`write_json`] carry messages in and
//! out as one JSON array, in our shape or in that of MQTTnet's `RetainedMessages.json`.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use gantline_server::{Server, ServerOptions};
//! use gantline_storage_file::{FileStoreOptions, Fsync};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = FileStoreOptions::default().fsync(Fsync::Interval(Duration::from_millis(200))).open("retained")?;
//! let server = Server::new(ServerOptions::default()).retained_store(store).listen("mqtt://0.0.0.0:1883").start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The files
//!
//! The directory belongs to one process at a time and has:
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked while a store is open |
//! | `00000007.snapshot` | what there was up to the seventh file; nothing before it counts |
//! | `00000008.log` | what changed afterwards; a file is only appended to by the store that made it |
//! | `00000007.damaged` | lines of earlier files that could not be read, as they were |
//!
//! Each line is a checksum (CRC-32 in eight hexadecimal digits), a space and a JSON object: a message as in an exported
//! array, or `{"clear":"some/topic"}`. Files are read and written in UTF-8, with mode 0600 on Unix.
//!
//! Leaves out: sessions and queues, which are in memory only.

#[cfg(feature = "server")]
mod compaction;
#[cfg(feature = "server")]
mod directory;
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod line;
#[cfg(feature = "server")]
mod mqttnet;
#[cfg(feature = "server")]
mod options;
#[cfg(feature = "server")]
mod owner;
#[cfg(feature = "server")]
mod record;
#[cfg(feature = "server")]
mod replay;
#[cfg(feature = "server")]
mod store;

#[cfg(feature = "server")]
pub use self::directory::OpenError;
#[cfg(feature = "server")]
pub use self::json::{ImportError, Shape, read_json, write_json};
#[cfg(feature = "server")]
pub use self::options::{FileStoreOptions, Fsync};
#[cfg(feature = "server")]
pub use self::record::RecordError;
#[cfg(feature = "server")]
pub use self::replay::{Damage, DamageKind, LoadReport};
#[cfg(feature = "server")]
pub use self::store::FileStore;
