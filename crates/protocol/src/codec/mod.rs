//! Bytes: the fixed header, variable byte integers, and reading and writing of fields.
//!
//! Packets and properties are read with [`Reader`] and written with [`writer`]. Everything is bounds-checked, borrows
//! the input and allocates nothing. Leaves out: what the fields mean, which each packet knows.

pub(crate) mod header;
pub(crate) mod reader;
pub mod varint;
pub(crate) mod words;
pub mod writer;

pub use self::header::FixedHeader;
pub use self::reader::Reader;
