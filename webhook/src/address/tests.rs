//! Every special range, and the forms that hide one.

use super::*;

fn kind_of(address: &str) -> Option<AddressKind> {
    let policy = AddressPolicy::default();
    policy
        .check(address.parse().unwrap())
        .err()
        .map(|error| error.kind)
}

#[test]
fn public_addresses_may_be_dialled() {
    let public = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2600:1f18::1",
        "2a00:1450:4001:80b::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ];
    for address in public {
        assert_eq!(kind_of(address), None, "{address}");
    }
}

#[test]
fn other_addresses_may_not_be_dialled() {
    use AddressKind::*;
    let rows = [
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("168.63.129.16", Metadata),
        ("100.100.100.200", Metadata),
        ("192.0.0.192", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("::ffff:169.254.169.254", Metadata),
        ("64:ff9b::169.254.169.254", Metadata),
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("::", Unspecified),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("64:ff9b::127.0.0.1", Loopback),
        ("10.0.0.1", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.1.1", Private),
        ("::ffff:192.168.1.1", Private),
        ("64:ff9b::10.0.0.1", Private),
        ("fc00::1", Private),
        ("fdff::1", Private),
        ("fec0::1", Private),
        ("100.64.0.1", Shared),
        ("100.127.255.255", Shared),
        ("169.254.0.1", LinkLocal),
        ("fe80::1", LinkLocal),
        ("224.0.0.1", Multicast),
        ("239.255.255.255", Multicast),
        ("ff02::1", Multicast),
        ("192.0.2.1", Documentation),
        ("198.51.100.1", Documentation),
        ("203.0.113.1", Documentation),
        ("2001:db8::1", Documentation),
        ("3fff::1", Documentation),
        ("198.18.0.1", Benchmarking),
        ("198.19.255.255", Benchmarking),
        ("2001:2::1", Benchmarking),
        ("192.0.0.1", Reserved),
        ("240.0.0.1", Reserved),
        ("255.255.255.255", Reserved),
        ("2001:10::1", Reserved),
        ("100::1", Reserved),
        ("5f00::1", Reserved),
        ("4000::1", Reserved),
        ("192.88.99.1", Tunnel),
        ("::8.8.8.8", Tunnel),
        ("64:ff9b:1::8.8.8.8", Tunnel),
        ("2001::1", Tunnel),
        ("2002:808:808::1", Tunnel),
        ("2002:7f00:1::1", Tunnel),
    ];
    for (address, kind) in rows {
        assert_eq!(kind_of(address), Some(kind), "{address}");
    }
}

#[test]
fn the_operator_allows_by_prefix() {
    let allowed = ["127.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
    let policy = AddressPolicy::allowing(allowed.to_vec());
    let allows = |address: &str| policy.check(address.parse().unwrap()).is_ok();
    assert!(allows("127.0.0.1"));
    assert!(
        allows("::ffff:127.0.0.1"),
        "a mapped address is the address it maps"
    );
    assert!(allows("fd00::1"));
    assert!(allows("8.8.8.8"), "public addresses stay allowed");
    assert!(!allows("10.0.0.1"));
    assert!(!allows("::1"));
}

#[test]
fn a_metadata_address_is_allowed_only_by_itself() {
    let metadata = "169.254.169.254".parse().unwrap();
    let by = |net: &str| AddressPolicy::allowing(vec![net.parse().unwrap()]).check(metadata);
    assert!(by("0.0.0.0/0").is_err());
    assert!(by("169.254.0.0/16").is_err());
    assert!(by("169.254.169.254/32").is_ok());
}
