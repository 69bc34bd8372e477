//! The three levels of delivery.
//!
//! Relates to: [`Delivery`](crate::packet::Delivery), which adds the packet id that QoS 1 and 2 need. Leaves out: the
//! flows themselves, which are in `session/`.

use std::fmt;

/// Quality of service: what is promised about the delivery of a message. Ordered by strength; the default is QoS 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, not acknowledged; lost when the connection is.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent until acknowledged; may arrive more than once.
    AtLeastOnce = 1,
    /// QoS 2: arrives exactly once, for two round trips.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of this number; `None` above 2 [MQTT-3.3.1-4].
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number on the wire: 0, 1 or 2.
    #[inline]
    pub const fn value(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QoS {}", self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_levels_in_order() {
        for value in 0..=2 {
            assert_eq!(QoS::from_u8(value).map(QoS::value), Some(value));
        }
        assert_eq!(QoS::from_u8(3), None);
        assert!(QoS::AtMostOnce < QoS::AtLeastOnce && QoS::AtLeastOnce < QoS::ExactlyOnce);
    }
}
