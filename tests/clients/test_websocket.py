"""The WebSocket listener beneath the MQTT clients: handshake and frames by hand."""

import base64
import os
import socket
import struct

import pytest

from harness import login
from wire import PINGREQ, PUBACK, Will, answer, connect, disconnect, packet, publish, session_expiry

# A frame that declares more than comes is an unfinished CONNECT, which is closed after this time.
SETTINGS = """
[mqtt]
connect_timeout_secs = 1
"""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONNACK_OK = b"\x20\x02\0\0"


def frame(opcode, payload, final=True, masked=True):
    """A frame as a client sends it: masked, unless the test is about just that."""
    head = bytes([(0x80 if final else 0) | opcode])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    else:
        head += bytes([mask_bit | 126]) + struct.pack(">H", len(payload))
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


class Socket:
    """One connection to the WebSocket port."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.stream = self.socket.makefile("rb")

    def upgrade(self, path="/mqtt", protocol="mqtt"):
        """Sends the handshake and returns the reply's status and headers."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.send("\r\n".join([*lines, "", ""]).encode())
        status = int(self.stream.readline().split()[1])
        headers = {}
        while (line := self.stream.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        """The stream holds the socket as well: only both closed close the connection."""
        self.stream.close()
        self.socket.close()

    def read_frame(self):
        """Opcode and payload of the next frame, or None when the connection has ended."""
        try:
            head = self.stream.read(2)
            if len(head) < 2:
                return None
            length = head[1]
            if length == 126:
                (length,) = struct.unpack(">H", self.stream.read(2))
            return head[0] & 15, self.stream.read(length)
        except ConnectionError:
            return None

    def is_closed_by_the_server(self):
        """Reads to the end; all that may come before is a Close frame."""
        while (each := self.read_frame()) is not None:
            assert each[0] == CLOSE, each
        return True


@pytest.fixture
def ws(server):
    opened = Socket(server.ws_port)
    yield opened
    opened.close()


@pytest.fixture
def upgraded(ws):
    assert ws.upgrade()[0] == 101
    return ws


@pytest.mark.parametrize("path", ["/", "/mqtt"])
def test_the_handshake_agrees_on_the_subprotocol(ws, path):
    status, headers = ws.upgrade(path)
    assert status == 101
    assert headers["sec-websocket-protocol"] == "mqtt"


def test_another_path_is_no_way_in(ws):
    assert ws.upgrade("/elsewhere")[0] in (400, 404)


def test_a_plain_http_request_is_answered_and_closed(ws):
    ws.send(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status = int(ws.stream.readline().split()[1])
    assert 400 <= status < 500
    assert ws.stream.read() is not None


def test_a_packet_may_be_spread_over_frames(server, upgraded):
    login_packet = connect("client", *login("alice"))
    upgraded.send(frame(BINARY, login_packet[:5]))
    upgraded.send(frame(BINARY, login_packet[5:9], final=False))
    upgraded.send(frame(CONTINUATION, login_packet[9:]))
    assert upgraded.read_frame() == (BINARY, CONNACK_OK)
    assert server.client_ids() == ["client"]


def test_several_packets_may_share_a_frame(server, upgraded):
    upgraded.send(frame(BINARY, connect("client", *login("alice")) + packet(PINGREQ)))
    answers = b""
    while len(answers) < 6:
        answers += upgraded.read_frame()[1]
    assert answers == CONNACK_OK + b"\xd0\0"
    assert server.user("alice")["sessions"][0]["peer_port"] == upgraded.socket.getsockname()[1]


def test_a_ping_is_answered_with_its_payload(upgraded):
    upgraded.send(frame(BINARY, connect("client", *login("alice"))))
    assert upgraded.read_frame() == (BINARY, CONNACK_OK)
    upgraded.send(frame(PING, b"are you there"))
    assert upgraded.read_frame() == (PONG, b"are you there")


def test_a_close_frame_ends_the_session(server, upgraded):
    upgraded.send(frame(BINARY, connect("client", *login("alice"))))
    assert upgraded.read_frame() == (BINARY, CONNACK_OK)
    upgraded.send(frame(CLOSE, struct.pack(">H", 1000)))
    assert upgraded.is_closed_by_the_server()
    server.wait_for_client_ids()


def test_what_was_said_before_a_close_frame_counts(server, guests, upgraded):
    """Login, messages, DISCONNECT and close frame in one write: all but the first must wait."""
    listener = guests.raw_login("listener", "bob")
    listener.subscribe("visit/#")
    will = Will("visit/will", b"gone")
    words = connect("client", *login("alice"), will=will)
    words += publish("visit/a", b"first") + publish("visit/b", b"last") + disconnect()
    upgraded.send(frame(BINARY, words) + frame(CLOSE, struct.pack(">H", 1000)))
    assert listener.read_message() == ("visit/a", b"first")
    assert listener.read_message() == ("visit/b", b"last")
    server.wait_for_client_ids("listener")
    # A will would have come before the answer to the ping.
    listener.ping()


@pytest.mark.parametrize(
    "last", [(CLOSE, struct.pack(">H", 1000)), (TEXT, b"x")], ids=["close", "text"]
)
@pytest.mark.parametrize("is_in", [True, False], ids=["online", "with CONNECT"])
def test_the_closing_frame_comes_behind_all_answers(upgraded, is_in, last):
    """RFC 6455 §5.5.1: nothing may follow it."""
    hello = connect("client", *login("alice"))
    words = b"".join(publish("nobody/listens", b"x", 1, number) for number in range(1, 4))
    if is_in:
        upgraded.send(frame(BINARY, hello))
        assert upgraded.read_frame() == (BINARY, CONNACK_OK)
    else:
        words = hello + words
    upgraded.send(frame(BINARY, words) + frame(*last))
    answers = b"" if is_in else CONNACK_OK
    answers += b"".join(answer(PUBACK, number) for number in range(1, 4))
    frames = list(iter(upgraded.read_frame, None))
    assert b"".join(payload for opcode, payload in frames if opcode == BINARY) == answers
    assert [opcode for opcode, _ in frames].index(CLOSE) == len(frames) - 1


def test_messages_that_wait_for_the_disk_count_though_a_close_frame_follows(
    server, guests, here, upgraded
):
    """More than may be unanswered: the rest waits while the end of the connection is known."""
    stored = guests.raw_login("stored", "bob", level=5, props=session_expiry(60))
    stored.subscribe(here, qos=1)
    upgraded.send(frame(BINARY, connect("client", *login("alice"))))
    assert upgraded.read_frame() == (BINARY, CONNACK_OK)
    payloads = [b"%d" % number for number in range(1, 201)]
    words = [publish(here, payload, 1, int(payload)) for payload in payloads]
    words = b"".join([*words, disconnect()])
    upgraded.send(frame(BINARY, words) + frame(CLOSE, struct.pack(">H", 1000)))
    assert [message.payload for message in stored.take_messages(200)] == payloads
    server.wait_for_client_ids("stored")
    stored.send(disconnect())


# What is in them would be welcome in a good frame.
GOOD = connect("client", *login("alice"))
BAD_FRAMES = {
    "text": frame(TEXT, GOOD),
    "unmasked": frame(BINARY, GOOD, masked=False),
    "reserved bits": b"\xf2" + frame(BINARY, GOOD)[1:],
    "unknown opcode": frame(3, GOOD),
    "continuation of nothing": frame(CONTINUATION, GOOD),
    "a long ping": frame(PING, bytes(126)),
    "a ping in pieces": frame(PING, b"x", final=False),
    "a length of 2^62": b"\x82\xff" + struct.pack(">Q", 1 << 62) + bytes(4),
    "a length with the top bit": b"\x82\xff" + struct.pack(">Q", 1 << 63) + bytes(4),
}


@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_a_bad_frame_ends_the_connection(server, upgraded, bad):
    upgraded.send(bad)
    assert upgraded.is_closed_by_the_server()
    assert server.client_ids() == []
