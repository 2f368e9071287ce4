"""MQTT packets by hand, for what a well-behaved client library would never send.

A `RawClient` is one socket; nothing happens on it that the test did not ask for: no pings, no
acknowledgements, no reconnects.
"""

import ctypes
import socket
import struct
from dataclasses import dataclass

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14
PUBREC, PUBREL, PUBCOMP = 5, 6, 7

# Properties of version 5, by their numbers.
ASSIGNED_CLIENT_IDENTIFIER, SERVER_KEEP_ALIVE = 0x12, 0x13

# How many bytes each property of CONNACK takes; None is a string with its length before it.
PROPERTY_WIDTHS = {
    0x11: 4, 0x12: None, 0x13: 2, 0x15: None, 0x1A: None, 0x1C: None, 0x1F: None, 0x21: 2,
    0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip

# Linux: a socket filter of one instruction, "keep 0 bytes" (linux/filter.h).
SO_ATTACH_FILTER, BPF_RETURN = 26, 0x06

PROTOCOL_NAMES = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}


@dataclass(frozen=True)
class Packet:
    """One packet as it came: its kind, the four flag bits, and what follows the length."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class Message:
    """What a PUBLISH says; `packet_id` is 0 at QoS 0, `props` are the raw bytes of version 5."""

    topic: str
    payload: bytes
    qos: int
    dup: bool
    retain: bool
    packet_id: int
    props: bytes


def var_int(number):
    """The length field of a packet or of its properties: seven bits a byte, low first."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def string(text):
    """A length of two bytes and the bytes; also takes raw bytes, which may be no UTF-8."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(raw)) + raw


def packet(kind, body=b"", flags=0):
    return bytes([kind << 4 | flags]) + var_int(len(body)) + body


def properties(level, raw=b""):
    """The property block that every packet of version 5 with properties has."""
    return var_int(len(raw)) + raw if level == 5 else b""


@dataclass(frozen=True)
class Will:
    """What a client wants to be published when it goes without DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    props: bytes = b""


def connect(
    client_id, user=None, password=None, level=4, keep_alive=60, clean=True, props=b"", will=None
):
    flags = 0x02 if clean else 0
    payload = string(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
        payload += properties(level, will.props) + string(will.topic) + string(will.payload)
    if user is not None:
        flags |= 0x80
        payload += string(user)
    if password is not None:
        flags |= 0x40
        payload += string(password)
    head = string(PROTOCOL_NAMES[level]) + bytes([level, flags]) + struct.pack(">H", keep_alive)
    return packet(CONNECT, head + properties(level, props) + payload)


def subscribe(packet_id, filters, qos=0, level=4, options=0):
    """`options` are the bits of version 5 besides the QoS (§3.8.3.1)."""
    listed = b"".join(string(each) + bytes([qos | options]) for each in filters)
    return packet(SUBSCRIBE, struct.pack(">H", packet_id) + properties(level) + listed, 0x02)


def unsubscribe(packet_id, filters, level=4):
    listed = b"".join(string(each) for each in filters)
    return packet(UNSUBSCRIBE, struct.pack(">H", packet_id) + properties(level) + listed, 0x02)


def publish(topic, payload, qos=0, packet_id=1, level=4, retain=False, dup=False, props=b""):
    number = struct.pack(">H", packet_id) if qos else b""
    body = string(topic) + number + properties(level, props) + payload
    return packet(PUBLISH, body, (8 if dup else 0) | qos << 1 | int(retain))


def answer(kind, packet_id):
    """PUBACK, PUBREC, PUBREL or PUBCOMP that say success."""
    return packet(kind, struct.pack(">H", packet_id), 0x02 if kind == PUBREL else 0)


def parse_message(packet, level):
    """What is in a PUBLISH."""
    (length,) = struct.unpack_from(">H", packet.body)
    at, qos, packet_id = 2 + length, packet.flags >> 1 & 3, 0
    if qos:
        (packet_id,) = struct.unpack_from(">H", packet.body, at)
        at += 2
    props = b""
    if level == 5:
        width = packet.body[at]
        assert width < 0x80, "one byte of length is enough for these tests"
        props, at = packet.body[at + 1 : at + 1 + width], at + 1 + width
    topic = packet.body[2 : 2 + length].decode()
    dup, retain = bool(packet.flags & 8), bool(packet.flags & 1)
    return Message(topic, packet.body[at:], qos, dup, retain, packet_id, props)


def disconnect(reason=None, props=b""):
    """Version 5 allows it without a reason as well, and then without properties."""
    return packet(DISCONNECT, b"" if reason is None else bytes([reason]) + properties(5, props))


def session_expiry(secs):
    """The Session Expiry Interval among the properties of CONNECT and DISCONNECT."""
    return b"\x11" + struct.pack(">I", secs)


def receive_maximum(count):
    """The Receive Maximum among the properties of CONNECT."""
    return b"\x21" + struct.pack(">H", count)


def will_delay(secs):
    """The Will Delay Interval among the properties of a will."""
    return b"\x18" + struct.pack(">I", secs)


def message_expiry(secs):
    """The Message Expiry Interval among the properties of PUBLISH and of a will."""
    return b"\x02" + struct.pack(">I", secs)


def user_property(name, value):
    """One user property, to be put among the properties of a packet of version 5."""
    return b"\x26" + string(name) + string(value)


def logout():
    """The DISCONNECT of version 5 that says goodbye for longer."""
    return packet(DISCONNECT, b"\x00" + properties(5, user_property("logout", "true")))


def parse_properties(block):
    """Number and value of each property of a CONNACK; strings and numbers only."""
    length, at = block[0], 1
    assert length < 0x80 and len(block) == length + 1, block
    found = {}
    while at <= length:
        number, width = block[at], PROPERTY_WIDTHS[block[at]]
        at += 1
        if width is None:
            (size,) = struct.unpack_from(">H", block, at)
            value, width = block[at + 2 : at + 2 + size].decode(), 2 + size
        else:
            value = int.from_bytes(block[at : at + width], "big")
        found[number] = value
        at += width
    return found


class RawClient:
    """One TCP connection that speaks MQTT only when told to."""

    def __init__(self, port, timeout_secs=10, source=""):
        ours = (source, 0) if source else None
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_secs, ours)
        # Else a second small packet waits until the first is acknowledged, for 40 ms.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.level = 4
        self.session_present = False
        self.connack_properties = {}

    @property
    def port(self):
        """Our end's port, which the server reports as the peer's."""
        return self.socket.getsockname()[1]

    def login(self, client_id, user, password, level=4, **rest):
        """Sends CONNECT and returns the CONNACK's body; fails if something else comes."""
        self.send_connect(client_id, user, password, level, **rest)
        connack = self.expect(CONNACK).body
        self.session_present = connack[0] == 1
        if level == 5:
            self.connack_properties = parse_properties(connack[2:])
        return connack

    def send_connect(self, client_id, user, password, level=4, **rest):
        """The first half of `login`, which does not wait."""
        self.level = level
        self.send(connect(client_id, user, password, level, **rest))

    def subscribe(self, *filters, qos=0, options=0):
        self.send(subscribe(1, filters, qos, self.level, options))
        return self.expect(SUBACK).body

    def unsubscribe(self, *filters):
        self.send(unsubscribe(2, filters, self.level))
        self.expect(UNSUBACK)

    def ping(self):
        """Asks whether the server still serves this connection, and waits for its yes."""
        self.send(packet(PINGREQ))
        self.expect(PINGRESP)

    def publish(self, topic, payload, qos=0, packet_id=1, **how):
        self.send(publish(topic, payload, qos, packet_id, self.level, **how))

    def hand_over(self, topic, payload, qos=1, packet_id=1, **how):
        """Publishes, and waits until the server has taken it (PUBACK, PUBCOMP). Answers the
        reason code."""
        self.publish(topic, payload, qos, packet_id, **how)
        if qos == 0:
            return 0
        taken = self.expect(PUBACK if qos == 1 else PUBREC).body
        code = taken[2] if len(taken) > 2 else 0
        if qos == 2 and code < 0x80:
            self.send(answer(PUBREL, packet_id))
            self.expect(PUBCOMP)
        return code

    def send(self, data):
        self.socket.sendall(data)

    def read_packet(self):
        """The next packet, or None when the server has closed the connection."""
        first = self.read_bytes(1)
        if not first:
            return None
        length, shift = 0, 0
        while True:
            byte = self.read_bytes(1)
            if not byte:
                return None
            length |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80:
                break
        body = self.read_bytes(length)
        return None if len(body) < length else Packet(first[0] >> 4, first[0] & 15, body)

    def read_message(self):
        """Topic and payload of the next packet, which must be a PUBLISH."""
        answer = self.expect(PUBLISH)
        (length,) = struct.unpack_from(">H", answer.body)
        at = 2 + length + (2 if answer.flags & 0x06 else 0)
        if self.level == 5:
            at += 1 + answer.body[at]
        return answer.body[2 : 2 + length].decode(), answer.body[at:]

    def next_message(self):
        """The next packet, which must be a PUBLISH, taken apart; it is not acknowledged."""
        return parse_message(self.expect(PUBLISH), self.level)

    def take_messages(self, count):
        """So many messages, each acknowledged to its end."""
        taken, halfway = [], 0
        while len(taken) < count or halfway:
            try:
                packet = self.read_packet()
            except TimeoutError:
                raise TimeoutError(f"no more after {len(taken)} of {count} messages") from None
            assert packet is not None, f"closed after {len(taken)} of {count} messages"
            if packet.kind == PUBREL:
                halfway -= 1
                self.send(answer(PUBCOMP, int.from_bytes(packet.body[:2], "big")))
                continue
            assert packet.kind == PUBLISH, packet
            message = parse_message(packet, self.level)
            taken.append(message)
            if message.qos:
                self.send(answer(PUBREC if message.qos == 2 else PUBACK, message.packet_id))
                halfway += message.qos == 2
        assert len(taken) == count, taken
        return taken

    def take_message(self):
        return self.take_messages(1)[0]

    def expect(self, kind):
        """The next packet, which must be of this kind."""
        answer = self.read_packet()
        assert answer is not None, f"the server closed the connection; packet {kind} was due"
        assert answer.kind == kind, answer
        return answer

    def packets_until_closed(self):
        """All that still comes until the server closes; times out if it never does."""
        packets = []
        while (each := self.read_packet()) is not None:
            packets.append(each)
        return packets

    def reset(self):
        """Ends the connection with RST instead of FIN, as a crashed machine's stack does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def fall_silent(self):
        """From now on every segment that comes is thrown away before TCP sees it: no answers, no
        acknowledgements, no reset, as behind a firewall that has forgotten the connection."""
        drop_all = struct.pack("HBBI", BPF_RETURN, 0, 0, 0)
        program = ctypes.create_string_buffer(drop_all)
        filter_ = struct.pack("HxxxxxxQ", 1, ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)

    def close(self):
        self.socket.close()

    def read_bytes(self, count):
        """`count` bytes, or fewer when the connection ends first."""
        out = bytearray()
        while len(out) < count:
            try:
                piece = self.socket.recv(min(count - len(out), 1 << 20))
            except ConnectionError:
                return b""
            if not piece:
                break
            out += piece
        return bytes(out)
