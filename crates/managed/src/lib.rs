//! An MQTT client that stays connected.

mod outbox_store;

pub use gantline_protocol::{StoreError, async_trait};

pub use self::outbox_store::{MessageId, OutboxChange, OutboxMessage, OutboxStore};
