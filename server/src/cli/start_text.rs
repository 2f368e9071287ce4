//! What a start shows on standard output: open doors, and at the first start the new secrets.
//!
//! Not part of the log, because the log must not hold secrets.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Listen;
use crate::data_dir::NewOrg;

/// One line per open door. `bound` has the addresses as the system gave them, port 0 resolved.
pub fn doors(bound: &Listen) -> String {
    let mut text = String::new();
    for (door, address) in bound.open() {
        // Writing to a String cannot fail.
        let _ = match door {
            "ws" | "wss" => writeln!(text, "{door:<6}{door}://{address}/mqtt"),
            _ => writeln!(text, "{door:<6}{door}://{address}"),
        };
    }
    text
}

/// The secrets of the organisation that was just made, and lines to paste that use them.
pub fn first_start(new: &NewOrg, bound: &Listen) -> String {
    let id = &new.org.id;
    let login = format!("{}@{id}", new.org.username);
    let (key, password) = (&new.credentials.secret_key, &new.credentials.password);
    let mut text = format!(
        "\nFirst start: an organisation was made. Its secrets are shown now and never again.\n\n  \
         organisation  {id}\n  secret key    {key}\n  user          {login}\n  \
         password      {password}\n"
    );
    if let Some(mqtt) = bound.mqtt.map(reachable) {
        let (host, port) = (mqtt.ip(), mqtt.port());
        let _ = write!(
            text,
            "\nBe online:\n  mosquitto_sub -h {host} -p {port} -i phone -u '{login}' \
             -P '{password}' -t 'chat/lobby'\n"
        );
    }
    if let Some(http) = bound.http.map(reachable) {
        let _ = write!(
            text,
            "\nSee who is online:\n  curl 'http://{http}/v2/utilities/presence' \
             -H 'X-Secret-Key: {key}'\n"
        );
    }
    text.push('\n');
    text
}

/// An address that can be dialled on this machine: "all addresses" cannot.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Digest, GeneratedOrg};
    use crate::data_dir::Credentials;

    #[test]
    fn the_first_start_shows_the_secrets_and_lines_to_paste() {
        let new = NewOrg {
            org: GeneratedOrg {
                id: "org_1".into(),
                secret_key: Digest::of(b""),
                username: "me".into(),
                password: Digest::of(b""),
            },
            credentials: Credentials {
                secret_key: "sk_1".into(),
                password: "pw".into(),
            },
        };
        let address = |text: &str| Some(text.parse().unwrap());
        let bound = Listen {
            mqtt: address("0.0.0.0:1883"),
            http: address("[::]:80"),
            ..Listen::closed()
        };
        let text = first_start(&new, &bound);
        for part in [
            "mosquitto_sub -h 127.0.0.1 -p 1883 -i phone -u 'me@org_1' -P 'pw'",
            "curl 'http://[::1]:80/v2/utilities/presence' -H 'X-Secret-Key: sk_1'",
        ] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert!(!first_start(&new, &Listen::closed()).contains("curl"));
        assert_eq!(
            doors(&bound),
            "mqtt  mqtt://0.0.0.0:1883\nhttp  http://[::]:80\n"
        );
    }
}
