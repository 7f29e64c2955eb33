//! Ends of connections.

use core::net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How [`Address::Any`] is printed.
const ANY: &str = "*";
/// How [`Address::Other`] is printed.
const OTHER: &str = "(other)";

/// One end of a connection, printed as `ss` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Endpoint {
    /// Whose it is.
    pub address: Address,
    /// Port, 0 where there is no address.
    pub port: u16,
}

/// Who is at an end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Whoever asks: the peer of a listener.
    #[default]
    Any,
    /// An address. That of IPv4 is never inside one of IPv6.
    At(IpAddr),
    /// Those of all sockets that are not kept by themselves.
    Other,
}

impl Endpoint {
    /// The peer of a listener.
    pub const ANY: Self = Self { address: Address::Any, port: 0 };

    /// Of all sockets that are not kept by themselves.
    pub const OTHER: Self = Self { address: Address::Other, port: 0 };

    /// The same of a peer: where there is no address, it is that of a listener.
    #[must_use]
    pub fn peer(address: [u8; 16], port: u16) -> Self {
        match Ipv6Addr::from(address).to_canonical() {
            none if none.is_unspecified() => Self::ANY,
            address => Self { address: Address::At(address), port },
        }
    }

    /// Whether it is of a loopback address: in each network namespace another one's.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self.address, Address::At(address) if address.is_loopback())
    }

    /// By an address as the kernel keeps it, IPv4 inside IPv6.
    #[must_use]
    pub fn new(address: [u8; 16], port: u16) -> Self {
        Self { address: Address::At(Ipv6Addr::from(address).to_canonical()), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(ANY),
            Self::At(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::At(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Other => f.write_str(OTHER),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, port } = self;
        match address {
            Address::At(_) => write!(f, "{address}:{port}"),
            Address::Any | Address::Other => write!(f, "{address}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text {
            ANY => Ok(Self::ANY),
            OTHER => Ok(Self::OTHER),
            address => address.parse::<SocketAddr>().map(Self::from),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: Address::At(address.ip().to_canonical()), port: address.port() }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Self, AddrParseError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_look_like_those_of_ss_and_are_read_as_they_look() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        let ends = [Endpoint::new(mapped, 80), Endpoint::new([0; 16], 22), Endpoint::ANY, Endpoint::OTHER];
        assert_eq!(ends.map(String::from), ["10.0.0.1:80", "[::]:22", "*", "(other)"]);
        assert_eq!(ends.map(|end| end.to_string().parse()), ends.map(Ok));
        assert!("10.0.0.1".parse::<Endpoint>().is_err(), "no port");
    }
}
