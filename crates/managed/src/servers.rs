//! Which server is tried next: a list, and where its members send us.
//!
//! The servers of the list are tried in turn, without a pause within a round. A server may refer to others: for now
//! (0x9C), then those are tried first and the list again when they fail; or for good (0x9D), then they take its place.
//! Leaves out: whether a reference is followed, which the options say.

use std::collections::VecDeque;

use gantline_protocol::ReasonCode;
use gantline_transport::Address;

#[derive(Debug)]
pub(crate) struct Servers {
    list: Vec<Address>,
    turn: usize,
    detour: VecDeque<Address>,
    /// References followed since a connection was stable.
    hops: u32,
}

/// Whether the next server may be tried at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    AtOnce,
    /// All have had their turn.
    AfterPause,
}

impl Servers {
    pub(crate) fn new(list: Vec<Address>) -> Self {
        Self { list, turn: 0, detour: VecDeque::new(), hops: 0 }
    }

    /// The server to try. `None` if the list is empty.
    pub(crate) fn current(&self) -> Option<&Address> {
        self.detour.front().or_else(|| self.list.get(self.turn))
    }

    /// The current server cannot be had: the next one has its turn.
    pub(crate) fn failed(&mut self) -> Next {
        if self.detour.pop_front().is_some() {
            return if self.detour.is_empty() { Next::AfterPause } else { Next::AtOnce };
        }
        self.turn += 1;
        if self.turn < self.list.len() {
            return Next::AtOnce;
        }
        self.turn = 0;
        Next::AfterPause
    }

    /// A connection was stable.
    pub(crate) const fn settled(&mut self) {
        self.hops = 0;
    }

    /// The current server refers to others. Returns whether there is one to try now.
    pub(crate) fn refer(&mut self, reason: ReasonCode, reference: &str) -> bool {
        if self.hops == MOST_HOPS {
            return false;
        }
        let Some(from) = self.current() else { return false };
        let mut others: VecDeque<Address> =
            reference.split_whitespace().filter_map(|text| resolve(text, from)).collect();
        if others.is_empty() {
            return false;
        }
        self.hops += 1;
        if reason == ReasonCode::ServerMoved && self.detour.is_empty() {
            self.list.splice(self.turn..=self.turn, others);
        } else {
            self.detour.pop_front();
            others.append(&mut self.detour);
            self.detour = others;
        }
        true
    }
}

/// The address of a reference, which is `host`, `host:port` or a URL. What it leaves out is as it is at the server that
/// refers; the transport may not become less safe.
fn resolve(text: &str, from: &Address) -> Option<Address> {
    let address = if text.contains("://") {
        Address::new(text)
    } else {
        Address::new(format!("{}://{text}{}", from.scheme().name(), from.path()))
    };
    let address = address.ok()?;
    (address.scheme().is_secure() || !from.scheme().is_secure()).then(|| address.without_credentials())
}

/// References in a row: servers that refer to each other must not keep us running.
const MOST_HOPS: u32 = 8;

#[cfg(test)]
mod tests {
    use gantline_protocol::ReasonCode;
    use gantline_transport::Address;

    use super::{MOST_HOPS, Next, Servers};

    fn servers(list: &[&str]) -> Servers {
        Servers::new(list.iter().map(|text| Address::new(text).unwrap()).collect())
    }

    fn current(servers: &Servers) -> String {
        let address = servers.current().unwrap();
        format!("{}:{}", address.host(), address.port().unwrap())
    }

    #[test]
    fn each_has_its_turn_before_there_is_a_pause() {
        let mut servers = servers(&["mqtt://a", "mqtt://b"]);
        assert_eq!((current(&servers).as_str(), servers.failed()), ("a:1883", Next::AtOnce));
        assert_eq!((current(&servers).as_str(), servers.failed()), ("b:1883", Next::AfterPause));
        assert_eq!(current(&servers), "a:1883");
    }

    #[test]
    fn another_server_is_used_until_it_fails() {
        let mut servers = servers(&["mqtt://a", "mqtt://b"]);
        assert!(servers.refer(ReasonCode::UseAnotherServer, "c:1884  d"));
        assert_eq!((current(&servers).as_str(), servers.failed()), ("c:1884", Next::AtOnce));
        assert_eq!((current(&servers).as_str(), servers.failed()), ("d:1883", Next::AfterPause));
        assert_eq!(current(&servers), "a:1883");
    }

    #[test]
    fn a_server_that_has_moved_is_not_asked_again() {
        let mut servers = servers(&["mqtt://a", "mqtt://b"]);
        assert!(servers.refer(ReasonCode::ServerMoved, "c"));
        assert_eq!((current(&servers).as_str(), servers.failed()), ("c:1883", Next::AtOnce));
        assert_eq!((current(&servers).as_str(), servers.failed()), ("b:1883", Next::AfterPause));
        assert_eq!(current(&servers), "c:1883");
    }

    #[test]
    fn a_reference_keeps_the_transport_and_cannot_make_it_unsafe() {
        let mut servers = servers(&["mqtts://a"]);
        assert!(!servers.refer(ReasonCode::UseAnotherServer, "mqtt://c \u{1}"));
        assert!(servers.refer(ReasonCode::UseAnotherServer, "mqtt://c d"));
        assert_eq!(current(&servers), "d:8883");
    }

    #[test]
    fn servers_that_refer_to_each_other_come_to_an_end() {
        let mut servers = servers(&["mqtt://a"]);
        let followed = (0..100).filter(|_| servers.refer(ReasonCode::UseAnotherServer, "b")).count();
        assert_eq!(followed, MOST_HOPS as usize);
        servers.settled();
        assert!(servers.refer(ReasonCode::UseAnotherServer, "b"));
    }
}
