"""The PROXY protocol: a load balancer's word about the client's address, where it is believed."""

import ipaddress
import socket
import struct

import pytest

from doors import TlsServer, handshake
from harness import login, wait_until
from wire import connect

CLIENT, DOOR = "192.0.2.7", "192.0.2.1"
V1 = f"PROXY TCP4 {CLIENT} {DOOR} 4711 1883\r\n".encode()
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=0x21, extra=b""):
    addresses = b"".join(ipaddress.ip_address(each).packed for each in (CLIENT, DOOR))
    addresses += struct.pack(">HH", 4711, 1883) + extra
    return SIGNATURE + struct.pack(">BBH", command, 0x11, len(addresses)) + addresses


class ProxiedServer(TlsServer):
    """A server behind balancers at three doors; the one of `ws` is open to all."""

    def __init__(self, folder, trusted):
        super().__init__(
            folder,
            f'[proxy_protocol]\ndoors = ["mqtt", "mqtts", "wss"]\ntrusted = ["{trusted}"]\n'
            "[mqtt]\nconnect_timeout_secs = 1\n",
        )

    def refused(self, reason):
        return self.metric(f'refused_total{{reason="{reason}"}}')


def behind(server, port, header):
    """A connection through TLS that a balancer has announced."""
    plain = socket.create_connection(("127.0.0.1", port), 10)
    plain.sendall(header)
    return server.tls.context().wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ProxiedServer(tmp_path_factory.mktemp("proxied"), "127.0.0.0/8") as server:
        yield server


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (V1, CLIENT),
        (V1_IPV6, "2001:db8::7"),
        (v2(), CLIENT),
        (v2(extra=b"\x04\x00\x03abc"), CLIENT),
        (v2(command=0x20), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ],
    ids=["v1", "v1 of IPv6", "v2", "v2 with more", "LOCAL", "UNKNOWN"],
)
@pytest.mark.parametrize("cut", [None, 7])
def test_the_client_has_the_address_that_the_balancer_says(server, guests, header, address, cut):
    client = guests.raw()
    if cut:
        client.send(header[:cut])
    client.send(header[cut:] if cut else header)
    assert client.login("client-abc", *login("alice"))[1] == 0
    (session,) = server.user("alice")["sessions"]
    assert session["peer_host"] == address
    client.ping()


@pytest.mark.parametrize("header", [V1, v2()], ids=["v1", "v2"])
def test_the_header_comes_before_tls(server, header):
    with behind(server, server.tls.mqtt_port, header) as connection:
        connection.sendall(connect("client-abc", *login("alice")))
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        (session,) = server.user("alice")["sessions"]
        assert session["peer_host"] == CLIENT


@pytest.mark.parametrize("header", [V1, v2()], ids=["v1", "v2"])
def test_the_header_comes_before_tls_and_the_web_socket(server, header):
    with behind(server, server.tls.ws_port, header) as connection:
        connection.sendall(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 101 ")
        said = connect("client-abc", *login("alice"))
        # A binary frame, masked with zeros.
        connection.sendall(bytes([0x82, 0x80 | len(said)]) + bytes(4) + said)
        assert connection.recv(6) == b"\x82\x04\x20\x02\x00\x00"
        (session,) = server.user("alice")["sessions"]
        assert session["peer_host"] == CLIENT


def test_wss_without_a_header_is_refused(server):
    before = server.refused("proxy_header")
    with pytest.raises(OSError), handshake(server.tls, server.tls.ws_port):
        pass
    assert server.refused("proxy_header") == before + 1


@pytest.mark.parametrize(
    "words",
    [
        b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id",
        b"PROXY TCP4 a b c d\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 3000,
        SIGNATURE + b"\x21\x12\x00\x0c" + b"\0" * 12,
    ],
    ids=["missing", "wrong", "endless", "too long", "datagram"],
)
def test_without_a_right_header_there_is_no_connection(server, guests, words):
    before = server.refused("proxy_header")
    client = guests.raw()
    client.send(words)
    assert client.read_packet() is None
    assert server.refused("proxy_header") == before + 1


def test_half_a_header_is_closed_in_time(server, guests):
    before = server.refused("connect_timeout")
    client = guests.raw()
    client.send(V1[:20])
    assert client.read_packet() is None
    assert server.refused("connect_timeout") == before + 1


def test_a_header_at_another_door_is_garbage(server):
    with socket.create_connection(("127.0.0.1", server.ws_port), 10) as connection:
        connection.sendall(V1)
        assert b" 400 " in connection.recv(1000)


def test_whoever_is_not_trusted_is_closed_at_once(tmp_path):
    with ProxiedServer(tmp_path, "192.0.2.0/24") as server:
        with socket.create_connection(("127.0.0.1", server.mqtt_port), 10) as connection:
            assert connection.recv(1) == b""
        wait_until(lambda: server.refused("proxy_untrusted") == 1, "it is counted")
