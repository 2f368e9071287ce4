//! The PROXY protocol, versions 1 and 2: what a load balancer says before anything else about whom it
//! forwards. Read only at doors that are set to, and only from addresses that are trusted: anybody
//! else could claim to be anybody.

use std::net::SocketAddr;

use ipnet::IpNet;
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};

/// Most bytes of a header. The longest address and all that balancers add are a few hundred.
pub(crate) const HEADER_BYTES_MAX: usize = 2048;

/// Most bytes of a header of version 1, by its specification. A longer one would be taken or not by
/// where the network cuts it.
const LINE_BYTES_MAX: usize = 107;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// More bytes are needed.
    Incomplete,
    /// A header of so many bytes, and whom it names. A balancer that speaks for itself (LOCAL,
    /// UNKNOWN), to see whether the server is well, names nobody.
    Whole(usize, Option<SocketAddr>),
    /// No header, or one that cannot be true of a connection.
    Wrong,
}

/// What `bytes`, the first of a connection, are.
pub(crate) fn header(bytes: &[u8]) -> Header {
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(bytes, config) {
        Ok((_, length)) if length > HEADER_BYTES_MAX => Header::Wrong,
        Ok((_, length)) if bytes[0] == b'P' && length > LINE_BYTES_MAX => Header::Wrong,
        Ok((header, length)) => match header.proxied_address() {
            None => Header::Whole(length, None),
            Some(address) if address.protocol == Protocol::Stream => {
                Header::Whole(length, Some(address.source))
            }
            Some(_) => Header::Wrong,
        },
        Err(Error::BufferTooShort) if bytes.len() < HEADER_BYTES_MAX => Header::Incomplete,
        Err(_) => Header::Wrong,
    }
}

/// Whether the balancer at this address is believed.
pub(crate) fn is_trusted(trusted: &[IpNet], from: SocketAddr) -> bool {
    // An address of IPv4 at a door of IPv6 is written in its form for that.
    let from = from.ip().to_canonical();
    trusted.iter().any(|prefix| prefix.contains(&from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::ProxiedAddress;

    use super::*;

    fn v2(header: &ProxyHeader<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn both_versions_name_the_client() {
        let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n\x10";
        let client = Some("192.0.2.7:4711".parse().unwrap());
        assert_eq!(header(line), Header::Whole(line.len() - 1, client));
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n";
        let client: SocketAddr = "[2001:db8::7]:4711".parse().unwrap();
        assert_eq!(header(line), Header::Whole(line.len(), Some(client)));
        let door = "[2001:db8::1]:1883".parse().unwrap();
        let bytes = v2(&ProxyHeader::with_address(ProxiedAddress::stream(
            client, door,
        )));
        assert_eq!(header(&bytes), Header::Whole(bytes.len(), Some(client)));
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_names_nobody() {
        let bytes = v2(&ProxyHeader::with_local());
        assert_eq!(header(&bytes), Header::Whole(bytes.len(), None));
        let line = b"PROXY UNKNOWN\r\n";
        assert_eq!(header(line), Header::Whole(line.len(), None));
    }

    #[test]
    fn what_is_no_header_or_too_long_is_wrong() {
        let address = "192.0.2.7:1".parse().unwrap();
        let datagram = v2(&ProxyHeader::with_address(ProxiedAddress::datagram(
            address, address,
        )));
        let padded = format!("PROXY TCP4 192.0.2.7 192.0.2.1 {:0>90} 1883\r\n", 1);
        assert_eq!(header(padded.as_bytes()), Header::Wrong);
        let mut long = b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff".to_vec();
        long.resize(HEADER_BYTES_MAX, 0);
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let connect = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id";
        let hello = b"\x16\x03\x01\x02\0\x01\0";
        let rubbish = b"PROXY TCP4 a b c d\r\n";
        let words: [&[u8]; 6] = [&datagram, &long, &endless, connect, hello, rubbish];
        for words in words {
            assert_eq!(header(words), Header::Wrong, "{words:?}");
        }
    }

    proptest! {
        /// Whatever comes, the answer is one of three, and none asks for more than the most.
        #[test]
        fn anything_is_survived(
            start in prop::sample::select(vec![
                &b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n",
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x30",
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let bytes = [start, &rest].concat();
            match header(&bytes) {
                Header::Whole(length, _) => prop_assert!(length <= bytes.len().min(HEADER_BYTES_MAX)),
                Header::Incomplete => prop_assert!(bytes.len() < HEADER_BYTES_MAX),
                Header::Wrong => {}
            }
        }

        /// A header that comes in pieces is incomplete until its last byte.
        #[test]
        fn pieces_make_a_whole(octets in any::<[u8; 4]>(), port in any::<u16>(), cut in 0_usize..100) {
            let client = SocketAddr::from((octets, port));
            let full = ProxyHeader::with_address(ProxiedAddress::stream(client, client));
            let mut line = Vec::new();
            full.encode_v1(&mut line).unwrap();
            for bytes in [line, v2(&full)] {
                prop_assert_eq!(header(&bytes), Header::Whole(bytes.len(), Some(client)));
                let cut = cut % bytes.len();
                prop_assert_eq!(header(&bytes[..cut]), Header::Incomplete);
            }
        }
    }
}
