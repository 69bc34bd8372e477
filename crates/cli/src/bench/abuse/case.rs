//! One kind of bad input: how it is sent, how it has to end, how it ended.
//!
//! Relates to: `cases`, the list of them; `attack`, which plays one. Leaves out: the bytes.

use std::{fmt, time::Duration};

use crate::bench::wire::{self, Dialect};

/// What is done on each of a number of connections.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) connections: u32,
    pub(crate) opening: Opening,
    /// What is sent first, by the number of the connection.
    pub(crate) bytes: Box<dyn Fn(u32) -> Vec<u8>>,
    pub(crate) then: Then,
    pub(crate) expected: Expected,
}

/// What comes before the bad input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing.
    Stranger,
    /// A CONNECT that is accepted.
    Client { keep_alive: u16 },
}

/// What follows the bad input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing.
    Silence,
    /// A byte in every second.
    Trickle,
    /// The end of the stream; the other direction stays open.
    Finish,
}

/// How a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Closed behind a packet of this type with one of these codes.
    Told(u8, &'static [u8]),
    /// Closed without a word.
    Untold,
    /// Closed, without a word or with an error.
    Closed,
    /// It may stay open. What counts is what it costs.
    Any,
}

impl Expected {
    /// Closed with DISCONNECT and one of these codes where the dialect has that, else without a word.
    pub(crate) fn disconnect(dialect: Dialect, codes: &'static [u8]) -> Self {
        if dialect.has_properties() { Self::Told(wire::GOODBYE, codes) } else { Self::Untold }
    }

    /// Whether a connection may end like this.
    pub(crate) fn is_met(self, dialect: Dialect, ending: &Ending) -> bool {
        if !dialect.has_properties() && ending.told.is_some_and(|(kind, _)| kind == wire::GOODBYE) {
            return false;
        }
        let told = match (self, ending.told) {
            (Self::Any, _) => return true,
            (Self::Told(kind, codes), Some((found, code))) => kind == found && codes.contains(&code),
            (Self::Closed, Some((_, code))) => code > 0,
            (Self::Untold | Self::Closed, None) => true,
            (Self::Told(..), None) | (Self::Untold, Some(_)) => false,
        };
        told && ending.closed_after.is_some()
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(kind, codes) => {
                let codes: Vec<_> = codes.iter().map(|code| format!("{code:#04x}")).collect();
                write!(f, "{} {}", packet_name(*kind), codes.join(" or "))
            }
            Self::Untold => f.write_str("closed"),
            Self::Closed => f.write_str("closed, or an error"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Type and code of the last CONNACK or DISCONNECT behind the bad input.
    pub(crate) told: Option<(u8, u8)>,
    /// When the broker closed, counted from the bad input; `None` while the connection is open.
    pub(crate) closed_after: Option<Duration>,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.told, self.closed_after) {
            (Some((kind, code)), Some(_)) => write!(f, "{} {code:#04x}", packet_name(kind)),
            (None, Some(_)) => f.write_str("closed"),
            (Some((kind, code)), None) => write!(f, "{} {code:#04x} but open", packet_name(kind)),
            (None, None) => f.write_str("open"),
        }
    }
}

fn packet_name(kind: u8) -> &'static str {
    if kind == wire::CONNACK { "CONNACK" } else { "DISCONNECT" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn the_reason_counts_where_the_dialect_has_reasons() {
        let right = Ending { told: Some((wire::GOODBYE, 0x82)), closed_after: SOON };
        let wrong = Ending { told: Some((wire::GOODBYE, 0x81)), closed_after: SOON };
        let untold = Ending { told: None, closed_after: SOON };
        let five = Expected::disconnect(Dialect::Properties, &[0x82]);
        assert_eq!(
            [right, wrong, untold].map(|it| five.is_met(Dialect::Properties, &it)),
            [true, false, false]
        );
        let plain = Expected::disconnect(Dialect::Plain, &[0x82]);
        assert_eq!([right, wrong, untold].map(|it| plain.is_met(Dialect::Plain, &it)), [false, false, true]);
    }

    #[test]
    fn to_be_told_is_not_enough_without_being_closed() {
        let open = Ending { told: Some((wire::GOODBYE, 0x82)), closed_after: None };
        assert!(!Expected::disconnect(Dialect::Properties, &[0x82]).is_met(Dialect::Properties, &open));
        assert!(!Expected::Closed.is_met(Dialect::Properties, &Ending::default()));
        assert!(Expected::Any.is_met(Dialect::Properties, &Ending::default()));
    }

    #[test]
    fn to_be_accepted_is_not_to_be_refused() {
        let accepted = Ending { told: Some((wire::CONNACK, 0)), closed_after: SOON };
        assert!(!Expected::Closed.is_met(Dialect::Plain, &accepted));
    }
}
