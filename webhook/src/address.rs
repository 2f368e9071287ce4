//! Where a webhook may be sent: public addresses, and what the operator allows besides.
//!
//! [`AddressPolicy::check`] is asked about the address that is about to be dialled, never about a
//! name, so a name that resolves to something else a moment later gains nothing. Forms of IPv6
//! that carry an IPv4 address are judged by what they carry, or refused where the way they take
//! is not the host's to know. The ranges are those of the IANA special-purpose registries
//! (RFC 6890) plus the addresses at which clouds serve a machine's credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

/// Which addresses may be dialled: every public one, and those in `allowed`.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// Allows the prefixes in `allowed` on top of all public addresses.
    ///
    /// A metadata address is allowed only by a prefix of that one address: whoever allows
    /// `0.0.0.0/0` on a laptop does not mean the credentials of the cloud machine it runs on later.
    #[must_use]
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether `address` may be dialled.
    ///
    /// # Errors
    ///
    /// What the address is, if it may not.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        let address = address.to_canonical();
        match kind(address) {
            None => Ok(()),
            Some(kind) if self.allows(address, kind) => Ok(()),
            Some(kind) => Err(AddressError { kind }),
        }
    }

    fn allows(&self, address: IpAddr, kind: AddressKind) -> bool {
        self.allowed.iter().any(|net| {
            let whole = net.prefix_len() == net.max_prefix_len();
            net.contains(&address) && (whole || kind != AddressKind::Metadata)
        })
    }
}

/// An address that may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind} address is not allowed")]
pub struct AddressError {
    /// What the address is.
    pub kind: AddressKind,
}

/// What an address is that is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// Serves a cloud machine's credentials or is a platform's inner service.
    Metadata,
    /// `0.0.0.0/8`, `::`
    Unspecified,
    /// `127.0.0.0/8`, `::1`
    Loopback,
    /// RFC 1918, unique local IPv6, site-local IPv6
    Private,
    /// `100.64.0.0/10`, between a provider and its customers
    Shared,
    /// `169.254.0.0/16`, `fe80::/10`
    LinkLocal,
    /// `224.0.0.0/4`, `ff00::/8`
    Multicast,
    /// For examples in texts
    Documentation,
    /// For measurements between devices
    Benchmarking,
    /// For protocols, or for nothing yet
    Reserved,
    /// Carries an IPv4 address to a relay this host does not know: 6to4, Teredo, local NAT64,
    /// IPv4-compatible
    Tunnel,
}

impl std::fmt::Display for AddressKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
            Self::Tunnel => "tunnel",
        })
    }
}

/// What `address` is, or `None` if it is public. The address is canonical: not IPv4-mapped.
fn kind(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<AddressKind> {
    let row = V4.iter().find(|(net, _)| net.contains(&address));
    row.map(|(_, kind)| *kind)
}

fn kind_v6(address: Ipv6Addr) -> Option<AddressKind> {
    // The well-known NAT64 prefix is how a host without IPv4 reaches every IPv4 receiver.
    if NAT64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return kind_v4(Ipv4Addr::new(a, b, c, d));
    }
    if let Some((_, kind)) = V6.iter().find(|(net, _)| net.contains(&address)) {
        return Some(*kind);
    }
    (!GLOBAL_UNICAST.contains(&address)).then_some(AddressKind::Reserved)
}

const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The first row that contains an address says what it is.
const V4: &[(Ipv4Net, AddressKind)] = &[
    (v4([169, 254, 169, 254], 32), AddressKind::Metadata), // most clouds
    (v4([169, 254, 170, 2], 32), AddressKind::Metadata),   // AWS containers
    (v4([168, 63, 129, 16], 32), AddressKind::Metadata),   // Azure's platform service
    (v4([100, 100, 100, 200], 32), AddressKind::Metadata), // Alibaba Cloud
    (v4([192, 0, 0, 192], 32), AddressKind::Metadata),     // Oracle Cloud
    (v4([0, 0, 0, 0], 8), AddressKind::Unspecified),
    (v4([10, 0, 0, 0], 8), AddressKind::Private),
    (v4([100, 64, 0, 0], 10), AddressKind::Shared),
    (v4([127, 0, 0, 0], 8), AddressKind::Loopback),
    (v4([169, 254, 0, 0], 16), AddressKind::LinkLocal),
    (v4([172, 16, 0, 0], 12), AddressKind::Private),
    (v4([192, 0, 0, 0], 24), AddressKind::Reserved),
    (v4([192, 0, 2, 0], 24), AddressKind::Documentation),
    (v4([192, 88, 99, 0], 24), AddressKind::Tunnel),
    (v4([192, 168, 0, 0], 16), AddressKind::Private),
    (v4([198, 18, 0, 0], 15), AddressKind::Benchmarking),
    (v4([198, 51, 100, 0], 24), AddressKind::Documentation),
    (v4([203, 0, 113, 0], 24), AddressKind::Documentation),
    (v4([224, 0, 0, 0], 4), AddressKind::Multicast),
    (v4([240, 0, 0, 0], 4), AddressKind::Reserved),
];

/// As [`V4`]. What is outside [`GLOBAL_UNICAST`] needs a row only to be called by its name.
const V6: &[(Ipv6Net, AddressKind)] = &[
    (
        v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254], 128),
        AddressKind::Metadata,
    ), // AWS
    (
        v6([0xfd20, 0x0ce, 0, 0, 0, 0, 0, 0x254], 128),
        AddressKind::Metadata,
    ), // Google Cloud
    (v6([0; 8], 128), AddressKind::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), AddressKind::Loopback),
    (v6([0; 8], 96), AddressKind::Tunnel), // IPv4-compatible
    (
        v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
        AddressKind::Tunnel,
    ), // local NAT64
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), AddressKind::Tunnel), // Teredo
    (
        v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
        AddressKind::Benchmarking,
    ),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), AddressKind::Reserved),
    (
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        AddressKind::Documentation,
    ),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), AddressKind::Tunnel), // 6to4
    (
        v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
        AddressKind::Documentation,
    ),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), AddressKind::Private),
    (
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        AddressKind::LinkLocal,
    ),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), AddressKind::Private),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), AddressKind::Multicast),
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

#[cfg(test)]
mod tests;
