//! Files as storage: what servers and clients keep, in logs of JSON lines.
//!
//! What changes is appended, what is there is read at the start, and what does not count any more is cleared away in
//! the background. There is a store for each host, behind a feature of its name:
//!
//! * `FileStore` (feature `server`, on by default): the retained messages of a server. `read_json` and `write_json`
//!   carry them in and out as one JSON array, in our shape or in that of MQTTnet's `RetainedMessages.json`;
//! * `FileSessionStore` (feature `client`): the session of a client, so that QoS 1 and 2 survive its process;
//! * `FileOutbox` (feature `managed`): what a managed client has not delivered yet.
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # mod server {
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
//! # }
//! ```
//!
//! # The files
//!
//! The directory belongs to one process at a time and has:
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked while a store is open; says what kind of store it is |
//! | `00000007.snapshot` | what there was up to the seventh file; nothing before it counts |
//! | `00000008.log` | what changed afterwards; a file is only appended to by the store that made it |
//! | `00000007.damaged` | lines of earlier files that could not be read, as they were |
//!
//! Each line is a checksum (CRC-32 in eight hexadecimal digits), a space and a JSON object: a message as in an exported
//! array, or `{"clear":"some/topic"}`; the stores of clients have such messages within
//! records of their own. Files are read and written in UTF-8, with mode 0600 on Unix.
//!
//! Leaves out: sessions and queues of a server, which are in memory only.

#[cfg(feature = "server")]
mod json;
#[cfg(any(feature = "server", feature = "client", feature = "managed"))]
mod log;
#[cfg(any(feature = "server", feature = "client", feature = "managed"))]
mod message;
#[cfg(feature = "server")]
mod mqttnet;
#[cfg(any(feature = "server", feature = "client", feature = "managed"))]
mod options;
#[cfg(feature = "managed")]
mod outbox;
#[cfg(feature = "server")]
mod retained;
#[cfg(feature = "client")]
mod session;
#[cfg(feature = "server")]
mod store;

#[cfg(feature = "server")]
pub use self::json::{ImportError, Shape, read_json, write_json};
#[cfg(any(feature = "server", feature = "client", feature = "managed"))]
pub use self::log::{Damage, DamageKind, LoadReport, OpenError};
#[cfg(any(feature = "server", feature = "client", feature = "managed"))]
pub use self::message::RecordError;
#[cfg(any(feature = "server", feature = "client", feature = "managed"))]
pub use self::options::{FileStoreOptions, Fsync};
#[cfg(feature = "managed")]
pub use self::outbox::FileOutbox;
#[cfg(feature = "client")]
pub use self::session::FileSessionStore;
#[cfg(feature = "server")]
pub use self::store::FileStore;
