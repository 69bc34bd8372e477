//! The right to acknowledge a message.
//!
//! A message that several streams want is acknowledged when the last of them has taken it, or, if some have and it is
//! of QoS 2, when the connection has ended. Relates to: `inbox.rs`, where messages wait with their tickets. Leaves out:
//! sending acknowledgements, and their order, which the machine keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gantline_protocol::{Delivery, ReasonCode, Receipt};

/// The right to acknowledge a message once every stream that wants it has taken it.
#[derive(Debug)]
pub(crate) enum Ticket {
    /// QoS 0: nothing to acknowledge.
    Void,
    /// One stream wants the message.
    Sole(Receipt),
    /// Several do; the last one acknowledges.
    Joint(Arc<Joint>),
}

#[derive(Debug)]
pub(crate) struct Joint {
    receipt: Receipt,
    streams: u32,
    left: AtomicU32,
    /// The first error that one of them gave, else success.
    reason: AtomicU32,
    /// See [`Ticket::keep`].
    kept: AtomicBool,
}

impl Ticket {
    /// The ticket of one stream.
    #[inline]
    pub(crate) const fn sole(receipt: Option<Receipt>) -> Self {
        match receipt {
            Some(receipt) => Self::Sole(receipt),
            None => Self::Void,
        }
    }

    /// Tickets for so many streams in place of the one of a message.
    pub(crate) fn split(self, streams: usize) -> impl Iterator<Item = Self> {
        let receipt = match self {
            Self::Sole(receipt) => Some(receipt),
            Self::Void | Self::Joint(_) => None,
        };
        let joint = receipt.filter(|_| streams > 1).map(|receipt| {
            let streams = u32::try_from(streams).unwrap_or(u32::MAX);
            let reason = AtomicU32::new(ReasonCode::Success.value().into());
            Arc::new(Joint { receipt, streams, left: AtomicU32::new(streams), reason, kept: false.into() })
        });
        std::iter::repeat_with(move || match &joint {
            Some(joint) => Self::Joint(Arc::clone(joint)),
            None => Self::sole(receipt),
        })
        .take(streams)
    }

    #[inline]
    pub(crate) const fn is_void(&self) -> bool {
        matches!(self, Self::Void)
    }

    /// The connection is over and no stream takes messages of it any more. One of QoS 2 that some streams have taken
    /// and this one has not is kept for it and counts as taken now, because sent again it would come to the others
    /// twice. Returns the receipt, once for all streams.
    pub(crate) fn keep(&self) -> Option<Receipt> {
        match self {
            Self::Void | Self::Sole(_) => None,
            Self::Joint(joint) => joint.keep(),
        }
    }

    /// Whether the server does not send the message again when the next connection resumes the session.
    pub(crate) fn is_kept(&self) -> bool {
        match self {
            Self::Void => true,
            Self::Sole(_) => false,
            Self::Joint(joint) => joint.kept.load(Ordering::Acquire),
        }
    }

    /// As [`settle`](Self::settle) with success, for a ticket that is not used any more and stays where it is.
    #[inline]
    pub(crate) fn settle_in_place(&mut self) -> Option<(Receipt, ReasonCode)> {
        match self {
            Self::Void => None,
            Self::Sole(receipt) => Some((*receipt, ReasonCode::Success)),
            Self::Joint(_) => std::mem::replace(self, Self::Void).settle(ReasonCode::Success),
        }
    }

    /// The stream is done with the message; returns what is to be acknowledged now, if anything.
    #[inline]
    pub(crate) fn settle(self, reason: ReasonCode) -> Option<(Receipt, ReasonCode)> {
        match self {
            Self::Void => None,
            Self::Sole(receipt) => Some((receipt, reason)),
            Self::Joint(joint) => joint.settle(reason),
        }
    }
}

impl Joint {
    fn keep(&self) -> Option<Receipt> {
        // What one of them refused is refused for all, and may be sent again.
        let is_taken = self.left.load(Ordering::Acquire) < self.streams
            && self.reason.load(Ordering::Acquire) == ReasonCode::Success.value().into();
        let counts = is_taken && matches!(self.receipt.delivery(), Delivery::ExactlyOnce(_));
        (counts && !self.kept.swap(true, Ordering::AcqRel)).then_some(self.receipt)
    }

    fn settle(&self, reason: ReasonCode) -> Option<(Receipt, ReasonCode)> {
        let success = ReasonCode::Success.value().into();
        if reason.is_error() {
            // The first error stands; a failed exchange means that there is one already.
            let _ = self.reason.compare_exchange(
                success,
                reason.value().into(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        let reason = u8::try_from(self.reason.load(Ordering::Acquire)).ok().and_then(ReasonCode::from_u8);
        Some((self.receipt, reason.unwrap_or(ReasonCode::UnspecifiedError)))
    }
}
