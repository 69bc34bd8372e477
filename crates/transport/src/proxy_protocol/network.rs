//! A range of IP addresses, `10.0.0.0/8`.
//!
//! Relates to: [`ProxyProtocol`](super::ProxyProtocol), which trusts some. Leaves out: netmasks that are no prefix.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses that begin alike. Written as `10.0.0.0/8`; an address alone is a range of one.
///
/// ```
/// use gantline_transport::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?) && !network.contains("11.0.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// A text that is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a network: write an IP address and how many of its bits count, as in 10.0.0.0/8")]
pub struct NetworkError {
    text: String,
}

impl Network {
    /// The addresses whose first `prefix` bits are those of `ip`; the other bits do not matter. `None` if the address
    /// has fewer bits: 32 or 128. A range of IPv4 addresses that is written as IPv6 (`::ffff:10.0.0.0/104`) is one of
    /// IPv4.
    pub fn new(ip: IpAddr, prefix: u8) -> Option<Self> {
        let (ip, prefix) = match (ip.to_canonical(), prefix) {
            (v4 @ IpAddr::V4(_), 96..=128) if ip.is_ipv6() => (v4, prefix - 96),
            _ => (ip, prefix),
        };
        let first = match ip {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix.into())?).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix.into())?).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Some(Self { first, prefix })
    }

    /// Whether `ip` is one of them. An IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`) is an IPv4 address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Self::new(ip.to_canonical(), self.prefix).is_some_and(|network| network.first == self.first)
    }
}

impl From<IpAddr> for Network {
    /// This address alone.
    fn from(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self { first: ip, prefix: if ip.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = || match text.split_once('/') {
            None => text.parse().ok().map(|ip: IpAddr| Self::from(ip)),
            // `u8::from_str` takes a sign.
            Some((_, prefix)) if prefix.starts_with('+') => None,
            Some((ip, prefix)) => Self::new(ip.parse().ok()?, prefix.parse().ok()?),
        };
        network().ok_or_else(|| NetworkError { text: text.to_owned() })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_with_the_same_beginning_are_in() {
        for (range, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.1.1"][..],
                &["11.0.0.0", "::a00:1"][..],
            ),
            ("192.168.7.9/24", &["192.168.7.1"], &["192.168.8.1"]),
            ("127.0.0.1", &["127.0.0.1"], &["127.0.0.2", "::1"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1"]),
            ("fd00::/8", &["fd12::1"], &["fe80::1", "10.0.0.1"]),
            ("::1", &["::1"], &["::2"]),
            ("::/0", &["2001:db8::1"], &["1.2.3.4"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.1.1"], &["11.0.0.1"]),
            ("::ffff:127.0.0.1", &["127.0.0.1"], &["127.0.0.2"]),
            ("::ffff:0:0/95", &["::fffe:1:1"], &["1.2.3.4"]),
        ] {
            let network = network(range);
            assert!(inside.iter().all(|ip| network.contains(ip.parse().unwrap())), "{range}");
            assert!(!outside.iter().any(|ip| network.contains(ip.parse().unwrap())), "{range}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "::/129", "host/8", "10.0/8"]
        {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{text:?} is not a network")), "{error}");
        }
        assert_eq!(network("192.168.7.9/24").to_string(), "192.168.7.0/24");
        assert_eq!(network("::1").to_string(), "::1/128");
        assert_eq!(network("::ffff:10.9.9.9/104").to_string(), "10.0.0.0/8");
    }
}
