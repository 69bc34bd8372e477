//! Where the machines write.
//!
//! Relates to: [`Connection::publish`](crate::Connection::publish), which can leave a large payload uncopied; the
//! transport, whose framing writes shared bytes from where they are. Leaves out: when anything is written.

use bytes::Bytes;

/// Bytes on their way to the peer, in order.
pub trait Output {
    /// To append to.
    fn bytes(&mut self) -> &mut Vec<u8>;

    /// Appends a payload that others have too. It may be written from where it is.
    fn share(&mut self, payload: &Bytes);
}

/// Copies what is shared.
impl Output for Vec<u8> {
    #[inline]
    fn bytes(&mut self) -> &mut Vec<u8> {
        self
    }

    fn share(&mut self, payload: &Bytes) {
        self.extend_from_slice(payload);
    }
}
